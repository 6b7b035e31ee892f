"""`why` tells a true story."""

from dataclasses import replace

from haman.api.why import why
from haman.core.facts import VipReport
from haman.core.words import Reason, Role
from tests.api.fake_agent import START_NS, FakeAgent


def story(agent: FakeAgent) -> str:
    found = why(agent.snapshot(), agent.config, agent.events(-50, 50), "web")
    assert found is not None
    return "\n".join([found.text, *(member.text for member in found.members)])


def test_all_is_well() -> None:
    assert story(FakeAgent()) == (
        "web is ok: lb1 serves it, lb2 stands by\n"
        "lb1 serves it since 12:02:30 UTC (41 s).\n"
        "lb2 stands by with priority 100, below 150 of lb1."
    )


def test_a_proxy_died_is_told_once() -> None:
    agent = FakeAgent()
    agent.kill_proxy("lb1")
    agent.advance(41)
    assert story(agent) == (
        "web is degraded: lb2 serves it; no other node could take over now\n"
        "lb2 serves it since 12:03:11 UTC (41 s): lb1 released it: proxy haproxy (pid 812) died.\n"
        "lb1 is released since 12:03:11 UTC (41 s), for that reason."
    )
    found = why(agent.snapshot(), agent.config, agent.events(-50, 50), "web")
    assert found is not None
    assert found.state == "degraded"
    assert [(m.node, m.serves, m.role) for m in found.members] == [
        ("lb2", True, "active"),
        ("lb1", False, "released"),
    ]
    assert [e.type for e in found.events] == ["vip-released", "vip-acquired"]


def test_a_node_out_for_another_reason_tells_it() -> None:
    agent = FakeAgent()
    agent.kill_proxy("lb1")
    agent.nodes["lb1"].role_reasons = (Reason("drained", "drained by the operator"),)
    assert "lb1 is released since 12:03:11 UTC (0 s): drained by the operator." in story(agent)


def test_what_only_holds_besides_is_no_cause() -> None:
    agent = FakeAgent()
    paused = Reason("paused", "automatic moves are paused")
    silent = Reason("active-router-down", "no advertisement from 10.77.0.12 for 361 ms")
    agent.nodes["lb1"].role_reasons = (silent, paused)
    agent.nodes["lb2"].role_reasons = (Reason("contending", "contends; listens first"), paused)
    assert story(agent).splitlines()[1:] == [
        (
            "lb1 serves it since 12:02:30 UTC (41 s): no advertisement from lb2 (10.77.0.12) for "
            "361 ms. Automatic moves are paused."
        ),
        "lb2 stands by with priority 100, below 150 of lb1. Automatic moves are paused.",
    ]


def test_a_drained_standby_is_the_last_resort() -> None:
    agent = FakeAgent()
    drained = Reason("drained", "drained by the operator")
    agent.nodes["lb2"].role, agent.nodes["lb2"].role_reasons = Role.RELEASED, (drained,)
    assert story(agent).startswith(
        "web is degraded: lb1 serves it; lb2, drained, would take over only as a last resort\n"
    )


def test_drained_and_yet_serving() -> None:
    agent = FakeAgent()
    last = Reason("last-resort", "drained, but no other node can serve web")
    agent.nodes["lb1"].role_reasons = (last, Reason("drained", "drained by the operator"))
    assert story(agent).splitlines()[1] == (
        "lb1 serves it since 12:02:30 UTC (41 s). Drained, but no other node can serve web."
    )


def test_nobody_serves() -> None:
    agent = FakeAgent()
    agent.nodes["lb2"].role = Role.RELEASED
    assert story(agent).startswith("web is degraded: lb1 serves it; no other node could take over")
    agent.kill_proxy("lb1")
    agent.advance(3)
    assert story(agent).startswith(
        "web is down: nobody serves it; the last was lb1, until 12:03:11 UTC (3 s ago); "
        "clients reach nobody\n"
    )
    assert "lb1 is released since 12:03:11 UTC (3 s): proxy haproxy (pid 812) died." in story(agent)
    quiet = FakeAgent()
    quiet.nodes["lb1"].role = Role.INITIALIZE
    assert story(quiet).startswith("web is down: nobody serves it; clients reach nobody\n")


def test_both_serve() -> None:
    agent = FakeAgent()
    agent.conflict()
    assert story(agent).splitlines() == [
        "web is in conflict: lb1 and lb2 serve it; only one node may",
        "lb1 serves it since 12:02:30 UTC (41 s).",
        "lb2 serves it since 12:02:30 UTC (41 s).",
    ]


def test_a_stale_peer() -> None:
    agent = FakeAgent()
    agent.lose("lb2", age_s=200)
    assert "lb1 serves it; no node is heard that could take over\n" in story(agent)
    assert "lb2 is stale: last heard 3 min 20 s ago, it was backup then." in story(agent)


def test_a_peer_never_heard() -> None:
    agent = FakeAgent()
    agent.never_heard("lb2")
    assert "lb2 has not been heard yet." in story(agent)


def test_a_stranger_serves() -> None:
    agent = FakeAgent()
    vip = VipReport("web", Role.BACKUP, 100, START_NS, active_router="10.77.0.66")
    snapshot = agent.snapshot()
    snapshot = replace(snapshot, own=replace(snapshot.own, vips=(vip,)))
    found = why(snapshot, agent.config, (), "web")
    assert found is not None
    assert found.text == (
        "web is ok: 10.77.0.66, which is no node of this cluster that reports, serves it, "
        "lb1 and lb2 stand by"
    )
    assert found.members[0].text == "lb1 stands by with priority 100."


def test_an_address_that_is_not_there_yet() -> None:
    agent = FakeAgent()
    snapshot = agent.snapshot()
    vip = replace(snapshot.own.vips[0], held=())
    snapshot = replace(snapshot, own=replace(snapshot.own, vips=(vip,)))
    found = why(snapshot, agent.config, (), "web")
    assert found is not None
    assert found.text == (
        "web is degraded: lb1 serves it; 10.77.0.100/24 is not confirmed on the interface yet"
    )


def test_reasons_of_the_node_stand_in_for_those_of_the_role() -> None:
    agent = FakeAgent()
    lb2 = agent.nodes["lb2"]
    lb2.role, lb2.reasons = Role.RELEASED, (Reason("starting", "haproxy did not answer yet."),)
    assert "lb2 is released since 12:02:30 UTC (41 s): haproxy did not answer yet." in story(agent)


def test_an_unknown_service() -> None:
    agent = FakeAgent()
    assert why(agent.snapshot(), agent.config, (), "nope") is None


def test_before_the_engines_first_word_no_instant_is_told() -> None:
    agent = FakeAgent()
    snapshot = agent.snapshot()
    snapshot = replace(snapshot, own=replace(snapshot.own, vips=()), peers=())
    found = why(snapshot, agent.config, (), "web")
    assert found is not None
    assert found.text == "web is down: nobody serves it; clients reach nobody"
    assert found.members[0].text == "lb1 is initialize."
    assert found.members[0].since == ""
