"""The tail of an anycast service among three engines: routers move its connections, and none is cut.

The client's host is the router: it sends the service's addresses to one node or another.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from haman.core.handover.messages import Side
from haman.core.handover.steering import LinkPlace, SteerOrder, SteerReport
from haman.engine.knowledge import FRESH_S
from tests.engine.conftest import Agents
from tests.engine.net import HERE, Agent, Host, Lan, anycast_toml, child_named, toml, wait
from tests.engine.test_handover import FIREWALL, Client

pytestmark = pytest.mark.privileged

V4, V6 = "192.0.2.100", "2001:db8:1::100"
EACH = 10


class Trio:
    """Three engines that hold the same addresses: a is drained, b and c stay."""

    def __init__(self, lan: Lan, agents: Agents, state: Path) -> None:
        self.hosts = lan.hosts
        self.names = "abc"
        self.servers = []
        for host, name in zip(lan.hosts, self.names, strict=False):
            host.run(FIREWALL)
            command = host.command(sys.executable, str(HERE / "echo.py"), name)
            self.servers.append(subprocess.Popen(command))
        self.agents = [self._started(agents, host, state) for host in lan.hosts[:3]]
        for agent, host in zip(self.agents, lan.hosts, strict=False):
            agent.announce("edge")
            wait(lambda: agent.poll() or host.holds(f"{V4}/32"))  # noqa: B023
            wait(lambda: agent.poll() or (agent.report and agent.report.links))  # noqa: B023
            wait(lambda: f":{7000:04X}" in host.run("cat /proc/net/tcp6").upper())  # noqa: B023
        self.client = Client(lan.hosts[3])
        self.before = [self.kernel(host) for host in lan.hosts[:3]]

    @staticmethod
    def _started(agents: Agents, host: Host, state: Path) -> Agent:
        service = anycast_toml(f"{V4}/32", f"{V6}/128")
        for network in ("10.77.0.", "2001:db8::"):
            service = service.replace(f'"{network}12"', f'"{network}14"')
            service = service.replace(f'"{network}11"', f'"{network}{host.number}"')
        return agents.start(host, toml(service, state=state))

    @staticmethod
    def kernel(host: Host) -> str:
        return host.run(
            "nft list ruleset; ip rule; ip -6 rule; ip route; sysctl -a 2>/dev/null |"
            " grep -E '(ip_forward|rp_filter|accept_local|arp_|conntrack|forwarding)' | grep -v _count"
        )

    def route(self, name: str) -> None:
        """Have the router send everything to one node."""
        number = self.hosts[self.names.index(name)].number
        self.hosts[3].run(
            f"ip route replace {V4}/32 via 10.77.0.{number};"
            f"ip -6 route replace {V6}/128 via 2001:db8::{number}"
        )

    def connect(self, name: str) -> None:
        self.route(name)
        for address in [V4, V6] * EACH:
            self.client.connect(address)

    def new(self) -> str:
        """Who answers a new connection of each family."""
        known = list(self.client.open)
        answers = "".join(self.client.ask(self.client.connect(each)) for each in (V4, V6))
        for made in self.client.open[len(known) :]:
            made.close()
        self.client.open = known
        return answers

    def place(self, name: str) -> tuple[LinkPlace, ...]:
        agent = self.agents[self.names.index(name)]
        assert agent.report is not None
        return agent.report.links

    def orders(self, tail_s: float = 60) -> tuple[SteerOrder, ...]:
        """What the controllers would say: a, and b and c in line."""
        until_ns = time.monotonic_ns() + int(tail_s * 1e9)
        a, b, c = map(self.place, self.names)
        macs = tuple(place.mac for place in (*a, *b, *c))
        give = SteerOrder("d1", "edge", Side.GIVING, until_ns, next="b", next_places=b, others=macs)
        take = SteerOrder("d1", "edge", Side.TAKING, until_ns, "a", a, others=macs)
        first = replace(take, next="c", next_places=c, after=(a[0].mac,))
        return give, first, replace(take, after=(b[0].mac,))

    def drain(self, **more) -> None:
        for agent, order in zip(self.agents, self.orders(**more), strict=True):
            agent.steer(order)
        for agent in self.agents:
            wait(lambda: (r := self.report(agent)) and r.ready)  # noqa: B023

    @staticmethod
    def report(agent: Agent) -> SteerReport | None:
        agent.poll()
        assert agent.report
        return agent.report.steers[0] if agent.report.steers else None

    def left(self) -> tuple[int | None, int] | None:
        """Connections of its own, and those that passed by it though routers do not send them there."""
        found = self.report(self.agents[0])
        return (found.connections, found.passed) if found is not None else None

    def clean(self) -> bool:
        for agent in self.agents:
            agent.poll()
        return [self.kernel(host) for host in self.hosts[:3]] == self.before

    def close(self) -> None:
        self.client.close()
        for server in self.servers:
            server.kill()
            server.wait()


@pytest.fixture
def trio(agents: Agents, tmp_path: Path) -> Iterator[Trio]:
    lan = Lan(4)
    made = Trio(lan, agents, tmp_path)
    yield made
    made.close()
    for agent in agents.made:
        agent.close()
    lan.close()


def test_connections_stay_wherever_the_router_sends_them(trio: Trio) -> None:
    for name in "abc":
        trio.connect(name)
    all_there = {"a": 2 * EACH, "b": 2 * EACH, "c": 2 * EACH}
    trio.drain()
    for name in "abc":
        trio.route(name)
        assert trio.client.ask_all() == all_there
        # What is new stays where it comes in.
        assert trio.new() == 2 * name
    for agent in trio.agents:
        agent.steer()
    wait(trio.clean, what="the hosts as they were")


def test_without_rules_the_same_are_cut(trio: Trio) -> None:
    trio.connect("a")
    trio.route("b")
    with pytest.raises(OSError):
        trio.client.ask_all()


def knows(host: Host, port: int) -> bool:
    return f"10.77.0.14 . {port} . {V4}" in host.run("nft list ruleset")


def test_a_connection_is_known_where_it_lives_and_nowhere_else(trio: Trio) -> None:
    trio.drain()
    trio.route("b")
    lives = trio.client.connect(V4, 5001)
    ended = trio.client.connect(V4, 5000)
    assert knows(trio.hosts[1], 5000)
    ended.close()
    wait(lambda: not knows(trio.hosts[1], 5000), timeout_s=3 * FRESH_S)
    wait(lambda: "expires" not in trio.hosts[1].run("nft list ruleset"), timeout_s=3 * FRESH_S)
    trio.route("a")
    again = trio.client.connect(V4, 5000)
    assert trio.client.ask(again) == "a"
    trio.route("b")
    assert trio.client.ask(again) == "a"
    assert trio.client.ask(lives) == "b"


def test_a_connection_that_its_client_reset_is_known_no_more(trio: Trio) -> None:
    trio.drain()
    trio.route("b")
    ended = trio.client.connect(V4, 5000)
    ended.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ended.close()
    trio.route("c")
    again = trio.client.connect(V4, 5000)
    trio.route("b")
    assert trio.client.ask(again) == "c"


def test_who_comes_back_does_not_take_others_for_those_who_left_it(trio: Trio) -> None:
    trio.route("a")
    trio.client.connect(V4, 5000)
    trio.client.vanish()
    trio.route("b")
    there = trio.client.connect(V4, 5000)
    assert trio.client.ask(there) == "b"
    pivot, *others = trio.orders()
    for agent, order in zip(trio.agents, (replace(pivot, anew=True), *others), strict=True):
        agent.steer(order)
    for agent in trio.agents:
        wait(lambda: (r := trio.report(agent)) and r.ready)  # noqa: B023
    trio.agents[0].steer(pivot)
    trio.route("c")
    assert trio.client.ask(there) == "b"
    trio.route("a")
    assert trio.client.ask(there) == "b"


def test_what_is_left_is_counted_beside_what_routers_send_elsewhere(trio: Trio) -> None:
    trio.connect("a")
    trio.connect("b")
    trio.drain()
    trio.route("a")
    assert [trio.client.ask(each) for each in trio.client.open[: 2 * EACH]] == ["a"] * 2 * EACH
    wait(lambda: trio.left() == (2 * EACH, 0))
    trio.route("c")
    assert trio.client.ask_all() == {"a": 2 * EACH, "b": 2 * EACH}
    # Those of a come by c to a, those of b by c and a to b.
    wait(lambda: trio.left() == (2 * EACH, 4 * EACH))
    trio.client.close()
    wait(lambda: trio.left() == (0, 0), timeout_s=30)


def test_what_nobody_knows_is_answered_by_the_last_in_line(trio: Trio) -> None:
    trio.drain()
    trio.route("b")
    stranger = trio.client.host.run(
        "python3 - <<'EOF'\n"
        "import socket, struct\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)\n"
        "s.settimeout(5)\n"
        f"own, to = '10.77.0.14', '{V4}'\n"
        "h = struct.pack('!HHIIBBHHH', 4242, 7000, 1, 1, 0x50, 0x10, 512, 0, 0)\n"
        "p = socket.inet_aton(own) + socket.inet_aton(to) + struct.pack('!BBH', 0, 6, 20) + h\n"
        "c = sum(struct.unpack('!16H', p)); c = (c >> 16) + (c & 0xffff); c += c >> 16\n"
        "h = h[:16] + struct.pack('!H', ~c & 0xffff) + h[18:]\n"
        "s.sendto(h, (to, 0))\n"
        "while True:\n"
        "    d = s.recv(100)[20:]\n"
        "    if struct.unpack('!HH', d[:4]) == (7000, 4242): print(d[13] & 4); break\n"
        "EOF"
    )
    assert stranger.strip() == "4"


def steerer(agent: Agent) -> int:
    return child_named(agent.pid, "haman-handover")


def test_rules_end_with_their_process_and_with_the_engine(trio: Trio) -> None:
    trio.connect("a")
    trio.drain()
    first = steerer(trio.agents[1])
    os.kill(first, signal.SIGKILL)
    wait(lambda: trio.agents[1].poll() or steerer(trio.agents[1]) not in {0, first})
    wait(lambda: (r := trio.report(trio.agents[1])) and r.ready)
    trio.route("b")
    assert trio.client.ask_all() == {"a": 2 * EACH}
    trio.agents[1].send(signal.SIGKILL)
    wait(lambda: "haman_" not in trio.hosts[1].run("nft list tables"))


def test_orders_that_nobody_renews_end_by_themselves(trio: Trio) -> None:
    trio.drain()
    for agent, order in zip(trio.agents, trio.orders(tail_s=0.3), strict=True):
        agent.steer(order)
    wait(trio.clean, what="nothing left, though it is still ordered")
    assert trio.agents[1].told("tail-expired")


@pytest.mark.parametrize(
    ("addresses", "code"),
    [(("192.0.2.12", "2001:db8:9::12"), "not-on-link"), (("10.77.0.11 }; drop",), "not-on-link")],
)
def test_who_is_not_on_the_link_is_not_steered_to(trio: Trio, addresses, code: str) -> None:
    _, order, _ = trio.orders()
    far = (LinkPlace("02:00:00:00:00:01", addresses),)
    trio.agents[1].steer(replace(order, places=far))
    wait(lambda: (r := trio.report(trio.agents[1])) and r.problem)
    found = trio.report(trio.agents[1])
    assert found is not None
    assert found.problem is not None
    assert found.problem.code == code
    assert "a shares no IPv4 link with this node" in found.problem.text
    assert "haman_" not in trio.hosts[1].run("nft list tables")
