"""What the nodes of an anycast service say and want while one of them leaves, comes back or changes its weight.

One of them is the pivot (see there), as a rule who does that. It asks the others, the
survivors, to steer to it what they do not know. What it does not know either is a survivor's that the
router sends to another one now: it goes down a line of them, first to last by name, and the last one
answers. So a segment passes each node at most twice:

    router ─► any survivor ─► pivot ─► first survivor ─► … ─► last survivor

No address moves. All facts are whole: none is an edge.
"""

from haman.core.frozen import dataclass
from haman.core.handover.messages import NS_PER_S, Side
from haman.core.words import Reason

TAIL = "tail"
"""Code of the reason that a node gives while it serves a tail."""
LEASE_NS = 5 * NS_PER_S
"""A survivor steers for so long after it last heard the pivot say that it shall."""


@dataclass(frozen=True, slots=True)
class LinkPlace:
    """A link on which a node speaks BGP, and where frames for it go there.

    Attributes:
        mac: of the interface, "02:…".
        addresses: the node's own on it, both families; without link-local ones.
    """

    mac: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TailWord:
    """The pivot, in its report: whoever can, steers to it what it does not know.

    Attributes:
        id: of this one tail, never used again.
        began: routers are told to go elsewhere; not before a survivor is ready.
        over: it is not needed any more.
        line: the survivors, in order.
        heir: the survivor that is to be the pivot instead; "" = nobody.
        of: the tail that this one takes over: who steers for that one, steers for this one now; "" = none.
        covers: the survivors that lean on it (`SteerWord.leans`), as heard: it does not end before they say no more.
    """

    id: str
    line: tuple[str, ...] = ()
    began: bool = False
    over: bool = False
    heir: str = ""
    of: str = ""
    covers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SteerWord:
    """A survivor, in its report: how far it is.

    Attributes:
        id: of the drain.
        ready: its rules are in force, for every family.
        problem: why they cannot be; None = they are, or will be.
        next: after it in the line, as its rules have it; "" = nobody.
        leans: it moves, or is drained and serves its connections to their end, under this very tail.
    """

    id: str
    ready: bool = False
    next: str = ""
    problem: Reason | None = None
    leans: bool = False


@dataclass(frozen=True, slots=True)
class SteerOrder:
    """Controller → engine: what it shall do for the tail of one service. Without one: nothing.

    Attributes:
        side: giving: the pivot; taking: a survivor.
        peer: the pivot, that gets what is not known here; giving: "".
        next: who gets what was handed on to this node, and is not known here; "" = nobody.
        after: MAC addresses of who hands on to this node; giving: not needed, () .
        others: of the cluster's nodes: what comes from another one is answered here.
        until_ns: CLOCK_MONOTONIC; then the engine ends it by itself. Moved on while it is wanted.
        anew: giving: this node is about to come back from nothing. Connections that it still has were given
            up, and their clients may use the same ports again: it does not know them.
    """

    id: str
    service: str
    side: Side
    until_ns: int
    peer: str = ""
    places: tuple[LinkPlace, ...] = ()
    next: str = ""
    next_places: tuple[LinkPlace, ...] = ()
    after: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    anew: bool = False


@dataclass(frozen=True, slots=True)
class SteerReport:
    """Engine → controller: how far an order is.

    Attributes:
        ready: all of it is in force.
        problem: why not; None = it is, or will be.
        connections: to the service here; None = not counted yet.
        passed: giving: connections whose segments came by here lately though routers do not send them here:
            handed on, or of this node and steered here by others.
    """

    order: SteerOrder
    ready: bool = False
    problem: Reason | None = None
    connections: int | None = None
    passed: int = 0


@dataclass(frozen=True, slots=True)
class TailStanding:
    """What the tail of a service asks of its ladder.

    Attributes:
        keeps: a node that leaves or comes back stays where it is: the survivors are not ready yet.
        gates: so does one that is to change its weight, and it says that it waits (`AnycastStance.waits`).
        holds: the addresses stay, announced or not.
        reasons: why, or why there is no tail.
    """

    keeps: bool = False
    gates: bool = False
    holds: bool = False
    reasons: tuple[Reason, ...] = ()


def macs(*links: tuple[LinkPlace, ...]) -> tuple[str, ...]:
    """The MAC addresses of nodes, in order."""
    return tuple(sorted({place.mac for each in links for place in each}))


RENEW_NS = 10 * NS_PER_S


def lease_end(now_ns: int) -> int:
    """An instant 10 to 20 s away that changes every 10 s: until when the engine goes on alone."""
    return (now_ns // RENEW_NS + 2) * RENEW_NS
