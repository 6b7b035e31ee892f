"""The pages beside the fleet: node, service, headroom, events, the past; filters, palette, copying."""

import json

import pytest
from textual import events

from haman.api.schema import Event, Figure, Problem, Scenario, Survivor
from tests.tui import samples
from tests.tui.harness import app_on, asked, notes, settled, text_of, until
from tests.tui.scripted import ScriptedSource
from tui.screens.details import NodePage, ServicePage
from tui.screens.dialog import WhyDialog
from tui.screens.events import EventsPage
from tui.screens.fleet import FleetPage
from tui.screens.headroom import HeadroomPage
from tui.widgets.events import EventRows
from tui.widgets.fleet import NodeRows
from tui.widgets.line import Line


def source_of(status=None, events=0):
    return ScriptedSource(status or samples.pair(), samples.events(events))


def told(app, pane="detail"):
    return app.page.query_one(f"#{pane} Line", Line)._shown.plain


def lines(app, rows=NodeRows):
    return ["".join(p.plain for p in line) for line in app.page.query_one(rows)._lines]


async def opened(pilot, kind, *keys):
    await pilot.press(*keys)
    await until(pilot, lambda: isinstance(pilot.app.screen, kind) and pilot.app.screen.is_mounted)


async def test_enter_shows_a_service_in_full_and_keeps_it_true():
    agent = samples.rungs()
    source = ScriptedSource(samples.seen(agent), samples.journal(agent))
    app = app_on(source)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await until(pilot, lambda: len(app.fleet.events) == 3)
        await opened(pilot, ServicePage, "right", "enter")
        await until(pilot, lambda: "2 of 3 announce" in told(app))
        assert "edge is shut on lb3" in told(app)
        agent.kill_proxy("lb2")
        source.current = samples.seen(agent)
        await until(pilot, lambda: "1 of 3 announce" in told(app))
        await opened(pilot, FleetPage, "escape")
        await until(pilot, lambda: app.fleet.detail is None)


async def test_a_node_in_full_until_it_is_gone():
    source = ScriptedSource(samples.seen(samples.deaf()))
    app = app_on(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await opened(pilot, NodePage, "down", "2")
        await until(pilot, lambda: "peer_as says 65000; correct" in told(app))
        source.current = samples.single()
        await until(pilot, lambda: isinstance(app.screen, FleetPage))
        assert app.fleet.detail is None


async def test_why_is_told_over_the_service_in_full():
    agent = samples.rungs()
    source = ScriptedSource(samples.seen(agent))
    source.story = samples.story(agent, "edge")
    app = app_on(source)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await opened(pilot, ServicePage, "right", "4")
        await opened(pilot, WhyDialog, "w")
        await opened(pilot, ServicePage, "escape")


async def test_a_failover_from_the_service_in_full_goes_to_the_best_peer():
    source = source_of()
    app = app_on(source)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await opened(pilot, ServicePage, "right", "4")
        await pilot.press("f")
        await until(pilot, lambda: len(app.screen_stack) == 3)
        await pilot.press("y")
        await until(pilot, lambda: len(source.wishes) == 1)
        assert (source.wishes[0][1].vip, source.wishes[0][1].to) == ("web", "")


class TestHeadroom:
    async def test_any_nodes_can_be_lost_on_paper(self):
        source = source_of(samples.fleet())
        names = [n.name for n in samples.fleet().nodes]
        both = (names[4], names[0])
        figures = (
            Figure("cpu", "steady", 0.36, 0.77, 0.9),
            Figure("tls", "storm", 0.0, 1.18, 1.0),
            Figure("conntrack", "step", None, None, 0.9, "nobody counts it"),
        )
        source.scenarios[both] = Scenario(
            both, "insufficient", (Survivor(names[2], "tls", "storm", 1.18, figures),), 5200, 2.95
        )
        app = app_on(source)
        async with app.run_test(size=(120, 36)) as pilot:
            await settled(pilot)
            await opened(pilot, HeadroomPage, "3")
            await until(pilot, lambda: app.fleet.loss.answered == (names[4],))  # the worst case
            await pilot.press("space")
            await until(pilot, lambda: app.fleet.loss.answered == both)
            await until(pilot, lambda: "✖ insufficient" in text_of(app, "#verdict"))
            shown = " ".join(text_of(app, "#verdict").split())
            assert "5,200 connections can be survived, 1,988 there now" in shown
            text = told(app, "survivors")
            assert "◂ binds" in next(row for row in text.splitlines() if row.startswith("storm"))
            assert "? nobody counts it" in text
            await pilot.press("space")
            await until(pilot, lambda: app.fleet.loss.nodes == (names[4],))

    async def test_an_agent_that_cannot_say_says_so(self):
        source = source_of()
        app = app_on(source)
        async with app.run_test(size=(80, 24)) as pilot:
            await settled(pilot)
            source.down = "nobody listens there"
            await opened(pilot, HeadroomPage, "3")
            await until(pilot, lambda: isinstance(app.fleet.loss.answer, Problem))
            await until(pilot, lambda: "nobody listens there" in text_of(app, "#verdict"))

    async def test_it_is_not_asked_for_when_nobody_looks(self):
        source = source_of()
        app = app_on(source)
        async with app.run_test(size=(80, 24)) as pilot:
            await settled(pilot)
            await opened(pilot, HeadroomPage, "3")
            await until(pilot, lambda: app.fleet.loss.answer is not None)
            await opened(pilot, FleetPage, "escape")
            asked = len(source.losses)
            await settled(pilot)
            assert len(source.losses) == asked


class TestEventRows:
    async def test_it_follows_until_the_cursor_leaves_the_end_and_again_from_there(self):
        source = source_of(events=60)
        app = app_on(source)
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: len(app.fleet.events) == 60)
            rows = app.page.query_one(EventRows)
            await until(pilot, lambda: rows.top == 60 - rows.content_region.height > 0)
            await pilot.press("tab", "tab", "tab")
            await until(pilot, lambda: rows.has_focus)
            await pilot.press("pageup")
            await until(pilot, lambda: not rows.following)
            await until(pilot, lambda: any("▌" in line for line in lines(app, EventRows)))
            shown = lines(app, EventRows)
            source.live.put_nowait(samples.events(61)[-1])
            await until(pilot, lambda: len(app.fleet.events) == 61)
            await until(pilot, lambda: "newer" in str(rows.border_subtitle))
            assert lines(app, EventRows) == shown
            await pilot.press("end")
            await until(pilot, lambda: rows.following)
            assert not rows.border_subtitle

    async def test_it_follows_whatever_size_the_terminal_gets(self):
        app = app_on(source_of(events=60))
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: len(app.fleet.events) == 60)
            for size in ((120, 40), (80, 24), (60, 16), (200, 50)):
                await pilot.resize_terminal(*size)
                await until(pilot, lambda: lines(app, EventRows)[-1:] != [])
                rows = app.page.query_one(EventRows)
                await until(pilot, lambda: "10:00:59" in rows._lines[-1][0].plain)  # noqa: B023
                assert rows.following

    async def test_the_lines_in_sight_stay_when_old_ones_fall_off(self):
        source = source_of(events=1000)
        app = app_on(source)
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: len(app.fleet.events) == 1000)
            rows = app.page.query_one(EventRows)
            await pilot.press("tab", "tab", "tab")
            await until(pilot, lambda: rows.has_focus)
            await pilot.press("pageup")
            await until(pilot, lambda: not rows.following)
            event = rows.event
            for each in samples.events(1010)[-10:]:
                source.live.put_nowait(each)
            await until(pilot, lambda: app.fleet.events_dropped == 10)
            await pilot.pause()
            assert rows.event == event


class TestEvents:
    async def test_a_filter_a_search_and_the_way_back(self):
        app = app_on(source_of(events=21))
        async with app.run_test(size=(120, 36)) as pilot:
            await until(pilot, lambda: len(app.fleet.events) == 21)
            await opened(pilot, EventsPage, "5")
            await asked(pilot, "f")
            await pilot.press(*"node:lb2")
            rows = app.page.rows
            await until(pilot, lambda: {e.node for e in rows.listed} == {"lb2"})
            await pilot.press("enter")
            await until(pilot, lambda: rows.has_focus)
            await asked(pilot, "slash")
            await pilot.press(*"acquired", "enter")
            await until(pilot, lambda: rows.event and rows.event.type == "vip-acquired")
            await until(pilot, lambda: rows.has_focus)
            first = rows.event
            await pilot.press("N")
            await until(pilot, lambda: rows.event != first)
            assert rows.event.type == "vip-acquired"
            await pilot.press("n")
            await until(pilot, lambda: rows.event == first)
            await asked(pilot, "f")
            await pilot.press("x", "escape")
            await until(pilot, lambda: app.fleet.events_query == "node:lb2")

    async def test_jumping_to_a_moment_and_back_to_now(self):
        past = (
            Event(1, "2026-11-20T10:05:00Z", "lb1", "role-changed", "web", "backup → active", (),
                  {"old": "backup", "new": "active"}),
            Event(2, "2026-11-20T10:06:00Z", "lb1", "condition-changed", "", "lb1 is in fault", (),
                  {"from": "in-service", "to": "fault"}),
            Event(3, "2026-11-20T10:11:00Z", "lb1", "condition-changed", "", "lb1 is back", (),
                  {"from": "fault", "to": "in-service"}),
        )  # fmt: skip
        source = ScriptedSource(samples.pair(), past)
        app = app_on(source)
        async with app.run_test(size=(120, 36)) as pilot:
            await until(pilot, lambda: len(app.fleet.events) == 3)
            await opened(pilot, EventsPage, "5")
            await pilot.press("up")
            await opened(pilot, FleetPage, "enter")
            await until(pilot, lambda: "As it stood at 10:06:00 UTC" in text_of(app, "#headroom"))
            assert "◂ the past" in text_of(app, "#heading")
            await until(pilot, lambda: "✖ fault" in lines(app)[0])
            assert "? unknown" in lines(app)[1]
            await pilot.press("d")  # nothing can be done in the past
            await pilot.pause()
            assert len(app.screen_stack) == 1
            await pilot.press("left_square_bracket")
            await until(pilot, lambda: "● in-service" in lines(app)[0])
            await pilot.press("right_square_bracket")
            await until(pilot, lambda: "✖ fault" in lines(app)[0])
            await pilot.press("escape")
            await until(pilot, lambda: "N−1" in text_of(app, "#headroom"))
            assert app.fleet.moment is None

    async def test_enter_among_the_events_of_the_fleet_jumps_too(self):
        app = app_on(source_of(events=9))
        async with app.run_test(size=(120, 36)) as pilot:
            await until(pilot, lambda: len(app.fleet.events) == 9)
            await pilot.press("tab", "tab", "tab")
            await until(pilot, lambda: app.page.query_one(EventRows).has_focus)
            await pilot.press("up", "enter")
            await until(pilot, lambda: app.fleet.moment is not None)
            assert app.fleet.moment.event.seq == 8
            assert isinstance(app.screen, FleetPage)

    async def test_export_writes_what_is_listed_and_nothing_over(self, tmp_path):
        app = app_on(source_of(events=14))
        path = tmp_path / "out.jsonl"
        async with app.run_test(size=(120, 36)) as pilot:
            await until(pilot, lambda: len(app.fleet.events) == 14)
            await opened(pilot, EventsPage, "5")
            for _ in range(2):
                await pilot.press("x")
                await until(pilot, lambda: app.page.query_one("#prompt").is_open)
                app.page.query_one("#prompt-line").value = str(path)
                await pilot.press("enter")
                await until(pilot, lambda: not app.page.query_one("#prompt").is_open)
            await until(pilot, lambda: len(notes(app)) == 2)
            assert notes(app) == [
                f"14 events are in {path}",
                f"{path} is there already; nothing was written",
            ]
        assert [json.loads(row)["seq"] for row in path.read_text().splitlines()] == [*range(1, 15)]


async def test_what_is_typed_at_once_after_a_filter_is_asked_for_acts_on_nothing():
    """As over a line that gathers what is typed: `d` alone would ask whether to drain."""
    app = app_on(source_of(samples.troubled()))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        app._driver.send_message(events.Key("slash", "/"))
        app._driver.send_message(events.Key("d", "d"))
        line = app.page.query_one("#prompt-line")
        await until(pilot, lambda: app.focused is line)
        await pilot.press("z")
        await until(pilot, lambda: app.fleet.query.endswith("z"))
        assert isinstance(app.screen, FleetPage)


async def test_the_fleet_is_filtered_while_it_is_typed():
    app = app_on(source_of(samples.troubled()))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await asked(pilot, "slash")
        await pilot.press(*"fault")
        await until(pilot, lambda: [n.name for n in app.fleet.nodes] == ["lb1"])
        assert len(app.fleet.services) == 2
        await pilot.press("escape")
        await until(pilot, lambda: len(app.fleet.nodes) == 3)
        await until(pilot, lambda: app.page.query_one(NodeRows).has_focus)
        await asked(pilot, "slash")
        await pilot.press(*"api", "enter")
        await until(pilot, lambda: [s.name for s in app.fleet.services] == ["api"])
        await until(pilot, lambda: app.page.query_one(NodeRows).has_focus)
        await pilot.press("escape")
        await until(pilot, lambda: len(app.fleet.services) == 2)


async def test_the_palette_knows_actions_nodes_and_services():
    app = app_on(source_of())
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        found = {c.title for c in app.get_system_commands(app.screen)}
        assert {"Drain", "Headroom", "Node lb1", "Service web", "Quit"} <= found
        assert "Undrain" not in found
        await pilot.press("colon")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        await pilot.press(*"service api")
        await until(pilot, lambda: bool(app.screen.query("OptionList")))
        await pilot.press("escape")
        app._open(service="api")
        await until(pilot, lambda: isinstance(app.screen, ServicePage))


@pytest.mark.parametrize("page", ["1", "2", "3", "4", "5"])
async def test_every_page_is_copied_whole_as_text(page):
    app = app_on(source_of(samples.troubled(), events=5))
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await until(pilot, lambda: len(app.fleet.events) == 5)
        await pilot.press("right", page, "c")
        await until(pilot, lambda: bool(app.clipboard))
        assert "edge  active-passive" in app.clipboard
        assert {"1": "lb3", "2": "conn", "3": "lb3", "4": "web", "5": "vip-acquired"}[page] in (
            app.clipboard + " conn"
        )


async def test_a_terminal_that_is_too_small_says_so_and_recovers():
    app = app_on(source_of())
    async with app.run_test(size=(40, 10)) as pilot:
        await settled(pilot)
        await until(pilot, lambda: "40×10 is too small" in text_of(app, "#small"))
        assert not app.page.query_one("#body").display
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: app.page.query_one("#body").display)
        assert not app.page.query_one("#small").display


async def test_another_agent_brings_another_journal():
    source = source_of(events=9)
    app = app_on(source)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: len(app.fleet.events) == 9)
        source.place, source.past = "lb2", samples.events(4)
        source.live.put_nowait(None)
        await until(pilot, lambda: len(app.fleet.events) == 4)
        assert source.since[-1] == -1000
