"""Anycast within the decisions of a node: from the one situation to the stance of each service."""

from dataclasses import replace

import pytest

from haman.core.announcements import Announcement, AnycastReport, AnycastStance, HeldAddresses
from haman.core.decide import Decider, Decision
from haman.core.ladder import MISSING_NS, ConfiguredAnycast
from haman.core.reports import NodeReport, PeerView
from haman.core.situation import ENGINE_LOST_MS, LATE_MS, OperatorIntent, Situation
from haman.core.words import Condition, Reason, Stance, Utilization

EDGE, DNS = ConfiguredAnycast("edge"), ConfiguredAnycast("dns", weight=10, reduced_weights=(5,))
UP = (HeldAddresses("edge", ("192.0.2.100/32",), True), HeldAddresses("dns", (), True))
LOW = (Announcement("edge", ("192.0.2.100/32",), weight=25),)
WELL = Situation(Condition.IN_SERVICE, held=UP, announced=())
BUSY = (Utilization("tls", 1.92, 2.0, "core-s/s"),)
LATE = (Utilization("cpu", 0.2, 1.0, "cores", age_ms=LATE_MS + 1),)


def peer(*services: str) -> PeerView:
    said = tuple(AnycastReport(s, Stance.FULL, 100, 100, 1, neighbors_up=1) for s in services)
    report = NodeReport("lb2", "", "1", Condition.IN_SERVICE, anycast=said)
    return PeerView("lb2", report, 1.0, fresh=True)


BESIDE = replace(WELL, peers=(peer("edge"),), announced=LOW)


def decide(situation: Situation, *services: ConfiguredAnycast) -> Decision:
    return Decider((), services or (EDGE,)).step(situation, 0)


def edge(decision: Decision) -> AnycastStance:
    return next(s for s in decision.anycast if s.service == "edge")


def test_every_service_has_its_own_ladder() -> None:
    decision = decide(replace(WELL, peers=(peer("edge"),)), DNS, EDGE)
    assert [(s.service, s.stance, s.weight) for s in decision.anycast] == [
        ("dns", Stance.FULL, 10),
        ("edge", Stance.REDUCED, 25),
    ]
    assert decision.announces


def test_who_has_just_started_waits_for_its_peers_before_it_takes_itself_for_alone() -> None:
    decider = Decider((), (EDGE,))
    began = edge(decider.step(replace(WELL, awaits=True), 0))
    assert (began.stance, began.reasons[0].code) == (Stance.WITHDRAWN, "peers-awaited")
    assert edge(decider.step(WELL, 1)).stance is Stance.FULL


def test_what_is_announced_stays_while_peers_are_awaited() -> None:
    decider = Decider((), (EDGE,))
    kept = edge(decider.step(replace(WELL, awaits=True, announced=LOW), 0))
    assert (kept.stance, kept.weight) == (Stance.REDUCED, 25)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (
            {"condition": Condition.SATURATED, "resources": BUSY},
            "saturated-holding",
            (
                "tls at 96 % of its ceiling (1.92 of 2 core-s/s); asks for no more of edge; no permit "
                "was asked for yet"
            ),
        ),
        ({"resources": LATE}, "stale", "measurements are late"),
        ({"intent": OperatorIntent(paused=True)}, "paused", "edge is kept as it is"),
        ({"isolated": True, "peers": ()}, "isolated", "who else serves edge is not known"),
    ],
)
def test_what_holds_the_rung(change, code: str, said: str) -> None:
    decider = Decider((), (EDGE,))
    for now_ns in (0, 100 * EDGE.step_ns):
        stance = edge(decider.step(replace(BESIDE, **change), now_ns))
        assert (stance.stance, stance.weight) == (Stance.REDUCED, 25)
        assert stance.reasons[0].code == code
        assert said in stance.reasons[0].text
        assert [r.code for r in stance.reasons].count(code) == 1
    assert edge(decider.step(BESIDE, 100 * EDGE.step_ns)).weight == 50


@pytest.mark.parametrize(
    ("own", "theirs", "per_s", "weight"),
    [
        (0, 0, 0.5, 100),
        (1, 0, 0.0, 25),
        (None, 0, 0.0, 25),
        (0, 1, 0.0, 25),
        (0, None, 0.0, 25),
        (0, 0, 1.5, 25),
        (0, 0, None, 25),
    ],
)
def test_nobody_is_spared_where_nobody_is_known_not_to_be(
    own: int | None, theirs: int | None, per_s: float | None, weight: int
) -> None:
    serving = peer("edge")
    assert serving.report is not None
    told = replace(serving.report, connections=theirs, new_connections_per_s=per_s)
    idle = PeerView("lb3", replace(peer().report, connections=99), 1.0, fresh=True)
    here = (Utilization("connections", own, 4000, "count"),)
    peers = (replace(serving, report=told), idle)
    stance = edge(decide(replace(WELL, peers=peers, resources=here)))
    assert (stance.stance, stance.weight) == (
        Stance.FULL if weight == 100 else Stance.REDUCED,
        weight,
    )


def test_relay_is_not_to_be_told_before_it_was_heard() -> None:
    decision = decide(replace(WELL, announced=None))
    assert not decision.announces
    assert edge(decision).held


def test_engine_that_does_not_know_the_service_has_no_addresses() -> None:
    assert edge(decide(replace(WELL, held=()))).stance is Stance.WITHDRAWN
    missing = (HeldAddresses("edge", (), False, (Reason("eperm", "lo: EPERM"),)),)
    stance = edge(decide(replace(WELL, held=missing)))
    assert stance.reasons[0].text == "edge cannot be announced: lo: EPERM"


def test_engine_that_has_not_spoken_takes_nothing_away() -> None:
    assert edge(decide(replace(BESIDE, held=None))).weight == 25


def test_end_drain_and_fault_reach_the_ladder() -> None:
    full = replace(BESIDE, announced=(replace(LOW[0], weight=100),))
    ends = edge(decide(replace(full, ending=True)))
    assert (ends.stance, ends.reasons[0].code) == (Stance.SHUT, "ending")
    drained = edge(decide(replace(full, intent=OperatorIntent(drained=True))))
    assert [r.code for r in drained.reasons] == ["shut-before-withdrawal", "drained"]
    died = Reason("proxy-died", "the proxy died")
    broken = edge(decide(replace(full, condition=Condition.FAULT, reasons=(died,))))
    assert (broken.stance, broken.reasons) == (Stance.WITHDRAWN, (died,))


def test_reload_keeps_what_stays_and_announces_what_is_new() -> None:
    decider = Decider((), (EDGE,))
    decider.step(BESIDE, 0)
    decider.reconfigure((), (EDGE, DNS))
    assert not decider.step(replace(BESIDE, announced=None), 1).announces
    decision = decider.step(BESIDE, 2)
    assert [(s.service, s.weight) for s in decision.anycast] == [("edge", 25), ("dns", 10)]
    decider.reconfigure((), (DNS,))
    assert [s.service for s in decider.step(BESIDE, 3).anycast] == ["dns"]


def test_deadline_is_that_of_the_first_ladder() -> None:
    decider = Decider((), (EDGE,))
    assert decider.deadline_ns is None
    decider.step(BESIDE, 7)
    assert decider.deadline_ns == 7 + EDGE.step_ns


@pytest.mark.parametrize("held", [UP, None], ids=["spoke once", "never spoke"])
def test_addresses_of_a_silent_engine_are_not_announced(held) -> None:
    """Nobody renews their leases; the router must be told before they end."""
    decider = Decider((), (EDGE,))
    well = replace(WELL, announced=LOW, held=held)
    late = replace(well, engine_age_ms=ENGINE_LOST_MS - 1)
    assert edge(decider.step(late, 0)).stance is not Stance.WITHDRAWN
    assert edge(decider.step(late, 2 * MISSING_NS)).stance is not Stance.WITHDRAWN
    lost = replace(well, engine_age_ms=ENGINE_LOST_MS)
    assert edge(decider.step(lost, 3 * MISSING_NS)).stance is not Stance.WITHDRAWN
    stance = edge(decider.step(lost, 4 * MISSING_NS))
    assert (stance.stance, stance.held) == (Stance.WITHDRAWN, True)
    assert stance.reasons[0].data["code"] == "engine-silent"
    assert edge(decider.step(replace(WELL, announced=()), 5 * MISSING_NS)).stance is Stance.FULL
