"""Anycast clusters of the fake agent: three nodes behind two routers.

agent = anycast()                       # lb1, lb2, lb3 announce "edge" in full
agent = ladder()                        # lb1 full, lb2 reduced, lb3 shut, lb4 withdrawn
agent = mixed()                         # a VIP on lb1 and lb2 besides
router_down(agent, "lb2", "tor1")       # one session of two is lost, with BFD
"""

from dataclasses import replace

import msgspec

from haman.config.model import Anycast, Bfd, Bgp, Neighbor, Peer
from haman.core.announcements import AnycastReport, BfdReport, ExabgpReport, NeighborReport
from haman.core.words import Condition, Reason, Role, Stance
from tests.api.fake_agent import START_NS, FakeAgent, FakeNode

EDGE = Anycast("edge", ("192.0.2.100/32", "2001:db8::100/128"))
BUSY = Reason("saturated", "cpu at 93 % of its ceiling (3.72 of 4 cores)")
DRAINED = Reason("drained", "drained by the operator; ends with `haman undrain`")
DIED = Reason("proxy-died", "proxy haproxy (pid 812) died")
SILENT = Reason("hold-expired", "nothing came from the router for 9 s; is it up and reachable?")
WRONG_AS = Reason(
    "bad-peer-as", "the router says AS 65009, peer_as says 65000; correct one of the two"
)
ROUTERS = {"tor1": "10.0.1.1", "tor2": "10.0.1.3"}


def anycast(names: tuple[str, ...] = ("lb1", "lb2", "lb3"), **options: str) -> FakeAgent:
    """Every node announces in full to two routers, BFD up."""
    agent = FakeAgent(**options)
    neighbors = tuple(
        Neighbor(name, address, "10.0.1.2", 65000, bfd=Bfd()) for name, address in ROUTERS.items()
    )
    config = agent.config
    peers = tuple(Peer(name, (f"10.77.0.{i}:4710",)) for i, name in enumerate(names[1:], 12))
    agent.config = msgspec.structs.replace(
        config,
        cluster=msgspec.structs.replace(config.cluster, peer=peers),
        vip=(),
        bgp=Bgp(65001, "10.0.1.2", neighbor=neighbors),
        anycast=(EDGE,),
    )
    agent.nodes = {
        name: FakeNode(
            name,
            100,
            None,
            connections=400,
            anycast=AnycastReport(
                "edge", Stance.FULL, 100, 100, START_NS, EDGE.prefixes, EDGE.prefixes, 2
            ),
            neighbors=tuple(
                NeighborReport(router, address, "up", START_NS, bfd="up")
                for router, address in ROUTERS.items()
            ),
        )
        for name in names
    }
    agent.bfd = tuple(BfdReport(router, "up", START_NS, detection_ms=300) for router in ROUTERS)
    agent.exabgp = ExabgpReport(True, "d1", 900, 1)
    return agent


def ladder(**options: str) -> FakeAgent:
    """Four nodes, one on each rung."""
    agent = anycast(("lb1", "lb2", "lb3", "lb4"), **options)
    agent.announce("lb2", Stance.REDUCED, BUSY, weight=50)
    agent.nodes["lb2"].condition = Condition.SATURATED
    agent.nodes["lb3"].drained = True
    agent.nodes["lb3"].condition, agent.nodes["lb3"].reasons = Condition.DRAINED, (DRAINED,)
    agent.nodes["lb3"].connections = 12
    agent.announce("lb3", Stance.SHUT, DRAINED)
    agent.nodes["lb4"].condition, agent.nodes["lb4"].reasons = Condition.FAULT, (DIED,)
    agent.nodes["lb4"].proxy_up, agent.nodes["lb4"].connections = False, 0
    agent.announce("lb4", Stance.WITHDRAWN, DIED)
    agent.advance(5)
    return agent


def mixed(**options: str) -> FakeAgent:
    """A VIP on lb1 and lb2, and anycast on all three."""
    agent = anycast(**options)
    agent.config = msgspec.structs.replace(agent.config, vip=FakeAgent().config.vip)
    agent.nodes["lb1"].role, agent.nodes["lb1"].priority = Role.ACTIVE, 150
    agent.nodes["lb2"].role = Role.BACKUP
    return agent


def router_down(
    agent: FakeAgent, node: str, router: str, why: Reason = SILENT, session: str = "down"
) -> None:
    """A node loses a router; BFD has seen it."""
    found = agent.nodes[node]
    reasons = (why,) if session != "up" else ()
    found.neighbors = tuple(
        NeighborReport(n.name, n.address, session, agent.now_ns, reasons, "down")
        if n.name == router
        else n
        for n in found.neighbors
    )
    if found.anycast is not None:
        up = sum(n.session == "up" for n in found.neighbors)
        told = Reason("session-down", f"session with {router} is {session}: {why.text}")
        because = (*found.anycast.reasons, *([told] if session != "up" else []))
        found.anycast = replace(found.anycast, neighbors_up=up, reasons=because)
    if node == "lb1":
        down = BfdReport(router, "down", agent.now_ns, "control detection time expired")
        agent.bfd = tuple(down if b.neighbor == router else b for b in agent.bfd)
    agent.advance(12)
