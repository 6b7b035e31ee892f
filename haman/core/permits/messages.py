"""What nodes say to each other about permits; each is a whole statement, and harmless when repeated.

A message may be lost, late, repeated or overtaken. What it is about is named by a `PermitId`, which
its asker never uses again, so that an old word cannot be taken for a new one.
"""

from dataclasses import field

from haman.core.frozen import dataclass
from haman.core.words import Reason, Stance

VERSION = 1
"""Of what the messages mean; an ask in another one is denied."""


@dataclass(frozen=True, slots=True, order=True)
class PermitId:
    """One ask of one node.

    Attributes:
        epoch: of the asker's life: another one after each restart.
        number: grows with each ask of an epoch.
    """

    epoch: int
    number: int


@dataclass(frozen=True, slots=True)
class Ask:
    """The sender wants to move load of one service, and says again that it still does.

    Attributes:
        service: the VIP or anycast service.
        share: of the sender's whole load, that the receiver would get; 0 = none, consent alone.
        load: what the sender uses now, by resource, in the native unit; its report may be older.
        clients: connected to it now.
        urgency: the sender's binding utilization in steps of 5 %: the busiest goes first.
        moved: it has been done; the load is on its way, and the grant is renewed.
        to: a VIP's next holder; "" for an anycast service.
        stance: of an anycast service, wanted.
        weight: with it.
    """

    id: PermitId
    service: str
    share: float
    urgency: int
    load: dict[str, float] = field(default_factory=dict)
    clients: float = 0.0
    moved: bool = False
    to: str = ""
    stance: Stance = Stance.FULL
    weight: int = 0
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender says to an ask.

    Attributes:
        granted: it reserves room until the asker ends the permit, or a lease after its last word.
        final: a denial that will not change while the asker repeats its ask.
        reasons: why, best first, with the numbers.
    """

    id: PermitId
    granted: bool
    reasons: tuple[Reason, ...] = ()
    final: bool = True


@dataclass(frozen=True, slots=True)
class End:
    """The asker needs the grant no more: the load has settled, or will not move."""

    id: PermitId


@dataclass(frozen=True, slots=True)
class Revoke:
    """The granter takes its grant back: what has moved shall return."""

    id: PermitId
    reasons: tuple[Reason, ...] = ()


Message = Ask | Answer | End | Revoke


@dataclass(frozen=True, slots=True)
class Heard:
    """A peer's message arrived."""

    peer: str
    message: Message


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a message to a peer, once."""

    peer: str
    message: Message
