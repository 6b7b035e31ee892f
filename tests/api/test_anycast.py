"""Anycast services, as `status` shows them."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from haman.api import schema, view
from haman.core.announcements import AnycastReport, BfdReport
from haman.core.words import Stance
from tests.api.fake_agent import START_NS, FakeAgent
from tests.api.fake_anycast import (
    BUSY,
    DIED,
    DRAINED,
    SILENT,
    WRONG_AS,
    anycast,
    ladder,
    mixed,
    router_down,
)


def status(agent: FakeAgent) -> schema.Status:
    return view.status(agent.snapshot(), agent.config)


def edge(agent: FakeAgent) -> schema.Service:
    return next(s for s in status(agent).services if s.name == "edge")


def fault(agent: FakeAgent, *names: str) -> None:
    for name in names:
        agent.kill_proxy(name)


def drain(agent: FakeAgent, *names: str, stance: Stance = Stance.SHUT) -> None:
    for name in names:
        agent.nodes[name].drained = True
        agent.announce(name, stance, DRAINED)


def unheard(agent: FakeAgent, name: str) -> None:
    router_down(agent, name, "tor1")
    router_down(agent, name, "tor2", WRONG_AS, "connecting")


def test_the_contracts_sample() -> None:
    service = edge(anycast(("lb1", "lb2")))
    assert (service.kind, service.mode, service.state) == ("anycast", "active-active", "ok")
    assert service.prefixes == ("192.0.2.100/32", "2001:db8::100/128")
    assert (service.holders, service.expected) == (("lb1", "lb2"), 2)
    assert service.members[0] == schema.Member(
        "lb1",
        since="2026-11-20T12:02:30.000Z",
        stance="full",
        weight=100,
        full_weight=100,
        share=0.5,
        routers=2,
    )


CASES: dict[str, tuple[Callable[[FakeAgent], object], str, str, int, tuple[str, ...]]] = {
    # what happened → state, holders, expected, reasons
    "all is well": (lambda a: None, "ok", "lb1 lb2 lb3", 3, ()),
    "reduced is well too": (
        lambda a: a.announce("lb2", Stance.REDUCED, BUSY, weight=50),
        "ok", "lb1 lb2 lb3", 3, (),
    ),
    "a fault": (
        lambda a: fault(a, "lb3"),
        "degraded", "lb1 lb2", 3, ("lb3 is withdrawn: proxy haproxy (pid 812) died",),
    ),
    "drained on purpose": (lambda a: drain(a, "lb3"), "ok", "lb1 lb2", 2, ()),
    "drained, and withdrawn": (
        lambda a: drain(a, "lb3", stance=Stance.WITHDRAWN), "ok", "lb1 lb2", 2, (),
    ),
    "drained until one is left": (
        lambda a: drain(a, "lb2", "lb3"),
        "degraded", "lb1", 1, ("nobody else announces it if lb1 is lost",),
    ),
    "the last resort": (
        lambda a: drain(a, "lb1", "lb2", "lb3"),
        "degraded", "lb1 lb2 lb3", 0, ("lb1, lb2 and lb3 announce it shut, as the last resort",),
    ),
    "shut without being drained": (
        lambda a: a.announce("lb2", Stance.SHUT, BUSY),
        "degraded", "lb1 lb3", 3, ("lb2 is shut: cpu at 93 % of its ceiling (3.72 of 4 cores)",),
    ),
    "everybody in fault": (
        lambda a: fault(a, "lb1", "lb2", "lb3"),
        "down", "", 3,
        (
            "no router hears it from any node",
            *(f"lb{i} is withdrawn: proxy haproxy (pid 812) died" for i in (1, 2, 3)),
        ),
    ),
    "a router of two": (lambda a: router_down(a, "lb2", "tor1"), "ok", "lb1 lb2 lb3", 3, ()),
    "no router": (
        lambda a: unheard(a, "lb2"),
        "degraded", "lb1 lb3", 3, ("lb2 is full, but none of its routers hears it",),
    ),
    "a node that is not heard": (
        lambda a: a.lose("lb2"),
        "degraded", "lb1 lb3", 3, ("lb2 last heard 12 s ago, it was full then",),
    ),
    "a node never heard": (
        lambda a: a.never_heard("lb2"),
        "degraded", "lb1 lb3", 3, ("lb2 has not been heard yet",),
    ),
    "memories are no announcers": (
        lambda a: (fault(a, "lb1"), a.lose("lb2"), a.lose("lb3")),
        "down", "", 3,
        (
            "no router hears it from a node that reports; when last heard, lb2 and lb3 announced it",
            "lb1 is withdrawn: proxy haproxy (pid 812) died",
            "lb2 last heard 12 s ago, it was full then",
            "lb3 last heard 12 s ago, it was full then",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_state(case: str) -> None:
    happens, state, holders, expected, reasons = CASES[case]
    agent = anycast()
    happens(agent)
    service = edge(agent)
    assert (service.state, service.holders) == (state, tuple(holders.split()))
    assert (service.expected, tuple(r.text for r in service.reasons)) == (expected, reasons)


def test_alone_is_no_degradation_where_there_is_one_node() -> None:
    agent = anycast(("lb1", "lb2"))
    snapshot = replace(agent.snapshot(), peers=())
    (service,) = view.status(snapshot, agent.config).services
    assert (service.state, service.holders) == ("ok", ("lb1",))


def test_every_rung_of_the_ladder() -> None:
    members = edge(ladder()).members
    assert [(m.node, m.stance, m.weight, m.full_weight) for m in members] == [
        ("lb1", "full", 100, 100),
        ("lb2", "reduced", 50, 100),
        ("lb3", "shut", 100, 100),
        ("lb4", "withdrawn", 0, 100),
    ]
    assert [m.reasons[0].code if m.reasons else "" for m in members] == [
        "", "saturated", "drained", "proxy-died",
    ]  # fmt: skip
    assert [round(m.share or 0, 3) for m in members] == [0.667, 0.333, 0, 0]


def test_shares_are_equal_where_one_node_sends_no_weight() -> None:
    agent = anycast()
    agent.announce("lb2", Stance.REDUCED, BUSY, weight=50)
    said = agent.nodes["lb2"].anycast
    assert said is not None
    agent.nodes["lb2"].anycast = replace(said, weighted=False)
    assert {m.share for m in edge(agent).members} == {1 / 3}


def test_shares_of_what_is_not_heard_are_unknown() -> None:
    agent = anycast()
    agent.lose("lb2")
    assert [m.share for m in edge(agent).members] == [0.5, None, 0.5]


def test_announced_without_the_address_is_a_black_hole() -> None:
    agent = anycast()
    said = agent.nodes["lb2"].anycast
    assert said is not None
    agent.nodes["lb2"].anycast = replace(said, held=("192.0.2.100/32",))
    service = edge(agent)
    assert service.state == "degraded"
    assert service.reasons[0].text == "lb2 announces 2001:db8::100/128 and has no such address"
    # A prefix that its configuration does not have (yet) is none that it announces.
    agent.nodes["lb2"].anycast = replace(
        said, prefixes=("192.0.2.100/32",), held=("192.0.2.100/32",)
    )
    assert edge(agent).state == "ok"


def test_a_family_that_no_router_hears_is_told() -> None:
    agent = anycast()
    said = agent.nodes["lb2"].anycast
    assert said is not None
    agent.nodes["lb2"].anycast = replace(said, unheard=("2001:db8::100/128",))
    service = edge(agent)
    assert service.state == "degraded"
    assert service.reasons[0].text == "no router hears 2001:db8::100/128 from lb2"


def test_before_the_first_report_it_is_withdrawn() -> None:
    agent = anycast()
    agent.nodes["lb1"].anycast = None
    assert edge(agent).members[0] == schema.Member("lb1", stance="withdrawn", share=0.0)


def test_services_of_peers_alone_are_shown() -> None:
    agent = anycast()
    api = AnycastReport("api", Stance.FULL, 10, 10, START_NS, ("192.0.2.7/32",), (), 1)
    agent.nodes["lb2"].anycast = api
    found = next(s for s in status(agent).services if s.name == "api")
    assert (found.holders, found.prefixes) == (("lb2",), ("192.0.2.7/32",))
    assert [m.node for m in found.members] == ["lb2"]


def test_a_mixed_cluster() -> None:
    found = status(mixed())
    assert [(s.name, s.mode) for s in found.services] == [
        ("web", "active-passive"),
        ("edge", "active-active"),
    ]
    assert found.mode == "active-active"


def test_neighbours_of_a_node() -> None:
    agent = anycast()
    router_down(agent, "lb1", "tor1", SILENT)
    tor1, tor2 = status(agent).nodes[0].neighbors
    assert (tor1.name, tor1.address, tor1.session, tor1.bfd) == ("tor1", "10.0.1.1", "down", "down")
    assert tor1.reasons[0].text == SILENT.text
    assert tor1.bfd_reason == "control detection time expired"
    assert tor1.since == "2026-11-20T12:03:11.000Z"
    assert (tor2.session, tor2.bfd, tor2.bfd_reason, tor2.reasons) == ("up", "up", "", ())


def test_bfd_tells_both_sides_of_it() -> None:
    agent = anycast()
    agent.bfd = (BfdReport("tor1", "down", 1, "", "neighbor signaled session down"),)
    told = status(agent).nodes[0].neighbors[0].bfd_reason
    assert told == "the router says: neighbor signaled session down"


def test_bfd_that_cannot_run_here_says_so() -> None:
    agent = anycast()
    agent.bfd = (BfdReport("tor1", "down", 1, problem="port 3784 is taken"),)
    assert status(agent).nodes[0].neighbors[0].bfd_reason == "port 3784 is taken"


def test_neighbours_of_a_node_that_is_not_heard_are_unknown() -> None:
    agent = anycast()
    agent.lose("lb2")
    tor1 = status(agent).nodes[1].neighbors[0]
    assert (tor1.session, tor1.bfd, tor1.since) == ("unknown", "unknown", "")
    assert tor1.reasons[0].text == "last heard 12 s ago; it was up then"


def test_a_pair_without_bgp_has_no_neighbours() -> None:
    assert [n.neighbors for n in status(FakeAgent()).nodes] == [(), ()]


def test_the_fake_dies_as_told() -> None:
    agent = anycast()
    agent.kill_proxy("lb2")
    assert edge(agent).members[1].reasons[0].code == DIED.code
