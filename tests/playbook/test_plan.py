"""The plan: what comes next, and that a run cut off anywhere goes on without doing anything twice."""

from collections import Counter
from pathlib import Path

import pytest

from haman.playbook.facts import (
    Act,
    Began,
    Ended,
    Fact,
    Outcome,
    Resumed,
    RollBackAsked,
    StopAsked,
    Verdict,
    Worsened,
)
from haman.playbook.model import Playbook
from haman.playbook.plan import Mark, Plan
from haman.playbook.script import script
from tests.playbook.books import ROLLING, Judge, Played, book, failing, played, undone, well

NODES = ("a", "b", "c")


@pytest.fixture
def rolling(tmp_path: Path) -> Playbook:
    return book(tmp_path, ROLLING)


def test_one_node_after_the_other_each_guarded_and_watched(rolling: Playbook) -> None:
    run = played(rolling, ("a", "b"))
    assert run.given == [
        *("a/guard", "a/1", "a/2", "a/3", "a/4", "a/5", "a/soak"),
        *("b/guard", "b/1", "b/2", "b/3", "b/4", "b/5", "b/soak"),
    ]
    assert run.wide == 1
    assert run.finish is not None
    assert run.finish.verdict is Verdict.DONE


def test_a_failure_is_tried_again_as_often_as_the_step_says(rolling: Playbook) -> None:
    run = played(rolling, ("a",), failing("a/3"))
    assert run.given.count("a/3") == 2


def test_what_was_changed_is_taken_back_last_node_first(rolling: Playbook) -> None:
    run = played(rolling, NODES, failing("b/5"))
    assert run.finish is not None
    assert run.finish.verdict is Verdict.ROLLED_BACK
    assert "as told" in run.finish.text
    # Out of service again, the file restored, restarted, back into service; then the node before it.
    assert undone(run.given) == [
        *("b/1", "b/2", "b/3", "b/4", "b/5", "b/soak"),
        *("a/1", "a/2", "a/3", "a/4", "a/5", "a/soak"),
    ]
    assert not any(key.startswith("c/") for key in run.given)


def test_a_guard_that_says_no_stops_and_takes_nothing_back(rolling: Playbook) -> None:
    run = played(rolling, NODES, failing("b/guard"))
    assert run.finish is not None
    assert run.finish.verdict is Verdict.STOPPED
    assert run.given[-1] == "b/guard"


def test_a_node_that_does_not_come_back_is_the_last_one(rolling: Playbook) -> None:
    run = played(rolling, NODES, failing("a/soak"))
    assert not any(key.startswith(("b/", "c/")) for key in run.given)
    assert undone(run.given)[0] == "a/1"


@pytest.mark.parametrize(
    ("on_failure", "verdict", "reached"),
    [
        ("stop", Verdict.STOPPED, ["a/1"]),
        ("continue", Verdict.PARTLY, ["a/1", "b/1", "b/2", "c/1", "c/2"]),
        ("roll-back", Verdict.ROLLED_BACK, ["a/1", "undo:a/1"]),
    ],
)
def test_on_failure(tmp_path: Path, on_failure: str, verdict: Verdict, reached: list[str]) -> None:
    text = f"""
name = "x"
agents = false
on_failure = "{on_failure}"
[[step]]
do = "run"
command = "one"
undo = "back"
[[step]]
do = "run"
command = "two"
"""
    run = played(book(tmp_path, text), NODES, failing("a/1"))
    assert run.finish is not None
    assert run.finish.verdict is verdict
    assert run.given == reached


def test_a_step_whose_failure_is_passed_over(tmp_path: Path) -> None:
    text = """
name = "x"
agents = false
[[step]]
do = "run"
command = "one"
on_failure = "continue"
[[step]]
do = "run"
command = "two"
"""
    run = played(book(tmp_path, text), ("a",), failing("a/1"))
    assert run.given == ["a/1", "a/2"]
    marks = [t.mark for lane in run.plan.snapshot().lanes for t in lane.tasks]
    assert marks == [Mark.PASSED, Mark.DONE]


def test_no_more_nodes_at_once_than_the_batch(tmp_path: Path) -> None:
    text = 'name = "x"\nagents = false\nbatch = 4\n[[step]]\ndo = "run"\ncommand = "one"\n'
    run = played(book(tmp_path, text), tuple(f"n{i}" for i in range(50)))
    assert run.wide == 4
    assert len(run.given) == 50


def test_before_and_after_are_done_once_around_all(tmp_path: Path) -> None:
    text = """
name = "x"
agents = false
[[before]]
do = "run"
at = "every"
command = "look"
[[before]]
do = "confirm"
question = "sure?"
[[step]]
do = "run"
command = "one"
[[after]]
do = "run"
at = "first"
command = "prove"
"""
    run = played(book(tmp_path, text), ("a", "b"))
    assert run.given == ["before:1@a", "before:1@b", "before:2", "a/1", "b/1", "after:1@a"]


def test_where_there_is_nothing_to_take_back_it_stops(tmp_path: Path) -> None:
    text = 'name = "x"\nagents = false\non_failure = "roll-back"\n[[step]]\ndo = "run"\ncommand = "x"\n'
    run = played(book(tmp_path, text), NODES, failing("a/1"))
    assert run.finish is not None
    assert run.finish.verdict is Verdict.STOPPED


def test_worse_turns_back_only_after_what_is_under_way(rolling: Playbook) -> None:
    run = Played(Plan(script(rolling, NODES)))
    (guard,) = run.take(Began())
    (drain,) = run.take(Ended(guard.task.key, 1, Outcome.DONE))
    assert not run.take(Worsened(("edge is down",)))
    (back,) = run.take(Ended(drain.task.key, 1, Outcome.DONE))
    assert back.task.title == "undrain"
    assert "edge is down" in played_to_end(run, back).text


def played_to_end(run: Played, act: Act) -> object:
    waiting = [act]
    while waiting:
        one = waiting.pop()
        waiting += run.take(Ended(one.task.key, one.attempt, Outcome.DONE))
    return run.finish


def test_a_stop_lets_what_is_under_way_end_and_can_be_resumed(rolling: Playbook) -> None:
    run = Played(Plan(script(rolling, NODES)))
    (guard,) = run.take(Began())
    assert not run.take(StopAsked())
    assert not run.take(Ended(guard.task.key, 1, Outcome.DONE))
    assert run.finish is not None
    assert run.finish.verdict is Verdict.INTERRUPTED
    assert run.play(well, Resumed()).verdict is Verdict.DONE
    assert run.given[0] == "a/1"


def test_what_is_unknown_is_settled_first_when_the_run_is_resumed(rolling: Playbook) -> None:
    run = Played(Plan(script(rolling, ("a",))))
    unknown: Judge = lambda act: (  # noqa: E731
        Outcome.UNKNOWN if act.task.key == "a/2" and not act.settles else Outcome.DONE
    )
    assert run.play(unknown).verdict is Verdict.STOPPED
    acts = run.take(Resumed())
    assert [(a.task.key, a.attempt, a.settles) for a in acts] == [("a/2", 1, True)]


def test_what_failed_is_tried_again_under_a_new_number(tmp_path: Path) -> None:
    found = book(tmp_path, ROLLING.replace("roll-back", "stop"))
    run = Played(Plan(script(found, ("a",))))
    assert run.play(failing("a/3")).verdict is Verdict.STOPPED
    (again,) = run.take(Resumed())
    assert (again.task.key, again.attempt, again.settles) == ("a/3", 3, False)


def test_a_run_that_was_done_can_be_taken_back_and_not_twice(rolling: Playbook) -> None:
    run = played(rolling, ("a",))
    assert run.play(well, RollBackAsked()).verdict is Verdict.ROLLED_BACK
    with pytest.raises(ValueError, match="rolled back already"):
        run.plan.step(RollBackAsked())
    with pytest.raises(ValueError, match="it has ended"):
        run.plan.step(Resumed())


def test_a_roll_back_that_fails_says_so_and_is_resumed_as_one(rolling: Playbook) -> None:
    run = played(rolling, ("a",), failing("a/soak", "undo:a/2"))
    assert run.finish is not None
    assert run.finish.verdict is Verdict.ROLL_BACK_FAILED
    assert run.play(well, Resumed()).verdict is Verdict.ROLLED_BACK
    assert undone(run.given).count("a/1") == 1


@pytest.mark.parametrize(
    "fact",
    [Ended("a/1", 1, Outcome.DONE), Ended("a/guard", 2, Outcome.DONE), Began(), Resumed()],
)
def test_a_fact_that_does_not_fit_changes_nothing(rolling: Playbook, fact: Fact) -> None:
    plan = Plan(script(rolling, ("a",)))
    plan.step(Began())
    before = plan.snapshot()
    with pytest.raises(ValueError, match=r"under way|the run is"):
        plan.step(fact)
    assert plan.snapshot() == before


SITUATIONS: dict[str, Judge] = {
    "all well": well,
    "a step fails": failing("b/2"),
    "a restart fails": failing("b/3"),
    "a node does not come back": failing("b/soak"),
    "the guard says no": failing("c/guard"),
    "the roll-back fails": failing("b/soak", "undo:b/3"),
}


@pytest.mark.parametrize("judge", SITUATIONS.values(), ids=SITUATIONS)
@pytest.mark.parametrize("on_failure", ["stop", "roll-back", "continue"])
def test_every_interrupted_prefix_goes_on_and_nothing_is_done_twice(
    tmp_path: Path, judge: Judge, on_failure: str
) -> None:
    found = book(tmp_path, ROLLING.replace('"roll-back"', f'"{on_failure}"'))
    whole = played(found, NODES, judge)
    for length in range(1, len(whole.facts) + 1):
        plan = Plan(script(found, NODES))
        for fact in whole.facts[:length]:
            plan.step(fact)
        assert plan.snapshot() == replayed(found, whole.facts[:length])
        done = [f.key for f in whole.facts[:length] if isinstance(f, Ended) and f.outcome == "done"]
        run = Played(plan, finish=plan.snapshot().finish)
        waiting = list(plan.under_way)
        while waiting:
            act = waiting.pop(0)
            run.given.append(act.task.key)
            waiting += run.take(Ended(act.task.key, act.attempt, judge(act), "as told"))
        assert run.finish == whole.finish
        assert not set(done) & set(run.given), f"done twice after {length} facts"
        assert max(Counter(done).values(), default=1) == 1


def replayed(found: Playbook, facts: list[Fact]) -> object:
    plan = Plan(script(found, NODES))
    for fact in facts:
        plan.step(fact)
    return plan.snapshot()
