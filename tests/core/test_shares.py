"""Anycast in the N−1 arithmetic, with numbers worked by hand."""

import pytest

from haman.core.announcements import AnycastReport
from haman.core.facts import VipReport
from haman.core.headroom import LossScenario, Verdict, assess
from haman.core.reports import NodeReport, PeerView, StormReport
from haman.core.shares import Shares, carries, shares
from haman.core.words import Condition, Role, Stance, Utilization


def edge(
    weight: int = 100,
    stance: Stance = Stance.FULL,
    service: str = "edge",
    *,
    up: int = 1,
    weighted: bool = True,
) -> AnycastReport:
    return AnycastReport(service, stance, weight, 100, 1, neighbors_up=up, weighted=weighted)


def node(
    name: str,
    *services: AnycastReport,
    cpu: float = 0.0,
    cores: float = 1.0,
    condition: Condition = Condition.IN_SERVICE,
    vips: tuple[VipReport, ...] = (),
) -> NodeReport:
    resources = (Utilization("cpu", cpu, cores, "cores"),)
    said = services or (edge(),)
    storm = StormReport(cores, 433e-6, 201e-6, 5.0, backlog=4096)
    return NodeReport(
        name,
        "",
        "1",
        condition,
        resources=resources,
        connections=0,
        vips=vips,
        anycast=said,
        storm=storm,
    )


def without(name: str, *nodes: NodeReport) -> LossScenario:
    own, *peers = nodes
    headroom = assess(own, tuple(PeerView(p.node, p, 1.0, fresh=True) for p in peers))
    return next(s for s in headroom.scenarios if s.lost == (name,))


def test_three_equal_nodes_share_by_half() -> None:
    lost = without("lb1", *(node(f"lb{n}", cpu=0.5) for n in (1, 2, 3)))
    assert [s.utilization for s in lost.survivors] == [0.75, 0.75]
    assert lost.verdict is Verdict.TIGHT
    assert lost.reasons[0].text.endswith(
        "reaches 75 % of cpu: 50 % of its own, 25 % taken over, its share of 50 %"
    )


def test_two_of_three_do_not_carry_what_three_did() -> None:
    lost = without("lb1", *(node(f"lb{n}", cpu=0.62) for n in (1, 2, 3)))
    assert lost.survivors[0].utilization == pytest.approx(0.93)
    assert lost.verdict is Verdict.INSUFFICIENT


def test_shares_follow_the_weights_and_ceilings_count_in_native_units() -> None:
    # 1.2 cores are lost; lb2 takes 100/125 of them = 0.96, lb3 25/125 = 0.24.
    lost = without(
        "lb1",
        node("lb1", cpu=1.2, cores=4),
        node("lb2", cpu=1.0, cores=4),
        node("lb3", edge(25, Stance.REDUCED), cpu=0.5, cores=1),
    )
    got = {s.node: s.utilization for s in lost.survivors}
    assert got == {"lb2": pytest.approx(1.96 / 4), "lb3": pytest.approx(0.74)}


def test_one_survivor_takes_all() -> None:
    lost = without("lb1", node("lb1", cpu=0.4), node("lb2", cpu=0.3))
    assert lost.survivors[0].utilization == pytest.approx(0.7)
    assert "its share" not in lost.reasons[0].text


def test_a_node_without_weights_makes_all_equal() -> None:
    able = (node("lb2", edge(100)), node("lb3", edge(25, Stance.REDUCED, weighted=False)))
    assert shares(node("lb1"), able) == Shares({"lb2": 0.5, "lb3": 0.5})


@pytest.mark.parametrize(
    ("other", "taken"),
    [
        (edge(0, Stance.WITHDRAWN, up=1), {"lb2": 1.0}),
        (edge(100, Stance.SHUT), {"lb2": 1.0}),
        (edge(100, up=0), {"lb2": 1.0}),
        (edge(service="dns"), {"lb2": 1.0}),
        (edge(100), {"lb2": 0.5, "lb3": 0.5}),
    ],
    ids=["withdrawn", "shut", "no router hears it", "another service", "serves"],
)
def test_who_takes_part(other: AnycastReport, taken: dict[str, float]) -> None:
    assert shares(node("lb1"), (node("lb2"), node("lb3", other))).taken == taken


def test_when_nobody_serves_routers_use_those_that_are_shut() -> None:
    able = (node("lb2", edge(100, Stance.SHUT)), node("lb3", edge(0, Stance.WITHDRAWN)))
    assert shares(node("lb1"), able).taken == {"lb2": 1.0}


def test_at_last_those_that_are_withdrawn_come_back() -> None:
    drained = node("lb2", edge(0, Stance.WITHDRAWN), condition=Condition.DRAINED)
    assert shares(node("lb1"), (drained,)).taken == {"lb2": 1.0}


def test_nobody_left_is_an_orphan() -> None:
    assert shares(node("lb1"), (node("lb2", edge(service="dns")),)) == Shares({}, ("edge",))
    lost = without("lb1", node("lb1"), node("lb2", condition=Condition.FAULT))
    assert lost.verdict is Verdict.INSUFFICIENT
    assert lost.reasons[0].text == "if lb1 is lost, no other node can serve edge"


@pytest.mark.parametrize(
    ("said", "adds"),
    [
        (edge(100), True),
        (edge(0, Stance.WITHDRAWN), False),
        (edge(100, up=0), False),
        (edge(100, Stance.SHUT), False),
    ],
)
def test_what_a_lost_node_carried(said: AnycastReport, adds: bool) -> None:
    assert bool(shares(node("lb1", said), (node("lb2"),)).taken) is adds


def test_a_node_that_is_shut_carries_all_while_nobody_else_serves() -> None:
    able = (node("lb2", edge(0, Stance.WITHDRAWN), condition=Condition.DRAINED),)
    assert shares(node("lb1", edge(100, Stance.SHUT)), able).taken == {"lb2": 1.0}


def test_of_several_services_the_largest_share_counts() -> None:
    vip = (VipReport("web", Role.ACTIVE, 150, 1),)
    backup = (VipReport("web", Role.BACKUP, 100, 1),)
    able = (node("lb2", vips=backup), node("lb3"))
    assert shares(node("lb1", vips=vip), able).taken == {"lb2": 1.0, "lb3": 0.5}


def test_what_routers_send_here() -> None:
    report = node("lb1", edge(), edge(0, Stance.WITHDRAWN, "dns"), edge(service="ntp", up=0))
    assert carries(report) == ("edge",)
