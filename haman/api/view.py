"""From the controller's picture to what machines see: pure, the same for API, metrics and tests.

What is known of a peer that is not fresh stays visible, flagged as stale: its last role is a
memory, so it is never counted as a holder, except where the wire says that somebody still
advertises and the memory says who that was.
"""

from haman.api import anycast, schema
from haman.api.plain import age, finite, no_report, numbers, reasons, stale
from haman.api.times import iso
from haman.config.forms import split_host_port
from haman.config.model import Config
from haman.controller.surface import ClusterSnapshot, JournalEntry
from haman.core.facts import EngineReported, VipReport
from haman.core.frozen import dataclass
from haman.core.headroom import Headroom, LossScenario, SurvivorLoad
from haman.core.headroom.verdicts import INSUFFICIENT
from haman.core.reports import NodeReport, PeerView, PermitReport
from haman.core.words import Alert, Condition, Reason, Role, Utilization

READY = (Condition.IN_SERVICE, Condition.SATURATED, Condition.ISOLATED)
"""Conditions in which a node may serve."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one node is to one VIP, as far as this agent knows.

    Attributes:
        vip: None = the node never reported.
        current: the report is young enough to believe.
    """

    node: str
    vip: VipReport | None
    current: bool
    age_ms: float = 0.0
    reasons: tuple[Reason, ...] = ()


def status(snapshot: ClusterSnapshot, config: Config) -> schema.Status:
    """Answer GET /v1/status."""
    services = (
        *(_service(name, snapshot, config) for name in vip_names(snapshot, config)),
        *(
            anycast.service(anycast.picture(name, snapshot, config))
            for name in anycast.service_names(snapshot, config)
        ),
    )
    engine = snapshot.engine or EngineReported(0, ())
    return schema.Status(
        schema=schema.SCHEMA_VERSION,
        cluster=snapshot.cluster,
        node=snapshot.node,
        at=iso(snapshot.at_ns),
        paused=snapshot.paused,
        nodes=(
            _node(snapshot.own, 0.0, config, fresh=True, engine=engine),
            *(_peer(peer, config) for peer in snapshot.peers),
        ),
        services=services,
        headroom=headroom(snapshot.headroom),
        alerts=tuple(_alert(alert) for alert in snapshot.alerts),
        mode=_mode(services),
    )


def headroom(found: Headroom) -> schema.Headroom:
    """Answer GET /v1/headroom."""
    worst = None
    if found.worst is not None:
        hit = found.worst.survivors[0] if found.worst.survivors else None
        worst = schema.Worst(
            lost=found.worst.lost,
            survivor=hit.node if hit else "",
            resource=hit.resource if hit else "",
            phase=hit.phase if hit else "",
            utilization=finite(hit.utilization) if hit else None,
        )
    return schema.Headroom(
        verdict=found.verdict.value,
        worst=worst,
        scenarios=tuple(scenario(s) for s in found.scenarios),
    )


def scenario(found: LossScenario) -> schema.Scenario:
    """Show one loss."""
    return schema.Scenario(
        lost=found.lost,
        verdict=found.verdict.value,
        survivors=tuple(_survivor(s) for s in found.survivors),
        survivable_connections=found.survivable_connections,
        drain_s=finite(found.drain_s),
        reasons=reasons(found.reasons),
    )


def event(entry: JournalEntry) -> schema.Event:
    """Show one line of the journal."""
    return schema.Event(
        seq=entry.seq,
        at=iso(entry.event.at_ns),
        node=entry.node,
        type=entry.event.type,
        service=entry.event.service,
        text=entry.event.text,
        reasons=reasons(entry.event.reasons),
        data=numbers(entry.event.data),
    )


def unready(snapshot: ClusterSnapshot) -> tuple[Reason, ...]:
    """Say why this node may not serve; () = it may."""
    own = snapshot.own
    if own.condition in READY and not own.drained:
        return ()
    return own.reasons or (Reason(own.condition.value, f"the node is {own.condition.predicate}"),)


def vip_names(snapshot: ClusterSnapshot, config: Config) -> tuple[str, ...]:
    """Every VIP of the cluster: the configured ones first, then those that only peers have."""
    names = dict.fromkeys(vip.name for vip in config.vip)
    for peer in snapshot.peers:
        names.update(dict.fromkeys(v.vip for v in peer.report.vips) if peer.report else {})
    return tuple(names)


def service_names(snapshot: ClusterSnapshot, config: Config) -> tuple[str, ...]:
    """Every service of the cluster: VIPs, then anycast."""
    return (*vip_names(snapshot, config), *anycast.service_names(snapshot, config))


def parts(snapshot: ClusterSnapshot, config: Config, name: str) -> tuple[Part, ...]:
    """List the nodes that have to do with a VIP: this one first, then the peers.

    A peer that never reported is listed too: it may well be configured for the VIP.
    """
    found = []
    if any(vip.name == name for vip in config.vip):
        own = snapshot.own.vip(name) or VipReport(name, Role.INITIALIZE, 0, 0)
        found.append(Part(snapshot.node, own, current=True, reasons=own.reasons))
    for peer in snapshot.peers:
        age_ms = age(peer.age_ms)
        if peer.report is None:
            found.append(Part(peer.name, None, False, age_ms, (no_report(peer),)))
        elif vip := peer.report.vip(name):
            old = () if peer.fresh else (stale(age_ms, vip.role.value),)
            found.append(Part(peer.name, vip, peer.fresh, age_ms, (*old, *vip.reasons)))
    return tuple(found)


def holders(found: tuple[Part, ...]) -> tuple[str, ...]:
    """Name the nodes that serve a VIP now.

    When no fresh node does, but adverts are heard, it is whoever was last known to do it, or the
    address of a router that is no node of this cluster (keepalived on the other half, say).
    """
    fresh = tuple(p.node for p in found if p.current and p.vip and p.vip.role is Role.ACTIVE)
    wire = next((p.vip.active_router for p in found if p.current and p.vip), "")
    if fresh or not wire:
        return fresh
    remembered = tuple(p.node for p in found if p.vip and p.vip.role is Role.ACTIVE)
    return remembered or (wire,)


def service_state(found: tuple[Part, ...], addresses: tuple[str, ...]) -> str:
    """Judge a VIP: ok, degraded (no standby, or not wholly served), down, or conflict."""
    serving = holders(found)
    if len(serving) > 1:
        return "conflict"
    if not serving:
        return "down"
    return "degraded" if lacks(found, addresses) else "ok"


def lacks(found: tuple[Part, ...], addresses: tuple[str, ...]) -> tuple[Reason, ...]:
    """Say what a VIP lacks to be ok, in the order in which it matters; () = it is."""
    serving = holders(found)
    if not serving:
        return (Reason("no-holder", "clients reach nobody"),)
    if len(serving) > 1:
        return (Reason("conflict", "only one node may"),)
    told = []
    holder = next((p for p in found if p.node == serving[0]), None)
    if holder is not None and not holder.current:
        told.append(Reason("holder-stale", f"{holder.node} does not report any more"))
    elif holder is not None and holder.vip and len(holder.vip.held) < len(addresses):
        missing = ", ".join(a for a in addresses if a not in holder.vip.held)
        text = f"{missing or 'an address'} is not confirmed on the interface yet"
        told.append(Reason("not-held", text))
    others = [p for p in found if p is not holder]
    if others and not any(stands_by(p) for p in others):
        all_heard = all(p.current for p in others)
        text = "no other node could take over now"
        drained = [
            p.node for p in others if p.current and any(r.code == "drained" for r in p.reasons)
        ]
        if drained:
            text = f"{' and '.join(drained)}, drained, would take over only as a last resort"
        told.append(
            Reason("no-standby", text if all_heard else "no node is heard that could take over")
        )
    return tuple(told)


def addresses_of(name: str, snapshot: ClusterSnapshot, config: Config) -> tuple[str, ...]:
    """Give the addresses of a VIP, by this node's configuration or else by a peer's word."""
    for vip in config.vip:
        if vip.name == name:
            return vip.addresses
    reports = (p.report for p in snapshot.peers if p.report)
    return next((r.addresses[name] for r in reports if name in r.addresses), ())


def since(vip: VipReport) -> str:
    """Write since when the role lasts; "" before the engine's first word."""
    return iso(vip.since_ns) if vip.since_ns > 0 else ""


def stands_by_role(vip: VipReport) -> bool:
    """Whether a node that is this stands by; in its tail it does, unless it was drained."""
    return vip.role is Role.BACKUP or (vip.role is Role.TAIL and vip.priority > 0)


def stands_by(part: Part) -> bool:
    """Whether the node would take over if the holder fell silent."""
    return part.current and part.vip is not None and stands_by_role(part.vip)


def _mode(services: tuple[schema.Service, ...]) -> str:
    """Judge the cluster: several nodes serve at once, or are meant to; "" = nothing to serve."""
    holders = {h for s in services for h in s.holders}
    if len(holders) > 1 or any(s.kind == "anycast" for s in services):
        return "active-active"
    return "active-passive" if services else ""


def _service(name: str, snapshot: ClusterSnapshot, config: Config) -> schema.Service:
    found = parts(snapshot, config, name)
    addresses = addresses_of(name, snapshot, config)
    return schema.Service(
        name=name,
        kind="vip",
        mode="active-passive",
        state=service_state(found, addresses),
        holders=holders(found),
        expected=1,
        members=tuple(_member(part) for part in found),
        addresses=addresses,
        reasons=reasons(lacks(found, addresses)),
    )


def _member(part: Part) -> schema.Member:
    if part.vip is None:
        return schema.Member(node=part.node, reasons=reasons(part.reasons))
    return schema.Member(
        node=part.node,
        role=part.vip.role.value,
        priority=part.vip.priority,
        since=since(part.vip),
        reasons=reasons(part.reasons),
        connections_left=part.vip.connections_left,
    )


def _peer(peer: PeerView, config: Config) -> schema.Node:
    if peer.report is not None:
        return _node(peer.report, age(peer.age_ms), config, fresh=peer.fresh, name=peer.name)
    return schema.Node(
        name=peer.name,
        site="",
        condition=Condition.STALE.value,
        reasons=reasons((no_report(peer),)),
        age_ms=age(peer.age_ms),
        version="",
        proxy=schema.Proxy(""),
        resources=(),
        binding="",
        connections=None,
        engine=schema.Engine(),
        address=_address(peer.name, config),
    )


def _node(
    report: NodeReport,
    age_ms: float,
    config: Config,
    *,
    fresh: bool,
    name: str = "",
    engine: EngineReported | None = None,
) -> schema.Node:
    """Show a node; `engine` is what is known of this agent's own, beyond its report."""
    condition, why = report.condition, report.reasons
    if not fresh:
        why = (stale(age_ms, condition.value), *why)
        condition = Condition.STALE
    own = not name
    binding = report.binding
    return schema.Node(
        name=name or report.node,
        site=report.site,
        condition=condition.value,
        reasons=reasons(why),
        age_ms=age_ms,
        version=report.version,
        proxy=schema.Proxy(report.proxy_kind, report.proxy_version, report.proxy_up),
        resources=tuple(_resource(r, age_ms, config if own else None) for r in report.resources),
        binding=binding.name if binding else "",
        connections=report.connections,
        engine=schema.Engine(
            report.lateness_p99_ms,
            report.realtime,
            report.guard,
            engine.counters if engine else {},
        ),
        drained=report.drained,
        neighbors=anycast.neighbors(report, age_ms, engine.bfd if engine else (), fresh=fresh),
        permits=_permits(report.permits),
        address=_address(name, config),
    )


def _permits(said: PermitReport | None) -> schema.Permits | None:
    if said is None:
        return None
    return schema.Permits(
        sheds=said.sheds,
        asks=said.asks,
        granted_to=said.granted_to,
        reserved={n: v for n, each in said.reserved.items() if (v := finite(each)) is not None},
        reserved_clients=finite(said.reserved_clients) or 0.0,
    )


def _address(peer: str, config: Config) -> str:
    """Where a peer is reached; of "", this node itself; "" = not known: it listens on every address."""
    cluster = config.cluster
    paths = next((p.addresses for p in cluster.peer if p.name == peer), ())
    where = paths[0] if peer and paths else "" if peer else cluster.listen
    host = split_host_port(where)[0] if where else ""
    return "" if host in _EVERY else host


_EVERY = {"0.0.0.0", "::"}  # noqa: S104 - nothing is bound here


def _resource(found: Utilization, age_ms: float, config: Config | None) -> schema.Resource:
    soft = hard = None
    if config is not None:
        common, own = config.saturation, config.saturation.resource.get(found.name)
        soft = common.soft if own is None or own.soft is None else own.soft
        hard = common.hard if own is None or own.hard is None else own.hard
    return schema.Resource(
        name=found.name,
        used=finite(found.used),
        ceiling=finite(found.ceiling),
        unit=found.unit,
        utilization=finite(found.utilization),
        confidence=found.confidence.value,
        age_ms=age(found.age_ms) + age_ms,
        soft=soft,
        hard=hard,
        detail=found.detail,
        origin=found.origin,
        problem=found.problem,
        exhausted_in_s=finite(found.exhausted_in_s),
    )


def _survivor(found: SurvivorLoad) -> schema.Survivor:
    figures = (
        schema.Figure(f.resource, f.phase, finite(f.own), finite(f.total), f.limit)
        for f in found.figures
    )
    gaps = (
        schema.Figure(gap.resource, gap.phase, None, None, INSUFFICIENT, gap.why)
        for gap in found.gaps
    )
    return schema.Survivor(
        found.node, found.resource, found.phase, finite(found.utilization), (*figures, *gaps)
    )


def _alert(alert: Alert) -> schema.Alert:
    return schema.Alert(
        code=alert.code,
        severity=alert.severity.value,
        text=alert.text,
        since=iso(alert.since_ns),
        node=alert.node,
        service=alert.service,
    )
