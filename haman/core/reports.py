"""What a node tells its peers about itself, and how a peer's word is kept."""

from dataclasses import field
from functools import cached_property

from haman.core.announcements import AnycastReport, NeighborReport
from haman.core.facts import VipReport
from haman.core.frozen import dataclass
from haman.core.handover.steering import LinkPlace
from haman.core.words import Condition, Confidence, Reason, Utilization


@dataclass(frozen=True, slots=True)
class StormReport:
    """What peers must know of a node to tell what a reconnect storm would do to it.

    Attributes:
        cores: that do handshakes: threads, or the CPU quota if that is less; None when unknown.
        full_s: CPU time of a full handshake, in seconds.
        resumed_s: CPU time of a resumed one, in seconds.
        client_timeout_s: clients that waited this long have gone.
        confidence: where the costs come from.
        tickets_shared: its peers were proven to resume its sessions, and it theirs.
        resumed_share: of the handshakes that its clients made so far, 0 to 1; 0 also when too few.
        connection_bytes: memory that one connection takes.
        backlog: connections that the roomiest accept queue of the proxy holds; None when unknown.
        waiting: of those, taken already.
        base: what each resource uses without a single client, in its native unit; a resource that
            is missing was never seen without clients.
    """

    cores: float | None
    full_s: float
    resumed_s: float
    client_timeout_s: float
    confidence: Confidence = Confidence.DEFAULT
    tickets_shared: bool = False
    resumed_share: float = 0.0
    connection_bytes: float = 16_000.0
    backlog: int | None = None
    waiting: int = 0
    base: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PermitReport:
    """What peers must know of a node to tell whether load may move.

    Attributes:
        sheds: services of which it serves less than configured, since it is, or was, too busy.
        asks: the service for which it asks its peers now; "" = none.
        granted_to: the peer for which it holds room; "" = none.
        reserved: what of that has not arrived yet, by resource, in the native unit.
        reserved_clients: the same in connections.
    """

    sheds: tuple[str, ...] = ()
    asks: str = ""
    granted_to: str = ""
    reserved: dict[str, float] = field(default_factory=dict)
    reserved_clients: float = 0.0


@dataclass(frozen=True)  # no slots: it has an index of its own
class NodeReport:
    """Everything one node says of itself; sent a few times a second, and at once on a change.

    Attributes:
        condition: of the node, by its own judgement.
        resources: every resource it measures, unknown ones included.
        connections: clients connected to the proxy now; None when unknown.
        vips: what the node is to each VIP it is configured for.
        drained: the operator took it out of service.
        paused: the operator holds all automatic moves but faults.
        new_connections_per_s: that clients opened to the proxy, over the last 10 s; None when unknown.
        anycast: what the node is to each anycast service that it is configured for.
        neighbors: its BGP neighbours.
        storm: for the arithmetic of reconnect storms; None = it does not tell, as older versions.
        permits: None = it neither asks nor grants, as older versions.
        sources: the addresses that its adverts for each VIP come from.
        handover: it can give a VIP away, and take one, without cutting connections.
        links: on which it speaks BGP; () also from older versions.
        engine_age_ms: since its engine last said anything; None = never, or it does not tell, as
            older versions.
    """

    node: str
    site: str
    version: str
    condition: Condition
    reasons: tuple[Reason, ...] = ()
    proxy_kind: str = ""
    proxy_version: str = ""
    proxy_up: bool = False
    resources: tuple[Utilization, ...] = ()
    connections: int | None = None
    vips: tuple[VipReport, ...] = ()
    drained: bool = False
    paused: bool = False
    lateness_p99_ms: float = 0.0
    realtime: bool = False
    guard: bool = True
    addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    new_connections_per_s: float | None = None
    anycast: tuple[AnycastReport, ...] = ()
    neighbors: tuple[NeighborReport, ...] = ()
    storm: StormReport | None = None
    permits: PermitReport | None = None
    handover: bool = False
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    links: tuple[LinkPlace, ...] = ()
    engine_age_ms: float | None = None

    def vip(self, name: str) -> VipReport | None:
        """What this node is to the VIP `name`; None if it is not configured for it."""
        return self._vips.get(name)

    @cached_property
    def _vips(self) -> dict[str, VipReport]:
        return {vip.vip: vip for vip in self.vips}

    def service(self, name: str) -> AnycastReport | None:
        """What this node is to the anycast service `name`; None if it is not configured for it."""
        return next((a for a in self.anycast if a.service == name), None)

    @property
    def binding(self) -> Utilization | None:
        """The resource with the highest utilization; None if every one is unknown."""
        known = [r for r in self.resources if r.utilization is not None]
        return max(known, key=lambda r: r.utilization or 0.0, default=None)


@dataclass(frozen=True, slots=True)
class PathView:
    """One path to a peer; `age_ms` since it last delivered anything authentic, None = never."""

    address: str
    age_ms: float | None


@dataclass(frozen=True, slots=True)
class PeerView:
    """A peer as this node knows it.

    Attributes:
        report: the last one authenticated; None before the first.
        age_ms: of that report, by this node's monotonic clock.
        fresh: young enough to decide upon; a peer that is not fresh counts as full.
        paths: every way to it.
    """

    name: str
    report: NodeReport | None
    age_ms: float
    fresh: bool
    paths: tuple[PathView, ...] = ()
