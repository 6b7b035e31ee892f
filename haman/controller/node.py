"""What this node says of itself, put together from senses, engine and decision."""

import haman
from haman.config.model import Config
from haman.controller.senses import SensesSnapshot
from haman.core.announcements import AnycastReport, NeighborReport
from haman.core.decide import Decision
from haman.core.facts import EngineReported, VipReport, VipStance
from haman.core.heirs import ConfiguredVip, can_serve
from haman.core.reports import NodeReport, PermitReport
from haman.core.situation import OperatorIntent
from haman.core.words import Event, Reason, Role


def configured_vips(config: Config) -> tuple[ConfiguredVip, ...]:
    """The VIPs, as decisions see them."""
    return tuple(
        ConfiguredVip(
            v.name,
            v.priority,
            v.preempt,
            v.group,
            round(v.preempt_delay_s * 1e9),
            round(v.handover_timeout_s * 1e9),
        )
        for v in config.vip
    )


def node_report(
    config: Config,
    sensed: SensesSnapshot,
    engine: EngineReported | None,
    decision: Decision,
    intent: OperatorIntent,
    *,
    anycast: tuple[AnycastReport, ...] = (),
    neighbors: tuple[NeighborReport, ...] = (),
    permits: PermitReport | None = None,
    engine_age_ms: float | None = None,
) -> NodeReport:
    """The report of this node, as its peers and the API see it."""
    stances = {stance.vip: stance for stance in decision.stances}
    said = {} if engine is None else {vip.vip: vip for vip in engine.vips}
    vips = tuple(_vip_report(v.name, said.get(v.name), stances.get(v.name)) for v in config.vip)
    return NodeReport(
        node=config.node.name,
        site=config.node.site,
        version=haman.__version__,
        condition=decision.condition,
        reasons=decision.reasons,
        proxy_kind=sensed.proxy_kind,
        proxy_version=sensed.proxy_version,
        proxy_up=sensed.proxy_up,
        resources=sensed.resources,
        connections=sensed.connections,
        vips=vips,
        drained=intent.drained,
        paused=intent.paused,
        lateness_p99_ms=engine.lateness.p99_ms if engine is not None else 0.0,
        realtime=engine.realtime if engine is not None else False,
        guard=engine.guard if engine is not None else True,
        addresses={v.name: v.addresses for v in config.vip},
        new_connections_per_s=sensed.new_connections_per_s,
        anycast=anycast,
        neighbors=neighbors,
        storm=sensed.storm,
        permits=permits,
        handover=engine is not None and bool(engine.places),
        sources={p.vip: p.sources for p in engine.places} if engine is not None else {},
        links=engine.links if engine is not None else (),
        engine_age_ms=engine_age_ms,
    )


def _vip_report(name: str, said: VipReport | None, stance: VipStance | None) -> VipReport:
    """The engine's word, with the reasons of the present stance after those of the role."""
    wanted = stance.reasons if stance is not None else ()
    if said is None:
        return VipReport(name, Role.INITIALIZE, 0, 0, wanted)
    codes = {reason.code for reason in said.reasons}
    more = tuple(reason for reason in wanted if reason.code not in codes)
    if not more:
        return said
    return VipReport(
        said.vip,
        said.role,
        said.priority,
        said.since_ns,
        said.reasons + more,
        said.held,
        said.active_router,
        said.active_priority,
        said.connections_left,
        said.cut_off,
    )


def unfit(own: NodeReport, group: tuple[ConfiguredVip, ...]) -> Reason | None:
    """Why this node should not be given the VIPs of a group; None = it may be."""
    held = [vip.name for vip in group if (v := own.vip(vip.name)) and v.role is Role.ACTIVE]
    if held:
        return Reason("holds-it", f"{own.node} is active for {', '.join(held)} itself")
    if own.drained or not can_serve(group, own):
        roles = ", ".join(f"{vip.vip}: {vip.role}" for vip in own.vips)
        text = f"{own.node} is {'drained' if own.drained else own.condition.predicate} ({roles})"
        return Reason("cannot-take-over", text, {"node": own.node})
    return None


def condition_event(
    node: str, before: Decision | None, after: Decision, at_ns: int
) -> tuple[Event, ...]:
    """The node's condition is another than before, or known for the first time."""
    if before is not None and before.condition is after.condition:
        return ()
    old = "unknown" if before is None else str(before.condition)
    text = f"{node} is {after.condition.predicate}"
    text += f", was {before.condition.predicate}" if before is not None else ""
    data: dict[str, int | float | str] = {"from": old, "to": str(after.condition)}
    return (Event("condition-changed", at_ns, text, "", after.reasons, data),)


def peer_found(peer: str, at_ns: int) -> Event:
    """A peer is heard, again or for the first time."""
    return Event("peer-found", at_ns, f"{peer} is heard", "", (), {"peer": peer})


def peer_lost(peer: str, age_ms: float, at_ns: int) -> Event:
    """A peer is not heard any more."""
    text = f"{peer} is not heard any more; its last report is {age_ms:.0f} ms old"
    return Event("peer-lost", at_ns, text, "", (), {"peer": peer, "age_ms": round(age_ms)})


def namesake_events(why: Reason | None, at_ns: int) -> tuple[Event, ...]:
    """Another node is named as this one; `why` None = it is not heard any more."""
    if why is None:
        return ()
    return (Event("two-of-a-name-detected", at_ns, why.text, "", (why,), dict(why.data)),)


def peer_released(peer: str, vip: str, reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    """Why this node takes a VIP that a peer let go: the peer's own reasons, told as a story."""
    because = f": {reasons[0].text}" if reasons else ""
    code = reasons[0].code if reasons else ""
    told = Reason("peer-released", f"{peer} released {vip}{because}", {"peer": peer, "code": code})
    return (told, *reasons[1:])


def stance_events(
    before: tuple[VipStance, ...], after: tuple[VipStance, ...], at_ns: int
) -> tuple[Event, ...]:
    """One event for each VIP whose stance is another: in or out, or another priority."""
    old = {stance.vip: stance for stance in before}
    events = []
    for stance in after:
        was = old.get(stance.vip)
        if was is not None and (was.contend, was.priority) == (stance.contend, stance.priority):
            continue
        what = f"contends at priority {stance.priority}" if stance.contend else "is released"
        events.append(
            Event(
                "stance-changed",
                at_ns,
                f"{stance.vip} {what} here",
                stance.vip,
                stance.reasons,
                {"contend": int(stance.contend), "priority": stance.priority},
            )
        )
    return tuple(events)
