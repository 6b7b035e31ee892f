"""The controller as a child: killed when it hangs, started again ever later, and its guard."""

import os
import pwd
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from haman.core.words import Event
from haman.engine import identity
from haman.engine.child import BACKOFF_FIRST_NS, BACKOFF_MAX_NS, SETTLED_NS, Child
from haman.engine.identity import prepare
from haman.engine.loop import Readable
from haman.engine.reporter import Reporter
from haman.engine.supervise import FIRST_MESSAGE_NS, Supervisor
from haman.system import clock
from tests.engine.net import wait

SLEEP = "import time; time.sleep(60)"


class FakeLoop:
    """Calls back when asked to look."""

    def __init__(self) -> None:
        self.watched: dict[Readable, Callable[[], None]] = {}

    def watch(self, readable: Readable, callback: Callable[[], None]) -> None:
        self.watched[readable] = callback

    def forget(self, readable: Readable) -> None:
        del self.watched[readable]


class Rig:
    def __init__(self, code: str, directory: Path) -> None:
        self.loop = FakeLoop()
        self.events: list[Event] = []
        self.supervisor = Supervisor(
            [sys.executable, "-S", "-c", code],
            prepare([str(directory / "state")]),
            self.loop,  # type: ignore[arg-type]
            Reporter(self.events.append),
            lambda _message: None,
        )
        self.now_ns = clock.monotonic_ns()
        self.turn()

    def turn(self, after_ns: int = 0) -> None:
        self.now_ns += after_ns
        self.supervisor.turn(self.now_ns)

    def wait_for_death(self) -> None:
        def dead() -> bool:
            status = Path(f"/proc/{self.supervisor.pid}/stat").read_text()
            return status.rpartition(")")[2].split()[0] == "Z"

        wait(dead)
        for readable, callback in list(self.loop.watched.items()):
            if isinstance(readable, Child):
                callback()

    def types(self) -> list[str]:
        return [event.type for event in self.events]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Callable[[str], Rig]]:
    made: list[Rig] = []

    def make(code: str) -> Rig:
        made.append(Rig(code, tmp_path))
        return made[-1]

    yield make
    for each in made:
        each.supervisor.stop(0)


def test_a_controller_that_says_nothing_is_killed(rig: Callable[[str], Rig]) -> None:
    hung = rig(SLEEP)
    hung.turn(FIRST_MESSAGE_NS - 1_000_000_000)
    assert hung.types() == []
    hung.turn(2_000_000_000)
    assert hung.types() == ["controller-hung"]
    hung.wait_for_death()
    assert "SIGKILL" in hung.events[-1].text


def test_it_is_started_again_ever_later(
    rig: Callable[[str], Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = rig("raise SystemExit(3)")
    monkeypatch.setattr(clock, "monotonic_ns", lambda: dying.now_ns)
    waits = []
    for _ in range(8):
        dying.wait_for_death()
        waits.append((dying.supervisor.deadline_ns or 0) - dying.now_ns)
        dying.turn(waits[-1])
        assert dying.supervisor.pid is not None
    assert waits[:3] == [BACKOFF_FIRST_NS, 2 * BACKOFF_FIRST_NS, 4 * BACKOFF_FIRST_NS]
    assert max(waits) == waits[-1] == BACKOFF_MAX_NS
    assert dying.types()[:2] == ["controller-died", "controller-restarted"]
    assert dying.events[0].text == "the controller ended with status 3; what is held stays held"
    dying.now_ns += SETTLED_NS
    dying.wait_for_death()
    assert (dying.supervisor.deadline_ns or 0) - dying.now_ns == BACKOFF_FIRST_NS


def test_a_command_that_cannot_be_run_is_tried_again(
    rig: Callable[[str], Rig], capfd: pytest.CaptureFixture[str]
) -> None:
    broken = rig(SLEEP)
    broken.supervisor.stop(0)
    broken.supervisor._command = ["/nonexistent"]
    broken.supervisor._child.want(broken.now_ns)
    broken.turn()
    broken.wait_for_death()
    assert "its command could not be run" in broken.events[-1].text
    assert (broken.supervisor.deadline_ns or 0) > broken.now_ns
    assert "/nonexistent" in capfd.readouterr().err


def test_no_process_to_be_had_is_a_death_like_any_other(
    rig: Callable[[str], Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    hungry = rig(SLEEP)
    hungry.supervisor.stop(0)

    def refuse(*_arguments, **_more):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "posix_spawn", refuse)
    hungry.supervisor._child.want(hungry.now_ns)
    hungry.turn()
    assert "could not be started: [Errno 11]" in hungry.events[-1].text
    monkeypatch.undo()
    hungry.turn(BACKOFF_MAX_NS)
    assert hungry.supervisor.pid is not None


def test_directories_are_made(rig: Callable[[str], Rig], tmp_path: Path) -> None:
    rig(SLEEP)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o750


@pytest.mark.privileged
def test_only_own_directories_are_given_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "USER", "nobody")
    nobody = pwd.getpwnam("nobody").pw_uid
    shared, own, new = tmp_path / "run", tmp_path / "haman", tmp_path / "new"
    for each in (shared, own):
        each.mkdir()
    (own / "intent.db").touch()
    (own / "link").symlink_to(shared)
    (own / "twice").hardlink_to(own / "intent.db")
    (own / "journal.db").touch()
    found = prepare([str(shared), str(own), str(new)])
    assert found.user == nobody
    assert found.problems == (
        f"{shared} is not writable for the user nobody: chown nobody {shared}",
    )
    given = {path.name for path in (shared, own, new, *own.iterdir()) if _owner(path) == nobody}
    assert given == {"haman", "new", "journal.db"}


@pytest.mark.privileged
def test_a_user_that_cannot_run_the_interpreter_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one below /root cannot: the children would never start."""
    monkeypatch.setattr(identity, "USER", "nobody")
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    program = hidden / "python"
    program.symlink_to("/bin/true")
    found = prepare([str(tmp_path / "haman")], [str(program)])
    assert (found.user, found.name) == (None, "root")
    assert "nobody cannot run" in found.problems[0]
    assert "Permission denied" in found.problems[0]
    assert _owner(tmp_path / "haman") == 0
    assert prepare([], ["/bin/true"]).name == "nobody"
    assert "status 1" in prepare([], ["/bin/false"]).problems[0]


def _owner(path: Path) -> int:
    return path.lstat().st_uid


def test_a_stubborn_controller_is_killed_at_the_end(rig: Callable[[str], Rig]) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP
    stubborn = rig(code)
    pid = stubborn.supervisor.pid
    stubborn.supervisor.stop(0.2)
    assert not Path(f"/proc/{pid}").exists()


def test_signals_are_passed_on(rig: Callable[[str], Rig]) -> None:
    told = rig(SLEEP)
    told.supervisor.forward(signal.SIGHUP)
    told.wait_for_death()
    assert "SIGHUP" in told.events[-1].text
