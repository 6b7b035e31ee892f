"""The picture of the cluster, as machines see it."""

import math
from dataclasses import replace

import pytest

from haman.api import plain, schema, view
from haman.api.times import clock, duration, iso, parse_iso
from haman.cli.status import render
from haman.controller.surface import ClusterSnapshot
from haman.core.facts import VipReport
from haman.core.headroom import Headroom, LossScenario, Verdict
from haman.core.reports import PeerView, PermitReport
from haman.core.words import Condition, Reason, Role, Utilization
from tests.api.fake_agent import SECOND_NS, START_NS, WEB, FakeAgent


def status(agent: FakeAgent) -> schema.Status:
    return view.status(agent.snapshot(), agent.config)


def web(agent: FakeAgent) -> schema.Service:
    (service,) = status(agent).services
    return service


def test_a_healthy_pair() -> None:
    found = status(FakeAgent())
    assert (found.schema, found.cluster, found.node, found.paused) == (1, "edge", "lb1", False)
    assert found.at == "2026-11-20T12:03:11.000Z"
    assert found.mode == "active-passive"
    assert [(n.name, n.condition, n.age_ms) for n in found.nodes] == [
        ("lb1", "in-service", 0.0),
        ("lb2", "in-service", 120.0),
    ]
    (service,) = found.services
    assert (service.kind, service.mode, service.state) == ("vip", "active-passive", "ok")
    assert (service.holders, service.expected) == (("lb1",), 1)
    assert service.addresses == ("10.77.0.100/24",)
    assert [(m.node, m.role, m.priority) for m in service.members] == [
        ("lb1", "active", 150),
        ("lb2", "backup", 100),
    ]
    assert found.headroom.verdict == "ok"
    assert found.headroom.worst is not None
    assert found.headroom.worst.resource == "cpu"


def test_resources_show_use_binding_and_thresholds() -> None:
    agent = FakeAgent()
    agent.set_utilization("lb1", "tls", 0.93)
    node = status(agent).nodes[0]
    assert node.binding == "tls"
    tls = next(r for r in node.resources if r.name == "tls")
    assert (tls.soft, tls.hard) == (0.75, 0.9)
    assert tls.utilization == pytest.approx(0.93)
    peer = status(agent).nodes[1]
    assert {r.soft for r in peer.resources} == {None}
    assert {r.age_ms for r in peer.resources} == {240.0}


def test_a_resource_tells_where_its_ceiling_is_from_and_why_it_is_unknown() -> None:
    agent = FakeAgent()
    snapshot = agent.snapshot()
    resources = (
        Utilization("fds", 9, 10, "count", origin="RLIMIT_NOFILE", exhausted_in_s=60.0),
        Utilization("nic", None, None, "bytes/s", problem="eth0 tells no speed"),
    )
    own = replace(snapshot.own, resources=resources)
    fds, nic = view.status(replace(snapshot, own=own), agent.config).nodes[0].resources
    assert (fds.origin, fds.problem, fds.exhausted_in_s) == ("RLIMIT_NOFILE", "", 60.0)
    assert (nic.utilization, nic.problem, nic.exhausted_in_s) == (None, "eth0 tells no speed", None)


def test_a_dead_proxy_degrades_the_service() -> None:
    agent = FakeAgent()
    agent.kill_proxy("lb1")
    service = web(agent)
    assert (service.state, service.holders) == ("degraded", ("lb2",))
    assert service.members[0].role == "released"
    assert service.members[0].reasons[0].code == "proxy-died"


def test_two_holders_are_a_conflict() -> None:
    agent = FakeAgent()
    agent.conflict()
    assert web(agent).state == "conflict"
    assert web(agent).holders == ("lb1", "lb2")
    assert status(agent).mode == "active-active"


def test_no_holder_is_down() -> None:
    agent = FakeAgent()
    agent.nodes["lb1"].role = Role.RELEASED
    assert web(agent).state == "down"
    assert web(agent).holders == ()


def test_an_address_that_the_kernel_has_not_confirmed_degrades() -> None:
    agent = FakeAgent()
    own = agent.snapshot().own
    bare = replace(own, vips=(replace(own.vips[0], held=()),))
    snapshot = replace(agent.snapshot(), own=bare)
    assert view.status(snapshot, agent.config).services[0].state == "degraded"


def test_a_stale_peer_is_a_memory() -> None:
    agent = FakeAgent()
    agent.kill_proxy("lb1")
    agent.lose("lb2", age_s=12)
    found = status(agent)
    peer = found.nodes[1]
    assert peer.condition == "stale"
    assert peer.reasons[0].text == "last heard 12 s ago; it was in-service then"
    assert peer.age_ms == 12_000
    service = found.services[0]
    assert (service.state, service.holders) == ("down", ())
    assert service.members[1].role == "active"
    assert service.members[1].reasons[0].code == "stale"


def test_a_stale_holder_that_is_still_heard_on_the_wire_holds() -> None:
    agent = FakeAgent()
    agent.kill_proxy("lb1")
    agent.lose("lb2")
    snapshot = heard_on_the_wire(agent, "10.77.0.12")
    service = view.status(snapshot, agent.config).services[0]
    assert (service.state, service.holders) == ("degraded", ("lb2",))


def heard_on_the_wire(agent: FakeAgent, router: str, role: Role = Role.BACKUP) -> ClusterSnapshot:
    snapshot = agent.snapshot()
    vip = VipReport("web", role, 100, START_NS, active_router=router, active_priority=120)
    return replace(snapshot, own=replace(snapshot.own, vips=(vip,)))


def test_a_router_outside_of_the_cluster_holds_by_its_address() -> None:
    agent = FakeAgent()
    snapshot = replace(heard_on_the_wire(agent, "10.77.0.66"), peers=())
    service = view.status(snapshot, agent.config).services[0]
    assert (service.state, service.holders) == ("ok", ("10.77.0.66",))


def test_a_peer_that_never_reported_is_listed() -> None:
    agent = FakeAgent()
    agent.never_heard("lb2")
    agent.nodes["lb2"].age_ms = math.inf
    found = status(agent)
    assert found.nodes[1].condition == "stale"
    assert found.nodes[1].age_ms == 0.0
    assert found.nodes[1].reasons[0].code == "no-report"
    assert found.services[0].members[1] == schema.Member(
        "lb2", reasons=(schema.Reason("no-report", "lb2 has not been heard yet"),)
    )
    assert found.services[0].state == "degraded"


def test_a_single_node_needs_no_standby() -> None:
    agent = FakeAgent()
    snapshot = replace(agent.snapshot(), peers=())
    assert view.status(snapshot, agent.config).services[0].state == "ok"


def test_vips_of_peers_alone_are_shown() -> None:
    agent = FakeAgent()
    lb2 = agent.snapshot().peers[0]
    assert lb2.report is not None
    api = VipReport("api", Role.ACTIVE, 100, START_NS, held=("10.77.0.101/24",))
    report = replace(
        lb2.report, vips=(*lb2.report.vips, api), addresses={"api": ("10.77.0.101/24",)}
    )
    snapshot = replace(agent.snapshot(), peers=(PeerView("lb2", report, 120.0, fresh=True),))
    found = view.status(snapshot, agent.config)
    assert [(s.name, s.holders) for s in found.services] == [("web", ("lb1",)), ("api", ("lb2",))]
    assert found.services[1].addresses == ("10.77.0.101/24",)
    assert [m.node for m in found.services[1].members] == ["lb2"]
    assert found.mode == "active-active"


def test_before_the_engines_first_report_the_role_is_initialize() -> None:
    agent = FakeAgent()
    snapshot = agent.snapshot()
    snapshot = replace(snapshot, own=replace(snapshot.own, vips=()))
    member = view.status(snapshot, agent.config).services[0].members[0]
    assert (member.node, member.role, member.priority) == ("lb1", "initialize", 0)


def test_headroom_without_a_survivor() -> None:
    alone = LossScenario(("lb1",), Verdict.INSUFFICIENT, reasons=(Reason("x", "nobody"),))
    found = view.headroom(Headroom(Verdict.INSUFFICIENT, alone, (alone,)))
    assert found.worst == schema.Worst(("lb1",), "", "", "", None)
    assert found.scenarios[0].survivors == ()
    assert view.headroom(Headroom()) == schema.Headroom("unknown")


@pytest.mark.parametrize(
    ("condition", "ready"),
    [
        (Condition.IN_SERVICE, True),
        (Condition.SATURATED, True),
        (Condition.ISOLATED, True),
        (Condition.STARTING, False),
        (Condition.DRAINED, False),
        (Condition.FAULT, False),
    ],
)
def test_readiness(condition: Condition, *, ready: bool) -> None:
    agent = FakeAgent()
    agent.nodes["lb1"].condition = condition
    assert (view.unready(agent.snapshot()) == ()) is ready


def test_numbers_that_json_lacks_are_left_out() -> None:
    assert plain.reasons([Reason("x", "y", {"a": math.inf, "b": math.nan, "c": 1.5})])[0].data == {
        "c": 1.5
    }


def test_permits_are_shown() -> None:
    agent = FakeAgent()
    said = PermitReport(("web",), "", "lb2", {"cpu": 0.25, "fds": math.nan}, 3.0)
    own = replace(agent.snapshot().own, permits=said)
    found = view.status(replace(agent.snapshot(), own=own), agent.config)
    assert found.nodes[0].permits == schema.Permits(("web",), "", "lb2", {"cpu": 0.25}, 3.0)
    assert found.nodes[1].permits is None
    assert "lb1: holds room for lb2 (cpu 0.25 cores not arrived yet)" in render(found)


def test_the_fake_and_the_configuration_agree() -> None:
    assert FakeAgent().config.vip == (WEB,)


def test_instants() -> None:
    assert iso(START_NS + 42_000_000) == "2026-11-20T12:02:30.042Z"
    assert parse_iso("2026-11-20T12:02:30.042Z") == START_NS + 42_000_000
    assert parse_iso("2026-11-20T13:02:30+01:00") == START_NS
    with pytest.raises(ValueError, match="no time zone"):
        parse_iso("2026-11-20T12:02:30")
    assert clock(START_NS, START_NS + SECOND_NS) == "12:02:30 UTC"
    assert clock(START_NS, START_NS + 86_400 * SECOND_NS) == "2026-11-20 12:02:30 UTC"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.34, "0.3 s"),
        (9.0, "9 s"),
        (41.7, "41 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (187_200, "2 d 4 h"),
        (-5, "0 s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
