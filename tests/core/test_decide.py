"""Every row of the table of stances, and what must hold whatever happens."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.core.because import LAST_RESORT_PRIORITY
from haman.core.decide import (
    FAILOVER_NS,
    Decider,
    FailoverEnded,
    FailoverOrdered,
    YieldEnded,
)
from haman.core.facts import VipReport, VipStance
from haman.core.handover.preemption import asks
from haman.core.heirs import ConfiguredVip, best_peer
from haman.core.reports import NodeReport, PeerView
from haman.core.situation import LATE_MS, OperatorIntent, Situation
from haman.core.words import Condition, Reason, Role, Utilization

WEB = ConfiguredVip("web", 150)
DIED = Reason("proxy-died", "proxy haproxy pid 123 died")
LATE = (Utilization("cpu", 0.2, 1.0, "cores", age_ms=LATE_MS + 1),)
BUSY = (Utilization("tls", 1.92, 2.0, "core-s/s"),)


def vip(role: Role, name: str = "web", priority: int = 100) -> VipReport:
    return VipReport(name, role, priority, 0)


def peer(
    name: str = "lb2",
    condition: Condition = Condition.IN_SERVICE,
    role: Role = Role.BACKUP,
    priority: int = 100,
    *,
    fresh: bool = True,
    vips: tuple[VipReport, ...] | None = None,
) -> PeerView:
    shown = (vip(role, priority=priority),) if vips is None else vips
    return PeerView(name, NodeReport(name, "", "1", condition, vips=shown), 10.0, fresh)


def decide(situation: Situation, vips: tuple[ConfiguredVip, ...] = (WEB,)) -> VipStance:
    return Decider(vips).step(situation, 0).stances[0]


READY = (peer(),)
NOBODY = (peer(condition=Condition.FAULT, role=Role.RELEASED),)
HELD = (vip(Role.ACTIVE),)
DRAINED = OperatorIntent(drained=True)

ROWS = [
    # name, situation, (contend, priority, preempt), code of the first reason
    ("fault", Situation(Condition.FAULT, (DIED,), roles=HELD), (False, 150, False), "proxy-died"),
    (
        "fault, nobody else: broken is not busy",
        Situation(Condition.FAULT, (DIED,), peers=NOBODY),
        (False, 150, False),
        "proxy-died",
    ),
    (
        "held down, others can serve",
        Situation(Condition.FAULT, (DIED,), serviceable=True, peers=READY),
        (False, 150, False),
        "proxy-died",
    ),
    (
        "held down, nobody else can",
        Situation(Condition.FAULT, (DIED,), serviceable=True, peers=NOBODY),
        (True, 1, False),
        "last-resort",
    ),
    ("starting", Situation(Condition.STARTING), (False, 150, False), "starting"),
    (
        "starting, out of the election before",
        Situation(Condition.STARTING, roles=(vip(Role.RELEASED),)),
        (False, 150, False),
        "starting",
    ),
    (
        "starting, holds already",
        Situation(Condition.STARTING, roles=HELD),
        (True, 150, False),
        "starting",
    ),
    (
        "starting, holds already, drained, nobody else",
        Situation(Condition.STARTING, roles=HELD, intent=DRAINED, peers=NOBODY),
        (True, 1, False),
        "last-resort",
    ),
    (
        "starting, holds already, drained, others can serve",
        Situation(Condition.STARTING, roles=HELD, intent=DRAINED, peers=READY),
        (False, 150, False),
        "starting",
    ),
    (
        "drained, others can serve",
        Situation(Condition.IN_SERVICE, intent=DRAINED, peers=READY),
        (False, 150, False),
        "drained",
    ),
    (
        "drained, the other is saturated: it can serve",
        Situation(
            Condition.IN_SERVICE, intent=DRAINED, peers=(peer(condition=Condition.SATURATED),)
        ),
        (False, 150, False),
        "drained",
    ),
    (
        "drained, the other is drained",
        Situation(Condition.IN_SERVICE, intent=DRAINED, peers=(peer(condition=Condition.DRAINED),)),
        (True, 1, False),
        "last-resort",
    ),
    (
        "drained, the other is not fresh",
        Situation(Condition.IN_SERVICE, intent=DRAINED, peers=(peer(fresh=False),)),
        (True, 1, False),
        "last-resort",
    ),
    (
        "drained, the other is not configured for it",
        Situation(Condition.IN_SERVICE, intent=DRAINED, peers=(peer(vips=()),)),
        (True, 1, False),
        "last-resort",
    ),
    (
        "drained, the other does not contend yet",
        Situation(Condition.IN_SERVICE, intent=DRAINED, peers=(peer(role=Role.INITIALIZE),)),
        (True, 1, False),
        "last-resort",
    ),
    (
        "drained, single node",
        Situation(Condition.IN_SERVICE, intent=DRAINED),
        (True, 1, False),
        "last-resort",
    ),
    (
        "drained and broken",
        Situation(Condition.FAULT, (DIED,), intent=DRAINED),
        (False, 150, False),
        "proxy-died",
    ),
    (
        "saturated holds",
        Situation(Condition.SATURATED, resources=BUSY, roles=HELD, peers=READY),
        (True, 150, False),
        "saturated-holding",
    ),
    (
        "data is late: held",
        Situation(Condition.IN_SERVICE, resources=LATE, roles=HELD),
        (True, 150, False),
        "stale",
    ),
    (
        "paused",
        Situation(Condition.IN_SERVICE, intent=OperatorIntent(paused=True)),
        (True, 150, False),
        "paused",
    ),
    (
        "its holder can hand it over",
        Situation(
            Condition.IN_SERVICE, roles=(vip(Role.BACKUP),), asks={"web": asks("web", "lb2")}
        ),
        (True, 150, False),
        "preempts-by-handover",
    ),
    (
        "yielded",
        Situation(
            Condition.IN_SERVICE,
            intent=OperatorIntent(yielded=frozenset({"web"})),
            roles=(vip(Role.BACKUP),),
        ),
        (True, 150, False),
        "yielded",
    ),
    ("isolated", Situation(Condition.IN_SERVICE, isolated=True), (True, 150, True), "isolated"),
    ("in service", Situation(Condition.IN_SERVICE), (True, 150, True), None),
]


@pytest.mark.parametrize(
    ("situation", "stance", "code"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS]
)
def test_row(situation: Situation, stance: tuple[bool, int, bool], code: str | None) -> None:
    got = decide(situation)
    assert (got.contend, got.priority, got.preempt) == stance
    assert (got.reasons[0].code if got.reasons else None) == code


def test_saturated_reason_has_the_numbers() -> None:
    reason = decide(Situation(Condition.SATURATED, resources=BUSY, roles=HELD)).reasons[0]
    assert reason.text == (
        "tls at 96 % of its ceiling (1.92 of 2 core-s/s); keeps web; no permit was asked for yet"
    )
    assert reason.data == {"resource": "tls", "utilization": 0.96}


def test_saturated_backup_does_not_say_that_it_keeps() -> None:
    backup = Situation(Condition.SATURATED, resources=BUSY, roles=(vip(Role.BACKUP),))
    assert "does not preempt for web" in decide(backup).reasons[0].text


def test_configured_preempt_off_stays_off() -> None:
    vips = (ConfiguredVip("web", 150, preempt=False),)
    assert not decide(Situation(Condition.IN_SERVICE), vips).preempt


def test_failover_releases_until_a_peer_is_active_then_yields() -> None:
    decider = Decider((WEB,))
    decider.order(FailoverOrdered("web", "lb2"), 0)
    idle = Situation(Condition.IN_SERVICE, peers=READY, roles=HELD)
    first = decider.step(idle, 1)
    assert (first.stances[0].contend, first.stances[0].reasons[0].code) == (False, "failover")
    assert decider.deadline_ns == FAILOVER_NS
    gone = replace(idle, roles=(vip(Role.RELEASED),), peers=(peer(role=Role.ACTIVE),))
    second = decider.step(gone, 2)
    assert second.transitions == (FailoverEnded("web", "lb2"),)
    assert second.stances[0].reasons[0].code == "yielded"
    assert (second.stances[0].contend, second.stances[0].preempt) == (True, False)
    assert decider.pending == frozenset()
    yielded = replace(gone, intent=OperatorIntent(yielded=frozenset({"web"})))
    assert decider.step(yielded, 3).transitions == ()
    back = decider.step(replace(yielded, roles=HELD), 4)
    assert back.transitions == (YieldEnded("web"),)
    assert back.stances[0].preempt


def test_peer_that_is_active_before_the_release_is_no_taker() -> None:
    decider = Decider((WEB,))
    decider.order(FailoverOrdered("web"), 0)
    conflict = Situation(Condition.IN_SERVICE, peers=(peer(role=Role.ACTIVE),), roles=HELD)
    assert decider.step(conflict, 1).transitions == ()


def test_failover_that_nobody_takes_ends_in_serving() -> None:
    decider = Decider((WEB,))
    decider.order(FailoverOrdered("web", "lb2"), 0)
    waiting = Situation(Condition.IN_SERVICE, peers=READY, roles=(vip(Role.RELEASED),))
    assert not decider.step(waiting, FAILOVER_NS - 1).stances[0].contend
    late = decider.step(waiting, FAILOVER_NS)
    assert late.transitions == (FailoverEnded("web", ""),)
    assert (late.stances[0].contend, late.stances[0].preempt) == (True, True)


@pytest.mark.parametrize("worse", [Situation(Condition.FAULT, (DIED,)), ROWS[9][1]])
def test_failover_ends_when_the_node_goes_out_of_service_anyway(worse: Situation) -> None:
    decider = Decider((WEB,))
    decider.order(FailoverOrdered("web"), 0)
    ended = decider.step(worse, 1)
    assert ended.transitions == (FailoverEnded("web", ""),)
    assert not ended.stances[0].contend
    assert decider.pending == frozenset()


def test_group_fails_over_together_and_to_one_node() -> None:
    vips = (ConfiguredVip("web", 150, group="g"), ConfiguredVip("mail", 150, group="g"))
    half = peer("lb2", vips=(vip(Role.BACKUP),))
    whole = peer("lb3", vips=(vip(Role.BACKUP), vip(Role.BACKUP, "mail")))
    decider = Decider(vips)
    assert decider.heir("web", (half, whole)) == "lb3"
    assert decider.heir("web", (half,)) is None
    decider.order(FailoverOrdered("mail"), 0)
    stances = decider.step(Situation(Condition.IN_SERVICE, peers=(whole,)), 1).stances
    assert [s.contend for s in stances] == [False, False]


def test_reconfiguration_forgets_what_is_gone() -> None:
    decider = Decider((WEB,))
    decider.order(FailoverOrdered("web"), 0)
    decider.reconfigure((ConfiguredVip("mail", 90),))
    assert decider.pending == frozenset()
    assert [s.vip for s in decider.step(Situation(Condition.IN_SERVICE), 1).stances] == ["mail"]


@pytest.mark.parametrize(
    ("peers", "prefer", "best"),
    [
        ((), "", None),
        ((peer("a", fresh=False),), "", None),
        ((peer("a", role=Role.RELEASED),), "", None),
        ((peer("a", Condition.DRAINED),), "", None),
        ((peer("a", priority=100), peer("b", priority=120)), "", "b"),
        ((peer("b"), peer("a")), "", "a"),
        ((peer("a", Condition.SATURATED, priority=200), peer("b", priority=50)), "", "b"),
        ((peer("a", Condition.SATURATED),), "", "a"),
        ((peer("a", priority=200), peer("b", priority=50)), "b", "b"),
        ((peer("a", priority=200), peer("b", Condition.FAULT)), "b", "a"),
    ],
)
def test_best_peer(peers: tuple[PeerView, ...], prefer: str, best: str | None) -> None:
    assert best_peer((WEB,), peers, prefer=prefer) == best


conditions = st.sampled_from(
    [Condition.STARTING, Condition.IN_SERVICE, Condition.SATURATED, Condition.FAULT]
)
peers_strategy = st.lists(
    st.builds(
        peer,
        name=st.sampled_from(["lb2", "lb3"]),
        condition=st.sampled_from(list(Condition)),
        role=st.sampled_from(list(Role)),
        priority=st.integers(0, 254),
        fresh=st.booleans(),
    ),
    max_size=2,
).map(tuple)
situations = st.builds(
    Situation,
    condition=conditions,
    serviceable=st.booleans(),
    intent=st.builds(
        OperatorIntent,
        drained=st.booleans(),
        paused=st.booleans(),
        yielded=st.sampled_from([frozenset[str](), frozenset({"web"})]),
    ),
    peers=peers_strategy,
    isolated=st.booleans(),
    resources=st.sampled_from([(), LATE, BUSY]),
    roles=st.sampled_from([(), *((vip(role),) for role in Role)]),
)


@given(st.lists(st.tuples(situations, st.booleans(), st.integers(0, 2 * FAILOVER_NS)), max_size=8))
def test_invariants(history: list[tuple[Situation, bool, int]]) -> None:
    decider = Decider((WEB,))
    now_ns = 0
    for situation, ordered, passed_ns in history:
        if ordered:
            decider.order(FailoverOrdered("web"), now_ns)
        now_ns += passed_ns
        decision = decider.step(situation, now_ns)
        (stance,) = decision.stances
        healthy = situation.condition in {Condition.IN_SERVICE, Condition.SATURATED}
        dead = situation.condition is Condition.FAULT and not situation.serviceable
        if dead:
            assert not stance.contend
        if not stance.contend:
            assert stance.reasons, "a release without a reason"
        if healthy and not situation.intent.drained and not decider.pending:
            assert stance.contend, "load, pause or late data released a VIP"
        if healthy and decider.heir("web", situation.peers) is None and not decider.pending:
            assert stance.contend, "nobody serves"
        if situation.intent.drained:
            assert not stance.contend or stance.priority == LAST_RESORT_PRIORITY
        if situation.intent.paused or situation.condition is Condition.SATURATED:
            assert not (stance.contend and stance.preempt)
        assert decider.deadline_ns is None or now_ns < decider.deadline_ns


@given(situations)
def test_same_inputs_decide_the_same(situation: Situation) -> None:
    assert Decider((WEB,)).step(situation, 7) == Decider((WEB,)).step(situation, 7)


YIELDED = replace(vip(Role.BACKUP), reasons=(Reason("yielded", "moved away"),))
LETTING_GO = replace(vip(Role.RELEASED), reasons=(Reason("failover", "let go"),))


@pytest.mark.parametrize("shown", [YIELDED, LETTING_GO])
def test_what_the_operator_placed_on_one_peer_is_not_preempted_by_another(shown: VipReport) -> None:
    """lb1 gave web to lb3, which the middle one outranks."""
    roles = (vip(Role.BACKUP),)
    peers = (peer("lb1", vips=(shown,)), peer("lb3", role=Role.ACTIVE, priority=50))
    stance = decide(Situation(Condition.IN_SERVICE, peers=peers, roles=roles))
    assert (stance.contend, stance.priority, stance.preempt) == (True, 150, False)
    assert [r.code for r in stance.reasons] == ["placed"]
    assert "away from lb1" in stance.reasons[0].text
    lost = (replace(peers[0], fresh=False), peers[1])
    assert decide(Situation(Condition.IN_SERVICE, peers=lost, roles=roles)).preempt


def test_who_was_given_a_vip_holds_it_as_ever() -> None:
    peers = (peer("lb1", vips=(YIELDED,)),)
    stance = decide(Situation(Condition.IN_SERVICE, peers=peers, roles=HELD))
    assert (stance.preempt, stance.reasons) == (True, ())


def test_readings_that_all_grew_old_are_late_though_their_values_are_unknown_by_then() -> None:
    """The meter calls a value unknown long before; that must not hide that nothing is measured."""
    old = tuple(replace(each, used=None) for each in LATE)
    decision = Decider((WEB,)).step(Situation(Condition.IN_SERVICE, resources=old), 0)
    assert decision.condition is Condition.STALE
    assert not decision.stances[0].preempt


LB3 = ("lb3", Condition.IN_SERVICE, Role.BACKUP)


@pytest.mark.parametrize(
    ("situation", "heir"),
    [
        (Situation(Condition.IN_SERVICE, peers=(peer(role=Role.ACTIVE),)), True),
        (Situation(Condition.SATURATED, peers=(peer(role=Role.ACTIVE),)), True),
        # Nobody fresh holds it: there is nothing to come next for.
        (Situation(Condition.IN_SERVICE, peers=(peer(),)), False),
        (Situation(Condition.IN_SERVICE, peers=(peer(role=Role.ACTIVE, fresh=False),)), False),
        # Two hold it: who lets go is not known.
        (
            Situation(
                Condition.IN_SERVICE, peers=(peer(role=Role.ACTIVE), peer("lb3", role=Role.ACTIVE))
            ),
            False,
        ),
        # Another one ranks before this one, or the same: the skew sorts it out.
        (
            Situation(
                Condition.IN_SERVICE, peers=(peer(role=Role.ACTIVE), peer(*LB3, priority=151))
            ),
            False,
        ),
        (
            Situation(
                Condition.IN_SERVICE, peers=(peer(role=Role.ACTIVE), peer(*LB3, priority=150))
            ),
            False,
        ),
        (
            Situation(
                Condition.IN_SERVICE, peers=(peer(role=Role.ACTIVE), peer(*LB3, priority=149))
            ),
            True,
        ),
        (
            Situation(Condition.SATURATED, peers=(peer(role=Role.ACTIVE), peer(*LB3, priority=10))),
            False,
        ),
        # Out of service, it contends for nothing.
        (Situation(Condition.FAULT, (DIED,), peers=(peer(role=Role.ACTIVE),)), False),
    ],
)
def test_who_comes_next_knows_it(situation: Situation, *, heir: bool) -> None:
    assert decide(situation).heir is heir
