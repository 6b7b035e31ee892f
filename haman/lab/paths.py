"""Where a router sends a prefix, when: from what its kernel notified to spans. Pure."""

import itertools
from collections.abc import Iterable, Sequence

from msgspec import Struct


class Hop(Struct, frozen=True, order=True):
    """A node that gets a share of the connections; shares are in proportion to `weight`."""

    node: str
    weight: int = 1


class Route(Struct, frozen=True):
    """What a router does with one prefix.

    Attributes:
        hops: ordered by node; none = the prefix is not routed.
        floor: they come from static routes: no node announces.
    """

    hops: tuple[Hop, ...] = ()
    floor: bool = False

    @property
    def by_bgp(self) -> tuple[Hop, ...]:
        """The nodes that are used because they announce."""
        return () if self.floor else self.hops

    def __str__(self) -> str:
        if not self.hops:
            return "nowhere"
        weights = {hop.weight for hop in self.hops}
        even = len(weights) == 1
        names = ", ".join(h.node if even else f"{h.node} × {h.weight}" for h in self.hops)
        return f"{names} (the floor: none announces)" if self.floor else names


class RouteChanged(Struct, frozen=True):
    """A router began to do something else with a prefix. `at_ns`: monotonic."""

    at_ns: int
    prefix: str
    route: Route


class RouteSpan(Struct, frozen=True):
    """A span in which a router did the same with a prefix."""

    start_ns: int
    end_ns: int
    route: Route


def spans(
    changes: Iterable[RouteChanged], prefix: str, start_ns: int, end_ns: int
) -> tuple[RouteSpan, ...]:
    """The spans of one prefix between two instants, without gaps; what went before counts as state."""
    heard = sorted((c for c in changes if c.prefix == prefix), key=lambda change: change.at_ns)
    edges = [(start_ns, Route())]
    edges += [(max(c.at_ns, start_ns), c.route) for c in heard if c.at_ns < end_ns]
    edges.append((end_ns, Route()))
    return tuple(
        RouteSpan(begin, end, route)
        for (begin, route), (end, _) in itertools.pairwise(edges)
        if end > begin
    )


def gone_ns(found: Sequence[RouteSpan], node: str, since_ns: int) -> int | None:
    """When a node first got no share because it announces, at or after an instant; None = never."""
    for span in found:
        if span.end_ns > since_ns and all(hop.node != node for hop in span.route.by_bgp):
            return max(span.start_ns, since_ns)
    return None


def floor_ns(found: Sequence[RouteSpan]) -> int:
    """For how long the floor carried the prefix."""
    return sum(span.end_ns - span.start_ns for span in found if span.route.floor)


def unrouted_ns(found: Sequence[RouteSpan]) -> int:
    """For how long the prefix went nowhere."""
    return sum(span.end_ns - span.start_ns for span in found if not span.route.hops)
