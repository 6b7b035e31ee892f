"""The full mesh of a small cluster: who is heard, on which paths, and how fresh their word is.

Pure: datagrams and the monotonic instant come in, facts and datagrams come out. Every packet goes
over all paths of a peer as the same bytes; the first copy counts, the others prove their path.

    a peer is    when
    -----------  ----------------------------------------------------------------
    unheard      no report was ever accepted from it
    fresh        its last report is at most `fresh_ns` old
    lost         it was fresh and the report grew older; `PeerLost` is told once

`fresh_ns` is three report intervals, so that two lost datagrams in a row change nothing, and at least
500 ms: on a machine with all cores busy the unprivileged, not real-time controller was seen waiting
for hundreds of ms, which says nothing about its proxy. VRRP, not this mesh, detects a dead node.

A *namesake* is another node under this node's name: its datagrams have the right tag, and are of
another session. `NamesakeFound` is told once; it is one until 5 s after its last datagram. Whether a
datagram under the own name has the tag is looked into once a second at most.

A store that many nodes share can stand in for this class: it needs `publish`, `tell`, `views`,
`isolated`, and the facts.
"""

from collections import Counter
from dataclasses import field
from ipaddress import ip_address
from typing import Protocol

from haman.cluster.channel import Channel, Opened, OwnName, RandomBytes, Rejected, Unproven
from haman.cluster.keys import ClusterKey
from haman.cluster.packets import Hello, Packet, Report, decode, encode
from haman.config.forms import split_host_port
from haman.config.model import Cluster
from haman.core import because
from haman.core.frozen import dataclass
from haman.core.reports import NodeReport, PathView, PeerView
from haman.core.words import Reason

Address = tuple[str, int]

FRESH_INTERVALS = 3
FRESH_MS_MIN = 500
GREETING_NS = 20_000_000
"""At most one answer to a greeting per peer in this time; recordings cannot make a node shout."""
LATELY_NS = 5_000_000_000
"""What was heard so long ago, and not since, is over."""
OWN_NAME_TRY_NS = 1_000_000_000
_NS_PER_MS = 1_000_000


class Sink(Protocol):
    """Where datagrams go; must not block, and may drop."""

    def send(self, datagram: bytes, address: Address) -> None:
        """Send or drop."""


@dataclass(frozen=True, slots=True)
class PeerFound:
    """A peer that was unheard or lost is fresh."""

    peer: str


@dataclass(frozen=True, slots=True)
class PeerLost:
    """A peer is not heard any more."""

    peer: str
    age_ms: float


@dataclass(frozen=True, slots=True)
class ReportHeard:
    """A peer's report, newer than the one before.

    Attributes:
        news: it says something else than the one before, beyond what is measured all the time, or
            there was none that still counted.
    """

    peer: str
    report: NodeReport
    news: bool


@dataclass(frozen=True, slots=True)
class PacketHeard:
    """Any other packet of a peer."""

    peer: str
    packet: Packet


@dataclass(frozen=True, slots=True)
class Greeted:
    """A peer may not believe this node yet: publish to it at once."""

    peer: str


@dataclass(frozen=True, slots=True)
class NamesakeFound:
    """Another node is named as this one."""


Heard = PeerFound | ReportHeard | PacketHeard | Greeted | NamesakeFound


@dataclass(slots=True)
class _Path:
    heard_ns: int | None = None
    counter: int = -1


@dataclass(slots=True)
class _Peer:
    paths: dict[Address, _Path]
    report: NodeReport | None = None
    heard_ns: int = 0
    counter: int = -1
    fresh: bool = False
    greeted_ns: int | None = field(default=None)
    unread_ns: int | None = None


def _stated(report: NodeReport) -> tuple[object, ...]:
    """What a node says of itself that is not a measurement."""
    return (
        report.condition,
        report.proxy_up,
        report.drained,
        report.paused,
        report.handover,
        report.vips,
        report.anycast,
        report.neighbors,
        report.permits,
        report.addresses,
        report.sources,
        report.links,
    )


def _address(text: str) -> Address:
    """As the kernel spells the source of a datagram."""
    host, port = split_host_port(text)
    return str(ip_address(host)), port


def _spelled(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _paths(peer: _Peer, now_ns: int) -> tuple[PathView, ...]:
    return tuple(
        PathView(
            _spelled(address),
            None if path.heard_ns is None else (now_ns - path.heard_ns) / _NS_PER_MS,
        )
        for address, path in peer.paths.items()
    )


class Mesh:
    """One node's side of the mesh.

    Args:
        node: name of this node.
        config: of the cluster.
        keys: the first seals.
        random_bytes: unpredictable bytes.
        sink: takes the datagrams.
        now_ns: the monotonic instant.
    """

    def __init__(
        self,
        node: str,
        config: Cluster,
        keys: tuple[ClusterKey, ...],
        *,
        random_bytes: RandomBytes,
        sink: Sink,
        now_ns: int,
    ) -> None:
        names = tuple(peer.name for peer in config.peer)
        self._node = node
        self._channel = Channel(config.name, node, names, keys, random_bytes)
        self._sink = sink
        self._started_ns = now_ns
        self._peers: dict[str, _Peer] = {}
        self._fresh_ns = 0
        self._tried_ns: int | None = None
        self._namesake: tuple[str, int] | None = None
        """Where another node of this name was last heard, and when."""
        self.rejected: Counter[str] = Counter()
        """Datagrams dropped since the start, by reason: `unknown-key`, `bad-tag`, `replayed`,
        `malformed`, `unknown-peer`, `two-of-a-name`, `stale-session`, `too-large`."""
        self.reconfigure(config, keys)

    def reconfigure(self, config: Cluster, keys: tuple[ClusterKey, ...]) -> None:
        """Take over peers, paths, keys and interval; what is known of peers that stay is kept."""
        peers = {}
        for peer in config.peer:
            known = self._peers.get(peer.name, _Peer({}))
            known.paths = {a: known.paths.get(a, _Path()) for a in map(_address, peer.addresses)}
            peers[peer.name] = known
        self._peers = peers
        self._fresh_ns = max(FRESH_INTERVALS * config.report_interval_ms, FRESH_MS_MIN) * _NS_PER_MS
        self._channel.reconfigure(tuple(peers), keys)

    @property
    def deadline_ns(self) -> int | None:
        """When the first fresh peer will be lost unless it is heard again."""
        heard = [p.heard_ns for p in self._peers.values() if p.fresh]
        return min(heard) + self._fresh_ns + 1 if heard else None

    def publish(self, report: NodeReport, to: str = "") -> bool:
        """Send this node's report to every peer, or to one; False = too large even when cut."""
        body = encode(Report(report))
        if body is None:
            return False
        for name in self._peers:
            if to in {"", name}:
                self._send(name, body)
        return True

    def tell(self, peer: str, packet: Packet) -> bool:
        """Send one packet to one peer, once; False = unknown peer, or too large."""
        body = encode(packet)
        if body is None or peer not in self._peers:
            return False
        self._send(peer, body)
        return True

    def greet(self) -> None:
        """Start the handshake with every peer before there is anything to report."""
        for name in self._peers:
            self.tell(name, Hello())

    def hear(self, datagram: bytes, source: Address, now_ns: int) -> tuple[Heard, ...]:
        """Take in a datagram from anybody."""
        outcome = self._channel.open(datagram)
        if isinstance(outcome, Rejected | OwnName):
            return self._refuse(outcome, datagram, source, now_ns)
        peer = self._peers[outcome.peer]
        if isinstance(outcome, Unproven):
            self.rejected["stale-session"] += 1
            return self._greeting(outcome.peer, peer, now_ns)
        if not self._seen_on_path(peer, outcome, source, now_ns):
            self.rejected["replayed"] += 1
            return ()
        if outcome.repeated:
            return ()
        packet = decode(outcome.body)
        if packet is None:
            self.rejected["malformed"] += 1
            peer.unread_ns = now_ns
            return ()
        greeting = self._greeting(outcome.peer, peer, now_ns) if outcome.greeting else ()
        return (*self._take(outcome, peer, packet, now_ns), *greeting)

    def _refuse(
        self, outcome: Rejected | OwnName, datagram: bytes, source: Address, now_ns: int
    ) -> tuple[NamesakeFound, ...]:
        if isinstance(outcome, Rejected):
            self.rejected[outcome.reason] += 1
            return ()
        before = self.namesake(now_ns)
        if self._tried_ns is None or now_ns - self._tried_ns >= OWN_NAME_TRY_NS:
            self._tried_ns = now_ns
            if self._channel.is_namesake(datagram):
                self._namesake = (_spelled(source), now_ns)
        after = self.namesake(now_ns)
        self.rejected["unknown-peer" if after is None else "two-of-a-name"] += 1
        return (NamesakeFound(),) if before is None and after is not None else ()

    def namesake(self, now_ns: int) -> Reason | None:
        """Another node of this name; None = none was heard lately."""
        if self._namesake is None or now_ns - self._namesake[1] > LATELY_NS:
            return None
        return because.two_of_a_name(self._node, self._namesake[0])

    def unreadable(self, now_ns: int) -> tuple[str, ...]:
        """Peers of which something arrived lately that has the tag and makes no packet here."""
        return tuple(
            name
            for name, peer in self._peers.items()
            if peer.unread_ns is not None and now_ns - peer.unread_ns <= LATELY_NS
        )

    def step(self, now_ns: int) -> tuple[PeerLost, ...]:
        """Let time pass: peers that are not heard any more."""
        lost = []
        for name, peer in self._peers.items():
            if peer.fresh and now_ns - peer.heard_ns > self._fresh_ns:
                peer.fresh = False
                lost.append(PeerLost(name, (now_ns - peer.heard_ns) / _NS_PER_MS))
        return tuple(lost)

    def views(self, now_ns: int) -> tuple[PeerView, ...]:
        """Every configured peer, in their order; the age of an unheard one counts from the start."""
        return tuple(
            PeerView(
                name,
                peer.report,
                (now_ns - (self._started_ns if peer.report is None else peer.heard_ns))
                / _NS_PER_MS,
                peer.report is not None and now_ns - peer.heard_ns <= self._fresh_ns,
                _paths(peer, now_ns),
            )
            for name, peer in self._peers.items()
        )

    def isolated(self, now_ns: int) -> bool:
        """Peers are configured, none is fresh, and there was time to hear one."""
        if not self._peers or now_ns - self._started_ns <= self._fresh_ns:
            return False
        return not any(view.fresh for view in self.views(now_ns))

    def awaits(self, now_ns: int) -> bool:
        """A peer was never heard, and has not had the time to answer since this node began."""
        young = now_ns - self._started_ns <= self._fresh_ns
        return young and any(peer.report is None for peer in self._peers.values())

    def _send(self, name: str, body: bytes) -> None:
        datagram = self._channel.seal(name, body)
        for address in self._peers[name].paths:
            self._sink.send(datagram, address)

    def _take(
        self, outcome: Opened, peer: _Peer, packet: Packet, now_ns: int
    ) -> tuple[PeerFound | ReportHeard | PacketHeard, ...]:
        if isinstance(packet, Hello):
            return ()
        if not isinstance(packet, Report):
            return (PacketHeard(outcome.peer, packet),)
        if packet.report.node != outcome.peer:
            self.rejected["malformed"] += 1
            return ()
        if outcome.counter < peer.counter and not outcome.greeting:
            return ()  # overtaken by a newer report; no fault of anybody's
        found = () if peer.fresh else (PeerFound(outcome.peer),)
        before = peer.report if peer.fresh else None
        news = before is None or _stated(before) != _stated(packet.report)
        peer.report, peer.counter = packet.report, outcome.counter
        peer.heard_ns, peer.fresh = now_ns, True
        return (*found, ReportHeard(outcome.peer, packet.report, news))

    def _greeting(self, name: str, peer: _Peer, now_ns: int) -> tuple[Greeted, ...]:
        if peer.greeted_ns is not None and now_ns - peer.greeted_ns < GREETING_NS:
            return ()
        peer.greeted_ns = now_ns
        return (Greeted(name),)

    @staticmethod
    def _seen_on_path(peer: _Peer, outcome: Opened, source: Address, now_ns: int) -> bool:
        """Note the path; False = the very path delivered this one before, so it is a replay."""
        if outcome.greeting:
            peer.counter = -1
            for path in peer.paths.values():
                path.counter = -1
        known = peer.paths.get(source)
        if known is None:
            return not outcome.repeated
        if outcome.repeated and outcome.counter <= known.counter:
            return False
        known.counter = max(known.counter, outcome.counter)
        known.heard_ns = now_ns
        return True
