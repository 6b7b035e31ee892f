"""The controller: facts come in, stances go out, and everything is told.

One event loop, no waiting in between: a change of the senses reaches the engine's socket, and the
engine's word that an address is free reaches the heir's, inside the callback that brought it. The
journal, the peers' reports and the hooks come after.

    comes in                         goes out, in this order
    -------------------------------  ---------------------------------------------------------
    senses changed                   stances to the engine, routes to the relay; events; report to
                                     peers
    relay: acknowledged, sessions    as senses changed
    engine: vip-released             `released` to the heir; events
    engine: report                   stances, if they change; events; report to peers
    peer: released, to this node     take-over order to the engine
    peer: report, about permits      stances, if they change; answers; events
    every 200 ms (report interval)   stances, if they change, else once a second; report to peers
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from haman.cluster.keys import ClusterKey
from haman.cluster.mesh import Address, NamesakeFound, PacketHeard, PeerFound, ReportHeard
from haman.cluster.packets import Answer, Handover, Order, Packet, Released
from haman.config.model import Config
from haman.controller.anycast import configured_anycast
from haman.controller.bgp_side import BgpSide
from haman.controller.drains import tail_events
from haman.controller.failovers import Failovers
from haman.controller.hooks import Hooks
from haman.controller.lookout import Lookout
from haman.controller.node import (
    condition_event,
    configured_vips,
    namesake_events,
    node_report,
    peer_found,
    peer_lost,
    peer_released,
    stance_events,
)
from haman.controller.operator import Operator
from haman.controller.parts import Parts
from haman.controller.peer_side import PeerSide
from haman.controller.permits import PermitSide
from haman.controller.sensing import Sensing
from haman.controller.surface import ClusterSnapshot, JournalEntry, Outcome
from haman.controller.ticker import Ticker
from haman.core.decide import Decider, Decision, FailoverEnded
from haman.core.handover.tails import Tails
from haman.core.heirs import ConfiguredVip
from haman.core.reports import NodeReport
from haman.core.situation import Situation
from haman.core.wakefulness import Wakefulness
from haman.core.words import Condition, Event

AFTER_SENSES_S = 0.01
"""By then the proxy has answered as a rule, so that peers are told of this round and not of the last."""

log = logging.getLogger(__name__)


class Controller:
    """The controller of one node; the `Agent` of the API."""

    def __init__(self, config: Config, parts: Parts) -> None:
        self._config = config
        self._clock = parts.clock
        self._engine = parts.engine
        self._journal = parts.journal
        self._intent = parts.intent
        self._peers = PeerSide(parts.mesh, config.cluster, parts.clock, self._own, self._do)
        self._hooks = Hooks(
            config.hooks.on_event,
            lambda text: self.note(Event("hook-failed", self.wall_ns(), text)),
        )
        self._senses = Sensing(config, parts.senses, self.decide)
        self._bgp = BgpSide(config, parts.announcer, parts.clock, self._bgp_changed, self.note)
        self._tails = Tails(config.node.name, configured_anycast(config))
        self._decider = Decider(configured_vips(config), configured_anycast(config))
        self._permits = PermitSide(config, self._decider, self._peers, parts.clock, parts.recorder)
        self._decision: Decision | None = None
        self._failovers = Failovers(
            self._decider,
            self._intent,
            parts.clock,
            parts.recorder,
            tell=self._peers.hand_over,
            note=self.note,
            changed=self.decide,
        )
        self._moving = False
        """Something is given, taken, asked for or steered: time alone may matter soon."""
        self._lookout = Lookout(config)
        self._operator = Operator(self, self._intent, self._peers.orders)
        self.pause, self.resume = self._operator.pause, self._operator.resume
        self._stopped = asyncio.Event()
        self._failure: BaseException | None = None
        self._wakefulness = Wakefulness(parts.clock.monotonic_ns())

    # ---- the Agent of the API --------------------------------------------------------------

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._config

    def snapshot(self) -> ClusterSnapshot:
        """The cluster as known now."""
        own, peers = self._own(), self._peers.views()
        headroom, alerts = self._lookout.look(
            own,
            peers,
            self._engine,
            self._bgp.picture(self._engine.reported),
            isolated=self._peers.isolated(),
            rejected=self._peers.rejected,
            namesake=self._peers.namesake(),
            unreadable=self._peers.unreadable,
            not_durable=self._journal.problem or self._intent.problem,
            senses=self._senses.snapshot().alerts,
            now_ns=self._clock.monotonic_ns(),
            at_ns=self.wall_ns(),
        )
        return ClusterSnapshot(
            cluster=self._config.cluster.name,
            node=self._config.node.name,
            at_ns=self.wall_ns(),
            paused=self._intent.current.paused,
            own=own,
            peers=peers,
            alerts=alerts,
            headroom=headroom,
            engine=self._engine.reported,
            datagrams_rejected=self._peers.rejected,
            bgp_counters=self._bgp.snapshot().counters,
            permit_counts=self._permits.snapshot().counts,
        )

    async def drain(self, node: str, *, force: bool, plain: bool = False) -> Outcome:
        """See `Operator`."""
        return await self._operator.drain(node, force=force, plain=plain)

    async def undrain(self, node: str) -> Outcome:
        """See `Operator`."""
        return await self._operator.undrain(node)

    async def failover(self, vip: str, to: str, *, force: bool, plain: bool = False) -> Outcome:
        """See `Operator`."""
        return await self._operator.failover(vip, to, force=force, plain=plain)

    def events(self, since: int, limit: int) -> tuple[JournalEntry, ...]:
        """See `Journal.since`."""
        return self._journal.since(since, limit)

    def follow(self) -> AsyncIterator[JournalEntry]:
        """See `Journal.follow`."""
        return self._journal.follow()

    # ---- what the operator's verbs act upon ------------------------------------------------

    def group(self, vip: str) -> tuple[ConfiguredVip, ...]:
        """The VIPs that move together with `vip`."""
        return self._decider.group(vip)

    def start_failover(
        self, vip: str, to: str, *, plain: bool = False, stays: bool = True
    ) -> asyncio.Future[FailoverEnded]:
        """Move `vip` away, by a handover; the future tells who took it. See `Failovers`."""
        waiting = self._failovers.order(vip, to, self._peers.views(), plain=plain, stays=stays)
        self.decide()
        return waiting

    def note(self, *events: Event) -> None:
        """Write events down, and tell the hooks."""
        for event in events:
            log.info("%s: %s", event.type, event.text)
            self._hooks.offer(self._journal.append(event))

    def wall_ns(self) -> int:
        """For what people read."""
        return self._clock.wall_ns()

    def decide(self) -> None:
        """Decide, declare at once what changed, then tell everybody else."""
        now_ns = self._clock.monotonic_ns()
        sensed = self._senses.snapshot()
        if sensed.condition is Condition.STARTING and not self._engine.ready(now_ns):
            return
        said = self._engine.reported
        peers, roles = self._peers.views(), self._engine.roles
        if said is not None and said.ending:
            self._failovers.part(roles, peers, self._config.engine.end_tail_s)
        situation = Situation(
            condition=sensed.condition,
            reasons=sensed.reasons,
            serviceable=sensed.serviceable,
            intent=self._intent.current,
            peers=peers,
            isolated=self._peers.isolated(),
            awaits=self._peers.awaits(),
            namesake=self._peers.namesake(),
            resources=sensed.resources,
            roles=roles,
            held=said.anycast if said is not None else None,
            announced=self._bgp.announced,
            asks=self._failovers.asks(roles, peers),
            ending=said.ending if said is not None else False,
            parting=self._failovers.parting,
            engine_age_ms=self._engine.age_ms(now_ns),
        )
        situation, tails = self._tails.step(situation, said, now_ns)
        stances = self._engine.stances
        unweighted, awake = self._lookout.unweighted, not self._wakefulness.overslept(now_ns)
        stepped = self._permits.step(situation, self._own(), now_ns, unweighted, awake=awake)
        before, self._decision = self._decision, stepped.decision
        decision, wall_ns = self._decision, self.wall_ns()
        digest, steers = self._bgp.digest(said), self._tails.orders(now_ns)
        orders = self._failovers.handovers.follow(decision.stances)
        self._moving = bool(orders or steers or situation.asks or situation.ending)
        wanted = (decision.stances, decision.anycast, digest, orders, steers)
        declared = self._engine.declare(*wanted, serving=sensed.serving)
        announced = self._bgp.declare(decision)
        for transition in decision.transitions:
            self._failovers.follow_up(transition)
        permitted = self._permits.follow(stepped, self._failovers)
        condition = condition_event(self._config.node.name, before, decision, wall_ns)
        moved = stance_events(stances, decision.stances, wall_ns) if declared else ()
        self.note(*condition, *moved, *tail_events(tails, wall_ns), *announced, *permitted)
        if declared or condition or announced or permitted:
            self._peers.publish_soon()
        self._compare(now_ns)
        self._failovers.give_back(situation)
        if self._tails.heed(decision.anycast, self._permits.report.sheds) or stepped.moves:
            self.decide()

    def _compare(self, now_ns: int) -> None:
        roles, peers = self._engine.roles, self._peers.views()
        if not self._wakefulness.overslept(now_ns):  # else what peers said may be old
            self._engine.pass_on(peers, now_ns)
        self.note(*self._lookout.compare(roles, peers, now_ns, self.wall_ns()))

    # ---- what comes in ---------------------------------------------------------------------

    def engine_readable(self) -> None:
        """The engine said something."""
        news = self._engine.read()
        for event in news.events:
            if event.type == "vip-released":
                self._tell_heir(event)
        if news.changed and self._engine.reported is not None:
            self._failovers.handovers.engine_said(self._engine.reported)
            self.decide()
            self._peers.publish_soon()
        self._lookout.remember(news.events, self._clock.monotonic_ns())
        self.note(*news.events)
        if news.closed and not self._stopped.is_set():
            log.info("the engine closed its link; ending")
            self.stop()

    def datagram_received(self, datagram: bytes, source: Address) -> None:
        """Somebody sent something to the cluster's port."""
        for heard in self._peers.hear(datagram, source):
            match heard:
                case PacketHeard(peer, packet) if self._permits.hear(peer, packet):
                    self.decide()
                case PacketHeard(peer, packet):
                    self._take_packet(peer, packet)
                case PeerFound(peer):
                    self.note(peer_found(peer, self.wall_ns()))
                case NamesakeFound():
                    self.note(*namesake_events(self._peers.namesake(), self.wall_ns()))
                    self.decide()
                case ReportHeard(news=news) if news:
                    self.decide()  # what was only measured anew is looked at with the next tick

    def _take_packet(self, peer: str, packet: Packet) -> None:
        orders = self._peers.orders
        match packet:
            case Released(vip, heir, reasons) if heir == self._config.node.name:
                # Only a peer whose word is fresh: one that was silent is about to be found again.
                if self._wakefulness.overslept(self._clock.monotonic_ns()):
                    log.warning("%s released %s, perhaps long ago: left to VRRP", peer, vip)
                elif self._peers.is_fresh(peer):
                    self._engine.order(vip, peer_released(peer, vip, reasons))
                    log.info("%s released %s: taking it", peer, vip)
            case Handover(said):
                self._failovers.hear(peer, said, self._own())
            case Order() if orders is not None:
                orders.ordered(peer, packet)
            case Answer() if orders is not None:
                orders.answered(packet)
            case _:
                log.warning("%s sent a packet that does not concern this node", peer)

    def _tell_heir(self, event: Event) -> None:
        reasons = self._engine.why_released(event)
        heir = self._decider.heir(event.service, self._peers.views())
        given = event.service in self._failovers.handovers.given
        if reasons is not None and heir is not None and not given:
            self._peers.release(event.service, heir, reasons)

    def _bgp_changed(self) -> None:
        """ExaBGP acknowledged something, a session came or went, a configuration is valid."""
        self.decide()
        self._peers.publish_soon()

    async def _do(self, order: Order) -> Outcome:
        return await self._operator.do(order)

    # ---- what goes out ---------------------------------------------------------------------

    def _own(self) -> NodeReport:
        sensed = self._senses.snapshot()
        decision = self._decision or Decision((), sensed.condition, sensed.reasons)
        said = self._engine.reported
        return node_report(
            self._config,
            sensed,
            said,
            decision,
            self._intent.current,
            anycast=self._tails.told(self._bgp.services(decision.anycast, said)),
            neighbors=self._bgp.neighbors(said),
            permits=self._permits.report,
            engine_age_ms=self._engine.word_age_ms,
        )

    def stop(self) -> None:
        """End `run`."""
        self._stopped.set()

    def callback_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Take in what asyncio would only log: a callback or a task that nobody waits for failed.

        What a controller that goes on after that has missed is not known, so it ends with the error,
        and the engine, which keeps what it holds, starts another. What fails inside a stream's
        transport ends that stream, and no more.
        """
        loop.default_exception_handler(context)
        failure = context.get("exception")
        if isinstance(failure, BaseException) and "transport" not in context:
            self._failure = self._failure or failure
            self.stop()

    async def run(self) -> None:
        """Work until `stop`; what fails or ends by itself before that is a bug, and raised."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._engine.fileno, self.engine_readable)
        self._peers.greet()
        self._ticker = Ticker(self._peers.tick_s, AFTER_SENSES_S)
        work = (self._hooks.run(), self._senses.run(), self._bgp.run())
        tasks = [loop.create_task(each) for each in (*work, self._stopped.wait())]
        try:
            self._tick()
            self._ticker.call(self._tick)
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if self._failure is not None:
                raise RuntimeError("a callback failed") from self._failure
        finally:
            loop.remove_reader(self._engine.fileno)
            self._ticker.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._peers.close()
            self._failovers.handovers.close()
            await self._intent.close()

    def reconfigure(self, config: Config, keys: tuple[ClusterKey, ...]) -> None:
        """Take over a configuration that was checked; nothing here can fail any more."""
        self._config = config
        self._tails.reconfigure(configured_anycast(config))
        self._decider.reconfigure(configured_vips(config), configured_anycast(config))
        self._permits.reconfigure(config)
        self._failovers.reconfigured()
        self._lookout.reconfigure(config)
        self._hooks.command = config.hooks.on_event
        self._peers.reconfigure(config.cluster, keys)
        self._bgp.reconfigure(config)
        self._senses.reconfigure(config)
        self.decide()

    def _tick(self, _late_s: float = 0.0) -> None:
        now_ns = self._clock.monotonic_ns()
        self._wakefulness.tick(now_ns)
        if self._permits.due(now_ns, moving=self._moving):
            self.decide()
        elif self._lookout.owes_comparison(now_ns):
            self._compare(now_ns)
        self._engine.stay_alive(now_ns)
        for lost in self._peers.tick():
            self.note(peer_lost(lost.peer, lost.age_ms, self.wall_ns()))
            self.decide()
        if self._lookout.is_due(now_ns):
            self.snapshot()
        self._ticker.pace(self._peers.tick_s)
