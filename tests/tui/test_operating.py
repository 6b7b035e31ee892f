"""Acting: what is asked first, what is asked of the agent, what becomes of it."""

import pytest
from textual import events
from textual.widgets import Input

from haman.api.schema import Done, Problem, Scenario, Survivor
from tests.tui import samples
from tests.tui.harness import app_on, notes, settled, text_of, until
from tests.tui.scripted import ScriptedSource
from tui.screens.confirm import ConfirmDialog, RefusedDialog
from tui.screens.progress import ProgressDialog
from tui.views.dialogs import progress_view

REFUSED = Problem("unsafe", "lb1 would not fit on lb2", samples.UNSAFE_REASONS)


def source_of(status=None):
    return ScriptedSource(status or samples.pair())


async def test_drain_asks_first_and_cancel_does_nothing():
    source = source_of()
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("enter")  # Cancel has the focus
        await until(pilot, lambda: len(app.screen_stack) == 1)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        assert source.wishes == []


async def test_drain_confirmed_is_asked_of_the_agent():
    source = source_of()
    source.answers = [Done("lb2 is drained")]
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("down", "d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, ProgressDialog))
        await until(pilot, lambda: "lb2 is drained" in progress_of(app))
        (verb, wish) = source.wishes[0]
        assert (verb, wish.node, wish.force) == ("drain", "lb2", False)


async def test_keys_that_come_at_once_are_about_what_the_ones_before_them_chose():
    """As from somebody who types fast, or over a line that gathers what is typed."""
    app = app_on(source_of())
    async with app.run_test() as pilot:
        await settled(pilot)
        for key in ("down", "d"):
            app._driver.send_message(events.Key(key, None))
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert app.screen._plan.intent.node == "lb2"


async def test_a_refusal_is_forced_only_by_the_typed_name():
    source = source_of()
    source.answers = [REFUSED, Done("lb1 is drained, by force")]
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.click("#do")
        await until(pilot, lambda: isinstance(app.screen, RefusedDialog))
        await pilot.press("y", "e", "s", "enter")
        await pilot.pause()
        assert isinstance(app.screen, RefusedDialog)
        app.screen.query_one(Input).value = ""
        await pilot.press("l", "b", "1", "enter")
        await until(pilot, lambda: "lb1 is drained, by force" in progress_of(app))
        assert [w.force for _, w in source.wishes] == [False, True]


async def test_a_refusal_may_be_left_at_that():
    source = source_of()
    source.answers = [REFUSED]
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, RefusedDialog))
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        assert len(source.wishes) == 1


async def test_what_is_no_question_of_safety_cannot_be_forced():
    source = source_of()
    source.answers = [Problem("not-durable", "the journal's disk is full")]
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, RefusedDialog))
        assert not app.screen.query(Input)


async def test_failover_needs_a_vip_and_takes_the_node_pointed_at():
    source = source_of()
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("f")
        await until(pilot, lambda: notes(app) == ["Move to the column of a VIP first."])
        await pilot.press("right", "down", "f")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: len(source.wishes) == 1)
        verb, wish = source.wishes[0]
        assert (verb, wish.vip, wish.to) == ("failover", "web", "lb2")


async def test_anycast_is_not_failed_over():
    source = source_of(samples.anycast())
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("right", "f")
        await until(pilot, lambda: any("anycast" in n for n in notes(app)))
        assert source.wishes == []


async def confirmed(pilot, key):
    await until(pilot, lambda: len(pilot.app.screen_stack) == 1)  # a dialog may just be closing
    await pilot.press(key)
    await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
    await pilot.press("y")


async def test_undrain_pause_and_resume_are_offered_when_they_make_sense_and_confirmed():
    source = source_of()
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("u")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        nodes = (samples.node("lb1", drained=True, condition="drained"), samples.node("lb2"))
        source.current = samples.pair(nodes=nodes)
        await until(pilot, lambda: app.fleet.nodes[0].drained)
        await confirmed(pilot, "u")
        await until(pilot, lambda: len(source.wishes) == 1)
        await until(pilot, lambda: isinstance(app.screen, ProgressDialog))
        await pilot.press("escape")
        await confirmed(pilot, "p")
        await until(pilot, lambda: len(source.wishes) == 2)
        source.current = samples.pair(paused=True)
        await until(pilot, lambda: "paused" in text_of(app, "#heading"))
        await until(pilot, lambda: "Done." in progress_of(app))
        await pilot.press("escape")
        await confirmed(pilot, "p")
        await until(pilot, lambda: len(source.wishes) == 3)
        assert [v for v, _ in source.wishes] == ["undrain", "pause", "resume"]


async def test_what_the_agent_is_busy_with_is_shown():
    source = source_of()
    source.willing.clear()
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        await confirmed(pilot, "d")
        await until(pilot, lambda: "◌ drain lb1" in text_of(app, "#heading"))
        source.willing.set()
        await until(pilot, lambda: "drain" not in text_of(app, "#heading"))


async def test_a_verb_that_does_not_reach_the_agent_says_so():
    source = source_of()
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        source.down = "nobody listens there"
        await confirmed(pilot, "d")
        await until(pilot, lambda: isinstance(app.screen, RefusedDialog))
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        assert source.wishes == []


def progress_of(app):
    return progress_view(app.fleet).plain


async def test_the_headroom_after_an_act_is_asked_for_before_it_is_confirmed():
    source = source_of()
    worse = Survivor("lb2", "tls", "storm", 1.18)
    source.scenarios["lb1",] = Scenario(("lb1",), "insufficient", (worse,), 5200, 2.9)
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        plan = app.screen._plan
        assert plan.verdict == "insufficient"
        assert plan.numbers == (
            "lb2 reaches 118 % of tls (storm)",
            "5,200 connections can be survived",
        )


async def test_progress_is_what_the_cluster_says_not_what_was_wished():
    source = source_of()
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        await confirmed(pilot, "d")
        await until(pilot, lambda: isinstance(app.screen, ProgressDialog))
        assert "◌ lb1 is drained; now in-service" in progress_of(app)
        assert "◌ web is served by another node; now by lb1" in progress_of(app)
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        pair = samples.pair()
        web = samples.vip("web", [samples.member("lb2", "active", 100)])
        source.current = samples.pair(
            nodes=(samples.node("lb1", drained=True, condition="drained"), pair.nodes[1]),
            services=(web, pair.services[1]),
        )
        await until(pilot, lambda: app.fleet.nodes[0].drained)
        await pilot.press("g")
        await until(pilot, lambda: isinstance(app.screen, ProgressDialog))
        assert "● web is served by lb2" in progress_of(app)
        assert progress_of(app).endswith("Done.")
        await pilot.press("escape")
        await until(pilot, lambda: app.fleet.undertaking is None)


@pytest.mark.parametrize("key", ["d", "f", "p"])
async def test_who_only_watches_changes_nothing(key):
    source = source_of()
    app = app_on(source, read_only=True)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await pilot.press("right", key)
        await pilot.pause()
        assert len(app.screen_stack) == 1
        assert "read-only" in text_of(app, "#heading")
        assert source.wishes == []


async def test_who_may_not_act_only_watches_from_then_on():
    source = source_of()
    source.answers = [Problem("forbidden", "ops2 is not in the group haman")]
    app = app_on(source)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await confirmed(pilot, "d")
        await until(pilot, lambda: isinstance(app.screen, RefusedDialog))
        await pilot.press("escape")
        await until(pilot, lambda: "read-only" in text_of(app, "#heading"))
