"""The flight recorder, and that what it wrote is decided again as it was."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from haman.cli.root import cli
from haman.controller import recorder as module
from haman.controller.flight import MAGIC, Began, DamagedError, Inputs, Stepped, read
from haman.controller.recorder import CURRENT, FOLDER, PREVIOUS, Recorder
from haman.controller.replay import Replay
from haman.core.decide import Decider, FailoverOrdered
from haman.core.facts import VipReport
from haman.core.heirs import ConfiguredVip
from haman.core.ladder import ConfiguredAnycast
from haman.core.node import NodeCore
from haman.core.permits import Answer, FailoverSeen, Heard, PermitId, Permits, PermitSettings
from haman.core.reports import NodeReport, PeerView
from haman.core.situation import OperatorIntent, Situation
from haman.core.words import Condition, Reason, Role, Utilization

MS = 1_000_000
SETTINGS = PermitSettings((ConfiguredVip("web", 150),), (ConfiguredAnycast("edge"),))
EPOCH = 77
BOUND = 1 << 20


class Clock:
    def __init__(self) -> None:
        self.now_ns = 10**12

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_ns(self) -> int:
        return 1_700_000_000 * 10**9 + self.now_ns


class Life:
    """A node whose steps are recorded: busy, drained, moved, alone and well again."""

    def __init__(self, folder: Path, clock: Clock, bound: int = BOUND) -> None:
        self.clock = clock
        self.recorder = Recorder(folder, bound, "lb1", clock)
        self.recorder.began(SETTINGS, EPOCH, clock.now_ns)
        self.decider = Decider(SETTINGS.vips, SETTINGS.anycast)
        self.core = NodeCore(self.decider, Permits(SETTINGS, EPOCH, clock.now_ns))
        self.conditions: list[str] = []

    def step(self, number: int) -> None:
        self.clock.now_ns += 200 * MS
        load = 0.97 if 40 <= number < 80 else 0.2 + number % 7 / 50
        cpu = Utilization("cpu", load, 1.0, "cores", age_ms=number % 3)
        busy = load > 0.9
        condition = Condition.SATURATED if busy else Condition.IN_SERVICE
        intent = OperatorIntent(drained=100 <= number < 120)
        own = NodeReport("lb1", "ams1", "0", condition, resources=(cpu,), connections=number)
        peer = NodeReport("lb2", "ams1", "0", Condition.IN_SERVICE, resources=(cpu,))
        peer = replace(peer, vips=(VipReport("web", Role.BACKUP, 100, 0),))
        inputs = Inputs(
            Situation(
                condition,
                (Reason("saturated", "cpu", {"utilization": load}),) if busy else (),
                intent=intent,
                peers=(PeerView("lb2", peer, 7.5, fresh=number % 50 != 49),),
                resources=(cpu,),
                roles=(VipReport("web", Role.ACTIVE, 150, 0),),
                announced=(),
                engine_age_ms=number * 1.5,
            ),
            own,
            self.clock.now_ns,
            (Heard("lb2", Answer(PermitId(EPOCH, number), granted=True)),) if busy else (),
            frozenset({"edge"}) if number % 2 else frozenset(),
            (FailoverSeen("web", "lb2"),) if number == 95 else (),
            awake=True,
        )
        if number == 90:
            order = FailoverOrdered("web", "lb2")
            self.recorder.ordered(order, self.clock.now_ns)
            self.decider.order(order, self.clock.now_ns)
        stepped = inputs.step(self.core)
        self.conditions.append(stepped.decision.condition)
        self.recorder.stepped(inputs, stepped.decision)

    def run(self, steps: range) -> None:
        for number in steps:
            self.step(number)
        self.recorder.close()


@pytest.fixture(autouse=True)
def brisk(monkeypatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.005)


def records(folder: Path, name: str = CURRENT):
    return read((folder / FOLDER / name).read_bytes())


def replayed(folder: Path, *names: str) -> tuple[Replay, list[str]]:
    replay = Replay()
    conditions = []
    for name in names or (CURRENT,):
        conditions += [step.decision.condition for step in replay.run(records(folder, name))]
    return replay, conditions


def test_every_decision_is_made_again(tmp_path) -> None:
    life = Life(tmp_path, Clock())
    life.run(range(150))
    replay, conditions = replayed(tmp_path)
    assert (replay.steps, replay.differing, replay.uncertain) == (150, 0, 0)
    assert conditions == life.conditions
    assert {"saturated", "drained", "in-service"} <= set(conditions)


def test_what_is_decided_otherwise_is_seen(tmp_path) -> None:
    Life(tmp_path, Clock()).run(range(150))
    kept = [
        r for r in records(tmp_path) if not (isinstance(r, Stepped) and r.own.connections == 95)
    ]
    began = kept[0]
    assert isinstance(began, Began)
    other = replace(SETTINGS, vips=(ConfiguredVip("web", 90),))
    kept[0] = Began("lb1", "0", 0, 0, 0, EPOCH, other)
    replay = Replay()
    assert list(replay.run(kept))
    assert replay.differing


def test_two_lives_are_in_one_file_and_each_is_whole(tmp_path) -> None:
    clock = Clock()
    Life(tmp_path, clock).run(range(20))
    Life(tmp_path, clock).run(range(30))
    replay, _ = replayed(tmp_path)
    assert (replay.steps, replay.differing, replay.uncertain) == (50, 0, 0)


def test_the_space_is_bounded_and_what_is_left_goes_on_over_both_files(tmp_path) -> None:
    bound = 24_000
    life = Life(tmp_path, Clock(), bound)
    for number in range(600):
        life.step(number)
        if number % 10 == 9:  # the thread keeps up: what it writes at once may be above the bound
            until(lambda: not life.recorder._waiting)
    life.recorder.close()
    sizes = [(tmp_path / FOLDER / name).stat().st_size for name in (CURRENT, PREVIOUS)]
    assert all(size < bound for size in sizes)
    first = next(records(tmp_path, PREVIOUS))
    assert isinstance(first, Began)
    assert first.resumed
    replay, conditions = replayed(tmp_path, PREVIOUS, CURRENT)
    assert replay.differing == 0
    assert conditions == life.conditions[-len(conditions) :]


def test_a_torn_end_is_read_up_to_there_and_written_on_from_there(tmp_path) -> None:
    clock = Clock()
    Life(tmp_path, clock).run(range(20))
    path = tmp_path / FOLDER / CURRENT
    whole = path.read_bytes()
    path.write_bytes(whole + b"\x00\x00\x10\x00half of a frame")
    replay, _ = replayed(tmp_path)
    assert replay.steps == 20
    assert "cut off" in replay.problem
    Life(tmp_path, clock).run(range(20))
    replay, _ = replayed(tmp_path)
    assert (replay.steps, replay.differing, replay.problem) == (40, 0, "")


@pytest.mark.parametrize(
    "data",
    [b"", b"something else", MAGIC + b"\x00", MAGIC + b"\xff" * 8, MAGIC + bytes(8) + b"x"],
)
def test_what_is_no_recording_says_so(data) -> None:
    with pytest.raises(DamagedError):
        list(read(data))


def test_any_damage_is_an_end_and_no_crash(tmp_path) -> None:
    Life(tmp_path, Clock()).run(range(30))
    whole = (tmp_path / FOLDER / CURRENT).read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        replay = Replay()
        steps = list(replay.run(read(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])))
        assert len(steps) < 30
        assert replay.problem


def until(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_disk_that_takes_nothing_costs_records_and_nothing_else(tmp_path) -> None:
    (tmp_path / FOLDER).write_text("in the way")
    life = Life(tmp_path, Clock())
    for number in range(10):
        life.step(number)
    until(lambda: life.recorder.problem and life.recorder.dropped)
    (tmp_path / FOLDER).unlink()
    lost = life.recorder.dropped
    assert lost
    for number in range(10, 40):
        life.step(number)
        time.sleep(0.002)
    life.recorder.close()
    replay, _ = replayed(tmp_path)
    assert replay.steps
    assert replay.lost >= lost
    assert replay.differing == 0  # none of them can be certain


def test_a_thread_that_does_not_keep_up_costs_the_oldest(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 60)
    monkeypatch.setattr(module, "WAITING_MAX", 50)
    life = Life(tmp_path, Clock())
    life.run(range(80))
    assert life.recorder.dropped == 51  # with the beginning
    replay, _ = replayed(tmp_path)
    assert replay.steps
    assert replay.differing == 0


# ---- the verb ------------------------------------------------------------------------------


@pytest.fixture
def recorded(tmp_path) -> Path:
    Life(tmp_path, Clock()).run(range(150))
    return tmp_path


def run(*words: str):
    return CliRunner().invoke(cli, ["replay", *words])


def test_the_story_is_told_with_reasons(recorded) -> None:
    done = run(str(recorded))
    assert done.exit_code == 0, done.output
    assert "lb1 web: contends at priority 150" in done.output
    assert "is saturated (cpu)" in done.output
    assert "is drained (drained by the operator" in done.output
    assert "150 steps, all decided as recorded" in done.output
    assert len(done.output.splitlines()) < 40


def test_one_file_since_an_instant_and_as_json(recorded) -> None:
    done = run(str(recorded / FOLDER / CURRENT), "--json", "--since", "2023-11-14T22:30:30Z")
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if line.startswith("{")]
    assert 0 < len(lines) < 150
    assert '"decision"' in lines[0]


def test_a_wrong_path_is_a_usage_error(tmp_path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        done = run(str(path))
        assert done.exit_code == 2
        assert str(path) in done.output
    (tmp_path / "x").write_text("no recording")
    done = run(str(tmp_path / "x"))
    assert done.exit_code == 1
    assert "no flight recording" in done.output
