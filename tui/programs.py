"""The programs that do the work: `haman playbook` and `haman lab drill`, as children on this machine.

Playbooks go over SSH from where the operator is, not from an agent, so they run where this screen does. A
child has a session of its own: a terminal that closes does not kill it in the middle of a step. It has a pipe
for its standard input instead, which ends with this program, however that ends; then it stops after
what is under way. All that it writes is hostile text until it is clean.
"""

import asyncio
import contextlib
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from typing import IO, Protocol, TypeVar

import msgspec
from msgspec import structs

from haman.api import runs
from tui.clean import answer, lines_of, text
from tui.runs import Order

LIST_MAX_S = 30.0
LINE_BYTES_MAX = 16 << 20
"""A report is one line."""
COMPLAINT_BYTES_MAX = 4096
"""The end of what a child complained of."""
ENDED_POLL_S = 0.05
USAGE = 2
_LINES = msgspec.json.Decoder(runs.Line)

T = TypeVar("T", bound=msgspec.Struct)


class ProgramError(Exception):
    """A program could not be started, or did not answer; the text says which, and why."""


class Child(Protocol):
    """A run under way."""

    def lines(self) -> AsyncIterator[runs.Line]:
        """What it tells, until it ends."""

    async def end(self) -> tuple[int, str]:
        """Wait for its end; the exit status, and what it complained of."""

    def say(self, word: runs.Word) -> None:
        """Answer it, or have it stop; one that has ended does not hear it."""


class Programs(Protocol):
    """What can be run, and the running of it."""

    async def offers(self) -> tuple[runs.Offer, ...]:
        """Everything there is; raises ProgramError."""

    async def settled(self, order: Order) -> runs.Offer:
        """A playbook with the values of an order, or what is wrong with them; raises ProgramError."""

    async def start(self, order: Order) -> Child:
        """Begin; raises ProgramError."""


class Children:
    """Runs the command line.

    Args:
        program: how it is started.
        reach: options of `playbook run` that lead to the cluster on the screen, asked each time.
    """

    def __init__(self, program: Sequence[str], reach: Callable[[], Sequence[str]]) -> None:
        self._program = tuple(program)
        self._reach = reach

    async def offers(self) -> tuple[runs.Offer, ...]:
        """Playbooks on the shelf, and the drills of this folder's lab."""
        playbooks = await self._asked(runs.Offers, "playbook", "list", "--json")
        drills = await self._asked(runs.Offers, "lab", "drill", "--all", "--list")
        return (*playbooks.offers, *drills.offers)

    async def settled(self, order: Order) -> runs.Offer:
        """As the protocol has it."""
        if order.offer.kind != "playbook":
            return order.offer
        words = ("playbook", "show", order.offer.file, "--json", *_values(order))
        return await self._asked(runs.Offer, *words)

    async def start(self, order: Order) -> Child:
        """As the protocol has it."""
        if order.offer.kind == "playbook":
            words = ["playbook", "run", order.offer.file, "--events", *_values(order)]
            words += [w for node in order.nodes for w in ("--node", node)]
            words += ["--check"] if order.only_check else []
            words += self._reach()
        else:
            words = ["lab", "drill", order.offer.file, "--events"]
        return self._spawned(words)

    def _spawned(self, words: list[str]) -> "_Child":
        complaints = tempfile.TemporaryFile()  # noqa: SIM115 - the child goes on with it; see `_Child.end`
        try:
            process = subprocess.Popen(  # not asyncio's: that kills its children when the loop ends
                [*self._program, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,
            )
        except OSError as error:
            complaints.close()
            raise ProgramError(f"{self._program[0]}: {error.strerror}") from error
        return _Child(process, complaints)

    async def _asked(self, kind: type[T], *words: str) -> T:
        name = " ".join(("haman", *words[:2]))
        try:
            process = await asyncio.create_subprocess_exec(
                *self._program,
                *words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise ProgramError(f"{self._program[0]}: {error.strerror}") from error
        try:
            async with asyncio.timeout(LIST_MAX_S):
                out, complaint = await process.communicate()
        except TimeoutError:
            raise ProgramError(f"{name}: no answer within {LIST_MAX_S:g} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        try:
            return answer(msgspec.json.decode(out, type=kind))
        except msgspec.DecodeError as error:
            said = complaint[-COMPLAINT_BYTES_MAX:].decode(errors="replace").strip()
            raise ProgramError(text(f"{name}: {said or error}")) from error


def _clean(line: runs.Line) -> runs.Line:
    if isinstance(line, runs.Reported):
        report = lines_of(line.text)
        return structs.replace(answer(structs.replace(line, text="")), text=report)
    return answer(line)


def _values(order: Order) -> list[str]:
    return [word for name, value in order.values for word in ("--set", f"{name}={value}")]


class _Child:
    def __init__(self, process: subprocess.Popen[bytes], complaints: IO[bytes]) -> None:
        self._process = process
        self._complaints = complaints

    async def lines(self) -> AsyncIterator[runs.Line]:
        """See `Child`; what is no line is told as output that belongs to no task."""
        reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._process.stdout
        )
        try:
            while True:
                try:
                    line = await reader.readline()
                except ValueError:
                    yield runs.Said(
                        "", f"a line longer than {LINE_BYTES_MAX >> 20} MB was passed over"
                    )
                    continue
                if not line:
                    return
                try:
                    yield _clean(_LINES.decode(line))
                except msgspec.DecodeError:
                    yield runs.Said("", text(line.decode(errors="replace").rstrip("\n")))
        finally:
            transport.close()

    async def end(self) -> tuple[int, str]:
        """See `Child`."""
        while (status := self._process.poll()) is None:  # noqa: ASYNC110 - once, at the end of a run
            await asyncio.sleep(ENDED_POLL_S)
        with self._complaints as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - COMPLAINT_BYTES_MAX))
            complaint = file.read().decode(errors="replace").strip()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        return status, lines_of(complaint)

    def say(self, word: runs.Word) -> None:
        """See `Child`."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended: there is nobody to tell
            os.write(self._process.stdin.fileno(), msgspec.json.encode(word) + b"\n")
