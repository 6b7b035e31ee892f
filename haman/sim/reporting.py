"""What a simulated node says of itself, put together as the controller does it."""

from dataclasses import replace

from haman.core.announcements import Announcement, AnycastReport, AnycastStance
from haman.core.decide import Decision
from haman.core.facts import EngineReported, VipReport, VipStance
from haman.core.handover.tails import Tails
from haman.core.ladder import WITHDRAWN, in_force
from haman.core.reports import NodeReport, PermitReport
from haman.core.situation import OperatorIntent
from haman.core.words import Role, Stance
from haman.sim.plans import NodePlan
from haman.sim.senses import Senses


def announcements(stances: tuple[AnycastStance, ...]) -> tuple[Announcement, ...]:
    """What the relay shall have announced."""
    return tuple(
        Announcement(s.service, (s.service,), shut=s.stance is Stance.SHUT, weight=s.weight)
        for s in stances
        if s.stance is not Stance.WITHDRAWN
    )


def node_report(
    plan: NodePlan,
    senses: Senses,
    engine: EngineReported | None,
    decision: Decision | None,
    intent: OperatorIntent,
    *,
    announced: tuple[Announcement, ...] | None,
    sessions_up: int,
    permits: PermitReport,
    tails: Tails,
    engine_age_ms: float | None,
) -> NodeReport:
    """The report of a node, as its peers see it."""
    gate = senses.snapshot()
    stances = {s.vip: s for s in decision.stances} if decision else {}
    said = {v.vip: v for v in engine.vips} if engine is not None else {}
    utilizations = senses.sensor.utilizations
    connections = next((u.used for u in utilizations if u.name == "connections"), None)
    return NodeReport(
        node=plan.name,
        site=plan.site,
        version="sim",
        condition=decision.condition if decision else gate.condition,
        reasons=decision.reasons if decision else gate.reasons,
        proxy_kind="haproxy",
        proxy_up=gate.proxy_alive,
        resources=utilizations,
        connections=None if connections is None else round(connections),
        vips=tuple(_vip(v.name, said.get(v.name), stances.get(v.name)) for v in plan.vips),
        drained=intent.drained,
        paused=intent.paused,
        anycast=tails.told(_anycast(plan, decision, announced, sessions_up)),
        storm=senses.sensor.storm,
        permits=permits,
        sources={p.vip: p.sources for p in engine.places} if engine is not None else {},
        links=engine.links if engine is not None else (),
        engine_age_ms=engine_age_ms,
    )


def _anycast(
    plan: NodePlan,
    decision: Decision | None,
    announced: tuple[Announcement, ...] | None,
    sessions_up: int,
) -> tuple[AnycastReport, ...]:
    reasons = {s.service: s.reasons for s in decision.anycast} if decision else {}
    found = []
    for service in plan.anycast:
        rung = WITHDRAWN if announced is None else in_force(service, announced)
        found.append(
            AnycastReport(
                service.name,
                rung.stance,
                rung.weight,
                service.weight,
                0,
                prefixes=(service.name,),
                neighbors_up=0 if announced is None else sessions_up,
                reasons=reasons.get(service.name, ()),
                weighted=service.weighted,
            )
        )
    return tuple(found)


def _vip(name: str, said: VipReport | None, stance: VipStance | None) -> VipReport:
    """The engine's word, with the reasons of the present stance after those of the role."""
    wanted = stance.reasons if stance is not None else ()
    if said is None:
        return VipReport(name, Role.INITIALIZE, 0, 0, wanted)
    codes = {reason.code for reason in said.reasons}
    more = tuple(reason for reason in wanted if reason.code not in codes)
    return replace(said, reasons=said.reasons + more) if more else said
