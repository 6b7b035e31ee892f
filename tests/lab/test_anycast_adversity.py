"""The anycast lab under adversity: somebody always announces, and what is said of it is true.

One lab for all tests; each leaves it as it found it. The router's kernel is the oracle.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from haman.api import schema
from haman.lab import agent
from tests.lab.adversity import eventually
from tests.lab.announcing import NODES, PREFIXES, SERVICE, Fleet, announcing_fleet

pytestmark = [pytest.mark.privileged, pytest.mark.real("haproxy"), pytest.mark.real("vtysh")]

AGENT = ("haman-agent", "haman-guard", "haman-controller", "exabgp", "haman-relay")
V4, V6 = "address-family ipv4 unicast", "address-family ipv6 unicast"
AS = "router bgp 65000"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with announcing_fleet(tmp_path_factory.mktemp("anycast") / "tree") as fleet:
        yield fleet


@pytest.fixture
def fleet(shared: Fleet) -> Iterator[Fleet]:
    """The lab as every test finds it."""
    shared.be_well()
    yield shared
    shared.be_well()


def heard(status: schema.Status, node: str) -> int:
    """By how many routers a node is heard."""
    return next(m.routers for m in status.services[0].members if m.node == node)


# ---- deaths and hangs ----------------------------------------------------------------------


def test_a_dead_controller_or_relay_ends_no_session_and_moves_no_route(fleet: Fleet) -> None:
    before = fleet.sessions("lb1")
    with fleet.never_without(*NODES):
        for name in ("haman-controller", "haman-relay"):
            dead = fleet.pids("lb1", name)
            fleet.signal("lb1", name, signal.SIGKILL)
            eventually(lambda n=name, d=dead: set(fleet.pids("lb1", n)) - set(d))
            eventually(lambda: fleet.member("lb1").stance == "full")
    assert fleet.sessions("lb1") == before


def test_a_hung_controller_is_replaced_before_its_lease_ends(fleet: Fleet) -> None:
    before, hung = fleet.sessions("lb1"), fleet.pids("lb1", "haman-controller")
    begun = agent.last_event(fleet.lab.runtime, "lb1")
    with fleet.never_without(*NODES):
        fleet.signal("lb1", "haman-controller", signal.SIGSTOP)
        fleet.told("lb2", "peer-lost", "lb1 is not heard")
        eventually(lambda: fleet.pids("lb1", "haman-controller") not in ([], hung))
        fleet.be_well()
    events = agent.events_since(fleet.lab.runtime, "lb1", begun)
    assert "controller-hung" in events
    assert "lease-expired" not in events
    assert fleet.sessions("lb1") == before


def test_without_a_controller_a_node_leaves_by_the_lease_and_says_so_afterwards(
    fleet: Fleet,
) -> None:
    before = fleet.sessions("lb1")

    def left() -> bool:
        """Whoever is started is stopped before it has loaded what it would speak with."""
        for pid in fleet.pids("lb1", "haman-controller"):
            os.kill(pid, signal.SIGSTOP)
        return "lb1" not in fleet.routed()

    with fleet.never_without("lb2", "lb3"):
        eventually(left, timeout_s=20)
        fleet.settle(lb2=1, lb3=1)
        fleet.told("lb2", "peer-lost", "lb1 is not heard")
        fleet.signal("lb1", "haman-controller", signal.SIGCONT)
        fleet.be_well()
    assert "lease-expired" in fleet.events("lb1")
    assert fleet.sessions("lb1") == before


def test_a_hung_exabgp_is_not_counted_on(fleet: Fleet) -> None:
    """Its sessions are not claimed, so that nobody is drained in the belief that it serves."""
    fleet.signal("lb1", "exabgp", signal.SIGSTOP)
    try:
        for node in NODES:
            fleet.until(node, lambda status: heard(status, "lb1") == 0)
        fleet.told("lb1", "not-announced", "ExaBGP does not answer")
        assert fleet.status("lb2").services[0].state == "degraded"
        fleet.settle(lb2=1, lb3=1)
    finally:
        fleet.signal("lb1", "exabgp", signal.SIGCONT)


def test_a_killed_exabgp_or_engine_is_gone_and_comes_back(fleet: Fleet) -> None:
    with fleet.never_without("lb2", "lb3") as seen:
        for name in ("exabgp", "haman-agent"):
            fleet.signal("lb1", name, signal.SIGKILL)
            eventually(lambda: "lb1" not in fleet.routed())
            fleet.be_well()
    # After the restart of the whole agent it climbs; nobody else ever weighs less.
    assert [route for _, route in seen if len(route.hops) == len(NODES)]


def test_a_frozen_agent_is_left_and_returns(fleet: Fleet) -> None:
    with fleet.never_without("lb2", "lb3"):
        for name in AGENT:
            fleet.signal("lb1", name, signal.SIGSTOP)
        fleet.settle(lb2=1, lb3=1)  # BFD: long before the hold time
        for name in AGENT:
            fleet.signal("lb1", name, signal.SIGCONT)
        fleet.be_well()


# ---- reload --------------------------------------------------------------------------------

LOCAL = 'local_address = "10.77.0.11"\n'
GHOST = f'[[bgp.neighbor]]\nname = "ghost"\naddress = "10.77.0.99"\n{LOCAL}peer_as = 65000\n'


def test_a_reload_ends_only_the_sessions_that_it_changes(fleet: Fleet) -> None:
    before = fleet.sessions("lb1")
    with fleet.never_without(*NODES):
        fleet.configure("lb1", ("drain_s = 1", "drain_s = 1\nweight = 200"))
        fleet.settle(lb1=2, lb2=1, lb3=1)
        more = PREFIXES[1] + '", "192.0.2.101/32"]'
        fleet.configure("lb1", (PREFIXES[1] + '"]', more), ("\nweight = 200", ""))
        eventually(lambda: "192.0.2.101" in fleet.sh("lb1", "ip address show lo"))
        fleet.settle(lb1=1, lb2=1, lb3=1)
        fleet.configure("lb1", (more, PREFIXES[1] + '"]'), ("[[anycast]]", GHOST + "[[anycast]]"))
        fleet.told("lb1", "bgp-session-down", "ghost", "10.77.0.99")
        eventually(lambda: "192.0.2.101" not in fleet.sh("lb1", "ip address show lo"))
        fleet.configure("lb1", (GHOST, ""))
        eventually(lambda: not fleet.alert("lb1", "bgp-session-down"))
    assert fleet.sessions("lb1") == before
    fleet.configure("lb1", (LOCAL, LOCAL + "hold_time_s = 6\n"))
    eventually(lambda: fleet.sessions("lb1")["10.77.0.11"][0] == before["10.77.0.11"][0] + 1)
    fleet.be_well()
    fleet.configure("lb1", (LOCAL + "hold_time_s = 6\n", LOCAL))
    eventually(lambda: fleet.sessions("lb1")["10.77.0.11"][0] == before["10.77.0.11"][0] + 2)
    assert fleet.sessions("lb1")["fd00:77::11"] == before["fd00:77::11"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[bgp]\n", "[bgp\n"), "at the end of a table"),
        ((LOCAL, LOCAL + 'password_file = "/nowhere"\n'), "password_file: /nowhere"),
    ],
    ids=["syntax", "password"],
)
def test_a_reload_of_a_bad_file_changes_nothing(
    fleet: Fleet, change: tuple[str, str], said: str
) -> None:
    before, begun = fleet.sessions("lb1"), agent.last_event(fleet.lab.runtime, "lb1")
    with fleet.never_without(*NODES):
        fleet.configure("lb1", change)
        eventually(lambda: "reload-refused" in agent.events_since(fleet.lab.runtime, "lb1", begun))
        assert said in fleet.haman("lb1", "events").stdout
        fleet.configure("lb1", (change[1], change[0]))
    assert fleet.sessions("lb1") == before


# ---- routers -------------------------------------------------------------------------------


@pytest.fixture
def router(fleet: Fleet) -> Iterator[Callable[..., None]]:
    """Change the router's configuration for a test: what is given with its undoing."""
    with ExitStack() as undoing:

        def change(does: tuple[str, ...], undoes: tuple[str, ...]) -> None:
            undoing.callback(fleet.frr, *undoes)
            fleet.frr(*does)

        yield change


def test_a_router_that_clears_everything_has_the_floor_meanwhile(fleet: Fleet) -> None:
    before = fleet.sessions("lb2")
    fleet.frr("clear bgp *", configure=False)
    eventually(lambda: all(a > before[k][0] for k, (a, _) in fleet.sessions("lb2").items()))
    fleet.be_well()
    assert not fleet.alert("lb2", "bgp-session-down")


@pytest.mark.parametrize(
    ("does", "undoes", "said"),
    [
        ("neighbor 10.77.0.11 shutdown", "no neighbor 10.77.0.11 shutdown", "shut down there"),
        ("neighbor 10.77.0.11 password x", "no neighbor 10.77.0.11 password", "password"),
        ("neighbor 10.77.0.11 remote-as 65009", "neighbor 10.77.0.11 remote-as 65001", "65001"),
    ],
    ids=["shut-down", "password", "as"],
)
def test_why_a_session_does_not_come_about_is_told_everywhere(
    fleet: Fleet, router: Callable[..., None], does: str, undoes: str, said: str
) -> None:
    """In the alert, in `status` of any node, and in `why`; the other family goes on."""
    router((AS, does), (AS, undoes))
    fleet.told("lb1", "bgp-session-down", "router", said)
    fleet.told("lb2", "bgp-session-down", "lb1", said)
    for verb in (("status",), ("why", SERVICE)):
        assert said in fleet.haman("lb2", *verb).stdout
    # One family does not make a server: nobody is let go of because lb1 is there.
    fleet.told("lb1", "not-announced", PREFIXES[0])
    fleet.until(
        "lb2", lambda status: any(r.code == "half-heard" for r in status.services[0].reasons)
    )
    assert "lb1" in fleet.routed(PREFIXES[1])
    eventually(lambda: "lb1" not in fleet.routed(PREFIXES[0]))


# ---- the ladder ----------------------------------------------------------------------------


def test_drained_one_by_one_the_last_stays_and_all_return_in_steps(fleet: Fleet) -> None:
    try:
        assert fleet.haman("lb1", "drain").returncode == 0
        fleet.settle(lb2=1, lb3=1)
        assert fleet.haman("lb2", "drain").returncode == 0
        fleet.settle(lb3=1)
        eventually(lambda: fleet.member("lb2").stance == "withdrawn")
        with fleet.never_without("lb3"):
            refused = fleet.haman("lb3", "drain")
            assert refused.returncode == 1
            assert f"no other node can serve {SERVICE}" in refused.stderr
            assert fleet.haman("lb3", "drain", "--force").returncode == 0
            eventually(lambda: fleet.member("lb3").stance == "shut")
            fleet.told("lb1", "degraded", "last resort")
            eventually(lambda: len(fleet.routed()) == len(NODES), fleet.story)
        with fleet.never_without() as seen:
            for node in NODES:
                assert fleet.haman(node, "undrain").returncode == 0
            fleet.be_well()
        # Never a gap, in neither family: not even where the kernel's next hops change.
        assert all(route.hops for _, route in seen), seen
    finally:
        for node in NODES:
            fleet.haman(node, "undrain")


def test_proxies_that_flap_and_die_leave_one_announcer_then_the_floor(fleet: Fleet) -> None:
    with fleet.never_without("lb3"):
        for node in ("lb1", "lb2"):
            fleet.signal(node, "haproxy", signal.SIGKILL)
        fleet.settle(lb3=1)
    fleet.signal("lb3", "haproxy", signal.SIGKILL)
    eventually(fleet.floored, fleet.story)
    fleet.told("lb1", "no-holder", "announced by no node")
    for node in NODES:  # who gets packets by the floor answers for the address
        assert "192.0.2.100" in fleet.sh(node, "ip address show lo")
        fleet.start_all(node)


def test_a_cluster_that_does_not_hear_itself_withdraws_nothing(fleet: Fleet) -> None:
    """Peers cut off from each other, the router reachable from all."""
    rules = "add table inet cut; add chain inet cut in { type filter hook input priority 0; };"
    rules += "add rule inet cut in udp dport 4710 drop"
    with fleet.never_without(*NODES):
        try:
            for node in NODES:
                fleet.sh(node, f"nft '{rules}'")
            for node in NODES:
                fleet.told(node, "peer-lost", "not heard")
                assert fleet.member(node).stance == "full"
        finally:
            for node in NODES:
                fleet.sh(node, "nft delete table inet cut")
        fleet.be_well()


# ---- permits -------------------------------------------------------------------------------

FDS_OVER = "[saturation.resource.fds]\nceiling = 5\n"
"""Without any load: a ceiling that the proxy is above."""


def test_a_busy_node_sheds_with_the_consent_of_all_and_takes_it_back(fleet: Fleet) -> None:
    begun = agent.last_event(fleet.lab.runtime, "lb2")
    with fleet.never_without(*NODES):
        fleet.configure("lb1", ("[bgp]", FDS_OVER + "[bgp]"))
        try:
            fleet.settle(lb1=1, lb2=2, lb3=2)
            assert "lb2 and lb3 consented to it at weight 50 of 100" in fleet.why("lb1")
            assert "permit-granted" in agent.events_since(fleet.lab.runtime, "lb2", begun)
        finally:
            fleet.configure("lb1", (FDS_OVER, ""))
        fleet.be_well()


def test_a_busy_node_holds_where_one_peer_has_no_room(fleet: Fleet) -> None:
    used = fleet.used("lb2", "fds")
    tight = f"[saturation.resource.fds]\nceiling = {used / 0.3:.0f}\n"
    tight += "soft = 0.32\nhard = 0.33\nrecover = 0.1\n"
    fleet.configure("lb2", ("[bgp]", tight + "[bgp]"))
    try:
        fleet.until("lb1", lambda status: "fds" in {n.binding for n in status.nodes})
        fleet.configure("lb1", ("[bgp]", FDS_OVER + "[bgp]"))
        denied = "lb2 denied: if lb1 moves edge, lb2 reaches"
        eventually(lambda: denied in fleet.why("lb1"), fleet.story, 30)
        assert fleet.member("lb1").stance == "full"
        assert set(fleet.routed().values()) == {fleet.routed()["lb1"]}
        fleet.configure("lb1", (FDS_OVER, ""))
    finally:
        fleet.configure("lb2", (tight, ""))


def test_nothing_is_left_behind(fleet: Fleet) -> None:
    """After all of this: one of each process per node, and every route as at the start."""
    for node in NODES:
        for name in AGENT:  # a second ExaBGP may be checking the file of the last reload
            eventually(lambda o=node, n=name: len(fleet.pids(o, n)) == 1, lambda n=name: n)
