"""A planned move between two engines, the test being both controllers: connections outlive it."""

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from haman.core.handover.messages import HandoverOrder, HandoverReport, Side, Step, VipPlace
from haman.lab.answers import Answers, doubled
from tests.engine.conftest import Agents
from tests.engine.net import HERE, Agent, Host, Lan, child_named, toml, vip_toml, wait

pytestmark = pytest.mark.privileged

V4, V6 = "10.77.0.100", "2001:db8::100"
VIPS = {f"{V4}/24", f"{V6}/64"}
ON_LO = {f"{V4}/32", f"{V6}/128"}
EACH = 20
FIREWALL = """nft '
table inet filter {
  chain input { type filter hook input priority 0; policy accept; ct state invalid drop; }
}
table netdev guarded {
  chain in { type filter hook ingress device eth0 priority 0; policy accept; }
}'"""
"""What a host may have of its own: connections tracked, and what is invalid dropped."""


class Client:
    """Connections from the third host, and what was answered on them."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.open: list[socket.socket] = []

    def connect(self, address: str, port: int = 0) -> socket.socket:
        """From this port of the client's, or any."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.host.inside():
            made = socket.socket(family)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("", port))
        self.open.append(made)
        made.settimeout(3)
        made.connect((address, 7000))
        return made

    def new(self) -> str:
        """Who answers a new connection of each family."""
        answers = ""
        for address in (V4, V6):
            made = self.connect(address)
            answers += self.ask(made)
            made.close()
            self.open.remove(made)
        return answers

    def vanish(self) -> None:
        """End all, and no server is told."""
        chain = "chain out { type filter hook output priority 0; tcp dport 7000 drop; }"
        self.host.run(f"nft 'table inet mute {{\n{chain}\n}}'")
        for each in self.open:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()
        self.host.run("nft delete table inet mute")

    @staticmethod
    def ask(connection: socket.socket) -> str:
        connection.send(b"?")
        return connection.recv(16).decode()

    def ask_all(self) -> Counter[str]:
        return Counter(self.ask(each) for each in self.open)

    def close(self) -> None:
        for each in self.open:
            each.close()
        self.open.clear()


class Pair:
    """Two engines that both serve, the first one active, and a client of theirs."""

    def __init__(self, lan: Lan, agents: Agents, state: Path) -> None:
        self.hosts = lan.hosts
        text = toml(vip_toml(addresses=sorted(VIPS), advert_interval_ms=100), state=state)
        for host in lan.hosts[:2]:
            host.run(FIREWALL)
        self.servers = [
            subprocess.Popen(host.command(sys.executable, str(HERE / "echo.py"), name))
            for host, name in zip(lan.hosts, "ab", strict=False)
        ]
        self.a, self.b = (agents.start(host, text) for host in lan.hosts[:2])
        self.a.contend(priority=150)
        wait(lambda: set(self.a.vip().held) >= VIPS)
        self.b.contend(priority=100)
        wait(lambda: self.b.role() == "backup" and self.b.vip().active_priority == 150)
        self.a.contend(priority=150, preempt=False)  # as a controller does for what was given away
        self.client = Client(lan.hosts[2])
        wait(self._both_serve, what="both servers")
        self.before = [self.kernel(host) for host in lan.hosts[:2]]

    def _both_serve(self) -> bool:
        return all(
            f":{7000:04X}" in host.run("cat /proc/net/tcp6").upper() for host in self.hosts[:2]
        )

    @staticmethod
    def kernel(host: Host) -> str:
        """All that a handover might leave changed."""
        return host.run(
            "nft list ruleset; ip rule; ip -6 rule; ip route; ip -6 route | grep -v ' cache ';"
            " sysctl -a 2>/dev/null | grep -E '(ip_forward|rp_filter|accept_local|send_redirects"
            "|arp_|conntrack|forwarding|accept_ra|nonlocal)' | grep -v _count"
        )

    def place(self, agent: Agent) -> VipPlace:
        wait(lambda: agent.poll() or (agent.report and agent.report.places))
        assert agent.report
        return agent.report.places[0]

    def orders(
        self, giver: Agent, taker: Agent, step: Step, name: str = "h1", tail_s: float = 60
    ) -> tuple[HandoverOrder, HandoverOrder]:
        until_ns = time.monotonic_ns() + int(tail_s * 1e9)
        to_taker, to_giver = self.place(taker), self.place(giver)
        return (
            HandoverOrder(name, "web", Side.GIVING, step, "other", to_taker, until_ns),
            HandoverOrder(name, "web", Side.TAKING, step, "other", to_giver, until_ns),
        )

    def report(self, agent: Agent) -> HandoverReport:
        agent.poll()
        assert agent.report
        assert agent.report.handovers
        return agent.report.handovers[0]

    def has(self, agent: Agent, step: Step, name: str = "h1") -> bool:
        agent.poll()
        assert agent.report
        return any(r.order.id == name and r.has(step) for r in agent.report.handovers)

    def prepare(self, giver: Agent, taker: Agent, name: str = "h1") -> None:
        giving, taking = self.orders(giver, taker, Step.READY, name)
        taker.hand(taking)
        wait(lambda: self.has(taker, Step.READY, name))
        giver.hand(giving)
        wait(lambda: self.has(giver, Step.READY, name))

    def take(self, giver: Agent, taker: Agent, name: str = "h1") -> None:
        giving, taking = self.orders(giver, taker, Step.TAKE, name)
        giver.hand(giving)
        wait(lambda: self.has(giver, Step.TAKE, name))
        taker.hand(taking)
        wait(lambda: self.has(taker, Step.TAKE, name))
        wait(lambda: giver.role() != "active")

    def tail(self, giver: Agent, taker: Agent, name: str = "h1") -> None:
        giving, taking = self.orders(giver, taker, Step.TAIL, name)
        giver.hand(giving)
        taker.hand(taking)
        wait(lambda: self.has(giver, Step.TAIL, name) and self.has(taker, Step.TAIL, name))

    def move(self, giver: Agent, taker: Agent, name: str = "h1") -> None:
        self.prepare(giver, taker, name)
        self.take(giver, taker, name)
        self.tail(giver, taker, name)

    def end(self) -> None:
        for agent in (self.a, self.b):
            agent.hand()

    def clean(self) -> bool:
        """Whether both kernels are as they were, but for who has the VIP."""
        for agent in (self.a, self.b):
            agent.poll()
        now = [self.kernel(host) for host in self.hosts[:2]]
        lo = any(ON_LO & host.addresses() for host in self.hosts[:2])
        return now == self.before and not lo

    def close(self) -> None:
        self.client.close()
        for server in self.servers:
            server.kill()
            server.wait()


@pytest.fixture
def pair(agents: Agents, tmp_path: Path) -> Iterator[Pair]:
    lan = Lan(3)
    made = Pair(lan, agents, tmp_path)
    yield made
    made.close()
    for agent in agents.made:
        agent.close()
    lan.close()


def test_connections_outlive_the_move_there_and_back(pair: Pair) -> None:
    client, a, b = pair.client, pair.a, pair.b
    for address in [V4, V6] * EACH:
        client.connect(address)
    assert client.ask_all() == {"a": 2 * EACH}
    pair.move(a, b)
    assert pair.hosts[1].addresses() >= VIPS
    assert not VIPS & pair.hosts[0].addresses()
    assert pair.hosts[0].addresses() >= ON_LO
    assert client.ask_all() == {"a": 2 * EACH}
    assert client.new() == "bb"
    assert (a.role(), b.role()) == ("tail", "active")
    wait(lambda: a.vip().connections_left == 2 * EACH)
    for address in [V4, V6] * EACH:
        client.connect(address)
    assert client.ask_all() == {"a": 2 * EACH, "b": 2 * EACH}
    # Back while the tail lasts: what each has it keeps.
    pair.move(b, a, "h2")
    assert pair.hosts[0].addresses() >= VIPS
    assert not VIPS & pair.hosts[1].addresses()
    assert client.ask_all() == {"a": 2 * EACH, "b": 2 * EACH}
    assert client.new() == "aa"
    wait(lambda: b.vip().connections_left == 2 * EACH)
    assert (a.role(), b.role()) == ("active", "tail")
    client.close()
    wait(lambda: b.vip().connections_left == 0)
    pair.end()
    wait(pair.clean, what="both kernels as before")
    wait(lambda: (a.role(), b.role()) == ("active", "backup"), what="roles")
    assert client.new() == "aa"


def test_a_taker_does_not_take_others_for_those_who_left_it_without_a_word(pair: Pair) -> None:
    client, a, b = pair.client, pair.a, pair.b
    ports = range(5000, 5000 + EACH)
    pair.move(a, b)
    for port in ports:
        assert client.ask(client.connect(V4, port)) == "b"
        assert client.ask(client.connect(V6, port)) == "b"
    client.vanish()
    pair.move(b, a, "h2")
    pair.end()
    wait(pair.clean, what="no rules")
    for port in ports:
        client.connect(V4, port)
        client.connect(V6, port)
    assert client.ask_all() == {"a": 2 * EACH}
    pair.move(a, b, "h3")
    assert client.ask_all() == {"a": 2 * EACH}


def test_one_node_answers_for_the_address_at_each_instant(pair: Pair) -> None:
    """Watched on the wire, a thousand questions a second, there and back."""
    client = pair.hosts[2]
    asking = Answers(client.holder.pid, "eth0", client.address, V4)
    asking.start()
    try:
        pair.client.connect(V4)
        pair.move(pair.a, pair.b)
        time.sleep(1.1)  # `doubled` takes what is nearer for a second holder
        pair.move(pair.b, pair.a, "h2")
    finally:
        replies = asking.stop()
    assert len({reply.mac for reply in replies}) == 2
    assert doubled(replies) == 0
    assert pair.client.ask_all() == {"a": 1}


def in_tail(pair: Pair) -> None:
    """a has given, b has taken, and clients of both are connected."""
    for address in [V4, V6] * EACH:
        pair.client.connect(address)
    pair.move(pair.a, pair.b)
    for address in [V4, V6]:
        pair.client.connect(address)
    wait(lambda: pair.a.vip().connections_left == 2 * EACH)
    assert pair.client.ask_all() == {"a": 2 * EACH, "b": 2}


def rules(host: Host) -> bool:
    return "haman_" in host.run("nft list tables")


def steerer(agent: Agent) -> int:
    return child_named(agent.pid, "haman-handover")


def test_the_new_holder_dies_in_the_tail_and_the_old_one_serves_on(pair: Pair) -> None:
    in_tail(pair)
    pair.b.send(signal.SIGKILL)
    wait(lambda: pair.a.role() == "active" and pair.hosts[0].addresses() >= VIPS)
    wait(lambda: not VIPS & pair.hosts[1].addresses())
    # What the old holder had it has still; what the dead one had is gone with it.
    old = pair.client.open[: 2 * EACH]
    assert Counter(map(pair.client.ask, old)) == {"a": 2 * EACH}
    assert pair.client.new() == "aa"
    wait(lambda: pair.a.poll() or not rules(pair.hosts[0]), what="no rules, whatever is ordered")
    wait(lambda: pair.a.poll() or not ON_LO & pair.hosts[0].addresses())
    assert not rules(pair.hosts[1])


def test_the_old_holder_dies_in_the_tail_and_leaves_nothing(pair: Pair) -> None:
    in_tail(pair)
    pair.a.send(signal.SIGKILL)
    wait(lambda: not ON_LO & pair.hosts[0].addresses(), 1, "the guard lets go of lo as well")
    wait(lambda: not rules(pair.hosts[0]), 2, "the rules end with their process")
    assert pair.hosts[1].addresses() >= VIPS
    assert pair.b.role() == "active"
    assert pair.client.new() == "bb"
    assert Counter(map(pair.client.ask, pair.client.open[2 * EACH :])) == {"b": 2}
    # Its controller would end it now; what was forwarded is answered by nobody, or reset.
    pair.b.hand()
    wait(lambda: pair.b.poll() or not rules(pair.hosts[1]))
    with pytest.raises(OSError):
        pair.client.ask(pair.client.open[0])
    # Started again it finds nothing to adopt, and stands by.
    pair.a.hand()
    pair.a.start()
    wait(lambda: pair.a.role() == "backup", what="the old holder stands by")
    wait(pair.clean, what="both kernels as before")


def test_a_controller_that_dies_in_the_tail_changes_nothing(pair: Pair) -> None:
    in_tail(pair)
    for agent in (pair.a, pair.b):
        first = agent.controller_pid
        os.kill(first, signal.SIGKILL)
        wait(lambda: agent.poll() or agent.controller_pid != first)  # noqa: B023
    assert pair.client.ask_all() == {"a": 2 * EACH, "b": 2}
    assert pair.client.new() == "bb"
    assert (pair.a.role(), pair.b.role()) == ("tail", "active")


def test_release_without_an_engine_takes_the_tail_off_too(pair: Pair) -> None:
    in_tail(pair)
    guard = pair.a.guard_pid
    pair.a.send(signal.SIGSTOP)  # else it would replace its guard
    os.kill(guard, signal.SIGKILL)
    pair.a.send(signal.SIGKILL)
    wait(lambda: not rules(pair.hosts[0]), 2)
    command = [sys.executable, "-m", "haman.cli", "release", "--force", "-c", str(pair.a.config)]
    done = subprocess.run(
        pair.hosts[0].command(*command), capture_output=True, text=True, check=False
    )
    assert not ON_LO & pair.hosts[0].addresses(), done.stderr
    assert pair.hosts[1].addresses() >= VIPS


def test_an_old_holder_that_hangs_loses_its_tail_with_its_lease(pair: Pair) -> None:
    in_tail(pair)
    pair.a.send(signal.SIGSTOP)
    wait(lambda: not ON_LO & pair.hosts[0].addresses(), 6, "the lease of lo")
    wait(lambda: not rules(pair.hosts[0]), 6, "rules of an engine that says nothing")
    assert pair.client.new() == "bb"
    pair.a.send(signal.SIGCONT)
    pair.end()
    wait(pair.clean, what="both kernels as before")
    wait(lambda: (pair.a.role(), pair.b.role()) == ("backup", "active"), what="roles")


def test_the_rules_process_dies_and_is_replaced(pair: Pair) -> None:
    in_tail(pair)
    for agent, host in zip((pair.a, pair.b), pair.hosts, strict=False):
        first = steerer(agent)
        assert first
        os.kill(first, signal.SIGKILL)
        wait(lambda: agent.poll() or steerer(agent) not in {0, first})  # noqa: B023
        wait(lambda: rules(host), what="the rules again")  # noqa: B023
        # The last report may be of before its death, which is told before any of afterwards.
        wait(lambda: agent.told("handover-rules-lost"))  # noqa: B023
        wait(lambda: pair.has(agent, Step.TAIL) and not pair.report(agent).problem)  # noqa: B023
    pair.hosts[2].run("ip neigh flush all")
    # The old holder is silent about the address, though the taker announces it no more.
    assert pair.client.new() == "bb"
    assert Counter(map(pair.client.ask, pair.client.open[2 * EACH :])) == {"b": 2}


def test_an_order_that_everybody_forgot_ends_by_itself(pair: Pair) -> None:
    in_tail(pair)
    for agent in (pair.a, pair.b):
        orders = pair.orders(pair.a, pair.b, Step.TAIL, tail_s=0.2)
        agent.hand(orders[0] if agent is pair.a else orders[1])
    wait(pair.clean, what="nothing left, though it is still ordered")
    wait(lambda: (pair.a.role(), pair.b.role()) == ("backup", "active"), what="roles")
    assert pair.client.new() == "bb"


def test_a_peer_that_is_not_on_the_link_is_none_to_hand_on_to(pair: Pair) -> None:
    giving, _ = pair.orders(pair.a, pair.b, Step.READY)
    far = replace(giving.place, sources=("192.0.2.12", "2001:db8:1::12"))
    pair.a.hand(replace(giving, place=far))
    wait(lambda: pair.a.poll() or (pair.a.report and pair.a.report.handovers))
    wait(lambda: pair.report(pair.a).problem)
    problem = pair.report(pair.a).problem
    assert problem is not None
    assert problem.code == "not-on-link"
    pair.a.hand()
    wait(pair.clean)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that wait for the order to hand over for longer than half a second."""
    monkeypatch.setenv("HAND_OVER_WITHIN_S", "5")


def ending(agent: Agent) -> bool:
    agent.poll()
    return agent.report is not None and agent.report.ending


@pytest.mark.usefixtures("patient")
def test_an_engine_that_ends_serves_the_tail_of_what_it_hands_over(pair: Pair) -> None:
    for address in [V4, V6] * EACH:
        pair.client.connect(address)
    giving, _ = pair.orders(pair.a, pair.b, Step.READY)
    pair.a.send(signal.SIGTERM)
    wait(lambda: ending(pair.a), what="the controller is told")
    pair.a.hand(giving)  # at once: the engine does not wait for one that hangs
    pair.move(pair.a, pair.b)
    assert pair.client.ask_all() == {"a": 2 * EACH}
    assert pair.client.new() == "bb"
    process = pair.a.process
    assert process
    assert process.poll() is None
    pair.client.close()
    pair.a.hand()  # at zero connections its controller is done
    wait(lambda: pair.a.poll() or process.poll() == 0, what="then it ends")
    assert not (VIPS | ON_LO) & pair.hosts[0].addresses()
    assert not rules(pair.hosts[0])
    assert pair.client.new() == "bb"


def test_a_second_term_ends_the_tail(pair: Pair) -> None:
    in_tail(pair)
    process = pair.a.process
    assert process
    pair.a.send(signal.SIGTERM)
    wait(lambda: ending(pair.a))
    assert pair.client.ask_all() == {"a": 2 * EACH, "b": 2}
    assert pair.a.role() == "tail"
    pair.a.end()
    assert process.returncode == 0
    assert not (VIPS | ON_LO) & pair.hosts[0].addresses()
    assert Counter(map(pair.client.ask, pair.client.open[2 * EACH :])) == {"b": 2}
