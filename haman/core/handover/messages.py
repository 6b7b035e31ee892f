"""What both sides of a handover are told, say and want. All facts are whole: none is an edge."""

from enum import StrEnum

from haman.core.frozen import dataclass
from haman.core.words import Reason

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
REPEAT_NS = 100 * NS_PER_MS
"""How often a side says where it is while it waits for the other."""


class Side(StrEnum):
    """Which end of a handover a node is."""

    GIVING = "giving"
    TAKING = "taking"


class Step(StrEnum):
    """How far the engine shall be, or is, in this order.

    ready: giving: the VIP is on `lo` as well, and the rules of the tail wait for the taker's GARP or
    NA; taking: what this node does not know is forwarded. take: giving: the taker's adverts make it
    yield; taking: it becomes active. tail: giving: the VIP is on `lo` alone; taking: it holds it.
    """

    READY = "ready"
    TAKE = "take"
    TAIL = "tail"


REACHES = {Step.READY: 1, Step.TAKE: 2, Step.TAIL: 3}
"""Order of the steps: the engine does all that stand before the one that was ordered."""


class Phase(StrEnum):
    """What one side says to the other: where it is."""

    OFFER = "offer"
    TAKE = "take"
    TAIL = "tail"
    DONE = "done"
    ABORTED = "aborted"
    READY = "ready"
    TAKEN = "taken"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class VipPlace:
    """Where a VIP lives on a node: what the other side must know of its link.

    Attributes:
        mac: of the interface, "02:…"; "" = not known yet.
        sources: the addresses that the node's adverts come from, at most one of each family.
    """

    vip: str
    mac: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """One node to the other, over the authenticated channel.

    Attributes:
        id: of the handover, chosen by the giver.
        vips: that move together.
        places: of these VIPs, on the node that says it.
        reasons: why, of `refused`, `aborted` and `done`.
    """

    id: str
    vips: tuple[str, ...]
    phase: Phase
    places: tuple[VipPlace, ...] = ()
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class HandoverOrder:
    """Controller → engine: what it shall be to a VIP that moves. Without one: nothing special.

    Attributes:
        place: of the VIP on the other node.
        until_ns: CLOCK_MONOTONIC; then the engine ends it by itself, whoever has forgotten it.
    """

    id: str
    vip: str
    side: Side
    step: Step
    peer: str
    place: VipPlace
    until_ns: int


@dataclass(frozen=True, slots=True)
class HandoverReport:
    """Engine → controller: how far an order is.

    Attributes:
        reached: the last step that is wholly done; None = none yet.
        problem: why it goes no further; None = it does.
        connections: established to the VIP here, as last counted; None = not counted yet.
    """

    order: HandoverOrder
    reached: Step | None = None
    problem: Reason | None = None
    connections: int | None = None

    def has(self, step: Step) -> bool:
        """Whether this step is done."""
        return self.reached is not None and REACHES[self.reached] >= REACHES[step]


# ---- inputs ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PeerSaid:
    """The other side said something."""

    said: Said


@dataclass(frozen=True, slots=True)
class EngineSaid:
    """Everything the engine knows, now.

    Attributes:
        handovers: what became of orders.
        active: VIPs for which this node is the active router.
        held: VIPs that were taken: their addresses are all on the interface.
        places: of VIPs on this node.
    """

    handovers: tuple[HandoverReport, ...]
    active: frozenset[str]
    held: frozenset[str]
    places: tuple[VipPlace, ...]


@dataclass(frozen=True, slots=True)
class Cancelled:
    """It shall not go on: the proxy broke, the operator stopped it, the configuration changed."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing but time; give it when `deadline_ns` has come."""


Input = PeerSaid | EngineSaid | Cancelled | TimePassed


# ---- outputs -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Say:
    """Send this to the other side, once."""

    said: Said


@dataclass(frozen=True, slots=True)
class Moved:
    """The taker holds the VIPs, and what remains is the tail."""

    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """It is over: nothing of it is wanted any more.

    Attributes:
        moved: the taker holds the VIPs; False = the giver serves on.
        cut: connections of the tail that were left at the end.
    """

    moved: bool
    reason: Reason
    cut: int = 0


Output = Say | Moved | Ended
