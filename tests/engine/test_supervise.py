"""The controller as a child: killed when it hangs, started again ever later, and its guard."""

import os
import pwd
import select
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from haman.config.lease import PATIENCE_S
from haman.config.model import Bgp, Config
from haman.core.facts import StancesDeclared
from haman.core.words import Event
from haman.engine import identity
from haman.engine.child import BACKOFF_FIRST_NS, BACKOFF_MAX_NS, SETTLED_NS, Child
from haman.engine.identity import prepare
from haman.engine.loop import Readable
from haman.engine.reporter import Reporter
from haman.engine.supervise import FIRST_MESSAGE_NS, Supervisor
from haman.system import clock
from haman.system.link import encode
from tests.engine.net import wait

NS_PER_S = 1_000_000_000
SLEEP = "import time; time.sleep(60)"
SPEAKS = f"""
import signal, socket, sys
end = socket.socket(fileno=int(sys.argv[1]))
def say(*_):
    end.send({encode(StancesDeclared(1, ()))!r})
signal.signal(signal.SIGHUP, say)
say()
{SLEEP}
"""
"""Says one thing, one more for each HUP, and nothing else."""


class FakeLoop:
    """Calls back when asked to look."""

    def __init__(self) -> None:
        self.watched: dict[Readable, Callable[[], None]] = {}
        self.late_ns = 0

    def watch(self, readable: Readable, callback: Callable[[], None]) -> None:
        self.watched[readable] = callback

    def forget(self, readable: Readable) -> None:
        del self.watched[readable]


class Rig:
    def __init__(self, code: str, directory: Path, config: Config) -> None:
        self.loop = FakeLoop()
        self.events: list[Event] = []
        self.supervisor = Supervisor(
            [sys.executable, "-S", "-c", code],
            prepare([str(directory / "state")]),
            self.loop,  # type: ignore[arg-type]
            Reporter(self.events.append),
            lambda _message: None,
            config=config,
        )
        self.killed = False
        self._kill, self.supervisor._child.kill = self.supervisor._child.kill, self._killing
        self.now_ns = clock.monotonic_ns()
        self.turn()

    def _killing(self) -> None:
        self.killed = True
        self._kill()

    def turn(self, after_ns: int = 0) -> None:
        self.now_ns += after_ns
        self.supervisor.turn(self.now_ns)

    @property
    def alive(self) -> bool:
        status = Path(f"/proc/{self.supervisor.pid}/stat").read_text()
        return status.rpartition(")")[2].split()[0] != "Z"

    def listen(self) -> None:
        """Until it has said something, or closed its end."""
        link = self.supervisor.link
        wait(lambda: bool(select.select([link], [], [], 0)[0]))
        self.loop.watched[link]()
        self.now_ns = clock.monotonic_ns()

    def wait_for_death(self) -> None:
        wait(lambda: not self.alive)
        for readable, callback in list(self.loop.watched.items()):
            if isinstance(readable, Child):
                callback()

    def types(self) -> list[str]:
        return [event.type for event in self.events]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(code: str, config: Config | None = None) -> Rig:
        made.append(Rig(code, tmp_path, config or Config()))
        return made[-1]

    yield make
    for each in made:
        each.supervisor.stop(0)


def test_a_controller_that_says_nothing_is_killed(rig: Callable[..., Rig]) -> None:
    hung = rig(SLEEP)
    hung.turn(FIRST_MESSAGE_NS - NS_PER_S)
    assert not hung.killed
    hung.turn(2 * NS_PER_S)
    hung.wait_for_death()
    assert hung.types() == ["controller-hung", "controller-died"]
    assert "SIGKILL" in hung.events[-1].text


@pytest.mark.parametrize(
    ("config", "patience_s"),
    [(Config(), PATIENCE_S), (Config(bgp=Bgp(65001, "10.0.1.2")), 5)],
    ids=["VIPs alone", "announces"],
)
def test_one_that_falls_silent_is_killed_in_time_for_the_lease(
    rig: Callable[..., Rig], config: Config, patience_s: int
) -> None:
    hung = rig(SPEAKS, config)
    hung.listen()
    hung.turn(patience_s * NS_PER_S - NS_PER_S // 10)
    assert not hung.killed
    hung.turn(NS_PER_S // 5)
    hung.wait_for_death()
    assert hung.types() == ["controller-hung", "controller-died"]


def test_a_reload_changes_how_long_it_is_waited_for(rig: Callable[..., Rig]) -> None:
    hung = rig(SPEAKS)
    hung.listen()
    hung.supervisor.reload(Config(bgp=Bgp(65001, "10.0.1.2", lease_shut_s=8)))
    hung.listen()
    hung.turn(4 * NS_PER_S + NS_PER_S // 10)
    hung.wait_for_death()
    assert hung.types() == ["controller-hung", "controller-died"]


def test_the_one_after_one_that_hung_starts_at_once(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it did: what it announced is leased, and hanging takes longer than any back-off."""
    hung = rig(SPEAKS, Config(bgp=Bgp(65001, "10.0.1.2")))
    monkeypatch.setattr(clock, "monotonic_ns", lambda: hung.now_ns)
    for _ in range(4):
        hung.listen()
        hung.turn(5 * NS_PER_S)
        hung.wait_for_death()
        hung.turn()
        assert hung.types()[-1] == "controller-restarted"


def test_one_that_closes_its_end_and_lingers_is_started_again_ever_later(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    lingers = rig(f"import os, sys; os.close(int(sys.argv[1])); {SLEEP}")
    monkeypatch.setattr(clock, "monotonic_ns", lambda: lingers.now_ns)
    waits = []
    for _ in range(3):
        lingers.listen()
        lingers.turn(NS_PER_S)
        lingers.wait_for_death()
        waits.append((lingers.supervisor.deadline_ns or 0) - lingers.now_ns)
        lingers.turn(waits[-1])
    assert waits == [BACKOFF_FIRST_NS, 2 * BACKOFF_FIRST_NS, 4 * BACKOFF_FIRST_NS]
    assert "controller-hung" not in lingers.types()


def test_an_engine_that_stood_still_itself_gives_the_controller_its_time_again(
    rig: Callable[..., Rig],
) -> None:
    """Both were stopped, and go on: the one may come before the other."""
    thawed = rig(SPEAKS)
    thawed.listen()
    thawed.loop.late_ns = 20 * NS_PER_S
    thawed.turn(20 * NS_PER_S)
    thawed.loop.late_ns = 0
    thawed.turn(PATIENCE_S * NS_PER_S - NS_PER_S // 10)
    assert not thawed.killed
    thawed.turn(NS_PER_S // 5)
    thawed.wait_for_death()


def test_it_is_started_again_ever_later(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
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
    rig: Callable[..., Rig], capfd: pytest.CaptureFixture[str]
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
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
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


def test_directories_are_made(rig: Callable[..., Rig], tmp_path: Path) -> None:
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


def test_a_stubborn_controller_is_killed_at_the_end(rig: Callable[..., Rig]) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP
    stubborn = rig(code)
    pid = stubborn.supervisor.pid
    stubborn.supervisor.stop(0.2)
    assert not Path(f"/proc/{pid}").exists()


def test_it_is_told_of_a_reload(rig: Callable[..., Rig]) -> None:
    told = rig(SLEEP)
    told.supervisor.reload(Config())
    told.wait_for_death()
    assert "SIGHUP" in told.events[-1].text
