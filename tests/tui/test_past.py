"""The past, from the journal: what it tells, and what it does not."""

import pytest
from msgspec import structs

from haman.api.schema import Event, Reason
from tests.tui import samples
from tui.fleet import reduce
from tui.messages import EventsArrived, MomentChosen, StatusFetched
from tui.past import as_of, is_past
from tui.state import FleetState
from tui.tenure import strip, turns
from tui.views.type import moment

T = "2026-11-20T10:{:02d}:00Z"


def event(seq, kind, node="lb1", service="", **data):
    named = {key.rstrip("_"): value for key, value in data.items()}
    return Event(seq, T.format(seq), node, kind, service, f"{kind} {seq}", (), named)


STORY = (
    event(1, "condition-changed", from_="starting", to="in-service"),
    event(2, "role-changed", service="web", old="backup", new="active"),
    event(4, "operator-drained"),
    event(5, "role-changed", service="web", old="active", new="released"),
    event(6, "peer-lost", peer="lb2"),
    event(7, "peer-found", peer="lb2"),
    event(8, "operator-undrained"),
    event(9, "role-changed", service="web", old="released", new="active"),
    event(10, "operator-paused"),
)


def now():
    web = samples.vip(
        "web",
        [samples.member("lb1", "active", 150, T.format(9)), samples.member("lb2", "backup", 100, T.format(3))],
    )  # fmt: skip
    return samples.pair(services=(web,), paused=True)


@pytest.mark.parametrize(
    ("seq", "condition", "role", "drained", "state"),
    [
        (1, "in-service", "backup", False, "unknown"),
        (2, "in-service", "active", False, "ok"),
        (4, "in-service", "active", True, "ok"),
        (5, "in-service", "released", True, "down"),
        (9, "in-service", "active", False, "ok"),
    ],
)
def test_the_node_whose_journal_it_is(seq, condition, role, drained, state):
    past = as_of(now(), STORY, next(e for e in STORY if e.seq == seq))
    node, (web,) = past.status.nodes[0], past.status.services
    assert (node.condition, node.drained) == (condition, drained)
    assert web.members[0].role == role
    assert web.state == state


@pytest.mark.parametrize(
    ("seq", "condition", "role"),
    [
        (2, "unknown", "unknown"),  # before its role of today
        (5, "unknown", "backup"),  # since 10:03 it has been what it is
        (6, "stale", "backup"),
        (9, "unknown", "backup"),  # heard again, but as what?
    ],
)
def test_of_the_others_only_what_is_known(seq, condition, role):
    past = as_of(now(), STORY, next(e for e in STORY if e.seq == seq))
    assert past.status.nodes[1].condition == condition
    assert past.status.services[0].members[1].role == role


def test_before_the_first_change_it_is_what_the_change_says_it_was():
    first = event(0, "peer-found", peer="lb3")
    past = as_of(now(), (first, *STORY), first)
    assert past.status.nodes[0].condition == "starting"
    assert past.status.services[0].members[0].role == "backup"
    assert not past.status.paused
    assert as_of(now(), STORY, STORY[-1]).status.paused


def test_figures_are_in_no_journal():
    status = as_of(now(), STORY, STORY[1]).status
    assert {n.resources for n in status.nodes} == {()}
    assert is_past(status)
    assert not is_past(now())
    assert status.alerts == ()


def test_anycast_stances():
    status = samples.anycast()
    story = (event(20, "stance-changed", "lb1", "edge", stance="shut", weight=100),)
    (edge, *_) = as_of(status, story, story[0]).status.services
    assert edge.members[0].stance == "shut"
    assert edge.members[1].stance == "reduced"  # since 10:14
    assert edge.holders == ("lb1", "lb2")


def test_who_takes_a_vip_tells_who_held_it_before():
    taken = Reason("peer-released", "lb2 released web", {"peer": "lb2"})
    story = (
        event(1, "role-changed", service="web", old="initialize", new="backup"),
        structs.replace(event(8, "role-changed", service="web", old="backup", new="active"), reasons=(taken,)),
    )  # fmt: skip
    web = samples.vip(
        "web",
        [samples.member("lb1", "active", 150, T.format(8)), samples.member("lb2", "released", 0, T.format(8))],
    )  # fmt: skip
    status = samples.pair(services=(web,))
    (then,) = as_of(status, story, story[0]).status.services
    assert [m.role for m in then.members] == ["backup", "active"]
    assert (then.holders, then.state) == (("lb2",), "ok")
    assert [t.word for t in turns(web, web.members[1], story)] == ["active", "released"]


def test_the_past_stays_while_the_present_goes_on():
    state = FleetState()
    for fact in (StatusFetched(now(), 1.0), EventsArrived(STORY), MomentChosen(5)):
        state = reduce(state, fact)
    assert state.moment is not None
    assert [e.seq for e in state.shown_events] == [1, 2, 4, 5]
    later = reduce(state, StatusFetched(samples.troubled(), 2.0))
    assert later.services == state.services
    assert later.status == samples.troubled()
    assert reduce(later, MomentChosen(None)).services == samples.troubled().services
    assert reduce(state, MomentChosen(77)).moment is None


def test_turns_and_their_strip():
    (web,) = now().services
    found = turns(web, web.members[0], STORY)
    assert [t.word for t in found] == ["backup", "active", "released", "active"]
    start, end = moment(T.format(0)), moment(T.format(10))
    assert start
    assert end
    assert strip(found, start, end, 10) == (
        "backup",
        *["active"] * 3,
        *["released"] * 4,
        *["active"] * 2,
    )
    words = strip(found, start, end, 2)
    assert words == ("*", "active")
    other = turns(web, web.members[1], STORY)
    assert strip(other, start, end, 10)[:2] == ("", "")
    assert strip(other, start, end, 10)[-1] == "backup"
