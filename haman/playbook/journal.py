"""What a run was and how far it came, on disk before each act and after: one line of JSON each.

    {"type":"header",…}                              what is run, on whom
    {"type":"began","at":…}                          facts, in the order in which the plan took them
    {"type":"given","key":"lb2/1","attempt":1,…}     a task is about to be begun
    {"type":"ended","key":"lb2/1","attempt":1,…}     and has ended
    {"type":"finish",…}                              how the run ended

The plan that takes these facts again is where the run was. A last line without its end was not
written. Whoever runs holds a lock on the file: a run that nobody holds was cut off, and can be resumed.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct

from haman.api import schema
from haman.playbook.facts import (
    Act,
    Began,
    Ended,
    Fact,
    Finish,
    Outcome,
    Resumed,
    RollBackAsked,
    StopAsked,
    Verdict,
    Worsened,
)
from haman.playbook.hosts import Host
from haman.playbook.model import Playbook

FORMAT = 1
RUNS_KEPT = 100
SUFFIX = ".jsonl"


class JournalError(Exception):
    """A journal cannot be used; the text says why, and what to do."""


class Header(Struct, frozen=True, tag="header", tag_field="type"):
    """What is run.

    Attributes:
        playbook: with all parameters filled in and called ones in their places.
        nodes: on which it is run, in order.
        hosts: the whole inventory.
        before: the cluster when the run began; None = nobody watches one.
    """

    format: int
    run: str
    by: str
    at: str
    playbook: Playbook
    parameters: dict[str, str | int | float | bool]
    nodes: tuple[str, ...]
    hosts: tuple[Host, ...]
    force: bool
    before: schema.Status | None


class FactLine(Struct, frozen=True, tag_field="type", kw_only=True):
    """What every line of a fact has."""

    at: str


class BeganLine(FactLine, frozen=True, tag="began"):
    """See `facts`."""


class GivenLine(FactLine, frozen=True, tag="given", kw_only=True):
    """A task is about to be begun."""

    key: str
    attempt: int


class EndedLine(FactLine, frozen=True, tag="ended", kw_only=True):
    """See `facts`."""

    key: str
    attempt: int
    outcome: Outcome
    text: str = ""


class WorsenedLine(FactLine, frozen=True, tag="worsened", kw_only=True):
    """See `facts`."""

    reasons: tuple[str, ...]


class StopLine(FactLine, frozen=True, tag="stop-asked"):
    """See `facts`."""


class BackLine(FactLine, frozen=True, tag="roll-back-asked"):
    """See `facts`."""


class ResumedLine(FactLine, frozen=True, tag="resumed"):
    """See `facts`."""


class FinishLine(FactLine, frozen=True, tag="finish", kw_only=True):
    """How the run ended; it may be resumed."""

    verdict: Verdict
    text: str = ""


Line = (
    BeganLine
    | GivenLine
    | EndedLine
    | WorsenedLine
    | StopLine
    | BackLine
    | ResumedLine
    | FinishLine
)
_DECODER = msgspec.json.Decoder(Header | Line)


class Record(Struct, frozen=True):
    """A journal that was read."""

    header: Header
    lines: tuple[Line, ...]

    @property
    def finish(self) -> FinishLine | None:
        """How the run ended; None = it was cut off, or goes on."""
        last = self.lines[-1] if self.lines else None
        return last if isinstance(last, FinishLine) else None


class Journal:
    """The journal of a run that goes on here; use as a context."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def give(self, act: Act) -> None:
        """Note that a task is about to be begun."""
        self._write(GivenLine(at=now(), key=act.task.key, attempt=act.attempt))

    def fact(self, fact: Fact) -> None:
        """Note what happened."""
        self._write(_line(fact))

    def finish(self, finish: Finish) -> None:
        """Note how the run ended."""
        self._write(FinishLine(at=now(), verdict=finish.verdict, text=finish.text))

    def discard(self) -> None:
        """Forget a run of which nothing was begun."""
        self.path.unlink(missing_ok=True)

    def _write(self, line: Line | Header) -> None:
        data = msgspec.json.encode(line) + b"\n"
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            os.fdatasync(self._fd)
        except OSError as error:
            raise JournalError(
                f"{self.path}: {error.strerror}: the run ends here, and can be resumed"
            ) from error

    def header(self, header: Header) -> None:
        """Begin the file."""
        self._write(header)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # the name too
        finally:
            os.close(folder)


def new_run(playbook: str) -> str:
    """A name for a run, that sorts by time within its playbook."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return f"{playbook}-{stamp}-{secrets.token_hex(2)}"


def create(folder: Path, header: Header) -> Journal:
    """Begin the journal of a new run.

    Raises:
        JournalError: the folder cannot be written.
    """
    path = folder / f"{header.run}{SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _forget_old(folder)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}; another place: --journal DIR") from error
    journal = Journal(path, fd)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    journal.header(header)
    return journal


def reopen(folder: Path, run: str) -> tuple[Journal, Record]:
    """Take a run's journal again, to go on with it.

    Raises:
        JournalError: there is none, it cannot be read, or the run goes on somewhere.
    """
    path = folder / f"{run}{SUFFIX}"
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        record = read(path)
        os.ftruncate(fd, _whole(path.read_bytes()))
    except BlockingIOError:
        os.close(fd)
        raise JournalError(f"{run} goes on now, in another process") from None
    except BaseException:
        os.close(fd)
        raise
    return Journal(path, fd), record


def read(path: Path) -> Record:
    """Read a journal, of a run that goes on or has ended.

    Raises:
        JournalError: it cannot be read, or was not written by this program.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from error
    lines = []
    for place, line in enumerate(data[: _whole(data)].splitlines(), 1):
        try:
            lines.append(_DECODER.decode(line))
        except msgspec.DecodeError as error:
            raise JournalError(f"{path}:{place}: is not a journal's line: {error}") from error
    if not lines or not isinstance(lines[0], Header) or lines[0].format != FORMAT:
        raise JournalError(f"{path}: has no header of format {FORMAT}")
    return Record(lines[0], tuple(x for x in lines[1:] if not isinstance(x, Header)))


def runs(folder: Path) -> Iterator[Path]:
    """Journals, newest first."""
    found = [(p.stat().st_mtime_ns, p) for p in folder.glob(f"*{SUFFIX}")]
    yield from (path for _, path in sorted(found, reverse=True))


def facts(record: Record) -> Iterator[Fact]:
    """What the plan took, in order."""
    for line in record.lines:
        match line:
            case BeganLine():
                yield Began()
            case EndedLine():
                yield Ended(line.key, line.attempt, line.outcome, line.text)
            case WorsenedLine():
                yield Worsened(line.reasons)
            case StopLine():
                yield StopAsked()
            case BackLine():
                yield RollBackAsked()
            case ResumedLine():
                yield Resumed()
            case _:
                pass


def now() -> str:
    """The instant, as journals have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(fact: Fact) -> Line:
    match fact:
        case Began():
            return BeganLine(at=now())
        case Ended():
            return EndedLine(
                at=now(), key=fact.key, attempt=fact.attempt, outcome=fact.outcome, text=fact.text
            )
        case Worsened():
            return WorsenedLine(at=now(), reasons=fact.reasons)
        case StopAsked():
            return StopLine(at=now())
        case RollBackAsked():
            return BackLine(at=now())
        case Resumed():
            return ResumedLine(at=now())


def _whole(data: bytes) -> int:
    """Bytes of whole lines."""
    return data.rfind(b"\n") + 1


def _forget_old(folder: Path) -> None:
    for path in list(runs(folder))[RUNS_KEPT:]:
        try:
            finish = read(path).finish
        except JournalError:
            continue  # not ours to throw away
        if finish is not None and not finish.verdict.resumable:
            path.unlink(missing_ok=True)
