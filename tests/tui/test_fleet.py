"""The reducer: what the state becomes when something happens."""

from dataclasses import replace

import pytest

from haman.api.schema import Event
from tests.tui import samples
from tui.fleet import reduce
from tui.messages import (
    CursorPlaced,
    CursorStepped,
    DetailClosed,
    DetailOpened,
    EventsArrived,
    EventsBroke,
    EventsOpened,
    Fact,
    StatusFailed,
    StatusFetched,
    Ticked,
)
from tui.state import EVENTS_MAX, HISTORY_MAX, STALE_AFTER_S, Cursor, FleetState, Link


def after(*facts: Fact, state: FleetState | None = None) -> FleetState:
    state = state or FleetState()
    for fact in facts:
        state = reduce(state, fact)
    return state


FETCHED = StatusFetched(samples.pair(), 10.0)


class TestLink:
    def test_it_connects_at_first(self):
        assert after().link is Link.CONNECTING

    def test_it_is_absent_when_the_first_answer_fails(self):
        state = after(StatusFailed("refused", 1.0, 2.0), StatusFailed("refused", 2.0, 4.0))
        assert (state.link, state.attempts, state.retry_at_s) == (Link.ABSENT, 2, 4.0)

    def test_it_is_live_after_an_answer(self):
        assert after(StatusFailed("refused", 1.0, 2.0), FETCHED).link is Link.LIVE

    def test_it_is_lost_when_a_call_fails(self):
        state = after(FETCHED, StatusFailed("refused", 11.0, 12.0), Ticked(13.0))
        assert (state.link, state.age_s, state.status) == (Link.LOST, 3.0, samples.pair())

    def test_silence_alone_is_loss_too(self):
        assert after(FETCHED, Ticked(10.0 + STALE_AFTER_S)).link is Link.LIVE
        assert after(FETCHED, Ticked(10.1 + STALE_AFTER_S)).link is Link.LOST

    def test_an_answer_ends_it_and_counts_anew(self):
        state = after(
            FETCHED,
            StatusFailed("refused", 11.0, 12.0),
            StatusFetched(samples.pair(), 12.0),
        )
        assert (state.link, state.attempts, state.problem) == (Link.LIVE, 0, "")

    def test_time_never_runs_backwards(self):
        assert after(FETCHED, Ticked(9.0)).now_s == 10.0


class TestEvents:
    def test_they_append_in_order_and_once(self):
        first = samples.events(3)
        again = samples.events(5)
        state = after(EventsArrived(first), EventsArrived(again))
        assert [e.seq for e in state.events] == [1, 2, 3, 4, 5]

    def test_only_the_newest_are_kept_and_the_lost_are_counted(self):
        state = after(EventsArrived(samples.events(EVENTS_MAX)))
        more = samples.events(EVENTS_MAX + 7)[-7:]
        state = after(EventsArrived(more), state=state)
        assert len(state.events) == EVENTS_MAX
        assert (state.events[0].seq, state.events_dropped) == (8, 7)

    def test_a_journal_that_began_anew_replaces_what_was_shown(self):
        state = after(EventsArrived(samples.events(9)), EventsArrived(samples.events(2)))
        assert [e.seq for e in state.events] == [1, 2]

    def test_the_stream_breaks_and_stands_again(self):
        broken = after(EventsBroke("refused"))
        assert broken.events_problem == "refused"
        assert after(EventsOpened(), state=broken).events_problem is None
        assert after(EventsArrived(samples.events(1)), state=broken).events_problem is None

    def test_no_events_change_nothing(self):
        state = after(FETCHED)
        assert reduce(state, EventsArrived(())) is state


class TestCursor:
    def test_it_starts_on_the_first_node(self):
        assert after(FETCHED).cursor == Cursor("lb1")

    @pytest.mark.parametrize(
        ("steps", "cursor"),
        [
            ((CursorStepped(1, 0),), Cursor("lb2")),
            ((CursorStepped(0, 1),), Cursor("lb1", "web")),
            ((CursorStepped(0, 2), CursorStepped(0, -1)), Cursor("lb1", "web")),
            ((CursorStepped(99, 99),), Cursor("lb2", "api")),
            ((CursorStepped(-99, -99),), Cursor("lb1")),
            ((CursorPlaced("lb2", "api"),), Cursor("lb2", "api")),
            ((CursorPlaced("gone", "gone"),), Cursor("lb1")),
        ],
    )
    def test_it_moves_and_stays_inside(self, steps, cursor):
        assert after(FETCHED, *steps).cursor == cursor

    def test_it_stays_with_its_node_when_the_fleet_changes(self):
        state = after(FETCHED, CursorPlaced("lb2", "api"))
        moved = replace_nodes(samples.pair(), "lb0", "lb2")
        assert after(StatusFetched(moved, 11.0), state=state).cursor == Cursor("lb2", "api")

    def test_it_falls_to_the_first_when_its_node_is_gone(self):
        state = after(FETCHED, CursorPlaced("lb2", "api"))
        only = replace_nodes(samples.pair(), "lb1")
        assert after(StatusFetched(only, 11.0), state=state).cursor == Cursor("lb1", "api")

    def test_without_nodes_it_does_not_move(self):
        state = after(StatusFetched(samples.pair(nodes=()), 1.0))
        assert reduce(state, CursorStepped(1, 1)) is state
        assert state.focused_node is None

    def test_a_single_service_is_the_focused_one(self):
        status = samples.pair(services=samples.pair().services[:1])
        service = after(StatusFetched(status, 1.0)).focused_service
        assert service is not None
        assert service.name == "web"
        assert after(FETCHED).focused_service is None


class TestDetail:
    @pytest.mark.parametrize(
        ("cursor", "node", "service"),
        [(CursorPlaced("lb2"), "lb2", None), (CursorPlaced("lb2", "api"), None, "api")],
    )
    def test_it_opens_what_the_cursor_is_on(self, cursor, node, service):
        state = after(FETCHED, cursor, DetailOpened())
        assert (state.detailed_node and state.detailed_node.name) == node
        assert (state.detailed_service and state.detailed_service.name) == service

    def test_it_stays_while_the_cursor_moves_and_closes(self):
        state = after(FETCHED, DetailOpened(), CursorStepped(1, 1))
        assert state.detailed_node is not None
        assert state.detailed_node.name == "lb1"
        closed = reduce(state, DetailClosed())
        assert closed.detail is None
        assert reduce(closed, DetailClosed()) is closed

    def test_it_closes_when_what_it_shows_is_gone(self):
        state = after(FETCHED, CursorPlaced("lb2"), DetailOpened())
        alone = replace_nodes(samples.pair(), "lb1")
        assert after(StatusFetched(alone, 11.0), state=state).detail is None
        state = after(FETCHED, CursorPlaced("lb2", "api"), DetailOpened())
        fewer = samples.pair(services=samples.pair().services[:1])
        assert after(StatusFetched(fewer, 11.0), state=state).detail is None

    def test_nothing_opens_before_the_first_answer(self):
        assert after(DetailOpened()).detail is None

    def test_sessions_belong_to_the_history_of_anycast(self):
        lost = Event(1, samples.AT, "lb1", "bgp-session-down", "", "tor1 is lost")
        state = after(StatusFetched(samples.anycast(), 1.0), EventsArrived((lost,)))
        assert state.history(service="edge") == (lost,)
        assert state.history(service="web") == ()

    def test_history_is_of_one_thing_newest_first_and_bounded(self):
        state = after(EventsArrived(samples.events(400)))
        api = state.history(service="api")
        assert {e.service for e in api} == {"api"}
        assert [e.seq for e in api] == sorted((e.seq for e in api), reverse=True)
        assert len(api) == HISTORY_MAX
        assert {e.node for e in state.history(node="lb2")} == {"lb2"}


def replace_nodes(status, *names):
    return samples.pair(nodes=tuple(samples.node(n) for n in names))


def test_states_are_values():
    state = after(FETCHED)
    assert replace(state) == state
    assert reduce(state, Ticked(10.0)) is state
