"""Clusters to look at: a pair, a pair in trouble, a single node, a fleet of sixteen."""

from typing import Any

from haman.api import view
from haman.api.schema import (
    Alert,
    Engine,
    Event,
    Headroom,
    Member,
    Node,
    Proxy,
    Reason,
    Resource,
    Scenario,
    Service,
    Status,
    Survivor,
    Why,
    WhyMember,
    Worst,
)
from haman.api.why import why
from tests.api import fake_anycast
from tests.api.fake_agent import FakeAgent

AT = "2026-11-20T10:15:00Z"


def resource(name, ratio, ceiling, unit, confidence="derived", **more) -> Resource:
    used = None if ratio is None else ratio * ceiling
    return Resource(
        name=name,
        used=used,
        ceiling=ceiling if ratio is not None else None,
        unit=unit,
        utilization=ratio,
        confidence=confidence,
        age_ms=120,
        **({"soft": 0.75, "hard": 0.9} | more),
    )


def node(name, cpu=0.41, tls=0.47, fds=0.08, *, condition="in-service", **more) -> Node:
    resources = (
        resource("cpu", cpu, 1.0, "cores", "measured"),
        resource("tls", tls, 1.8, "core-s/s", "calibrated"),
        resource("fds", fds, 20000, "count", "measured"),
    )
    known = [r for r in resources if r.utilization is not None]
    binding = max(known, key=lambda r: r.utilization or 0).name if known else ""
    fields: dict[str, Any] = {
        "name": name,
        "site": "ams1",
        "condition": condition,
        "reasons": (),
        "age_ms": 90,
        "version": "0.1.0",
        "proxy": Proxy("haproxy", "2.6.12", up=True),
        "resources": resources,
        "binding": binding,
        "connections": 812,
        "engine": Engine(0.3, realtime=True, guard=True),
    }
    return Node(**(fields | more))


def vip(name, members, holders=None, state="ok", address="10.77.0.100/24") -> Service:
    active = tuple(m.node for m in members if m.role == "active")
    return Service(
        name=name,
        kind="vip",
        mode="active-passive",
        state=state,
        holders=active if holders is None else holders,
        expected=1,
        members=tuple(members),
        addresses=(address,),
    )


def member(node_name, role, priority, since="2026-11-20T10:11:00Z", *reasons) -> Member:
    return Member(node=node_name, role=role, priority=priority, since=since, reasons=reasons)


def losing(lost, survivor, ratio, verdict, resource_name="tls") -> Scenario:
    return Scenario(
        lost=(lost,),
        verdict=verdict,
        survivors=(Survivor(survivor, resource_name, "steady", ratio),),
    )


def pair(**more) -> Status:
    fields: dict[str, Any] = {
        "schema": 1,
        "cluster": "edge",
        "node": "lb1",
        "at": AT,
        "paused": False,
        "nodes": (node("lb1"), node("lb2", cpu=0.36, tls=0.46, fds=0.07, connections=640)),
        "services": (
            vip("web", [member("lb1", "active", 150), member("lb2", "backup", 100)]),
            vip(
                "api",
                [
                    member("lb1", "backup", 100, "2026-11-20T07:02:00Z"),
                    member("lb2", "active", 150, "2026-11-20T07:02:00Z"),
                ],
                address="10.77.0.101/24",
            ),
        ),
        "headroom": Headroom(
            verdict="tight",
            worst=Worst(("lb1",), "lb2", "tls", "steady", 0.93),
            scenarios=(losing("lb1", "lb2", 0.93, "tight"), losing("lb2", "lb1", 0.93, "tight")),
        ),
        "alerts": (
            Alert(
                "n-minus-1",
                "warning",
                "if lb1 is lost, lb2 reaches 93 % of tls",
                "2026-11-20T10:13:00Z",
            ),
        ),
        "mode": "active-active",
    }
    return Status(**(fields | more))


def troubled() -> Status:
    """lb1's proxy is dead, lb2 carries everything and is saturated, lb3 is not heard."""
    dead = Reason("proxy-dead", "haproxy (pid 4711) exited with signal 9 at 10:14:31")
    full = Reason("tls-over-hard", "tls at 94 % is over its hard threshold of 90 % for 12 s")
    hold = Reason("saturated-holding", "holding all the same: no peer is fit to take the load")
    silent = Reason("peer-stale", "no report for 41 s on both paths")
    return pair(
        node="lb2",
        paused=True,
        nodes=(
            node(
                "lb1",
                0.02,
                None,
                0.01,
                condition="fault",
                reasons=(dead,),
                proxy=Proxy("haproxy", "2.6.12", up=False),
                connections=0,
            ),
            node("lb2", 0.83, 0.94, 0.31, condition="saturated", reasons=(full,), connections=9321),
            node(
                "lb3",
                None,
                None,
                None,
                condition="stale",
                reasons=(silent,),
                age_ms=41000,
                connections=None,
                engine=Engine(0.0, realtime=False, guard=True),
            ),
        ),
        services=(
            vip(
                "web",
                [
                    member("lb1", "released", 0, "2026-11-20T10:14:31Z", dead),
                    member("lb2", "active", 100, "2026-11-20T10:14:31Z", hold),
                    member("lb3", "backup", 50),
                ],
                state="degraded",
            ),
            vip(
                "api",
                [
                    member("lb1", "released", 0, "2026-11-20T10:14:31Z", dead),
                    member("lb2", "active", 150, "2026-11-20T07:02:00Z", hold),
                    member("lb3", "backup", 50),
                ],
                state="degraded",
            ),
        ),
        headroom=Headroom(
            verdict="insufficient",
            worst=Worst(("lb2",), "", "", "", None),
            scenarios=(
                Scenario(
                    lost=("lb2",),
                    verdict="insufficient",
                    reasons=(
                        Reason(
                            "nobody-left", "if lb2 is lost, no other node can serve web and api"
                        ),
                    ),
                ),
            ),
        ),
        alerts=(
            Alert("saturated", "warning", "tls at 94 %, holding", "2026-11-20T10:14:40Z", "lb2"),
            Alert(
                "proxy-dead", "critical", "haproxy is not running", "2026-11-20T10:14:31Z", "lb1"
            ),
            Alert("peer-stale", "critical", "no report for 41 s", "2026-11-20T10:14:19Z", "lb3"),
            Alert(
                "n-minus-1", "critical", "nothing is left if lb2 is lost", "2026-11-20T10:14:31Z"
            ),
        ),
        mode="active-passive",
    )


def single() -> Status:
    return pair(
        nodes=(node("lb1"),),
        services=(),
        headroom=Headroom("unknown"),
        alerts=(),
        mode="",
    )


def fleet(size=16) -> Status:
    names = [f"edge-proxy-ams1-rack07-unit{i + 1:02d}" for i in range(size)]
    nodes = tuple(
        node(
            n, 0.2 + (i * 37 % 61) / 100, 0.15 + (i * 53 % 71) / 100, 0.05, connections=800 + 97 * i
        )
        for i, n in enumerate(names)
    )
    services = tuple(
        vip(
            name,
            [
                member(names[k % size], "active", 150),
                *(member(names[(k + j) % size], "backup", 150 - 10 * j) for j in range(1, 4)),
            ],
        )
        for k, name in enumerate(
            ("web", "api", "media-delivery-frankfurt", "login", "search", "checkout")
        )
    )
    return pair(
        node=names[0],
        cluster="content-delivery-europe-west",
        nodes=nodes,
        services=services,
        headroom=Headroom(
            "ok",
            Worst((names[4],), names[5], "cpu", "steady", 0.71),
            (losing(names[4], names[5], 0.71, "ok", "cpu"),),
        ),
        alerts=(),
    )


def anycast() -> Status:
    """An anycast service beside the VIPs; lb2 has given half of its weight away."""
    edge = Service(
        name="edge",
        kind="anycast",
        mode="active-active",
        state="ok",
        holders=("lb1", "lb2"),
        expected=2,
        members=(
            Member("lb1", since="2026-11-20T09:00:00Z", stance="full", weight=100),
            Member("lb2", since="2026-11-20T10:14:00Z", stance="reduced", weight=50),
        ),
        prefixes=("192.0.2.100/32", "2001:db8::100/128"),
    )
    return pair(services=(edge, *pair().services))


def seen(agent: FakeAgent) -> Status:
    """As the agent's own view has it."""
    return view.status(agent.snapshot(), agent.config)


def journal(agent: FakeAgent) -> tuple[Event, ...]:
    return tuple(view.event(entry) for entry in agent.events(0, 100))


def story(agent: FakeAgent, service: str) -> Why:
    told = why(agent.snapshot(), agent.config, agent.events(0, 100), service)
    assert told is not None
    return told


def rungs() -> FakeAgent:
    """One node on each rung of the ladder, and a router that lb1 has lost."""
    agent = fake_anycast.ladder()
    fake_anycast.router_down(agent, "lb1", "tor1")
    return agent


def deaf() -> FakeAgent:
    """VIP and anycast; lb2 has two routers in trouble, lb3 is not heard."""
    agent = fake_anycast.mixed()
    fake_anycast.router_down(agent, "lb2", "tor1")
    fake_anycast.router_down(agent, "lb2", "tor2", fake_anycast.WRONG_AS, "connecting")
    agent.lose("lb3", age_s=41)
    return agent


def events(count=14) -> tuple[Event, ...]:
    story = (
        ("lb1", "peer-found", "", "lb2 is heard on 10.77.0.12:4710"),
        ("lb1", "role-changed", "web", "backup → active"),
        ("lb1", "vip-acquired", "web", "10.77.0.100/24 on eth0"),
        ("lb2", "role-changed", "api", "backup → active"),
        ("lb2", "vip-acquired", "api", "10.77.0.101/24 on eth0"),
        ("lb1", "condition-changed", "", "starting → in-service"),
        ("lb1", "engine-late", "", "woke 4.1 ms late; adverts every 100 ms"),
    )
    return tuple(
        Event(
            seq=i + 1,
            at=f"2026-11-20T10:{i // 60 % 60:02d}:{i % 60:02d}Z",
            node=(line := story[i % len(story)])[0],
            type=line[1],
            service=line[2],
            text=line[3],
        )
        for i in range(count)
    )


WHY = Why(
    service="web",
    state="degraded",
    text="web is degraded: lb2 serves it; no other node could take over now",
    members=(
        WhyMember(
            "lb2",
            serves=True,
            role="active",
            since="2026-11-20T10:14:31Z",
            reasons=(Reason("peer-released", "lb1 released web: haproxy (pid 4711) exited"),),
            text="lb2 serves it since 10:14:31 UTC (5 s): lb1 released web: haproxy (pid 4711) exited.",
        ),
        WhyMember(
            "lb1",
            serves=False,
            role="released",
            since="2026-11-20T10:14:31Z",
            reasons=(Reason("proxy-dead", "haproxy (pid 4711) exited"),),
            text="lb1 is released since 10:14:31 UTC (5 s), for that reason.",
        ),
    ),
    events=events(4),
)

UNSAFE_REASONS = (Reason("n-minus-1", "lb1 would reach 118 % of tls (ceiling 1.8 core-s/s)"),)
