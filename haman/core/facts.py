"""What the engine and the controller tell each other.

The controller declares the whole desired set (`StancesDeclared`), the engine reports the whole
actual set (`EngineReported`); neither sends deltas, so a lost or repeated message costs nothing.
Only two messages are edges: a peer's word that an address is free now (`TakeoverOrdered`), and the
engine's events. One is said again and again while it is true, and else forgotten (`HoldersSaid`).
"""

from dataclasses import field

from haman.core.announcements import AnycastStance, BfdReport, ExabgpReport, HeldAddresses
from haman.core.frozen import dataclass
from haman.core.handover.messages import HandoverOrder, HandoverReport, VipPlace
from haman.core.handover.steering import LinkPlace, SteerOrder, SteerReport
from haman.core.processes import ProcessId
from haman.core.words import Event, Reason, Role


@dataclass(frozen=True, slots=True)
class VipStance:
    """What the controller wants this node to be to one VIP.

    Attributes:
        vip: name of the `[[vip]]`.
        contend: take part in the election; False = released (fault, drain, failover).
        priority: 1-254, advertised while contending.
        preempt: whether a backup of higher priority takes over from a lower one.
        reasons: why, best first; shown as the role's reasons.
        heir: by what the peers report, this node comes next when the holder lets go; it need not
            wait its skew to find out.
    """

    vip: str
    contend: bool
    priority: int
    preempt: bool = True
    reasons: tuple[Reason, ...] = ()
    heir: bool = False


@dataclass(frozen=True, slots=True)
class ServingProxy:
    """What the controller found of the local proxy: see `lifeline`.

    Attributes:
        processes: those that serve, at least one.
        port: of TCP, on which they listen.
    """

    processes: tuple[ProcessId, ...]
    port: int


@dataclass(frozen=True, slots=True)
class StancesDeclared:
    """Controller → engine: the desired stance of every service. Sent on change and as liveness.

    Attributes:
        generation: grows with each change; echoed in `EngineReported`.
        exabgp: digest of the ExaBGP configuration that the controller wrote, and that
            shall run; "" = none.
        handovers: of VIPs that move now, every one there is.
        steers: for tails of anycast services, every one there is.
        serving: at whose end every VIP is to be let go without another word; None = nobody's.
    """

    generation: int
    vips: tuple[VipStance, ...]
    anycast: tuple[AnycastStance, ...] = ()
    exabgp: str = ""
    handovers: tuple[HandoverOrder, ...] = ()
    steers: tuple[SteerOrder, ...] = ()
    serving: ServingProxy | None = None


@dataclass(frozen=True, slots=True)
class TakeoverOrdered:
    """Controller → engine: the former holder has let go of this VIP; take it without skew time.

    Ignored unless this node is a backup that contends.
    """

    vip: str
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class HolderWord:
    """What the engine of a peer last said of a VIP that it is active for.

    Attributes:
        node: the peer.
        sources: the addresses that its adverts come from, at most one of each family.
        priority: the one it advertises.
        hears_us: it hears adverts of this node.
        said_ns: CLOCK_MONOTONIC here, when it was so at the latest.
    """

    vip: str
    node: str
    sources: tuple[str, ...]
    priority: int
    hears_us: bool
    said_ns: int


@dataclass(frozen=True, slots=True)
class HoldersSaid:
    """Controller → engine: peers that are active for VIPs whose adverts may not arrive here.

    Each word counts for a while and is then nothing; so a controller that dies says no more, and the
    engine decides by what it hears.
    """

    words: tuple[HolderWord, ...]


@dataclass(frozen=True, slots=True)
class VipReport:
    """What this node is to one VIP, as the engine sees it.

    Attributes:
        priority: the one advertised (0 while released).
        since_ns: wall clock of the last change of role.
        held: addresses that the kernel confirmed on the interface, "a.b.c.d/len".
        active_router: source address of the last valid advert heard, "" if none is current.
        active_priority: the priority in it.
        connections_left: in the tail: established to the VIP here, as last counted; else None.
        cut_off: why this node does not reach the gateway of the VIP; None = it does, or does not ask.
    """

    vip: str
    role: Role
    priority: int
    since_ns: int
    reasons: tuple[Reason, ...] = ()
    held: tuple[str, ...] = ()
    active_router: str = ""
    active_priority: int = 0
    connections_left: int | None = None
    cut_off: Reason | None = None


@dataclass(frozen=True, slots=True)
class LatenessReport:
    """How late the engine's loop woke, over the last minute, and for ever as a histogram.

    Attributes:
        buckets: cumulative counts per upper bound in seconds, as Prometheus wants them.
        sum_s: total lateness.
        count: number of wake-ups.
    """

    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    buckets: tuple[tuple[float, int], ...] = ()
    sum_s: float = 0.0
    count: int = 0


@dataclass(frozen=True, slots=True)
class EngineReported:
    """Engine → controller: everything the engine knows. Sent on change and a few times a second.

    Attributes:
        generation: of the last `StancesDeclared` applied; 0 before the first.
        counters: cumulative, names as in metrics: `advertisements_sent`, `advertisements_received`,
            `error:<reason>` for packets dropped, `netlink_overruns`, …
        realtime: the loop runs under a real-time policy.
        realtime_problem: why not, "" if it does or was not asked to.
        guard: the guard is alive.
        exabgp: None = none was asked for.
        ending: the agent was told to end; what is announced shall be shut now, for the routers are
            about to lose it.
        handovers: what became of each that was ordered.
        places: of the VIPs whose interface is there, for who takes them or gives them away.
        steers: what became of each that was ordered.
        links: on which this node speaks BGP.
    """

    generation: int
    vips: tuple[VipReport, ...]
    lateness: LatenessReport = field(default_factory=LatenessReport)
    counters: dict[str, int] = field(default_factory=dict)
    realtime: bool = False
    realtime_problem: str = ""
    guard: bool = True
    anycast: tuple[HeldAddresses, ...] = ()
    bfd: tuple[BfdReport, ...] = ()
    exabgp: ExabgpReport | None = None
    ending: bool = False
    handovers: tuple[HandoverReport, ...] = ()
    places: tuple[VipPlace, ...] = ()
    steers: tuple[SteerReport, ...] = ()
    links: tuple[LinkPlace, ...] = ()


@dataclass(frozen=True, slots=True)
class EventsReported:
    """Engine → controller: what happened, in order.

    Attributes:
        dropped: events lost since the last message because the controller did not read.
    """

    events: tuple[Event, ...]
    dropped: int = 0


ToEngine = StancesDeclared | TakeoverOrdered | HoldersSaid
ToController = EngineReported | EventsReported
