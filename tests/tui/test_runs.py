"""Playbooks and drills: the reducer, what an order means, and the screens from choosing to the report."""

from dataclasses import replace

import pytest
from msgspec import structs
from textual.widgets import Input

from haman.api import runs
from haman.api.schema import Scenario, Survivor
from tests.tui import run_samples, samples
from tests.tui.harness import app_on, asked, notes, settled, text_of, until
from tests.tui.run_samples import CRASH, EVACUATE, HALF_WAY, LAID_OUT, RESTART, RUN, TO_THE_END
from tests.tui.scripted import ScriptedPrograms, ScriptedSource
from tui.fleet import reduce
from tui.messages import (
    ActsForbidden,
    OffersFiltered,
    OffersTold,
    RunForgotten,
    RunOver,
    RunStarted,
    RunStopped,
    RunTold,
)
from tui.run_plans import run_plan
from tui.runs import OUTPUT_LINE_MAX, OUTPUT_LINES_MAX, Order, Run, lane_mark, told
from tui.screens.confirm import ConfirmDialog
from tui.screens.dialog import ReportDialog
from tui.screens.fleet import FleetPage
from tui.screens.ordering import (
    ConfirmRunDialog,
    ParametersDialog,
    QuestionDialog,
    StopDialog,
)
from tui.screens.runs import RunPage, RunsPage
from tui.state import FleetState
from tui.views.runs import run_head, run_plan_view
from tui.widgets.runs import OfferRows, TaskRows

ORDER = Order(RESTART)


def after(*lines: runs.Line, order: Order = ORDER) -> Run:
    run = Run(order, 1000.0)
    for line in lines:
        run = told(run, line, 1000.0)
    return run


def marks(run: Run) -> dict[str, str]:
    return {t.key: t.mark for lane in run.lanes for t in lane.tasks}


# The reducer.


@pytest.mark.parametrize(
    ("lines", "mark"),
    [
        ((), "pending"),
        ((runs.Begun("lb2/1"),), "running"),
        ((runs.Begun("lb2/1"), runs.Ended("lb2/1", "done")), "done"),
        ((runs.Begun("lb2/1"), runs.Ended("lb2/1", "failed")), "failed"),
        ((runs.Ended("lb2/1", "failed"), runs.Begun("lb2/1", 2)), "running"),
        ((runs.Ended("lb2/1", "failed"), runs.Marked("lb2/1", "passed over")), "passed over"),
        ((runs.Ended("lb9/1", "failed"),), "pending"),  # of a task that nobody knows
    ],
)
def test_what_becomes_of_a_task(lines, mark):
    assert marks(after(LAID_OUT, *lines))["lb2/1"] == mark


@pytest.mark.parametrize(
    ("found", "mark"),
    [
        (("pending", "pending"), "pending"),
        (("done", "pending"), "running"),
        (("done", "running"), "running"),
        (("done", "skipped"), "done"),
        (("passed over", "done"), "done"),
        (("failed", "pending"), "failed"),
        (("done", "unknown"), "unknown"),
    ],
)
def test_what_a_lane_is_as_a_whole(found, mark):
    tasks = tuple(runs.Task(str(i), "x", m) for i, m in enumerate(found))
    assert lane_mark(runs.Lane("lb1", tasks)) == mark


def test_a_run_half_way():
    run = after(*HALF_WAY)
    assert (run.name, run.counts) == (RUN, (9, 18))
    assert run.running is not None
    assert (run.running.key, run.running.attempt) == ("lb1/4", 2)
    assert run.seconds["lb2/3"] == 12.0
    assert len(run.output["lb1/4"]) == 2


def test_what_a_step_says_is_bounded():
    run = after(LAID_OUT, *(runs.Said("lb2/1", f"{i} " + "x" * 2000) for i in range(500)))
    assert len(run.output["lb2/1"]) == OUTPUT_LINES_MAX
    assert run.output["lb2/1"][-1].startswith("499 ")
    assert max(map(len, run.output["lb2/1"])) == OUTPUT_LINE_MAX


def test_lanes_that_were_put_on_are_taken_over():
    back = runs.Lane("lb1, back", (runs.Task("undo:lb1/2", "undrain"),))
    run = after(*HALF_WAY, runs.LaidOut(RUN, "", (*after(*HALF_WAY).lanes, back)))
    assert marks(run)["undo:lb1/2"] == "pending"
    assert marks(run)["lb2/6"] == "done"


def test_a_question_is_open_until_it_is_settled():
    run = after(LAID_OUT, runs.Asked(1, "Really?", 60))
    assert run.question is not None
    assert told(run, runs.Settled(2, yes=True), 0).question is not None
    assert told(run, runs.Settled(1, yes=True), 0).question is None


def run_state(*facts):
    state = FleetState(status=samples.pair())
    for fact in facts:
        state = reduce(state, fact)
    return state


def test_one_run_at_a_time():
    started = RunStarted(ORDER, 1.0)
    state = run_state(
        started, RunTold(LAID_OUT, 2.0), RunStarted(Order(CRASH), 3.0), RunForgotten()
    )
    assert state.run is not None
    assert state.run.order is ORDER
    over = reduce(reduce(state, RunStopped()), RunOver(1, "haman: no", 9.0))
    assert over.run is not None
    assert (over.run.stopping, over.run.ended_s, over.run.complaint) == (True, 9.0, "haman: no")
    assert reduce(over, RunTold(LAID_OUT, 10.0)) is over  # too late
    assert reduce(over, RunForgotten()).run is None
    assert reduce(over, RunStarted(Order(CRASH), 11.0)).run.order.offer is CRASH


def test_what_can_be_run_is_filtered_and_a_failure_keeps_what_was_known():
    state = run_state(OffersTold(run_samples.OFFERS), OffersFiltered("drill"))
    assert [o.name for o in state.shown_offers] == ["proxy-crash"]
    state = reduce(reduce(state, OffersFiltered("")), OffersTold(problem="no such file"))
    assert (len(state.shown_offers), state.offers_problem) == (5, "no such file")


def test_a_program_that_only_complains_is_told():
    state = run_state(RunStarted(ORDER, 1.0), RunOver(3, "haman: lb1: host key is not known", 2.0))
    text = run_head(state.run, 2.0, 100).plain
    assert "it ended before its end" in text
    assert "lb1: host key is not known" in text


# What an order means.


def test_nodes_that_leave_one_at_a_time_are_judged_by_the_worst_of_them():
    worse = replace_scenarios(samples.pair(), lb2="insufficient")
    plan = run_plan(worse, ORDER)
    assert (plan.loss, plan.verdict) == (("lb2",), "insufficient")
    only = run_plan(worse, replace(ORDER, nodes=("lb1",)))
    assert (only.loss, only.verdict) == (("lb1",), "tight")
    lines = run_plan_view(plan, 60).plain.splitlines()
    assert lines[0].startswith("Headroom without lb2  ✖ insufficient")  # before anything else
    assert "lb1 reaches 93 % of tls" in lines[1]


def replace_scenarios(status, **verdicts):
    scenarios = tuple(
        structs.replace(s, verdict=verdicts.get(s.lost[0], s.verdict))
        for s in status.headroom.scenarios
    )
    return structs.replace(status, headroom=structs.replace(status.headroom, scenarios=scenarios))


def test_nodes_that_stay_out_are_lost_together():
    plan = run_plan(samples.pair(), Order(structs.replace(EVACUATE, site="ams1")))
    assert plan.loss == ("lb1", "lb2")
    assert plan.verdict == "unknown"  # until the agent is asked for both


def test_what_takes_nobody_out_touches_no_headroom():
    plan = run_plan(samples.pair(), Order(run_samples.SUPPORT))
    assert (plan.loss, plan.verdict) == ((), "")
    assert "none of them leaves service" in plan.effects[0]


@pytest.mark.parametrize(("nodes", "loss"), [(("lb1",), ("lb1",)), (("elsewhere",), ())])
def test_a_drill_concerns_this_cluster_only_if_its_nodes_are_here(nodes, loss):
    plan = run_plan(samples.pair(), Order(structs.replace(CRASH, nodes=nodes)))
    assert plan.loss == loss
    assert bool(plan.verdict) == bool(loss)


# The screens.


def app_with(*offers, status=None, **options):
    source = ScriptedSource(status or samples.pair())
    programs = ScriptedPrograms(*(offers or run_samples.OFFERS))
    return app_on(source, programs=programs, **options), source, programs


async def chosen(pilot, app, name):
    """Open the page, and go to what is to be run."""
    await settled(pilot)
    await pilot.press("6")
    await until(pilot, lambda: isinstance(app.page, RunsPage) and app.fleet.offers)
    rows = app.page.query_one(OfferRows)
    while rows.offer.name != name:
        was = rows.at
        await pilot.press("down")
        assert rows.at > was
    await pilot.press("enter")


async def started(pilot, app, name="rolling-restart"):
    await chosen(pilot, app, name)
    await until(pilot, lambda: isinstance(app.screen, ParametersDialog))
    app.screen.settle()
    await until(pilot, lambda: isinstance(app.screen, ConfirmRunDialog))
    await pilot.press("y")
    await until(pilot, lambda: isinstance(app.page, RunPage) and app.fleet.run)


async def test_from_the_list_to_the_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app, source, programs = app_with()
    source.scenarios["lb1",] = Scenario(("lb1",), "ok", (Survivor("lb2", "cpu", "steady", 0.7),))
    async with app.run_test(size=(120, 40)) as pilot:
        await chosen(pilot, app, "rolling-restart")
        await until(pilot, lambda: isinstance(app.screen, ParametersDialog))
        app.screen.query_one("#field-1", Input).value = "30"
        for following in ("field-1", "nodes-only"):
            await pilot.press("enter")
            await until(pilot, lambda: app.focused.id == following)  # noqa: B023
        await pilot.press("l", "b", "2", "comma", "l", "b", "1", "enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmRunDialog))
        assert source.losses[-1] == ("lb1",)  # fresh figures
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.page, RunPage))
        (order,) = programs.orders
        assert (order.values, order.nodes) == ((("drain_s", "30"),), ("lb2", "lb1"))
        programs.child.tell(*HALF_WAY)
        await until(pilot, lambda: app.fleet.run.counts == (9, 18))
        assert "▸ rolling-restart" in text_of(app, "#heading")
        rows = app.page.query_one(TaskRows)
        assert rows.step_shown.key == "lb1/4"  # follows what is under way
        await pilot.press("o")
        await until(
            pilot, lambda: "412 connections" in app.page.query_one("#output Line")._shown.plain
        )
        programs.child.tell(*TO_THE_END[len(HALF_WAY) :], None)
        await until(pilot, lambda: app.fleet.run.ended_s is not None)
        head = text_of(app, "#run-head")
        assert "✖ stopped" in head
        assert f"haman playbook resume {RUN} goes on" in head
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, ReportDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunPage))
        await asked(pilot, "x")
        await pilot.press("enter")
        await until(pilot, (tmp_path / f"{RUN}.md").exists)
        assert (tmp_path / f"{RUN}.md").read_text().startswith("# rolling-restart: stopped\n")
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.page, RunsPage))
        assert app.fleet.run is None


async def test_wrong_values_are_told_where_they_were_typed():
    app, _, programs = app_with()
    programs.wrong = ('parameter.drain_s: "x" is not a number',)
    async with app.run_test(size=(120, 40)) as pilot:
        await chosen(pilot, app, "rolling-restart")
        await until(pilot, lambda: isinstance(app.screen, ParametersDialog))
        app.screen.settle()
        await until(
            pilot,
            lambda: (
                'drain_s: "x" is not a number' in app.screen.query_one("#problems")._shown.plain
            ),
        )
        assert app.focused.id == "field-1"
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsPage))
        assert programs.orders == []


@pytest.mark.parametrize("key", ["escape", "n", "enter"])  # Cancel has the focus
async def test_what_is_not_confirmed_is_not_run(key):
    app, _, programs = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await chosen(pilot, app, "proxy-crash")
        await until(pilot, lambda: isinstance(app.screen, ConfirmRunDialog))
        await pilot.press("c")  # a drill cannot be checked
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, RunsPage))
        assert programs.orders == []


async def test_only_checking_changes_nothing():
    app, _, programs = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await chosen(pilot, app, "rolling-restart")
        await until(pilot, lambda: isinstance(app.screen, ParametersDialog))
        app.screen.settle()
        await until(pilot, lambda: isinstance(app.screen, ConfirmRunDialog))
        await pilot.press("c")
        await until(pilot, lambda: programs.orders)
        assert programs.orders[0].only_check


async def test_a_playbook_that_cannot_be_used_says_why():
    app, _, programs = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await chosen(pilot, app, "own-thing")
        await until(pilot, lambda: notes(app) == ["step[1].do: there is no rum"])
        assert programs.orders == []


async def test_a_program_that_cannot_be_asked_says_why():
    app, _, programs = app_with()
    programs.problem = "haman playbook: no such file"
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("6")
        await until(pilot, lambda: app.page.query("#words Line"))
        await until(pilot, lambda: "no such file" in app.page.query_one("#words Line")._shown.plain)


@pytest.mark.parametrize(("key", "yes"), [("y", True), ("escape", False), ("enter", False)])
async def test_a_question_of_the_run_is_answered(key, yes):
    app, _, programs = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot, app)
        programs.child.tell(LAID_OUT, runs.Asked(1, "Drain all nodes of ams1?", 60))
        await until(pilot, lambda: isinstance(app.screen, QuestionDialog))
        await pilot.press(key)
        await until(pilot, lambda: programs.child.words == [runs.Answer(1, yes)])


async def test_a_question_that_is_no_longer_open_goes_away():
    app, _, programs = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot, app)
        programs.child.tell(LAID_OUT, runs.Asked(1, "Really?", 60))
        await until(pilot, lambda: isinstance(app.screen, QuestionDialog))
        programs.child.tell(runs.Settled(1, yes=False))
        await until(pilot, lambda: isinstance(app.screen, RunPage))
        assert programs.child.words == []


async def test_stopping_asks_first_and_is_seen():
    app, _, programs = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot, app)
        programs.child.tell(*HALF_WAY)
        await until(pilot, lambda: app.fleet.run.name == RUN)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, StopDialog))
        await pilot.press("enter")  # Go on has the focus
        await until(pilot, lambda: isinstance(app.screen, RunPage))
        assert programs.child.words == []
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, StopDialog))
        await pilot.press("y")
        await until(pilot, lambda: programs.child.words == [runs.Stop()])
        await until(pilot, lambda: "stopping" in text_of(app, "#run-head"))


async def test_leaving_while_a_run_goes_on_stops_it_and_tells_how_to_resume():
    app, _, programs = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot, app)
        programs.child.tell(*HALF_WAY)
        await until(pilot, lambda: app.fleet.run.name == RUN)
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, StopDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunPage))
        assert app.is_running
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, StopDialog))
        await pilot.press("y")
        await until(pilot, lambda: programs.child.words == [runs.Stop()])
    assert f"haman playbook resume {RUN}" in app.farewell()


async def test_other_pages_are_open_while_a_run_goes_on():
    app, _, programs = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot, app)
        programs.child.tell(*HALF_WAY)
        await pilot.press("1")
        await until(pilot, lambda: isinstance(app.screen, FleetPage))
        await pilot.press("down", "d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FleetPage))
        await pilot.press("6")
        await until(pilot, lambda: isinstance(app.page, RunPage))
        app.order(RESTART)
        await until(pilot, lambda: notes(app) == ["One run goes on already; 6 shows it."])


async def test_who_only_watches_runs_nothing():
    app, _, programs = app_with(read_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("6")
        await pilot.pause()
        assert not isinstance(app.page, RunsPage)
        app.order(RESTART)
        await pilot.pause()
        assert len(app.screen_stack) == 1
        assert programs.orders == []


async def test_who_may_not_act_any_more_still_sees_the_run_and_may_stop_it():
    app, _, programs = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await started(pilot, app)
        app.tell(ActsForbidden("ops2 is not in the group haman"))
        await until(pilot, lambda: app.fleet.read_only)
        await pilot.press("1")
        await until(pilot, lambda: isinstance(app.screen, FleetPage))
        await pilot.press("6")
        await until(pilot, lambda: isinstance(app.page, RunPage))
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, StopDialog))
        await pilot.press("y")
        await until(pilot, lambda: programs.child.words == [runs.Stop()])


async def test_an_agent_that_lets_one_only_read_makes_the_screen_read_only_and_says_why():
    why = "ops2 is not in the group haman"
    app, _, _ = app_with(status=structs.replace(samples.pair(), read_only=why))
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(pilot)
        await until(pilot, lambda: notes(app) == [f"{why}; nothing can be changed from here."])
        assert f"read-only: {why}" in text_of(app, "#heading")
        await pilot.press("d")
        await pilot.pause()
        assert len(app.screen_stack) == 1


async def test_the_palette_finds_playbooks_and_drills_by_name():
    app, _, _ = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("colon")
        await pilot.press(*"rolling")
        await until(pilot, lambda: app.fleet.offers)
        await until(pilot, lambda: app.screen.query_one("OptionList").option_count > 0)
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, ParametersDialog))
