"""N−1 arithmetic: the truth for a pair, and honest about what it cannot know."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.core.facts import VipReport
from haman.core.headroom import Headroom, LossScenario, Verdict, assess
from haman.core.reports import NodeReport, PeerView, PermitReport, StormReport
from haman.core.words import Condition, Role, Utilization


def node(
    name: str,
    *,
    role: Role = Role.BACKUP,
    priority: int = 100,
    condition: Condition = Condition.IN_SERVICE,
    vips: tuple[VipReport, ...] | None = None,
    units: dict[str, str] | None = None,
    **used: float | tuple[float | None, float | None] | None,
) -> NodeReport:
    """A node whose resources are given as used, or as (used, ceiling)."""
    resources = tuple(
        Utilization(n, *(v if isinstance(v, tuple) else (v, 1.0)), (units or {}).get(n, "u"))
        for n, v in used.items()
    )
    if vips is None:
        vips = (VipReport("web", role, priority, 0),)
    return NodeReport(
        name,
        "",
        "1",
        condition,
        resources=resources,
        connections=None if "connections" in used else 0,
        vips=vips,
        storm=StormReport(1.0, 433e-6, 201e-6, 5.0, backlog=4096),
    )


def peer(
    report: NodeReport | None, name: str = "", age_ms: float = 100, *, fresh: bool = True
) -> PeerView:
    return PeerView(name or (report.node if report else "?"), report, age_ms, fresh)


def losing(name: str, headroom: Headroom) -> LossScenario:
    (found,) = [s for s in headroom.scenarios if s.lost == (name,)]
    return found


def test_a_pair_with_one_active_node() -> None:
    headroom = assess(node("lb1", role=Role.ACTIVE, tls=0.52), (peer(node("lb2", tls=0.41)),))
    assert headroom.verdict is Verdict.INSUFFICIENT
    assert headroom.worst == losing("lb1", headroom)
    assert headroom.worst.reasons[0].text == (
        "if lb1 is lost, lb2 reaches 93 % of tls: 41 % of its own, 52 % taken over"
    )
    (survivor,) = headroom.worst.survivors
    assert (survivor.node, survivor.resource, survivor.phase) == ("lb2", "tls", "steady")
    assert survivor.utilization == pytest.approx(0.93)


def test_room_that_is_promised_to_another_node_is_taken() -> None:
    promised = PermitReport(granted_to="lb3", reserved={"tls": 0.25}, reserved_clients=4096)
    lb2 = replace(node("lb2", tls=0.2), permits=promised)
    found = losing("lb1", assess(node("lb1", role=Role.ACTIVE, tls=0.1), (peer(lb2),)))
    assert found.verdict is Verdict.INSUFFICIENT
    assert found.survivors[0].resource == "accept_queue"
    lb2 = replace(lb2, permits=replace(promised, reserved_clients=0.0))
    found = losing("lb1", assess(node("lb1", role=Role.ACTIVE, tls=0.5), (peer(lb2),)))
    assert found.reasons[0].text == (
        "if lb1 is lost, lb2 reaches 95 % of tls: 45 % of its own, 50 % taken over"
    )


@pytest.mark.parametrize("reserved", [math.nan, -1.0, 1e300])
def test_a_promise_that_makes_no_sense_is_no_room(reserved: float) -> None:
    lb1 = node("lb1", role=Role.ACTIVE, tls=0.1)
    lb2 = replace(node("lb2", tls=0.1), permits=PermitReport(reserved={"tls": reserved}))
    assert losing("lb1", assess(lb1, (peer(lb2),))).verdict is Verdict.UNKNOWN
    lb2 = replace(lb2, permits=PermitReport(reserved_clients=reserved))
    assert losing("lb1", assess(lb1, (peer(lb2),))).verdict is Verdict.INSUFFICIENT


def test_a_lost_backup_adds_nothing() -> None:
    headroom = assess(node("lb1", role=Role.ACTIVE, cpu=0.5), (peer(node("lb2", cpu=0.3)),))
    lost = losing("lb2", headroom)
    assert lost.verdict is Verdict.OK
    assert lost.survivors[0].utilization == 0.5
    assert lost.reasons[0].text == "if lb2 is lost, lb1 stays at 50 % of cpu: it takes nothing over"


def test_what_only_a_lost_backup_senses_does_not_matter() -> None:
    backup = node("lb2", cpu=0.1, tls=0.1)
    lost = losing("lb2", assess(node("lb1", role=Role.ACTIVE, cpu=0.5), (peer(backup),)))
    assert lost.verdict is Verdict.OK


@pytest.mark.parametrize(
    ("used", "verdict"),
    [(0.74, "ok"), (0.75, "tight"), (0.89, "tight"), (0.90, "insufficient"), (3.0, "insufficient")],
)
def test_thresholds(used, verdict) -> None:
    headroom = assess(node("lb1", role=Role.ACTIVE, cpu=used), (peer(node("lb2", cpu=0.0)),))
    assert losing("lb1", headroom).verdict == verdict


def test_unequal_nodes_are_compared_in_native_units() -> None:
    big = node("lb1", role=Role.ACTIVE, cpu=0.0, connections=(3000, 10_000))
    small = node("lb2", cpu=0.0, connections=(100, 4000))
    lost = losing("lb1", assess(big, (peer(small),)))
    assert lost.survivors[0].utilization == pytest.approx(3100 / 4000)


def test_active_active_loads_add_up_both_ways() -> None:
    def vips(own: str) -> tuple[VipReport, ...]:
        return tuple(
            VipReport(v, Role.ACTIVE if v == own else Role.BACKUP, 100, 0) for v in ("a", "b")
        )

    headroom = assess(
        node("lb1", vips=vips("a"), cpu=0.4), (peer(node("lb2", vips=vips("b"), cpu=0.3)),)
    )
    for name in ("lb1", "lb2"):
        assert losing(name, headroom).survivors[0].utilization == pytest.approx(0.7)


def test_the_worst_resource_binds() -> None:
    active = node("lb1", role=Role.ACTIVE, cpu=0.1, tls=0.6, fds=0.2)
    lost = losing("lb1", assess(active, (peer(node("lb2", cpu=0.1, tls=0.2, fds=0.1)),)))
    assert lost.survivors[0].resource == "tls"


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ({"tls": None}, {"tls": 0.1}),
        ({"tls": 0.1}, {"tls": None}),
        ({"tls": 0.1}, {"tls": (0.1, None)}),
        ({"tls": 0.1}, {"cpu": 0.1}),
        ({"tls": 0.1, "units": {"tls": "full/s"}}, {"tls": 0.1}),
        ({}, {}),
    ],
    ids=["lost", "survivor", "ceiling", "not sensed there", "other unit", "nothing at all"],
)
def test_unknown_stays_unknown(mine, theirs) -> None:
    active = node("lb1", role=Role.ACTIVE, **mine)
    lost = losing("lb1", assess(active, (peer(node("lb2", **theirs)),)))
    assert lost.verdict is Verdict.UNKNOWN
    assert lost.survivors[0].utilization is None


def test_one_known_overload_is_enough() -> None:
    active = node("lb1", role=Role.ACTIVE, cpu=0.8, tls=None)
    lost = losing("lb1", assess(active, (peer(node("lb2", cpu=0.3, tls=0.1)),)))
    assert lost.verdict is Verdict.INSUFFICIENT


def test_latency_does_not_add_up() -> None:
    active = node("lb1", role=Role.ACTIVE, cpu=0.1, hol=(5.0, None))
    assert losing("lb1", assess(active, (peer(node("lb2", cpu=0.1)),))).verdict is Verdict.OK


def test_a_silent_survivor_counts_as_full() -> None:
    active = node("lb1", role=Role.ACTIVE, cpu=0.1)
    for silent in (
        peer(None, "lb2", fresh=False),
        peer(node("lb2", cpu=0.0), age_ms=4100, fresh=False),
    ):
        headroom = assess(active, (silent,))
        lost = losing("lb1", headroom)
        assert lost.verdict is Verdict.INSUFFICIENT
        assert (lost.survivors[0].node, lost.survivors[0].utilization) == ("lb2", 1.0)
        assert losing("lb2", headroom).verdict is Verdict.UNKNOWN
        assert headroom.worst == lost
    assert lost.reasons[1].text == "lb2 is counted as full: its last report is 4.1 s old"


def test_a_silent_third_node_does_not_hide_a_good_heir() -> None:
    active = node("lb1", role=Role.ACTIVE, cpu=0.1)
    peers = (peer(None, "lb2", fresh=False), peer(node("lb3", cpu=0.1)))
    assert losing("lb1", assess(active, peers)).verdict is Verdict.OK


def test_a_single_node_has_no_headroom() -> None:
    headroom = assess(node("lb1", role=Role.ACTIVE, cpu=0.0), ())
    assert headroom.verdict is Verdict.INSUFFICIENT
    assert headroom.worst is not None
    assert headroom.worst.reasons[0].code == "no-other-node"


@pytest.mark.parametrize("condition", [Condition.FAULT, Condition.STARTING, Condition.ISOLATED])
def test_a_node_that_cannot_serve_is_no_survivor(condition) -> None:
    active = node("lb1", role=Role.ACTIVE, cpu=0.1)
    lost = losing("lb1", assess(active, (peer(node("lb2", condition=condition, cpu=0.0)),)))
    assert lost.verdict is Verdict.INSUFFICIENT
    assert lost.reasons[1].text == f"lb2 is {condition.predicate}"


def test_a_node_without_the_vip_is_no_survivor() -> None:
    active = node("lb1", role=Role.ACTIVE, cpu=0.1)
    lost = losing("lb1", assess(active, (peer(node("lb2", vips=(), cpu=0.0)),)))
    assert lost.verdict is Verdict.INSUFFICIENT
    assert lost.reasons[0].text == "if lb1 is lost, no other node can serve web"


def test_only_the_next_holder_takes_the_load() -> None:
    active = node("lb1", role=Role.ACTIVE, priority=150, cpu=0.6)
    peers = (
        peer(node("lb2", priority=120, cpu=0.2)),
        peer(node("lb3", priority=100, cpu=0.5)),
        peer(node("lb4", priority=140, condition=Condition.DRAINED, cpu=0.0)),
    )
    lost = losing("lb1", assess(active, peers))
    assert [(s.node, s.utilization) for s in lost.survivors] == [
        ("lb2", pytest.approx(0.8)),
        ("lb3", 0.5),
        ("lb4", 0.0),
    ]


def test_a_drained_node_is_the_last_resort() -> None:
    active = node("lb1", role=Role.ACTIVE, cpu=0.3)
    drained = node("lb2", condition=Condition.DRAINED, cpu=0.1)
    lost = losing("lb1", assess(active, (peer(drained),)))
    assert lost.verdict is Verdict.OK
    assert lost.survivors[0].utilization == pytest.approx(0.4)


@given(st.floats(0, 2), st.floats(0, 2), st.floats(0, 1))
def test_more_load_never_makes_a_better_verdict(own, other, more) -> None:
    rank = ["ok", "tight", "insufficient"]

    def verdict(load: float) -> int:
        headroom = assess(node("lb1", role=Role.ACTIVE, cpu=load), (peer(node("lb2", cpu=other)),))
        return rank.index(headroom.verdict)

    assert verdict(own) <= verdict(own + more)
