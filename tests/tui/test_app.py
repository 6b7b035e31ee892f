"""The app against a script: what keys and mouse do, what is asked, when it draws."""

import msgspec
import pytest
from textual.message import Message
from textual.widgets import Static

from haman.api.schema import Problem
from tests.tui import samples
from tests.tui.harness import app_on, notes, settled, text_of, until
from tests.tui.scripted import ScriptedSource
from tui.messages import EventsArrived, Happened, StatusFailed, StatusFetched, Ticked
from tui.screens.confirm import ConfirmDialog
from tui.screens.dialog import HelpDialog, WhyDialog
from tui.state import Cursor, Link
from tui.widgets.fleet import NodeRows


def source_of(status=None, events=0):
    return ScriptedSource(status or samples.pair(), samples.events(events))


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
        asked = app._source._source.asked
        for _ in range(5):
            app._clock.now_s += 0.15
            app.tell(Ticked(app._clock()))
            await pilot.pause()
        await until(pilot, lambda: app._source._source.asked > asked + 5)
        assert drawn == []
        app._source._source.current = samples.troubled()
        await until(pilot, lambda: len(drawn) > 0)


async def test_the_cursor_follows_keys_and_mouse():
    app = app_on(source_of())
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await pilot.press("down", "right", "right")
        await until(pilot, lambda: app.fleet.cursor == Cursor("lb2", "api"))
        rows = app.query_one(NodeRows)
        column = "".join(p.plain for p in rows._lines[0]).index("◆")
        await pilot.click(rows, offset=(column + 2, 0))
        await until(pilot, lambda: app.fleet.cursor == Cursor("lb1", "web"))


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
            app._source._source.down = "nobody listens there"
            await until(pilot, lambda: app.fleet.link is Link.LOST)
            app._clock.now_s += 7
            app.tell(Ticked(app._clock()))
            await until(pilot, lambda: "reconnecting for 7s" in text_of(app, "#heading"))
            assert "stale: 7s old" in text_of(app, "#headroom")
            assert app.screen.has_class("-stale")
            app._source._source.down = ""
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


async def test_sixteen_nodes_scroll_with_the_cursor():
    app = app_on(source_of(samples.fleet()))
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("end")
        await until(pilot, lambda: app.fleet.cursor.node.endswith("16"))
        await until(pilot, lambda: app.query_one(NodeRows).top > 0)


async def test_the_theme_changes():
    app = app_on(source_of())
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("t")
        await until(pilot, lambda: app.theme == "haman-light")
        await pilot.press("t")
        await until(pilot, lambda: app.theme == "haman-contrast")
        await pilot.press("t")
        await until(pilot, lambda: app.theme == "haman-dark")
