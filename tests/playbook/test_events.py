"""`--events`: a run for programs, line by line, with answers and the wish to stop."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from haman.api import runs
from haman.cli.playbook import playbook
from haman.cli.playbook_events import Events
from haman.playbook import journal, session
from haman.playbook.facts import Finish, Verdict
from haman.playbook.inventory import choose
from haman.playbook.model import Inventory
from haman.playbook.runner import Surroundings
from tests.playbook.attending import DEADLINE_S, Attending, attending
from tests.playbook.books import FakeCluster, book

NODES = ("lb1", "lb2")
STEPS = """
name = "steps"
on_failure = "roll-back"
[guards]
soak_s = 0
come_back_s = 1
[[step]]
do = "drain"
[[step]]
do = "run"
command = "work"
undo = "unwork"
[[step]]
do = "undrain"
"""
ASKS = STEPS + '[[before]]\ndo = "confirm"\nquestion = "Really?"\n'
WAITS = STEPS.replace(
    'do = "run"\ncommand = "work"\nundo = "unwork"', 'do = "pause"\nseconds = 600'
)


class Running:
    """A run on fake machines, on a thread, and the program that attends to it."""

    def __init__(self, folder: Path, text: str, program: Attending) -> None:
        self.cluster = FakeCluster(NODES)
        self.folder = folder
        self.finish: Finish | None = None
        self.name = ""
        self._book = book(folder, text)
        self._events = Events(Verdict.DONE, program.into, program.out)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        chosen, _ = choose(Inventory(order="given"), self.cluster.status("lb1"), {}, ())
        assert chosen is not None
        order = session.Order(self._book, {}, chosen, "me@here")
        with self._events as events:
            around = Surroundings(
                self.cluster.hosts(), events.tell, events.attendant.ask, str(self.folder / "here")
            )
            self.name, self.finish = session.begin(order, around, self.folder, events.running)

    def ended(self) -> Finish:
        self._thread.join(DEADLINE_S)
        assert self.finish is not None
        return self.finish


@pytest.fixture
def program() -> Iterator[Attending]:
    with attending() as found:
        yield found


def test_a_run_is_laid_out_and_told_step_by_step(tmp_path: Path, program: Attending) -> None:
    running = Running(tmp_path, STEPS, program)
    assert running.ended().verdict is Verdict.DONE
    program.until(lambda: program.of(runs.Finished))
    laid = program.of(runs.LaidOut)
    assert len(laid) == 1
    assert [lane.name for lane in laid[0].lanes] == ["lb1", "lb2"]
    assert laid[0].run == running.name
    assert Path(laid[0].journal) == tmp_path / f"{running.name}{journal.SUFFIX}"
    keys = [t.key for lane in laid[0].lanes for t in lane.tasks]
    assert [line.key for line in program.of(runs.Begun)] == keys
    assert [line.key for line in program.of(runs.Ended)] == keys
    assert {line.outcome for line in program.of(runs.Ended)} == {"done"}
    (end,) = program.of(runs.Finished)
    assert (end.verdict, end.ok, end.resume) == ("done", True, "")


@pytest.mark.parametrize(("yes", "verdict"), [(True, Verdict.DONE), (False, Verdict.ROLLED_BACK)])
def test_a_question_is_answered(
    tmp_path: Path, program: Attending, yes: bool, verdict: Verdict
) -> None:
    running = Running(tmp_path, ASKS, program)
    program.until(lambda: program.of(runs.Asked))
    (asked,) = program.of(runs.Asked)
    assert asked.question == "Really?"
    program.say(runs.Answer(asked.id + 7, yes=True))  # to no question
    program.say_raw(b"rubbish\n")
    program.say(runs.Answer(asked.id, yes))
    ended = running.ended()
    assert ended.verdict in ({verdict} if yes else {Verdict.ROLLED_BACK, Verdict.STOPPED})
    program.until(lambda: program.of(runs.Finished))
    assert program.of(runs.Settled) == [runs.Settled(asked.id, yes)]


@pytest.mark.parametrize("how", ["stop", "leave"])
def test_a_wish_to_stop_and_the_end_of_the_program_stop_a_run(
    tmp_path: Path, program: Attending, how: str
) -> None:
    running = Running(tmp_path, WAITS, program)
    program.until(
        lambda: (
            any(b.key == "lb1/2" for b in program.of(runs.Begun))
            or len(program.of(runs.Begun)) >= 3
        )
    )
    if how == "stop":
        program.say(runs.Stop())
    else:
        program.leave()
    assert running.ended().verdict is Verdict.INTERRUPTED
    program.until(lambda: program.of(runs.Finished))
    (end,) = program.of(runs.Finished)
    assert (end.ok, end.resume) == (False, f"haman playbook resume {running.name}")
    assert journal.read(tmp_path / f"{running.name}{journal.SUFFIX}").finish is not None


def test_a_question_is_a_no_once_the_program_is_gone(tmp_path: Path, program: Attending) -> None:
    running = Running(tmp_path, ASKS, program)
    program.until(lambda: program.of(runs.Asked))
    program.leave()
    assert running.ended().verdict is not Verdict.DONE
    program.until(lambda: program.of(runs.Settled))
    assert not program.of(runs.Settled)[0].yes


def test_what_is_taken_back_is_laid_out_too(tmp_path: Path, program: Attending) -> None:
    text = STEPS + '[[step]]\ndo = "assert"\ncondition = "stale"\n'
    running = Running(tmp_path, text, program)
    assert running.ended().verdict is Verdict.ROLLED_BACK
    program.until(lambda: program.of(runs.Finished))
    first, *_, last = program.of(runs.LaidOut)
    assert len(last.lanes) > len(first.lanes)
    known = {t.key for lane in last.lanes for t in lane.tasks}
    assert {line.key for line in program.of(runs.Begun)} <= known


def test_list_and_show_are_values_for_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    listed = CliRunner().invoke(playbook, ["list", "--json"])
    offers = msgspec.json.decode(listed.stdout, type=runs.Offers).offers
    found = next(o for o in offers if o.name == "rolling-restart")
    assert (found.kind, found.takes_out, found.problems) == ("playbook", True, ())
    assert {p.name: p.default for p in found.parameters}["drain_s"] == "300"
    assert "  1. drain, until it serves nothing" in [w[1:] for w in found.words]
    assert next(o for o in offers if o.name == "evacuate-site").stays_out
    good = ["show", "evacuate-site", "--json", "--set", "site=ams1"]
    shown = CliRunner().invoke(playbook, good)
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["site"] == "ams1"
    bad = CliRunner().invoke(playbook, ["show", "evacuate-site", "--json", "--set", "drain_s=x"])
    assert bad.exit_code == 2
    assert json.loads(bad.stdout)["problems"] == [
        "parameter.site: is missing: give it with --set site=… (which site)",
        'parameter.drain_s: "x" is not a number',
    ]
