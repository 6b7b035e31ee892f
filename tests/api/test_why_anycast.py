"""`why` of an anycast service."""

from dataclasses import replace

from haman.api.why import why
from haman.core.announcements import BfdReport, ExabgpReport, NeighborReport
from haman.core.words import Reason, Stance
from tests.api.fake_agent import START_NS, FakeAgent
from tests.api.fake_anycast import (
    BUSY,
    DRAINED,
    WRONG_AS,
    anycast,
    ladder,
    mixed,
    router_down,
)


def story(agent: FakeAgent) -> list[str]:
    found = why(agent.snapshot(), agent.config, agent.events(-50, 50), "edge")
    assert found is not None
    return [found.text, *(member.text for member in found.members)]


def test_all_is_well() -> None:
    assert story(anycast()) == [
        "edge is ok: lb1, lb2 and lb3 announce it",
        *(
            f"lb{i} announces it in full (weight 100, 33 % of new connections) "
            "since 12:02:30 UTC (41 s)."
            for i in (1, 2, 3)
        ),
    ]


def test_every_rung() -> None:
    assert story(ladder()) == [
        (
            "edge is degraded: lb1 and lb2 announce it, 2 of 3 that should; "
            "lb4 is withdrawn: proxy haproxy (pid 812) died"
        ),
        (
            "lb1 announces it in full (weight 100, 67 % of new connections) "
            "since 12:02:30 UTC (46 s)."
        ),
        (
            "lb2 announces it reduced (weight 50 of 100, 33 % of new connections) "
            "since 12:03:11 UTC (5 s): cpu at 93 % of its ceiling (3.72 of 4 cores)."
        ),
        (
            "lb3 announces it shut (65535:0, so that routers prefer anybody else) "
            "since 12:03:11 UTC (5 s): drained by the operator; ends with `haman undrain`."
        ),
        "lb4 is withdrawn since 12:03:11 UTC (5 s): proxy haproxy (pid 812) died.",
    ]


def test_members_for_machines() -> None:
    agent = ladder()
    found = why(agent.snapshot(), agent.config, agent.events(-50, 50), "edge")
    assert found is not None
    assert [(m.node, m.serves, m.stance, m.weight) for m in found.members] == [
        ("lb1", True, "full", 100),
        ("lb2", True, "reduced", 50),
        ("lb3", False, "shut", 100),
        ("lb4", False, "withdrawn", 0),
    ]
    assert found.members[0].share == 100 / 150
    assert found.members[2].share is None
    assert [e.type for e in found.events] == ["stance-changed"] * 3


def test_holders_come_first() -> None:
    agent = anycast()
    agent.kill_proxy("lb1")
    assert [line.split()[0] for line in story(agent)[1:]] == ["lb2", "lb3", "lb1"]


def test_a_router_that_is_lost() -> None:
    agent = anycast()
    router_down(agent, "lb2", "tor1")
    assert story(agent)[2] == (
        "lb2 announces it in full (weight 100, 33 % of new connections) since 12:02:30 UTC (53 s). "
        "The session with tor1 (10.0.1.1) is down since 12:03:11 UTC (12 s), BFD down: "
        "nothing came from the router for 9 s; is it up and reachable?"
    )


def test_no_router_hears_it() -> None:
    agent = anycast()
    router_down(agent, "lb3", "tor1")
    router_down(agent, "lb3", "tor2", WRONG_AS, "connecting")
    told = story(agent)
    assert told[0].endswith("2 of 3 that should; lb3 is full, but none of its routers hears it")
    assert told[3].startswith("lb3 announces it in full (weight 100, no router hears it) since ")
    assert told[3].endswith(
        "The session with tor2 (10.0.1.3) is connecting since 12:03:23 UTC (12 s), BFD down: "
        "the router says AS 65009, peer_as says 65000; correct one of the two."
    )


def test_the_only_router_says_why_in_the_headline() -> None:
    agent = anycast()
    bad = NeighborReport("tor1", "10.0.1.1", "connecting", START_NS, (WRONG_AS,))
    agent.nodes["lb3"].neighbors = (bad,)
    router_down(agent, "lb3", "tor1", WRONG_AS, "connecting")
    assert story(agent)[0].endswith(
        "lb3 is full, but the session with tor1 (10.0.1.1) is connecting: "
        "the router says AS 65009, peer_as says 65000; correct one of the two"
    )


def test_bfd_alone_is_down() -> None:
    agent = anycast()
    agent.nodes["lb1"].neighbors = (
        NeighborReport("tor1", "10.0.1.1", "up", START_NS, bfd="down"),
        NeighborReport("tor2", "10.0.1.3", "up", START_NS, bfd="admin-down"),
    )
    agent.bfd = (BfdReport("tor1", "down", START_NS, "path down"),)
    assert story(agent)[1].endswith(
        "(41 s). The session with tor1 (10.0.1.1) is up, but BFD is down: path down."
    )


def test_exabgp_in_trouble_is_told_of_this_node() -> None:
    agent = anycast()
    agent.exabgp = ExabgpReport(running=False, problem="it exited with 1 at once, 5 times")
    assert story(agent)[1].endswith("ExaBGP does not run: it exited with 1 at once, 5 times.")
    agent.exabgp = ExabgpReport(running=True, problem="it was killed by signal 9")
    assert story(agent)[1].endswith("ExaBGP runs again; it was killed by signal 9.")
    assert "ExaBGP" not in story(agent)[2]


def test_the_last_resort() -> None:
    agent = anycast(("lb1", "lb2"))
    for name in agent.nodes:
        agent.nodes[name].drained = True
        agent.announce(name, Stance.SHUT, DRAINED)
    told = story(agent)
    assert told[0] == "edge is degraded: lb1 and lb2 announce it shut, as the last resort"
    assert told[1].startswith("lb1 announces it shut (65535:0; 50 % of new connections) since ")


def test_nobody_announces() -> None:
    agent = anycast(("lb1", "lb2"))
    agent.kill_proxy("lb1")
    agent.lose("lb2")
    assert story(agent) == [
        (
            "edge is down: no router hears it from a node that reports; when last heard, "
            "lb2 announced it; lb1 is withdrawn: proxy haproxy (pid 812) died; "
            "lb2 last heard 12 s ago, it was full then"
        ),
        "lb1 is withdrawn since 12:03:11 UTC (0 s): proxy haproxy (pid 812) died.",
        "lb2 is stale: last heard 12 s ago, it was full then.",
    ]


def test_a_peer_never_heard() -> None:
    agent = anycast(("lb1", "lb2"))
    agent.never_heard("lb2")
    assert story(agent)[2] == "lb2 has not been heard yet."


def test_weights_that_are_not_sent_are_not_told() -> None:
    agent = anycast(("lb1", "lb2"))
    said = agent.nodes["lb2"].anycast
    assert said is not None
    agent.nodes["lb2"].anycast = replace(said, weighted=False)
    assert "in full (50 % of new connections)" in story(agent)[1]


def test_the_nodes_reasons_stand_in() -> None:
    agent = anycast()
    agent.nodes["lb2"].reasons = (BUSY,)
    agent.announce("lb2", Stance.WITHDRAWN)
    assert story(agent)[3].endswith(": cpu at 93 % of its ceiling (3.72 of 4 cores).")


def test_both_kinds_in_one_cluster() -> None:
    agent = mixed()
    assert story(agent)[0].startswith("edge is ok")
    web = why(agent.snapshot(), agent.config, (), "web")
    assert web is not None
    assert web.text == "web is ok: lb1 serves it, lb2 stands by"


def test_what_happens_to_sessions_is_part_of_the_story() -> None:
    agent = mixed()
    agent.emit("bgp-session-down", "the session with tor1 (10.0.1.1) went down", service="")
    agent.emit("relay-lost", "the relay is not reached any more", service="")
    agent.emit("peer-lost", "lb2 is not heard", service="")
    agent.emit("role-changed", "backup → active", service="web")
    found = why(agent.snapshot(), agent.config, agent.events(-50, 50), "edge")
    assert found is not None
    assert [e.type for e in found.events] == ["bgp-session-down", "relay-lost"]


def test_a_session_that_flaps_says_so() -> None:
    agent = anycast()
    flaps = Reason("session-flaps", "it went down 4 times within 10 min")
    agent.nodes["lb1"].neighbors = (NeighborReport("tor1", "10.0.1.1", "up", START_NS, (flaps,)),)
    assert story(agent)[1].endswith(
        "The session with tor1 (10.0.1.1) is up since 12:02:30 UTC (41 s): "
        "it went down 4 times within 10 min."
    )
