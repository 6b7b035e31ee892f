"""A whole agent, with ExaBGP, its relay and FRR: who is left when something ends or dies, and in which order."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from haman.system.netlink_socket import Requests
from tests.bgp.routers import Frr, Group, connect
from tests.engine.net import Namespace, children, wait
from tests.engine.test_exabgp import dead

pytestmark = [
    pytest.mark.privileged,
    pytest.mark.skipif(not Path("/usr/lib/frr/bgpd").exists(), reason="needs FRR"),
]
EDGE = "192.0.2.100"
ROUTER = """
router bgp 65000
 bgp router-id 10.0.9.1
 no bgp ebgp-requires-policy
 neighbor 10.0.1.2 remote-as 65001
 neighbor 10.0.1.2 timers connect 1
"""
NODE = """
[proxy]
kind = "process"
pidfile = "{0}/proxy.pid"
[state]
directory = "{0}/state"
[api]
socket = "{0}/run/haman.sock"
[bgp]
local_as = 65001
router_id = "10.0.1.2"
end_shut_ms = 500
[[bgp.neighbor]]
name = "tor1"
address = "10.0.1.1"
local_address = "10.0.1.2"
peer_as = 65000
[[anycast]]
name = "edge"
prefixes = ["192.0.2.100/32"]
"""


class Node:
    """A namespace with a proxy and an agent, cabled to a router."""

    def __init__(self, directory: Path) -> None:
        self.space, self.tor = Namespace(), Namespace()
        connect(self.space, self.tor, 1)
        self.frr = Frr(self.tor, ROUTER)
        self.proxy = subprocess.Popen(["sleep", "600"])
        (directory / "proxy.pid").write_text(f"{self.proxy.pid}\n")
        with self.space.inside():
            self.requests = Requests()
        toml = directory / "haman.toml"
        toml.write_text(NODE.format(directory))
        command = [sys.executable, "-m", "haman.cli", "agent", "-c", str(toml)]
        self.agent = Group(self.space.command(*command), directory / "agent.log")

    @property
    def routed(self) -> bool:
        return self.frr.kernel(f"{EDGE}/32") == ["10.0.1.2"]

    @property
    def held(self) -> bool:
        # The kernel is asked from here: a program that has to be started first looks so much later that
        # the address, which goes a quarter of a second after the route, may be gone meanwhile.
        return any(each.address == EDGE for each in self.requests.addresses())

    def processes(self) -> dict[str, int]:
        """The agent's, by what they are."""
        words = {
            "controller": "controller\0",
            "exabgp": "exabgp\0server",
            "relay": "haman.bgp.relay",
        }
        found = {}
        pids = children(self.agent.pid)
        for pid in pids:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                line = Path(f"/proc/{pid}/cmdline").read_text()
                pids += children(pid)
                found |= {name: pid for name, word in words.items() if word in line}
        return found

    def close(self) -> None:
        self.agent.close()
        self.requests.close()
        self.proxy.kill()
        self.proxy.wait()
        self.frr.close()
        self.tor.close()
        self.space.close()


@pytest.fixture
def node() -> Iterator[Node]:
    """One that is announced."""
    with tempfile.TemporaryDirectory(prefix="haman-") as directory:  # short enough for a socket
        made = Node(Path(directory))
        try:
            wait(lambda: made.routed, 60, "the route")
            assert made.held
            yield made
        finally:
            made.close()
            sys.stdout.write(made.agent.said())


def until_gone(node: Node) -> tuple[float, float]:
    """When the router's kernel has lost the route, and the node its address, in s from now."""
    began = time.monotonic()
    route = address = 0.0
    while not (route and address):
        routed, held = node.routed, node.held  # in this order: an address that is late is no error
        now = time.monotonic() - began
        assert now < 20
        route = route or (0.0 if routed else now)
        address = address or (0.0 if held else now)
    return route, address


def test_an_ordered_end_withdraws_before_the_address_goes(node: Node) -> None:
    node.agent.signal(signal.SIGTERM)
    route, address = until_gone(node)
    print(f"ordered end: route gone {route * 1e3:.0f} ms, address {address * 1e3:.0f} ms")  # noqa: T201 - a measurement
    assert node.agent.process.wait(10) == 0
    assert route > 0.3, "shut for end_shut_ms, 0.5 s, first"
    assert address > route


def test_a_killed_engine_takes_all_with_it_and_the_address_last(node: Node) -> None:
    every = node.processes()
    assert set(every) == {"exabgp", "relay", "controller"}
    os.kill(node.agent.pid, signal.SIGKILL)
    began = time.monotonic()
    wait(lambda: all(dead(pid) for pid in every.values()), 5, "their end")
    gone = time.monotonic() - began
    wait(lambda: not node.routed, 5, "the withdrawal")
    route = time.monotonic() - began
    print(f"engine killed: all dead in {gone * 1e3:.0f} ms, route gone in {route * 1e3:.0f} ms")  # noqa: T201 - a measurement
    assert node.held


def test_a_killed_controller_changes_nothing(node: Node) -> None:
    before = node.processes()
    os.kill(before["controller"], signal.SIGKILL)
    wait(lambda: node.processes().get("controller", 0) not in (0, before["controller"]), 10)
    api = node.agent.log.parent / "run" / "haman.sock"
    began = time.monotonic()
    while time.monotonic() - began < 3:
        assert node.routed
        assert node.held
        time.sleep(0.02)
    wait(api.exists)
    after = node.processes()
    assert (after["exabgp"], after["relay"]) == (before["exabgp"], before["relay"])


def test_a_killed_exabgp_is_back_with_its_routes(node: Node) -> None:
    before = node.processes()
    os.kill(before["exabgp"], signal.SIGKILL)
    wait(lambda: not node.routed, 5, "the withdrawal")
    wait(lambda: dead(before["relay"]), 5, "the relay's end")
    assert node.held
    wait(lambda: node.routed, 20, "the route again")
    assert node.processes()["exabgp"] != before["exabgp"]


def test_an_engine_that_hangs_is_withdrawn_before_its_address_ends(node: Node) -> None:
    """No watchdog here: the controller has the routes withdrawn, then the kernel ends the lease."""
    os.kill(node.agent.pid, signal.SIGSTOP)
    began = time.monotonic()
    while node.routed:
        assert node.held
        assert time.monotonic() - began < 15
        time.sleep(0.02)
    print(f"engine hung: route gone in {time.monotonic() - began:.1f} s")  # noqa: T201 - a measurement
    os.kill(node.agent.pid, signal.SIGCONT)
    wait(lambda: node.routed and node.held, 20, "the route again")
