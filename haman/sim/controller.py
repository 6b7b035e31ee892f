"""The controller of a host, modelled: the real gate and decider, fed and obeyed as the real one does.

It follows `haman.controller`: a change of the senses, the engine's or the relay's word, a peer's
report and the tick all lead to a decision; what changed is declared at once, then told to the peers.
"""

from dataclasses import replace
from typing import Final

from haman.core.announcements import Announcement
from haman.core.decide import Decider, Decision, FailoverEnded, FailoverOrdered
from haman.core.facts import EngineReported, HoldersSaid, ServingProxy
from haman.core.gate import (
    Health,
)
from haman.core.handover.tails import Tails
from haman.core.node import NodeCore
from haman.core.one_way import holder_words
from haman.core.permits import Heard, Message, Permits
from haman.core.reports import NodeReport
from haman.core.situation import Situation
from haman.core.vrrp.explain import ONE_WAY_LOSS
from haman.core.wakefulness import Wakefulness
from haman.core.words import Condition, Reason, Role
from haman.sim.around import AroundController, Declared
from haman.sim.clocks import Clock
from haman.sim.peers import Peers, Posted
from haman.sim.plans import NS_PER_S, NodePlan
from haman.sim.process import Process
from haman.sim.reporting import announcements, node_report
from haman.sim.senses import Senses
from haman.sim.server import Server
from haman.sim.transcript import first

LINK_NS: Final = 100_000
ALIVE_NS: Final = NS_PER_S
FIRST_REPORT_NS: Final = NS_PER_S
PUBLISH_LEAST_NS: Final = 20_000_000
TICK_MOST_NS: Final = 500_000_000
_OUTRANKED: Final = {"higher-priority", "greater-address", ONE_WAY_LOSS}


class Controller:
    """One life of the controller of one host."""

    def __init__(
        self,
        plan: NodePlan,
        *,
        names: tuple[str, ...],
        life: int,
        clock: Clock,
        process: Process,
        server: Server,
        around: AroundController,
    ) -> None:
        now_ns = clock.now_ns
        self._plan = plan
        self._life = life
        self._clock = clock
        self._process = process
        self._around = around
        self._senses = Senses(
            plan,
            clock=clock,
            process=process,
            server=server,
            proxy=around,
            changed=self.decide,
        )
        self._decider = Decider(plan.configured_vips, plan.anycast)
        self._permits = Permits(plan.permits, clock.wall_ns, now_ns)
        self.tails = Tails(plan.name, plan.anycast)
        self._core = NodeCore(self._decider, self._permits)
        self.permits = self._permits.snapshot()
        """As of the last decision."""
        self._heard: tuple[Heard, ...] = ()
        self._due_ns: int | None = None
        self._peers = Peers(plan.name, names, plan.fresh_ns, now_ns)
        self._wakefulness = Wakefulness(now_ns)
        self._said: EngineReported | None = None
        self._heard_ns: int | None = None
        self._started_ns = now_ns
        self.decision: Decision | None = None
        self._serving: ServingProxy | None = None
        self._declared: Declared | None = None
        self._declared_ns = now_ns
        self._announced: tuple[Announcement, ...] | None = None
        self._published_ns = 0
        self._publishing = False
        self._counter = 0

    def start(self) -> None:
        """Sense, probe and tick from now on."""
        self._around.greet()
        self._senses.start()
        self._tick()

    # ---- senses --------------------------------------------------------------------------------

    def proxy_died(self) -> None:
        """Its pidfd said so."""
        self._serving = None
        self._senses.died()

    def proxy_found(self, serving: ServingProxy) -> None:
        """A process that serves was found."""
        self._serving = serving
        self._senses.found()

    @property
    def condition(self) -> Condition:
        """Of the proxy, by the gate."""
        return self._senses.snapshot().condition

    # ---- decisions -----------------------------------------------------------------------------

    def decide(self) -> None:
        """Decide, declare what changed, then tell everybody else."""
        now_ns = self._clock.now_ns
        gate = self._senses.snapshot()
        ready = self._heard_ns is not None or now_ns - self._started_ns >= FIRST_REPORT_NS
        if gate.condition is Condition.STARTING and not ready:
            return
        said = self._said
        heard_ns = self._started_ns if self._heard_ns is None else self._heard_ns
        situation = Situation(
            condition=gate.condition,
            reasons=gate.reasons,
            serviceable=gate.health is Health.UP,
            intent=self._around.intent,
            peers=self._peers.views(now_ns),
            isolated=self._peers.isolated(now_ns),
            awaits=self._peers.awaits(now_ns),
            namesake=self._peers.namesake(now_ns),
            resources=self._senses.sensor.utilizations,
            roles=said.vips if said is not None else (),
            held=said.anycast if said is not None else None,
            announced=self._around.announced(),
            ending=said.ending if said is not None else False,
            engine_age_ms=(now_ns - heard_ns) / 1e6,
        )
        situation, tails = self.tails.step(situation, said, now_ns)
        heard, self._heard = self._heard, ()
        stepped = self._core.step(situation, self.report(), now_ns, heard)
        self.permits = self._permits.snapshot()
        before, decision = self.decision, stepped.decision
        self.decision = decision
        for note in stepped.notes:
            self._around.note(f"{note.service}: {note.type}", note.text)
        for tell in stepped.tells:
            self._around.tell(tell.peer, tell.message)
        for service, noted in tails:
            self._around.note(f"{service}: {noted.kind}", noted.reason.text)
            self._around.tail_noted(service, noted)
        changed = self._declare(decision, now_ns)
        for transition in decision.transitions:
            self._follow_up(transition.vip, transition)
        if before is None or before.condition is not decision.condition:
            was = before.condition if before else "unknown"
            self._around.note(f"{was} → {decision.condition}", first(decision.reasons))
            changed = True
        if changed:
            self.publish_soon()
        for move in stepped.moves:
            self._around.moves(move)
            self._decider.order(FailoverOrdered(move.vip, move.to), now_ns)
        self._pass_on(now_ns)
        if self.tails.heed(decision.anycast, self.permits.report.sheds) or stepped.moves:
            self.decide()
        else:
            self._wait()

    def _pass_on(self, now_ns: int) -> None:
        """Tell the engine of peers that are active, where it does not hear that itself."""
        said = self._said
        if said is None or self._wakefulness.overslept(now_ns):
            return
        sources = {p.vip: p.sources for p in said.places}
        words = holder_words(said.vips, sources, self._peers.views(now_ns), now_ns)
        if words:
            self._around.holders_said(HoldersSaid(words))

    def _wait(self) -> None:
        """Decide again when the core wants to, though nothing may have changed."""
        due_ns, now_ns = self._core.deadline_ns, self._clock.now_ns
        if due_ns is None or due_ns <= now_ns:
            return  # what has passed is looked at with every tick
        if due_ns is not None and (self._due_ns is None or due_ns < self._due_ns):
            self._due_ns = due_ns
            self._process.at(due_ns, lambda: self._due(due_ns))

    def _due(self, due_ns: int) -> None:
        if self._due_ns == due_ns:
            self._due_ns = None
            self.decide()

    def _declare(self, decision: Decision, now_ns: int) -> bool:
        wanted = (
            decision.stances,
            decision.anycast,
            self.tails.orders(now_ns),
            self._serving,
        )
        changed = wanted != self._declared
        if changed:
            self._note_stances(decision)
            self._declared, self._declared_ns = wanted, now_ns
            self._around.declare(wanted)
        if decision.announces:
            wanted_routes = announcements(decision.anycast)
            if wanted_routes != self._announced:
                self._announced = wanted_routes
                self._around.announce(wanted_routes)
        return changed

    def _note_stances(self, decision: Decision) -> None:
        before = self._declared or ((), (), (), None)
        was = {s.vip: (s.contend, s.priority) for s in before[0]}
        for stance in decision.stances:
            if was.get(stance.vip) != (stance.contend, stance.priority):
                what = f"contends at {stance.priority}" if stance.contend else "released"
                self._around.note(f"{stance.vip}: {what}", first(stance.reasons))
        rungs = {s.service: (s.stance, s.weight) for s in before[1]}
        for each in decision.anycast:
            if rungs.get(each.service) != (each.stance, each.weight):
                what = f"{each.service}: {each.stance} at weight {each.weight}"
                self._around.note(what, first(each.reasons))

    def _follow_up(self, vip: str, transition: object) -> None:
        intent = self._around.intent
        if isinstance(transition, FailoverEnded):
            self._around.note(f"{vip}: failover ended", transition.taker or "nobody took it")
            if transition.taker:
                self._around.intent = replace(intent, yielded=intent.yielded | {vip})
        else:
            self._around.intent = replace(intent, yielded=intent.yielded - {vip})

    def order_failover(self, vip: str, to: str) -> None:
        """The operator moves a VIP, if this node holds it and somebody can take it."""
        if self._role(vip) is Role.ACTIVE and vip not in self._decider.pending:
            views = self._peers.views(self._clock.now_ns)
            if self._decider.heir(vip, views) is not None:
                self._decider.order(FailoverOrdered(vip, to), self._clock.now_ns)
                self.decide()

    def _role(self, vip: str) -> Role:
        said = self._said.vips if self._said is not None else ()
        return next((v.role for v in said if v.vip == vip), Role.INITIALIZE)

    def reconfigure(self, plan: NodePlan, *, proxy_alive: bool) -> None:
        """Take over another configuration."""
        self._plan = plan
        self._decider.reconfigure(plan.configured_vips, plan.anycast)
        self.tails.reconfigure(plan.anycast)
        self._permits.reconfigure(plan.permits)
        self._senses.reconfigure(plan, alive=proxy_alive)
        self.decide()

    # ---- what comes in -------------------------------------------------------------------------

    def engine_said(self, report: EngineReported) -> None:
        """The engine's word."""
        before, self._said = self._said, report
        self._heard_ns = self._clock.now_ns
        if before is None or _told(before) != _told(report):
            self.decide()
            self.publish_soon()

    def relay_said(self) -> None:
        """The relay has acknowledged something, or a session with the routers came or went."""
        self.decide()
        self.publish_soon()

    def vip_released(self, vip: str, why: tuple[Reason, ...]) -> None:
        """The kernel has let go of a VIP: tell the heir, unless a better node has it already."""
        declared = self._declared[0] if self._declared else ()
        stance = next((s for s in declared if s.vip == vip), None)
        reasons = (stance.reasons if stance is not None and not stance.contend else ()) or why
        heir = self._decider.heir(vip, self._peers.views(self._clock.now_ns))
        if heir is not None and not any(r.code in _OUTRANKED for r in reasons):
            self._around.tell_released(heir, vip, reasons)

    def heard(self, posted: Posted) -> None:
        """A peer's report."""
        if self._peers.hear(posted, self._clock.now_ns):
            self.decide()

    def told(self, peer: str, message: Message) -> None:
        """A peer's word about permits."""
        self._heard = (*self._heard, Heard(peer, message))
        self.decide()

    def peer_released(self, peer: str, vip: str, reasons: tuple[Reason, ...]) -> None:
        """A peer let a VIP go, and this node is its heir."""
        now_ns = self._clock.now_ns
        if not self._wakefulness.overslept(now_ns) and self._peers.is_fresh(peer, now_ns):
            told = Reason("peer-released", f"{peer} released {vip}", {"peer": peer})
            self._around.order(vip, (told, *reasons[1:]))

    # ---- what goes out -------------------------------------------------------------------------

    def _tick(self) -> None:
        now_ns = self._clock.now_ns
        self._wakefulness.tick(now_ns)
        self.decide()
        if self._declared is not None and now_ns - self._declared_ns >= ALIVE_NS:
            self._declared_ns = now_ns
            self._around.declare(self._declared)
        if self._announced is not None:
            self._around.announce(self._announced)
        if now_ns - self._published_ns >= self._plan.report_ns - 1_000_000:
            self.publish()
        for name, fresh in self._peers.changes(now_ns):
            self._around.note(f"{name} is heard" if fresh else f"{name} is not heard any more")
        self._process.at(now_ns + min(self._plan.report_ns, TICK_MOST_NS), self._tick)

    def publish_soon(self) -> None:
        """Report a change, but not more often than every 20 ms."""
        if self._publishing:
            return
        self._publishing = True
        wait_ns = max(0, PUBLISH_LEAST_NS - (self._clock.now_ns - self._published_ns))
        self._process.soon(wait_ns, self.publish)

    def publish(self) -> None:
        """Report now."""
        self._publishing = False
        self._published_ns = self._clock.now_ns
        self._around.publish(self.posted())

    def posted(self) -> Posted:
        """A report, to be sent."""
        self._counter += 1
        return Posted(self.report(), self._life, self._counter)

    def report(self) -> NodeReport:
        """What this node says of itself."""
        heard_ns = self._heard_ns
        return node_report(
            self._plan,
            self._senses,
            self._said,
            self.decision,
            self._around.intent,
            announced=self._around.announced(),
            sessions_up=self._around.sessions_up(),
            permits=self.permits.report,
            tails=self.tails,
            engine_age_ms=None if heard_ns is None else (self._clock.now_ns - heard_ns) / 1e6,
        )


def _told(report: EngineReported) -> tuple[object, ...]:
    """What decisions depend upon or peers are told."""
    return (report.vips, report.anycast, report.ending, report.steers, report.links)
