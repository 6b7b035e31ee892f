"""The app against a script: what keys and mouse do, what is asked, when it draws."""

import msgspec
import pytest
from textual.message import Message
from textual.widgets import Input, Static

from haman.api.schema import Done, Problem
from tests.tui import samples
from tests.tui.harness import app_on, settled, until
from tests.tui.scripted import ScriptedSource
from tui.fleet import Cursor, Link
from tui.messages import EventsArrived, Happened, StatusFailed, StatusFetched, Ticked
from tui.screens.confirm import ConfirmDialog, RefusedDialog
from tui.screens.dialog import DetailDialog, HelpDialog, WhyDialog
from tui.widgets.events import EventTail
from tui.widgets.line import Line

REFUSED = Problem("unsafe", "lb1 would not fit on lb2", samples.UNSAFE_REASONS)


def source_of(status=None, events=0):
    return ScriptedSource(status or samples.pair(), samples.events(events))


def text_of(app, selector):
    return app.screen_stack[0].query_one(selector, Line)._shown.plain


def notes(app):
    return [n.message for n in app._notifications]


async def test_facts_arrive_as_messages_and_are_rendered():
    seen: list[Message] = []
    app = app_on(source_of(events=3))
    async with app.run_test(size=(120, 36), message_hook=seen.append) as pilot:
        await settled(pilot)
        await until(pilot, lambda: len(app.fleet.events) == 3)
        facts = [m.fact for m in seen if isinstance(m, Happened)]
        assert any(isinstance(f, StatusFetched) for f in facts)
        assert any(isinstance(f, EventsArrived) for f in facts)
        assert "lb1 answers  ● live" in text_of(app, "#heading")
        assert "if lb1 is lost, lb2 reaches 93 % of tls" in text_of(app, "#headroom")


async def test_nothing_is_drawn_when_nothing_changed():
    drawn: list[str] = []
    app = app_on(source_of(events=3))

    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await until(pilot, lambda: len(app.fleet.events) == 3)
        display = app._display

        def counted(screen, renderable):
            if renderable is not None:
                drawn.append(type(renderable).__name__)
            display(screen, renderable)

        app._display = counted
        asked = app._source.asked
        for _ in range(5):
            app._clock.now_s += 0.5
            app.tell(Ticked(app._clock()))
            await pilot.pause()
        await until(pilot, lambda: app._source.asked > asked + 5)
        assert drawn == []
        app._source.current = samples.troubled()
        await until(pilot, lambda: len(drawn) > 0)


async def test_the_cursor_follows_keys_and_mouse():
    app = app_on(source_of())
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await pilot.press("down", "right", "right")
        await until(pilot, lambda: app.fleet.cursor == Cursor("lb2", "api"))
        column = text_of(app, "#fleet-lines").splitlines()[0].index("◆")
        await pilot.click("#fleet-lines", offset=(column + 2, 0))
        await until(pilot, lambda: app.fleet.cursor == Cursor("lb1", "web"))


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
        await until(pilot, lambda: notes(app) == ["lb2 is drained"])
        (verb, wish) = source.wishes[0]
        assert (verb, wish.node, wish.force) == ("drain", "lb2", False)


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
        await until(pilot, lambda: notes(app) == ["lb1 is drained, by force"])
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


@pytest.mark.parametrize("size", [(20, 6), (40, 12), (300, 90)])
async def test_no_size_is_too_odd(size):
    app = app_on(source_of(samples.troubled(), events=5))
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        await pilot.press("down", "right", "d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("escape")
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: len(app.screen_stack) == 1)
        assert app.return_code is None


async def test_undrain_pause_and_resume():
    source = source_of()
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("u")
        await until(pilot, lambda: len(source.wishes) == 1)
        await pilot.press("p")
        await until(pilot, lambda: len(source.wishes) == 2)
        source.current = samples.pair(paused=True)
        await until(pilot, lambda: "paused" in text_of(app, "#heading"))
        await pilot.press("p")
        await until(pilot, lambda: len(source.wishes) == 3)
        assert [v for v, _ in source.wishes] == ["undrain", "pause", "resume"]


async def test_what_the_agent_is_busy_with_is_shown():
    source = source_of()
    source.willing.clear()
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("u")
        await until(pilot, lambda: "◌ undrain lb1" in text_of(app, "#heading"))
        source.willing.set()
        await until(pilot, lambda: "undrain" not in text_of(app, "#heading"))


async def test_a_verb_that_does_not_reach_the_agent_says_so():
    source = source_of()
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        source.down = "nobody listens there"
        await pilot.press("u")
        await until(pilot, lambda: "nobody listens there" in notes(app))


@pytest.mark.parametrize("story", [samples.WHY, Problem("unknown-service", "no such service")])
async def test_why_tells_the_story_or_the_problem(story):
    source = source_of()
    source.story = story
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("w")
        await until(pilot, lambda: len(notes(app)) == 1)
        await pilot.press("right", "w")
        await until(pilot, lambda: isinstance(app.screen, WhyDialog))
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)


async def test_why_needs_no_column_where_there_is_one_service():
    source = source_of(
        msgspec.structs.replace(samples.pair(), services=samples.pair().services[:1])
    )
    source.story = samples.WHY
    app = app_on(source)
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, WhyDialog))
        shown = "\n".join(str(each.render()) for each in app.screen.query(Static))
        assert "web is degraded: lb2 serves it; no other node" in shown
        assert "lb1 is released since 10:14:31 UTC (5 s), for that" in shown


async def test_help_opens_and_closes_and_quit_quits():
    app = app_on(source_of())
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpDialog))
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        await pilot.press("q")
    assert app.return_code == 0


class TestAgentComesAndGoes:
    async def test_absent_at_first_then_there(self):
        source = ScriptedSource()
        app = app_on(source)
        async with app.run_test() as pilot:
            await settled(pilot)
            assert app.fleet.link is Link.ABSENT
            shown = text_of(app, "#absent")
            assert "no such socket" in shown
            assert "haman tui --ssh USER@HOST" in shown
            source.current, source.down = samples.pair(), ""
            await until(pilot, lambda: app.fleet.link is Link.LIVE)
            assert app.query_one("#body").display

    async def test_lost_data_is_dimmed_labelled_and_aged(self):
        app = app_on(source_of())
        async with app.run_test() as pilot:
            await settled(pilot)
            app._source.down = "nobody listens there"
            await until(pilot, lambda: app.fleet.link is Link.LOST)
            app._clock.now_s += 7
            app.tell(Ticked(app._clock()))
            await until(pilot, lambda: "reconnecting for 7s" in text_of(app, "#heading"))
            assert "stale: 7s old" in text_of(app, "#headroom")
            assert app.screen.has_class("-stale")
            app._source.down = ""
            await until(pilot, lambda: app.fleet.link is Link.LIVE)
            await until(pilot, lambda: not app.screen.has_class("-stale"))

    async def test_events_go_on_after_the_last_one_seen(self):
        source = source_of(events=3)
        app = app_on(source)
        async with app.run_test() as pilot:
            await until(pilot, lambda: len(app.fleet.events) == 3)
            source.past = samples.events(5)
            source.live.put_nowait(None)
            await until(pilot, lambda: len(app.fleet.events) == 5)
            assert source.since[:2] == [-1000, 3]

    async def test_a_failure_under_a_dialog_does_no_harm(self):
        app = app_on(source_of())
        async with app.run_test() as pilot:
            await settled(pilot)
            await pilot.press("d")
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
            app.tell(StatusFailed("gone", 1001.0, 1002.0))
            await pilot.pause()
            assert isinstance(app.screen, ConfirmDialog)


class TestEventTail:
    async def test_it_follows_until_scrolled_up_and_again_from_the_end(self):
        source = source_of(events=60)
        app = app_on(source)
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: len(app.fleet.events) == 60)
            tail = app.query_one(EventTail)
            await until(pilot, lambda: tail.scroll_offset.y == tail.max_scroll_y > 0)
            await pilot.press("e", "pageup")
            await until(pilot, lambda: not tail.following)
            at = tail.scroll_offset.y
            source.live.put_nowait(samples.events(61)[-1])
            await until(pilot, lambda: len(app.fleet.events) == 61)
            assert tail.scroll_offset.y == at
            assert "newer" in str(tail.border_subtitle)
            await pilot.press("end")
            await until(pilot, lambda: tail.following)
            assert not tail.border_subtitle

    async def test_the_lines_in_sight_stay_when_old_ones_fall_off(self):
        source = source_of(events=1000)
        app = app_on(source)
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: len(app.fleet.events) == 1000)
            tail = app.query_one(EventTail)
            await pilot.press("e", "pageup")
            await until(pilot, lambda: not tail.following)
            first = app.fleet.events[tail.scroll_offset.y]
            for event in samples.events(1010)[-10:]:
                source.live.put_nowait(event)
            await until(pilot, lambda: app.fleet.events_dropped == 10)
            assert app.fleet.events[tail.scroll_offset.y] == first


async def test_sixteen_nodes_scroll_with_the_cursor():
    app = app_on(source_of(samples.fleet()))
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("end")
        await until(pilot, lambda: app.fleet.cursor.node.endswith("16"))
        assert app.query_one("#fleet-rows").scroll_offset.y > 0


async def test_the_theme_changes():
    app = app_on(source_of())
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("t")
        await until(pilot, lambda: app.theme == "haman-light")


def detail_of(app):
    return app.screen.query_one(".dialog-text Line", Line)._shown.plain


async def test_enter_shows_a_service_in_full_and_keeps_it_true():
    agent = samples.rungs()
    source = ScriptedSource(samples.seen(agent), samples.journal(agent))
    app = app_on(source)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await until(pilot, lambda: len(app.fleet.events) == 3)
        await pilot.press("right", "enter")
        await until(pilot, lambda: isinstance(app.screen, DetailDialog))
        await until(pilot, lambda: "2 of 3 announce" in detail_of(app))
        assert "edge is shut on lb3" in detail_of(app)
        agent.kill_proxy("lb2")
        source.current = samples.seen(agent)
        await until(pilot, lambda: "1 of 3 announce" in detail_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        assert app.fleet.detail is None


async def test_enter_shows_a_node_in_full_until_it_is_gone():
    source = ScriptedSource(samples.seen(samples.deaf()))
    app = app_on(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, DetailDialog))
        await until(pilot, lambda: "peer_as says 65000; correct" in detail_of(app))
        source.current = samples.single()
        await until(pilot, lambda: len(app.screen_stack) == 1)
        assert app.fleet.detail is None


async def test_why_is_told_over_the_service_in_full():
    agent = samples.rungs()
    source = ScriptedSource(samples.seen(agent))
    source.story = samples.story(agent, "edge")
    app = app_on(source)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await pilot.press("right", "enter")
        await until(pilot, lambda: isinstance(app.screen, DetailDialog))
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, WhyDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, DetailDialog))
