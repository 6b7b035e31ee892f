"""What a controller knows of the others: their last reports and how old those are.

It keeps the rules of the mesh: a report that was overtaken is ignored, one of another schema does
not get in, a peer without a young one is not fresh, a node that hears nobody is isolated. A report under
this node's own name is another node's.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from haman.core import because
from haman.core.reports import NodeReport, PathView, PeerView
from haman.core.words import Reason

SCHEMA = 1
NS_PER_MS = 1_000_000
NAMESAKE_NS = 5_000_000_000
Lie = Callable[[NodeReport], NodeReport]


@dataclass(frozen=True, slots=True)
class Posted:
    """A report on its way.

    Attributes:
        sender: the life of the agent that sent it; counters of two lives do not compare.
        counter: grows with each report of a life.
        schema: of the encoding.
    """

    report: NodeReport
    sender: int
    counter: int
    schema: int = SCHEMA

    def told(self, lies: tuple[Lie, ...], schema: int) -> "Posted":
        """As a node with such troubles sends it."""
        report = self.report
        for lie in lies:
            report = lie(report)
        return replace(self, report=report, schema=schema)


@dataclass(slots=True)
class _Peer:
    report: NodeReport | None = None
    heard_ns: int = 0
    sender: int = -1
    counter: int = -1
    fresh: bool = False
    paths: tuple[str, ...] = ()


class Peers:
    """One node's side of the mesh."""

    def __init__(self, name: str, names: tuple[str, ...], fresh_ns: int, now_ns: int) -> None:
        self._peers = {name: _Peer() for name in names}
        self._fresh_ns = fresh_ns
        self._started_ns = now_ns
        self._name = name
        self._namesake_ns: int | None = None

    def hear(self, posted: Posted, now_ns: int) -> bool:
        """Take in a report; whether it says another thing than the one before, load aside."""
        if posted.report.node == self._name and posted.schema == SCHEMA:
            before = self.namesake(now_ns)
            self._namesake_ns = now_ns
            return before is None
        peer = self._peers.get(posted.report.node)
        if peer is None or posted.schema != SCHEMA:
            return False
        if posted.sender == peer.sender and posted.counter <= peer.counter:
            return False
        peer.sender, peer.counter = posted.sender, posted.counter
        said, peer.report, peer.heard_ns = peer.report, posted.report, now_ns
        if said is None or said.sources != posted.report.sources:
            peer.paths = _paths(posted.report)
        return said is None or _standing(said) != _standing(posted.report)

    def views(self, now_ns: int) -> tuple[PeerView, ...]:
        """Every configured peer."""
        return tuple(
            PeerView(
                name,
                peer.report,
                (now_ns - (self._started_ns if peer.report is None else peer.heard_ns)) / NS_PER_MS,
                peer.report is not None and now_ns - peer.heard_ns <= self._fresh_ns,
                tuple(PathView(p, (now_ns - peer.heard_ns) / NS_PER_MS) for p in peer.paths),
            )
            for name, peer in self._peers.items()
        )

    def is_fresh(self, name: str, now_ns: int) -> bool:
        """Whether a peer was heard lately."""
        peer = self._peers.get(name)
        return (
            peer is not None
            and peer.report is not None
            and (now_ns - peer.heard_ns <= self._fresh_ns)
        )

    def isolated(self, now_ns: int) -> bool:
        """Peers are configured, none is fresh, and there was time to hear one."""
        if not self._peers or now_ns - self._started_ns <= self._fresh_ns:
            return False
        return not any(self.is_fresh(name, now_ns) for name in self._peers)

    def awaits(self, now_ns: int) -> bool:
        """A peer was never heard, and has not had the time to answer since this node began."""
        young = now_ns - self._started_ns <= self._fresh_ns
        return young and any(peer.report is None for peer in self._peers.values())

    def namesake(self, now_ns: int) -> Reason | None:
        """Another node of this name; None = none was heard lately."""
        if self._namesake_ns is None or now_ns - self._namesake_ns > NAMESAKE_NS:
            return None
        return because.two_of_a_name(self._name, "another machine")

    def changes(self, now_ns: int) -> tuple[tuple[str, bool], ...]:
        """Those that came or went since the last time: name, and whether it is fresh now."""
        found = []
        for name, peer in self._peers.items():
            fresh = self.is_fresh(name, now_ns)
            if fresh is not peer.fresh:
                peer.fresh = fresh
                found.append((name, fresh))
        return tuple(found)


def _paths(report: NodeReport) -> tuple[str, ...]:
    """The mesh runs on the link of the VIPs, between the addresses that adverts come from."""
    sources = {source for each in report.sources.values() for source in each}
    return tuple(f"{source}:4710" for source in sorted(sources))


def _standing(report: NodeReport) -> tuple[object, ...]:
    said = report.permits
    permits = (said.sheds, said.asks, said.granted_to) if said is not None else None
    return (
        report.condition,
        [(v.role, v.priority, v.active_router, [r.code for r in v.reasons]) for v in report.vips],
        [(a.stance, a.weight, a.neighbors_up, a.tail, a.steers) for a in report.anycast],
        report.links,
        report.drained,
        report.paused,
        permits,
    )
