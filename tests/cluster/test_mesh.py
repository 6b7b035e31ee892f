"""The mesh: who is fresh, over which paths, and what is dropped; without a network, and with one."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field, replace

import msgspec
import pytest

from haman.cluster import mesh as mesh_module
from haman.cluster.mesh import (
    FRESH_MS_MIN,
    GREETING_NS,
    LATELY_NS,
    OWN_NAME_TRY_NS,
    Address,
    Greeted,
    Heard,
    Mesh,
    NamesakeFound,
    PacketHeard,
    PeerFound,
    PeerLost,
    ReportHeard,
)
from haman.cluster.packets import Released
from haman.cluster.transport import UdpTransport
from haman.config.model import Cluster, Peer
from haman.core.reports import NodeReport, PermitReport
from haman.core.words import Condition
from tests.cluster.pair import KEY, OTHER_KEY, counting_bytes, free_port, until

MS = 1_000_000
A1, A2 = ("10.0.0.1", 4710), ("10.1.0.1", 4710)
B1, B2 = ("10.0.0.2", 4710), ("10.1.0.2", 4710)
RELEASED = Released("web", "lb2")


def report(node: str, condition: Condition = Condition.IN_SERVICE) -> NodeReport:
    return NodeReport(node, "", "1", condition)


@dataclass
class Wire:
    """Collects what one mesh sends."""

    sent: deque[tuple[bytes, Address]] = field(default_factory=deque)

    def send(self, datagram: bytes, address: Address) -> None:
        self.sent.append((datagram, address))


def mesh(name: str, peer: str, addresses: tuple[Address, ...], seed: int = 0) -> tuple[Mesh, Wire]:
    wire = Wire()
    texts = tuple(f"{host}:{port}" for host, port in addresses)
    config = Cluster("edge", peer=(Peer(peer, texts),))
    draw = counting_bytes(sum(name.encode()) * 10**6 + seed * 1000)
    return Mesh(name, config, (KEY,), random_bytes=draw, sink=wire, now_ns=0), wire


class Pair:
    """lb1 and lb2 on two paths; the test says which of them works."""

    def __init__(self) -> None:
        self.one, self.wire_one = mesh("lb1", "lb2", (B1, B2))
        self.two, self.wire_two = mesh("lb2", "lb1", (A1, A2))
        self.now_ns = 0
        self.down: set[Address] = set()
        self.facts: dict[str, list[Heard]] = {"lb1": [], "lb2": []}
        self.recorded: list[tuple[bytes, Address]] = []

    def exchange(self) -> None:
        """Deliver everything, greetings answered, until the wires are quiet."""
        while self.wire_one.sent or self.wire_two.sent:
            for wire, receiver, name in (
                (self.wire_one, self.two, "lb2"),
                (self.wire_two, self.one, "lb1"),
            ):
                while wire.sent:
                    datagram, address = wire.sent.popleft()
                    if address in self.down:
                        continue
                    source = {A1: B1, A2: B2, B1: A1, B2: A2}[address]
                    self.recorded.append((datagram, source))
                    facts = receiver.hear(datagram, source, self.now_ns)
                    self.facts[name] += facts
                    if any(isinstance(fact, Greeted) for fact in facts):
                        receiver.publish(report(name))

    def publish(self) -> None:
        self.one.publish(report("lb1"))
        self.two.publish(report("lb2"))
        self.exchange()


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    pair.publish()
    for facts in pair.facts.values():
        facts.clear()
    pair.now_ns += 100 * MS
    return pair


def test_first_reports_make_both_fresh_in_one_exchange() -> None:
    pair = Pair()
    pair.one.greet()
    pair.exchange()
    for each, peer in ((pair.one, "lb2"), (pair.two, "lb1")):
        (view,) = each.views(0)
        assert (view.name, view.fresh, view.report) == (peer, True, report(peer))
    assert [type(f) for f in pair.facts["lb1"]].count(PeerFound) == 1


def test_two_paths_deliver_once_and_reject_nothing(pair: Pair) -> None:
    pair.two.rejected.clear()
    pair.one.tell("lb2", RELEASED)
    pair.exchange()
    assert pair.facts["lb2"] == [PacketHeard("lb1", RELEASED)]
    assert not pair.two.rejected


def test_either_path_alone_is_enough_and_the_other_is_seen_to_age(pair: Pair) -> None:
    for down in ({A1, B1}, {A2, B2}):
        pair.down = down
        pair.now_ns += 200 * MS
        pair.publish()
        assert pair.one.views(pair.now_ns)[0].fresh
        ages = {p.address: p.age_ms for p in pair.one.views(pair.now_ns)[0].paths}
        dead = "10.0.0.2:4710" if B1 in down else "10.1.0.2:4710"
        assert ages[dead]
        assert min(a for a in ages.values() if a is not None) == 0


def test_replay_on_the_same_path_is_counted(pair: Pair) -> None:
    pair.two.rejected.clear()
    pair.one.tell("lb2", RELEASED)
    pair.exchange()
    pair.facts["lb2"].clear()
    for datagram, source in pair.recorded[-2:]:
        assert pair.two.hear(datagram, source, pair.now_ns) == ()
    assert pair.two.rejected == {"replayed": 2}


def test_every_rejection_is_counted_by_reason(pair: Pair) -> None:
    pair.two.rejected.clear()
    good, _ = pair.recorded[-1]
    stranger, wire = mesh("lb9", "lb2", (B1,))
    stranger.tell("lb2", RELEASED)
    old, old_wire = mesh("lb1", "lb2", (B1,), seed=3)
    old.tell("lb2", RELEASED)
    foreign = Wire()
    other_key = Mesh(
        "lb1",
        Cluster("edge", peer=(Peer("lb2", ("10.0.0.2:4710",)),)),
        (OTHER_KEY,),
        random_bytes=counting_bytes(9),
        sink=foreign,
        now_ns=0,
    )
    other_key.tell("lb2", RELEASED)
    tampered = good[:-1] + bytes([good[-1] ^ 1])
    for datagram in (
        b"rubbish",
        bytes(9000),
        tampered,
        wire.sent[0][0],
        old_wire.sent[0][0],
        foreign.sent[0][0],
    ):
        pair.two.hear(datagram, A1, pair.now_ns)
    # The channel itself, for no packet of the mesh has such a body.
    pair.two.hear(pair.one._channel.seal("lb2", b"\xc1"), A1, pair.now_ns)
    assert pair.two.rejected == {
        "malformed": 2,
        "too-large": 1,
        "bad-tag": 1,
        "unknown-peer": 1,
        "stale-session": 1,
        "unknown-key": 1,
    }


def test_peer_cannot_report_for_another(pair: Pair) -> None:
    pair.one.publish(report("lb3"))
    pair.exchange()
    assert pair.two.rejected["malformed"] == 1
    assert pair.two.views(pair.now_ns)[0].report == report("lb1")


def test_a_peer_of_another_version_is_told_as_one_that_cannot_be_read(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = msgspec.msgpack.encode(["report", {"schema": 2, "node": "lb1"}])
    with monkeypatch.context() as patch:
        patch.setattr(mesh_module, "encode", lambda _: later)
        pair.one.publish(report("lb1"))
    pair.exchange()
    assert pair.two.rejected["malformed"] == 1
    assert pair.two.unreadable(pair.now_ns) == ("lb1",)
    assert pair.one.unreadable(pair.now_ns) == ()
    pair.now_ns += LATELY_NS + MS
    assert pair.two.unreadable(pair.now_ns) == ()
    assert not pair.two.views(pair.now_ns)[0].fresh


def test_overtaken_report_does_not_replace_a_newer_one(pair: Pair) -> None:
    pair.one.publish(report("lb1"))
    pair.one.publish(report("lb1", Condition.FAULT))
    pair.wire_one.sent.reverse()
    pair.exchange()
    seen = pair.two.views(pair.now_ns)[0].report
    assert seen is not None
    assert seen.condition is Condition.FAULT


def test_peer_is_lost_once_and_found_again(pair: Pair) -> None:
    deadline = pair.one.deadline_ns
    assert deadline is not None
    assert pair.one.step(deadline - 1) == ()
    assert pair.one.views(deadline - 1)[0].fresh
    (lost,) = pair.one.step(deadline)
    assert isinstance(lost, PeerLost)
    assert lost.age_ms > 3 * 200
    assert pair.one.step(deadline + 1) == ()
    assert pair.one.deadline_ns is None
    assert pair.one.isolated(deadline)
    assert not pair.one.views(deadline)[0].fresh
    pair.now_ns = deadline + 1
    pair.publish()
    assert pair.facts["lb1"][:2] == [PeerFound("lb2"), ReportHeard("lb2", report("lb2"), news=True)]
    assert not pair.one.isolated(pair.now_ns)


def test_a_report_is_news_if_more_than_measurements_changed(pair: Pair) -> None:
    def published(told: NodeReport) -> bool:
        pair.now_ns += 200 * MS
        pair.two.publish(told)
        pair.exchange()
        return [f.news for f in pair.facts["lb1"] if isinstance(f, ReportHeard)][-1]

    pair.publish()
    told = report("lb2")
    assert not published(told)
    assert not published(replace(told, connections=7, new_connections_per_s=3.5))
    for changed in (
        replace(told, condition=Condition.FAULT),
        replace(told, drained=True),
        replace(told, permits=PermitReport(asks="web")),
    ):
        assert published(changed)
        assert not published(changed)


def test_peers_are_awaited_until_they_have_answered_or_had_the_time_to() -> None:
    one, _ = mesh("lb1", "lb2", (B1,))
    assert one.awaits(0)
    assert one.awaits(FRESH_MS_MIN * MS)
    assert not one.awaits(601 * MS)
    alone = Mesh(
        "lb1", Cluster("edge"), (KEY,), random_bytes=counting_bytes(1), sink=Wire(), now_ns=0
    )
    assert not alone.awaits(0)


def test_a_peer_that_has_answered_is_not_awaited() -> None:
    pair = Pair()
    pair.one.greet()
    assert pair.one.awaits(0)
    pair.exchange()
    assert not pair.one.awaits(0)


def test_not_isolated_before_there_was_time_to_hear_nor_without_peers() -> None:
    one, _ = mesh("lb1", "lb2", (B1,))
    assert not one.isolated(FRESH_MS_MIN * MS)
    assert one.isolated(601 * MS)
    alone = Mesh(
        "lb1", Cluster("edge"), (KEY,), random_bytes=counting_bytes(1), sink=Wire(), now_ns=0
    )
    assert not alone.isolated(10**12)


@pytest.mark.parametrize(("interval_ms", "fresh_ms"), [(50, 500), (200, 600), (1000, 3000)])
def test_fresh_is_three_intervals_and_at_least_half_a_second(
    interval_ms: int, fresh_ms: int
) -> None:
    pair = Pair()
    texts = ("10.0.0.2:4710", "10.1.0.2:4710")
    config = Cluster("edge", report_interval_ms=interval_ms, peer=(Peer("lb2", texts),))
    pair.one.reconfigure(config, (KEY,))
    pair.publish()
    assert pair.one.views(fresh_ms * MS)[0].fresh
    assert not pair.one.views(fresh_ms * MS + 1)[0].fresh


def test_restart_converges_with_one_more_exchange(pair: Pair) -> None:
    pair.one, pair.wire_one = mesh("lb1", "lb2", (B1, B2), seed=9)
    pair.one.greet()
    pair.exchange()
    assert pair.one.views(pair.now_ns)[0].fresh
    assert pair.two.views(pair.now_ns)[0].age_ms == 0


def test_recorded_greetings_cannot_make_a_node_shout(pair: Pair) -> None:
    old, wire = mesh("lb1", "lb2", (B1,), seed=3)
    for _ in range(50):
        old.tell("lb2", RELEASED)
    facts = [f for d, _ in wire.sent for f in pair.two.hear(d, A1, pair.now_ns)]
    assert facts == [Greeted("lb1")]
    old.tell("lb2", RELEASED)
    assert pair.two.hear(wire.sent[-1][0], A1, pair.now_ns + GREETING_NS) == (Greeted("lb1"),)


def test_unknown_peer_is_not_told(pair: Pair) -> None:
    assert not pair.one.tell("lb9", RELEASED)


def test_reconfiguration_drops_who_is_gone_and_keeps_who_stays(pair: Pair) -> None:
    more = Cluster("edge", peer=(Peer("lb2", ("10.0.0.2:4710",)), Peer("lb3", ("10.0.0.3:4710",))))
    pair.one.reconfigure(more, (KEY,))
    views = pair.one.views(pair.now_ns)
    assert [(v.name, v.fresh) for v in views] == [("lb2", True), ("lb3", False)]
    pair.one.reconfigure(Cluster("edge"), (KEY,))
    assert pair.one.views(pair.now_ns) == ()
    pair.two.tell("lb1", RELEASED)
    pair.exchange()
    assert pair.one.rejected["unknown-peer"] == 2


def twin_of_one() -> bytes:
    """A report of another node that is named lb1, and takes this one for its lb2."""
    twin, wire = mesh("lb1", "lb2", (B1,), seed=1)
    twin.publish(report("lb1"))
    return wire.sent[0][0]


def test_another_node_of_this_name_is_found_once_and_counted_by_its_reason(pair: Pair) -> None:
    now_ns, found = pair.now_ns, []
    pair.one.rejected.clear()
    for _ in range(20):
        now_ns += 200 * MS
        found += pair.one.hear(twin_of_one(), B1, now_ns)
    assert found == [NamesakeFound()]
    assert pair.one.rejected == {"two-of-a-name": 20}
    why = pair.one.namesake(now_ns)
    assert why is not None
    assert why.code == "two-of-a-name"
    assert why.text.startswith("two nodes are named lb1: 10.0.0.2:4710 sends signed reports")
    assert pair.one.views(now_ns)[0].report == report("lb2"), "its word counts for nothing"
    now_ns += LATELY_NS + MS
    assert pair.one.namesake(now_ns) is None
    assert pair.one.hear(twin_of_one(), B1, now_ns) == (NamesakeFound(),)


def test_who_only_says_that_it_is_this_node_is_a_stranger_and_costs_one_try_a_second(
    pair: Pair,
) -> None:
    forged = bytearray(twin_of_one())
    forged[-1] ^= 1
    pair.one.rejected.clear()
    assert pair.one.hear(bytes(forged), B1, pair.now_ns) == ()
    assert pair.one.hear(twin_of_one(), B1, pair.now_ns + OWN_NAME_TRY_NS - 1) == ()
    assert pair.one.rejected == {"unknown-peer": 2}
    assert pair.one.namesake(pair.now_ns) is None
    found = pair.one.hear(twin_of_one(), B1, pair.now_ns + OWN_NAME_TRY_NS)
    assert found == (NamesakeFound(),)


async def udp_pair(host: str) -> None:
    """Two meshes over the kernel's own UDP."""
    heard: dict[str, list[Heard]] = {"lb1": [], "lb2": []}
    transports = {name: UdpTransport() for name in heard}
    meshes: dict[str, Mesh] = {}

    def receiver(name: str):
        def on_datagram(data: bytes, source: Address) -> None:
            facts = meshes[name].hear(data, source, time.monotonic_ns())
            heard[name].extend(facts)
            if any(isinstance(fact, Greeted) for fact in facts):
                meshes[name].publish(report(name))

        return on_datagram

    where = {name: f"{host}:{free_port(host.strip('[]'))}" for name in transports}
    for name, transport in transports.items():
        await transport.bind(where[name], receiver(name))
    for name, peer in (("lb1", "lb2"), ("lb2", "lb1")):
        meshes[name] = Mesh(
            name,
            Cluster("edge", peer=(Peer(peer, (where[peer],)),)),
            (KEY,),
            random_bytes=counting_bytes(sum(name.encode()) * 10**6),
            sink=transports[name],
            now_ns=time.monotonic_ns(),
        )
    try:
        meshes["lb1"].greet()
        await until(lambda: all(m.views(time.monotonic_ns())[0].fresh for m in meshes.values()))
        meshes["lb1"].tell("lb2", RELEASED)
        await until(lambda: PacketHeard("lb1", RELEASED) in heard["lb2"])
        (path,) = meshes["lb1"].views(time.monotonic_ns())[0].paths
        assert path.address == where["lb2"]
        assert path.age_ms is not None
    finally:
        for transport in transports.values():
            transport.close()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_over_loopback(host: str) -> None:
    await udp_pair(host)


async def test_error_of_the_network_is_counted_and_breaks_nothing() -> None:
    transport = UdpTransport()
    await transport.bind(f"127.0.0.1:{free_port()}", lambda *_: None)
    try:
        transport.send(b"x", ("255.255.255.255", 1))  # needs SO_BROADCAST
        await until(lambda: transport.errors)
        assert transport.errors == {"Permission denied": 1}
    finally:
        transport.close()
        await asyncio.sleep(0.01)


async def test_bound_address_that_is_not_here_is_an_error() -> None:
    with pytest.raises(OSError, match="Cannot assign requested address"):
        await UdpTransport().bind("192.0.2.1:4710", lambda *_: None)
