"""What is announced by BGP, wanted and actual: the facts that engine, relay, controller and API share."""

from typing import Final

from haman.core.frozen import dataclass
from haman.core.handover.steering import SteerWord, TailWord
from haman.core.words import Reason, Stance

EXABGP_CONF: Final = "exabgp.conf"
"""The configuration that the controller writes and the engine runs, in the directory of `[api] socket`."""
RELAY_SOCKET: Final = "relay.sock"
"""Where the relay, ExaBGP's helper, listens for the controller: in the same directory."""


@dataclass(frozen=True, slots=True)
class AnycastStance:
    """What this node shall be to one anycast service.

    Attributes:
        service: name of the `[[anycast]]`.
        weight: of the link bandwidth that is announced; 0 = withdrawn.
        held: the service's addresses shall be on its interface. True before the first announcement
            and until some time after the last withdrawal.
        reasons: why, best first.
        waits: it would have another weight if the others steered to this node.
    """

    service: str
    stance: Stance
    weight: int
    held: bool
    reasons: tuple[Reason, ...] = ()
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Announcement:
    """The route set of one service, as the relay shall have it announced to every neighbour.

    Attributes:
        prefixes: IPv4 and IPv6, host bits zero.
        shut: announced with GRACEFUL_SHUTDOWN, 65535:0 (RFC 8326).
        weight: sent as link bandwidth; None = none is sent.
        communities: "asn:value", without 65535:0.
    """

    service: str
    prefixes: tuple[str, ...]
    shut: bool = False
    weight: int | None = None
    communities: tuple[str, ...] = ()
    med: int | None = None


@dataclass(frozen=True, slots=True)
class HeldAddresses:
    """Engine's word on one anycast service: its addresses that the kernel confirmed, "a.b.c.d/len".

    Attributes:
        complete: all of them are there.
        reasons: why not, if they are wanted and are not.
    """

    service: str
    addresses: tuple[str, ...]
    complete: bool
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class BfdReport:
    """Engine's word on the BFD session with one neighbour.

    Attributes:
        state: "admin-down", "down", "init" or "up" (RFC 5880 section 4.1).
        since_ns: wall clock of the last change of state.
        diagnostic: why the last session went down, in the words of RFC 5880 section 4.1; "" = none.
        detection_ms: silence after which the session is declared down; 0 while not known.
        problem: why nothing can be sent or heard, as far as this end knows; "" if all is well.
    """

    neighbor: str
    state: str
    since_ns: int
    diagnostic: str = ""
    remote_diagnostic: str = ""
    detection_ms: float = 0.0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ExabgpReport:
    """Engine's word on the ExaBGP process that it supervises.

    Attributes:
        running: it is there; says nothing of its sessions.
        configuration: the digest that it was started or reloaded with.
        starts: since the engine began.
        problem: why it does not run, or ended last; "" if all is well.
    """

    running: bool
    configuration: str = ""
    pid: int = 0
    starts: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class NeighborReport:
    """One BGP neighbour of this node, session and BFD.

    Attributes:
        session: "up", or why not in one word: "down", "connecting", "idle" (nothing tried yet),
            "unknown" (the relay is not reached).
        since_ns: wall clock of the last change of session; 0 = not known.
        reasons: why it is not up, in words an operator can act on.
        bfd: its state, "" = no BFD is configured.
    """

    name: str
    address: str
    session: str
    since_ns: int = 0
    reasons: tuple[Reason, ...] = ()
    bfd: str = ""


@dataclass(frozen=True, slots=True)
class AnycastReport:
    """What a node is to one anycast service: its word to peers and operators.

    Attributes:
        stance: in force: what the relay has acknowledged, `withdrawn` while it is not reached.
        weight: announced; 0 = withdrawn.
        full_weight: of the configuration; what `weight` is at full stance.
        since_ns: wall clock of the last change of stance or weight.
        reasons: why, best first.
        held: addresses on the interface.
        neighbors_up: routers that hear it now.
        weighted: weights are sent; where one node sends none, routers share equally.
        unheard: prefixes of which no router hears now, though this node has neighbors of their
            family. A node that is heard of one family alone does not carry the service.
        tail: what it asks of the others, drained; None = nothing.
        connections_left: in the tail: to the service here, as last counted; else None.
        steers: what it does for the tail of another node; None = nothing.
    """

    service: str
    stance: Stance
    weight: int
    full_weight: int
    since_ns: int
    prefixes: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    neighbors_up: int = 0
    reasons: tuple[Reason, ...] = ()
    weighted: bool = True
    unheard: tuple[str, ...] = ()
    tail: TailWord | None = None
    connections_left: int | None = None
    steers: SteerWord | None = None

    @property
    def carried(self) -> bool:
        """Routers hear every prefix of it, as far as this node has neighbors for them."""
        return self.neighbors_up > 0 and not self.unheard
