"""What an operator should know now: alerts, derived afresh from the whole picture.

An alert is a function of the present, never of a history, so it cannot get stuck. Only `since`
remembers: an alert with the same code, node and service keeps the instant when it was first seen.

    code                severity            true while
    ------------------  ------------------  ---------------------------------------------------
    conflict            critical            a VIP has more than one holder, or VRRP says so, or
                                            adverts and reports contradict (`contradictions`)
    one-way-loss        warning             a node does not hear the adverts of the active one, which
                                            hears it, and stays backup by its reports (`one_way`)
    no-holder           critical            a VIP has no holder, or an anycast service is
                                            announced by no node, and every peer is heard
    degraded            warning             of several nodes one alone announces an anycast
                                            service, or only nodes that are shut
    not-announced       warning             this node should announce, and no router hears it
    bgp-session-down    critical, warning   all BGP sessions of a node are down, some
    bfd-down            warning             BFD is not up with a router whose BGP session is
    exabgp-down         critical            ExaBGP does not run
    relay-lost          critical            ExaBGP runs, and its relay is not reached
    announcement-       warning             the configuration for ExaBGP or an announcement was
      problem                               refused, or is not acknowledged
    announced-but-      warning             a node announces, and no new connections come
      silent
    weight-ignored      warning             new connections do not follow the weights
    fault               critical            a node's proxy does not serve
    saturated           warning             a node is over the hard threshold and holds
    soft-threshold      info                a resource of a node is over its soft threshold
    n-minus-1           critical, warning   headroom is insufficient, tight
    peer-lost           critical            a peer was heard and is not any more
    peer-never-heard    warning             a configured peer was not heard yet
    path-silent         warning             a peer is heard, but not on this path for 2 s
    isolated            critical            no peer is heard at all
    not-authentic       warning             somebody sends with another key, or as an unknown peer
    two-of-a-name       critical            somebody with the key sends under this node's name
    peer-unreadable     warning             a peer sends what cannot be read: another version, most likely
    single-node         warning             no peer is configured
    drained             info                a node is drained
    all-drained         warning             every node is drained: they serve as a last resort
    paused              info                automatic moves are held, on these nodes
    engine-silent       critical            the engine has not reported for 2 s
    no-realtime         warning             the engine was refused its real-time policy
    engine-late         warning             the engine's p99 lateness is over a tenth of the
                                            shortest interval of adverts and BFD
    guard-dead          warning             nothing would release the addresses if the engine died
    journal-not-durable warning             journal or intent cannot be written

The senses bring alerts of their own; they are merged, and those of the same code, node and service
are taken once.
"""

from collections.abc import Iterator
from dataclasses import replace

from haman.core.anycast_alerts import BgpPicture, bgp_alerts, service_alerts, session_alerts
from haman.core.facts import EngineReported
from haman.core.frozen import dataclass
from haman.core.headroom import Headroom, LossScenario, Verdict
from haman.core.one_way import is_held_down
from haman.core.reports import NodeReport, PeerView
from haman.core.vrrp.explain import ONE_WAY_LOSS
from haman.core.words import Alert, Condition, Reason, Role, Severity, percent

ENGINE_SILENT_MS = 2_000
PATH_SILENT_MS = 2_000
LATENESS_SHARE = 0.1
"""Of an advert interval: three lost in a row mean take-over, so a tenth is far from harm."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What alerts are derived from.

    Attributes:
        vips: names of the configured VIPs.
        anycast: names of the configured anycast services.
        bgp: what this node knows of its part in BGP; None = it has none.
        soft: threshold per resource; "" is the default one.
        shortest_interval_ms: of adverts and BFD packets; None where neither is sent.
        engine_age_ms: since the engine last said anything.
        conflicts: what the engine reported as a conflict lately, or what contradicts now, per VIP;
            "" = of no known VIP.
        rejected: datagrams that failed authentication, of reasons that were seen lately, since the
            start.
        namesake: another node is named as this one; None = none was heard lately.
        unreadable: peers whose authentic packets cannot be read.
        not_durable: what cannot be written, and why, "" if all is well.
        senses: alerts that the senses raised.
    """

    own: NodeReport
    peers: tuple[PeerView, ...]
    headroom: Headroom
    vips: tuple[str, ...] = ()
    soft: dict[str, float] | None = None
    isolated: bool = False
    shortest_interval_ms: float | None = None
    engine: EngineReported | None = None
    engine_age_ms: float = 0.0
    conflicts: dict[str, str] | None = None
    rejected: dict[str, int] | None = None
    namesake: Reason | None = None
    unreadable: tuple[str, ...] = ()
    not_durable: str = ""
    senses: tuple[Alert, ...] = ()
    anycast: tuple[str, ...] = ()
    bgp: BgpPicture | None = None


def derive(picture: Picture, before: tuple[Alert, ...], at_ns: int) -> tuple[Alert, ...]:
    """Every alert that is true now, worst first.

    Args:
        picture: the present.
        before: what the last call returned; gives `since_ns` to what stays true.
        at_ns: wall clock, for what is new.
    """
    since = {_identity(a): a.since_ns for a in before}
    found: dict[tuple[str, str, str], Alert] = {}
    for source in (_services, _anycast, _conflicts, _nodes, _peers, _engine, _local):
        for alert in source(picture):
            found.setdefault(_identity(alert), alert)
    for alert in picture.senses:
        found.setdefault(_identity(alert), alert)
    kept = [
        replace(alert, since_ns=since.get(key, alert.since_ns or at_ns))
        for key, alert in found.items()
    ]
    return tuple(sorted(kept, key=lambda a: (_ORDER[a.severity], a.code, a.node, a.service)))


_ORDER = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}


def _identity(alert: Alert) -> tuple[str, str, str]:
    return alert.code, alert.node, alert.service


def _alert(code: str, severity: Severity, text: str, node: str = "", service: str = "") -> Alert:
    return Alert(code, severity, text, 0, node, service)


def _known(picture: Picture) -> list[NodeReport]:
    """Reports that are young enough to speak of the present."""
    fresh = [p.report for p in picture.peers if p.fresh and p.report is not None]
    return [picture.own, *fresh]


def _services(picture: Picture) -> Iterator[Alert]:
    reports = _known(picture)
    all_heard = all(p.fresh for p in picture.peers)
    for name in picture.vips:
        roles = [(r.node, v.role) for r in reports if (v := r.vip(name)) is not None]
        holders = sorted(node for node, role in roles if role is Role.ACTIVE)
        if len(holders) > 1:
            text = f"{name} is held by {' and '.join(holders)} at once"
            yield _alert("conflict", Severity.CRITICAL, text, service=name)
        if not holders and all_heard and picture.engine is not None:
            text = f"{name} is held by no node"
            yield _alert("no-holder", Severity.CRITICAL, text, service=name)
        yield from _held_down(name, reports)


def _held_down(vip: str, reports: list[NodeReport]) -> Iterator[Alert]:
    for report in reports:
        said = report.vip(vip)
        if said is not None and is_held_down(said):
            why = next(r for r in said.reasons if r.code == ONE_WAY_LOSS)
            text = (
                f"{report.node} does not hear who holds {vip}, and would take over late: {why.text}"
            )
            yield _alert(why.code, Severity.WARNING, text, report.node, vip)


def _anycast(picture: Picture) -> Iterator[Alert]:
    reports = _known(picture)
    if picture.engine is not None:
        yield from service_alerts(picture.anycast, reports, picture.peers)
    yield from session_alerts(reports)
    if picture.bgp is not None:
        yield from bgp_alerts(picture.bgp, picture.own)


def _conflicts(picture: Picture) -> Iterator[Alert]:
    for service, said in (picture.conflicts or {}).items():
        yield _alert("conflict", Severity.CRITICAL, said, picture.own.node, service)


def _nodes(picture: Picture) -> Iterator[Alert]:
    reports = _known(picture)
    for report in reports:
        said = "; ".join(r.text for r in report.reasons[:2])
        if report.condition is Condition.FAULT:
            text = f"{report.node}: {said or 'its proxy does not serve'}"
            yield _alert("fault", Severity.CRITICAL, text, report.node)
        if report.condition is Condition.SATURATED:
            text = f"{report.node} is saturated and holds: {said or 'over its hard threshold'}"
            yield _alert("saturated", Severity.WARNING, text, report.node)
        if report.drained:
            yield _alert("drained", Severity.INFO, f"{report.node} is drained", report.node)
        yield from _soft(picture, report)
    if all(r.drained for r in reports):
        text = "every node that is heard is drained: they serve as a last resort"
        yield _alert("all-drained", Severity.WARNING, text)
    paused = sorted(r.node for r in reports if r.paused)
    if paused:
        text = f"automatic moves are paused on {', '.join(paused)}; only a fault moves a service"
        yield _alert("paused", Severity.INFO, text)


def _soft(picture: Picture, report: NodeReport) -> Iterator[Alert]:
    """One per node, as the senses raise it for this one."""
    limits = picture.soft or {}
    over = []
    for resource in report.resources:
        soft = limits.get(resource.name, limits.get(""))
        used = resource.utilization
        if soft is not None and used is not None and used >= soft:
            over.append(f"{resource.name} at {percent(used)} (soft threshold {percent(soft)})")
    if over:
        text = f"{report.node}: {', '.join(over)}"
        yield _alert("soft-threshold", Severity.INFO, text, report.node)


def _peers(picture: Picture) -> Iterator[Alert]:
    if picture.rejected:
        counts = ", ".join(f"{reason} {n}" for reason, n in sorted(picture.rejected.items()))
        text = f"datagrams from nobody of this cluster are dropped ({counts}); "
        text += "have all nodes the same key file, cluster.name and cluster.peer?"
        yield _alert("not-authentic", Severity.WARNING, text, picture.own.node)
    if picture.namesake is not None:
        said = picture.namesake
        yield _alert(said.code, Severity.CRITICAL, said.text, picture.own.node)
    for name in picture.unreadable:
        text = f"what {name} sends cannot be read here, and counts for nothing: is it of another version?"
        yield _alert("peer-unreadable", Severity.WARNING, text, name)
    if not picture.peers:
        text = "no peer is configured: nobody takes over from this node"
        yield _alert("single-node", Severity.WARNING, text)
        return
    for peer in picture.peers:
        if peer.report is None:
            text = f"{peer.name} was not heard yet"
            yield _alert("peer-never-heard", Severity.WARNING, text, peer.name)
        elif not peer.fresh:
            text = f"{peer.name} is not heard any more; it counts as full"
            yield _alert("peer-lost", Severity.CRITICAL, text, peer.name)
        else:
            yield from _silent_paths(peer)
    if picture.isolated:
        text = "no peer is heard on any path"
        yield _alert("isolated", Severity.CRITICAL, text, picture.own.node)
    worst = picture.headroom.worst
    severity = {Verdict.INSUFFICIENT: Severity.CRITICAL, Verdict.TIGHT: Severity.WARNING}.get(
        picture.headroom.verdict
    )
    if severity is not None and worst is not None:
        yield _alert("n-minus-1", severity, _without(worst))


def _without(worst: LossScenario) -> str:
    lost = ", ".join(worst.lost)
    if not worst.survivors:
        return f"without {lost}, nobody is left to serve"
    s = worst.survivors[0]
    if not s.resource:
        return f"without {lost}, {s.node} would have to serve, and it is not heard"
    at = f"at {percent(s.utilization)}" if s.utilization is not None else "at an unknown level"
    text = f"without {lost}, {s.node} would have {s.resource} {at} ({s.phase})"
    if worst.survivable_connections is not None:
        text += f"; {worst.survivable_connections} connections could be survived"
    return text


def _silent_paths(peer: PeerView) -> Iterator[Alert]:
    silent = [p.address for p in peer.paths if p.age_ms is None or p.age_ms > PATH_SILENT_MS]
    if silent:
        text = f"{peer.name} is heard, but not over {', '.join(silent)}"
        yield _alert("path-silent", Severity.WARNING, text, peer.name)


def _engine(picture: Picture) -> Iterator[Alert]:
    node = picture.own.node
    if picture.engine_age_ms > ENGINE_SILENT_MS:
        text = "the engine has stopped reporting; what it holds is not known"
        yield _alert("engine-silent", Severity.CRITICAL, text, node)
    if picture.engine is None:
        return
    if picture.engine.realtime_problem:
        text = f"the engine does not run in real time: {picture.engine.realtime_problem}"
        yield _alert("no-realtime", Severity.WARNING, text, node)
    late = picture.engine.lateness.p99_ms
    interval = picture.shortest_interval_ms
    if interval is not None and late > interval * LATENESS_SHARE:
        text = f"the engine wakes {late:.1f} ms late (p99), and has adverts or BFD every {interval:g} ms"
        yield _alert("engine-late", Severity.WARNING, text, node)
    if not picture.engine.guard:
        text = "the guard is dead: nothing releases the addresses at once if the engine dies"
        yield _alert("guard-dead", Severity.WARNING, text, node)


def _local(picture: Picture) -> Iterator[Alert]:
    if picture.not_durable:
        yield _alert("journal-not-durable", Severity.WARNING, picture.not_durable, picture.own.node)
