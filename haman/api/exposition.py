"""Prometheus's text format: a snapshot as metric families, in a registry of their own."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from haman.controller.surface import ClusterSnapshot
from haman.core.facts import EngineReported
from haman.core.words import Condition, Role, Stance

_ERROR = "error:"
_BFD_STATES = ("admin-down", "down", "init", "up")
_TO_LABELS = ("service", "to", "reason")


def exposition(snapshot: ClusterSnapshot, transitions: Mapping[tuple[str, str, str], int]) -> bytes:
    """All that Prometheus scrapes; `transitions` are counted by service, what it came to, and why."""
    registry = CollectorRegistry()
    registry.register(_Families(snapshot, transitions))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(
        self, snapshot: ClusterSnapshot, transitions: Mapping[tuple[str, str, str], int]
    ) -> None:
        self._snapshot = snapshot
        self._transitions = transitions

    def describe(self) -> list[Metric]:
        """Claim no names in advance: the registry is this collector's own."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        snapshot = self._snapshot
        yield from _node(snapshot)
        yield from _resources(snapshot)
        yield from _anycast(snapshot)
        yield from _cluster(snapshot)
        transitions = CounterMetricFamily(
            "haman_transitions",
            "Changes of role (VIP) and of stance (anycast), since the start.",
            labels=_TO_LABELS,
        )
        for labels, count in sorted(self._transitions.items()):
            transitions.add_metric(labels, count)
        yield transitions
        if snapshot.engine is not None:
            yield from _engine(snapshot.engine)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _node(snapshot: ClusterSnapshot) -> Iterator[Metric]:
    own = snapshot.own
    info = GaugeMetricFamily(
        "haman_info",
        "What runs here; always 1.",
        labels=("version", "node", "cluster", "site", "proxy", "proxy_version"),
    )
    who = (own.version, snapshot.node, snapshot.cluster, own.site)
    info.add_metric((*who, own.proxy_kind, own.proxy_version), 1)
    yield info
    condition = GaugeMetricFamily(
        "haman_node_condition", "1 for the condition that this node is in.", labels=("condition",)
    )
    for known in Condition:
        condition.add_metric((known.value,), own.condition is known)
    yield condition
    yield _gauge("haman_proxy_up", "The local proxy is alive.", own.proxy_up)
    yield _gauge("haman_drained", "The operator took this node out of service.", own.drained)
    yield _gauge("haman_paused", "Automatic moves but faults are held.", snapshot.paused)
    if own.connections is not None:
        yield _gauge("haman_connections", "Clients connected to the proxy.", own.connections)
    active = GaugeMetricFamily("haman_vip_active", "This node holds the VIP.", labels=("vip",))
    for vip in own.vips:
        active.add_metric((vip.vip,), vip.role is Role.ACTIVE)
    yield active


def _resources(snapshot: ClusterSnapshot) -> Iterator[Metric]:
    label = ("resource",)
    utilization = GaugeMetricFamily(
        "haman_resource_utilization", "Used / ceiling; absent while unknown.", labels=label
    )
    used = GaugeMetricFamily("haman_resource_used", "In the native unit.", labels=label)
    ceiling = GaugeMetricFamily("haman_resource_ceiling", "In the native unit.", labels=label)
    for resource in snapshot.own.resources:
        for family, value in (
            (utilization, resource.utilization),
            (used, resource.used),
            (ceiling, resource.ceiling),
        ):
            if value is not None:
                family.add_metric((resource.name,), value)
    yield from (utilization, used, ceiling)


def _anycast(snapshot: ClusterSnapshot) -> Iterator[Metric]:
    weight = GaugeMetricFamily(
        "haman_anycast_weight",
        "That this node announces, also while it is shut; 0 = withdrawn.",
        labels=("service",),
    )
    stance = GaugeMetricFamily(
        "haman_anycast_stance",
        "1 for the stance that this node has to the service.",
        labels=("service", "stance"),
    )
    routers = GaugeMetricFamily(
        "haman_anycast_routers", "BGP neighbours that hear the service.", labels=("service",)
    )
    for said in snapshot.own.anycast:
        weight.add_metric((said.service,), said.weight)
        routers.add_metric((said.service,), said.neighbors_up)
        for known in Stance:
            stance.add_metric((said.service, known.value), said.stance is known)
    session = GaugeMetricFamily(
        "haman_bgp_session_up", "The BGP session is established.", labels=("neighbor",)
    )
    for neighbor in snapshot.own.neighbors:
        session.add_metric((neighbor.name,), neighbor.session == "up")
    counted = CounterMetricFamily(
        "haman_bgp_events", "What the BGP driver and its relay count.", labels=("name",)
    )
    for name, count in sorted(snapshot.bgp_counters.items()):
        counted.add_metric((name,), count)
    yield from (weight, stance, routers, session, counted)


def _cluster(snapshot: ClusterSnapshot) -> Iterator[Metric]:
    headroom = GaugeMetricFamily(
        "haman_headroom_utilization",
        "Of the worst resource of the worst survivor, if these nodes were lost; absent if unknown.",
        labels=("lost",),
    )
    for scenario in snapshot.headroom.scenarios:
        if scenario.survivors and (worst := scenario.survivors[0].utilization) is not None:
            headroom.add_metric((",".join(scenario.lost),), worst)
    yield headroom
    age = GaugeMetricFamily(
        "haman_peer_report_age_seconds",
        "Of the last authenticated report; absent before the first.",
        labels=("peer",),
    )
    fresh = GaugeMetricFamily(
        "haman_peer_fresh", "The peer's report is young enough to decide upon.", labels=("peer",)
    )
    for peer in snapshot.peers:
        fresh.add_metric((peer.name,), peer.fresh)
        if peer.report is not None:
            age.add_metric((peer.name,), peer.age_ms / 1000)
    permits = CounterMetricFamily(
        "haman_permits",
        "This node's own asks: granted, denied, ended; those of its peers: given, refused, revoked.",
        labels=("outcome", "reason"),
    )
    for labels, count in sorted(snapshot.permit_counts.items()):
        permits.add_metric(labels, count)
    sheds = GaugeMetricFamily(
        "haman_shedding",
        "1 for a service of which this node serves less than configured, by permit.",
        labels=("service",),
    )
    for service in snapshot.own.permits.sheds if snapshot.own.permits else ():
        sheds.add_metric((service,), 1)
    yield from (age, fresh, permits, sheds)


def _engine(engine: EngineReported) -> Iterator[Metric]:
    adverts = CounterMetricFamily(
        "haman_vrrp_advertisements", "VRRP adverts sent and received.", labels=("direction",)
    )
    for direction in ("sent", "received"):
        adverts.add_metric((direction,), engine.counters.get(f"advertisements_{direction}", 0))
    yield adverts
    errors = CounterMetricFamily(
        "haman_vrrp_errors", "VRRP packets dropped, by reason.", labels=("reason",)
    )
    others = CounterMetricFamily(
        "haman_engine_events", "What else the engine counts.", labels=("name",)
    )
    for name, count in sorted(engine.counters.items()):
        if name.startswith(_ERROR):
            errors.add_metric((name.removeprefix(_ERROR),), count)
        elif not name.startswith("advertisements_"):
            others.add_metric((name,), count)
    yield from (errors, others)
    lateness = engine.lateness
    buckets = [(f"{bound:g}", float(count)) for bound, count in lateness.buckets]
    if not buckets or lateness.buckets[-1][0] != float("inf"):
        buckets.append(("+Inf", float(lateness.count)))
    else:
        buckets[-1] = ("+Inf", buckets[-1][1])
    histogram = HistogramMetricFamily(
        "haman_engine_lateness_seconds", "How late the engine's loop woke."
    )
    histogram.add_metric((), buckets, lateness.sum_s)
    yield histogram
    yield _gauge(
        "haman_engine_realtime", "The loop runs under a real-time policy.", engine.realtime
    )
    yield _gauge("haman_guard_up", "The guard is alive.", engine.guard)
    bfd = GaugeMetricFamily(
        "haman_bfd_state",
        "As RFC 5880 numbers them: 0 = admin-down, 1 = down, 2 = init, 3 = up.",
        labels=("peer",),
    )
    for session in engine.bfd:
        bfd.add_metric((session.neighbor,), _BFD_STATES.index(session.state))
    yield bfd
    if engine.exabgp is not None:
        yield _gauge("haman_exabgp_up", "ExaBGP runs.", engine.exabgp.running)
        yield CounterMetricFamily(
            "haman_exabgp_starts", "Of ExaBGP, since the engine began.", engine.exabgp.starts
        )
