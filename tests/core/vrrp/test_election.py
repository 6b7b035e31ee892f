"""Two and three nodes on one link: who ends up active, whatever the link and the operators did."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.core.vrrp.group import Key
from haman.core.vrrp.messages import Input, PeerReleased, Reconfigured, Released, Shutdown, Started
from haman.core.vrrp.timers import down_ns
from haman.core.words import Reason, Role
from tests.core.vrrp.link import MS, WEB, WEB6, Link, S, config, steady

WHY = (Reason("operator", "drained"),)


def pair(first=150, second=100, **options) -> Link:
    link = Link(
        {
            "lb1": {WEB: config(1, priority=first, **options)},
            "lb2": {WEB: config(2, priority=second, **options)},
        }
    )
    for name in link.nodes:
        link.tell(name, Started())
    return link


def test_the_higher_priority_becomes_active_and_the_other_stays_quiet():
    link = pair()
    link.run(60 * S)
    assert link.active() == ["lb1"]
    assert [c.new for _, name, _, c in link.changes if name == "lb2"] == [Role.BACKUP]


def test_a_dead_node_is_replaced_in_three_intervals_and_skew():
    link = pair()
    link.run(10 * S)
    link.freeze("lb1")
    link.run(down_ns(3, 100, S) + 2 * MS)
    assert "lb2" in link.active()
    assert link.changes[-1][3].reasons[0].code == "active-router-down"


def test_a_release_costs_the_skew_and_a_word_between_peers_nothing():
    link = pair()
    link.run(10 * S)
    began = link.now
    link.tell("lb1", Released(WHY))
    link.run(S)
    assert link.changes[-1][0] - began == 1 * MS + 609_375_000
    assert link.active() == ["lb2"]

    link.tell("lb1", Started())
    link.run(10 * S)
    assert link.active() == ["lb1"]
    link.tell("lb1", Released(WHY))
    link.run(2 * MS)
    link.tell("lb2", PeerReleased(WHY))
    assert link.active() == ["lb2"]


def test_a_frozen_active_router_that_wakes_wins_its_address_back_and_says_where_it_is():
    link = pair()
    link.run(10 * S)
    link.freeze("lb1")
    link.run(10 * S)
    link.transcript.clear()
    link.thaw("lb1")
    link.run(S // 2)
    assert link.active() == ["lb1"]
    assert link.transcript[:2] == [
        " 20000 lb1 web/4 sends 150",
        " 20000 lb1 web/4 announces",
    ]
    assert not [line for line in link.transcript if "conflict" in line]
    assert link.sent < 35  # one answer, whatever waited in the socket


@pytest.mark.parametrize("phase_ms", range(0, 1000, 100))
def test_two_that_were_cut_off_meet_again_and_the_link_learns_who_stays(phase_ms):
    link = pair()
    link.run(10 * S)
    link.delay_ns = lambda *_: None
    link.run(10 * S + phase_ms * MS)
    assert link.active() == ["lb1", "lb2"]
    link.transcript.clear()
    link.delay_ns = lambda *_: 1 * MS
    link.run(3 * S)
    assert link.active() == ["lb1"]
    assert [line for line in link.transcript if "lb1 web/4 announces" in line]


def test_a_frozen_backup_that_wakes_disturbs_nobody():
    link = pair()
    link.run(10 * S)
    link.freeze("lb2")
    link.run(100 * S)
    link.thaw("lb2")
    link.run(10 * S)
    assert link.active() == ["lb1"]
    assert [name for _, name, _, _ in link.changes] == ["lb1", "lb2", "lb1"]


def test_a_changed_interval_rolled_out_node_by_node_moves_nothing():
    for order in (("lb1", "lb2"), ("lb2", "lb1")):
        link = pair()
        link.run(10 * S)
        before = len(link.changes)
        for name in order:
            number = int(name[-1])
            faster = config(number, priority=(150, 100)[number - 1], advert_interval_ns=100 * MS)
            link.tell(name, Reconfigured(faster), WEB)
            link.run(10 * S)
        assert len(link.changes) == before
        assert link.active() == ["lb1"]


def test_the_transcript_of_a_planned_stop():
    link = pair()
    link.run(4 * S)
    link.transcript.clear()
    link.tell("lb1", Shutdown())
    link.run(S)
    assert link.transcript == [
        "  4000 lb1 web/4 sends 0",
        "  4000 lb1 web/4 active → initialize: the engine is ending",
        "  4610 lb2 web/4 sends 100",
        "  4610 lb2 web/4 announces",
        (
            "  4610 lb2 web/4 backup → active: 10.77.0.11 let go (priority 0), "
            "and nobody else took over within 609.4 ms"
        ),
    ]


# ---- any history -------------------------------------------------------------------------------

NAMES = ("lb1", "lb2", "lb3")
priorities = st.integers(1, 254)
# One direction between two nodes, for one member.
cuts = st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from((WEB, WEB6)))
acts = st.one_of(
    st.tuples(st.just("start"), st.sampled_from(NAMES)),
    st.tuples(st.just("release"), st.sampled_from(NAMES)),
    st.tuples(st.just("shutdown"), st.sampled_from(NAMES)),
    st.tuples(st.just("word"), st.sampled_from(NAMES)),
    st.tuples(st.just("freeze"), st.sampled_from(NAMES)),
    st.tuples(st.just("thaw"), st.sampled_from(NAMES)),
    st.tuples(st.just("run"), st.integers(0, 6 * S)),
    st.tuples(st.just("cut"), cuts),
    st.tuples(st.just("mend"), st.none()),
    st.tuples(st.just("priority"), st.tuples(st.sampled_from(NAMES), priorities, st.booleans())),
)


histories = st.lists(acts, max_size=30)


def play(link: Link, history: list[Any], members: dict[Key, Any]) -> None:
    """Let a history happen to nodes that have started; it ends with all awake and connected.

    `members` make the configurations whose priorities change.
    """
    cut: set[tuple[str, str, Key]] = set()
    link.delay_ns = lambda *way: None if way in cut else 1 * MS
    told: dict[str, Input] = {
        "release": Released(WHY),
        "shutdown": Shutdown(),
        "start": Started(),
        "word": PeerReleased(),
    }
    for act, argument in [*(("start", name) for name in link.nodes), *history]:
        match act:
            case "run":
                link.run(argument)
            case "cut":
                cut.add(argument)
            case "mend":
                cut.clear()
            case "freeze":
                link.freeze(argument)
            case "thaw":
                link.thaw(argument)
            case "priority":
                name, priority, preempt = argument
                for key, make in members.items():
                    changed = make(NAMES.index(name) + 1, priority=priority, preempt=preempt)
                    link.tell(name, Reconfigured(changed), key)
            case _:
                link.tell(argument, told[act])
    cut.clear()
    for name in NAMES:
        link.thaw(name)


def settle(link: Link) -> None:
    """Quiet connectivity for as long as the protocol needs: to wake, to yield, to take over."""
    link.run(2 * down_ns(3, 1, S) + 2 * S)


@steady
@given(
    histories,
    st.lists(priorities, min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_after_any_history_one_node_is_active_and_stays(history, of_nodes, preempt):
    link = Link(
        {
            name: {WEB: config(i + 1, priority=of_nodes[i], preempt=preempt[i])}
            for i, name in enumerate(NAMES)
        }
    )
    play(link, history, {WEB: config})
    settle(link)
    contending = [n for n in NAMES if link.role(n) in (Role.BACKUP, Role.ACTIVE)]
    assert len(link.active()) == (1 if contending else 0)
    before, active = len(link.changes), link.active()
    link.run(30 * S)
    assert link.active() == active
    assert len(link.changes) == before
    if contending:
        states = [link.nodes[n].group.snapshot()[WEB] for n in contending]
        (holder,) = (s for s in states if s.role is Role.ACTIVE)
        for other in states:
            assert other.priority <= holder.priority or not other.config.preempt
            assert other is holder or other.active_router == holder.config.source


@steady
@given(st.lists(st.booleans(), min_size=200, max_size=200), st.integers(0, 900))
def test_lost_and_late_adverts_never_leave_more_than_the_bound_with_two(lost, delay_ms):
    """Random loss both ways may make two active; three intervals and skew of quiet end it."""
    link = pair()
    fate = iter(lost)
    link.delay_ns = lambda *_: None if next(fate, False) else delay_ms * MS
    link.run(40 * S)
    link.delay_ns = lambda *_: 1 * MS
    link.run(down_ns(3, 100, S))
    assert link.active() == ["lb1"]
