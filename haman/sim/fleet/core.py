"""haman as a policy: the gate, the permits and the decisions of each node are the very same objects.

A node is stepped when it is busy, when it holds or asks for a permit, when a peer says something,
and while its ladder is on the way up. Words between peers arrive within the step.
"""

from dataclasses import dataclass, field
from typing import Final

from haman.core.announcements import Announcement, AnycastReport, HeldAddresses
from haman.core.decide import Decider, Decision, FailoverOrdered
from haman.core.facts import VipReport
from haman.core.gate import Gate, GateSettings, ProxyFound, UtilizationSampled
from haman.core.heirs import ConfiguredVip
from haman.core.ladder import WITHDRAWN, ConfiguredAnycast, in_force
from haman.core.node import NodeCore
from haman.core.permits import Heard, Permits, PermitSettings, Tell
from haman.core.reports import NodeReport, PeerView
from haman.core.situation import OperatorIntent, Situation
from haman.core.words import Condition, Role, Stance, Utilization
from haman.sim.fleet.cluster import PRIORITY, PRIORITY_STEP, Cluster, VipCluster
from haman.sim.fleet.node import FULL_WEIGHT, Node
from haman.sim.plans import NS_PER_S

SERVICE: Final = "edge"
ROUNDS_MAX: Final = 4
"""Of words that go to and fro within one step."""
AGAIN_NS: Final = 30 * NS_PER_S
"""A node that waits looks again this often, and at once when any condition or shed has changed."""
SAME: Final = 0.01
"""Of the capacity: a quiet node whose load has changed by less says the same again."""
GATE: Final = GateSettings()


@dataclass(slots=True)
class _Core:
    """The core of one node."""

    node: Node
    gate: Gate
    decider: Decider
    permits: Permits
    core: NodeCore
    vips: tuple[ConfiguredVip, ...]
    anycast: tuple[ConfiguredAnycast, ...]
    decision: Decision | None = None
    heard: list[Heard] = field(default_factory=list)
    due_ns: int = 0
    saw: int = -1
    condition: Condition = Condition.IN_SERVICE
    open: bool = False
    open_as: tuple[bool, str, str] = (False, "", "")
    report: NodeReport | None = None
    rate: float = -1.0
    yielded: frozenset[str] = frozenset()


class Core:
    """The haman of all nodes of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._is_vip = isinstance(cluster, VipCluster)
        self._lives = 0
        self._changes = 0
        self._cores = {node.name: self._made(node, -60 * NS_PER_S) for node in cluster.nodes}
        self.grants = 0

    def _made(self, node: Node, now_ns: int) -> _Core:
        self._lives += 1
        anycast = () if self._is_vip else (ConfiguredAnycast(SERVICE),)
        priority = PRIORITY - PRIORITY_STEP * node.place
        vips = (ConfiguredVip(SERVICE, priority),) if self._is_vip else ()
        gate = Gate(GATE, now_ns)
        gate.step(ProxyFound(), now_ns)
        decider = Decider(vips, anycast)
        permits = Permits(PermitSettings(vips, anycast), self._lives, now_ns)
        core = NodeCore(decider, permits)
        return _Core(node, gate, decider, permits, core, vips, anycast)

    # ---- what happens to nodes -----------------------------------------------------------------

    def lost(self, node: Node) -> None:
        """Its agent is gone with it."""
        self._changes += 1
        self._cores[node.name].decision = None

    def back(self, node: Node, now_ns: int) -> None:
        """Its agent begins anew, from nothing announced."""
        node.wanted = 0
        self._changes += 1
        self._cores[node.name] = self._made(node, now_ns)

    def busy(self, node: Node) -> bool:
        """Its decisions are not over."""
        core = self._cores[node.name]
        settled = node.wanted == FULL_WEIGHT and (self._is_vip or node.weight == FULL_WEIGHT)
        return core.open or core.condition is not Condition.IN_SERVICE or not settled

    # ---- decisions -----------------------------------------------------------------------------

    def step(self, now_ns: int, lively: list[Node]) -> None:
        """Judge who is lively; step the cores that have something to decide."""
        due = [core for node in lively if self._is_due(core := self._cores[node.name], now_ns)]
        if not due:
            return
        views = {name: self._view(core) for name, core in self._cores.items()}
        for _ in range(ROUNDS_MAX):
            due = self._round(due, views, now_ns)
            if not due:
                return

    def _is_due(self, core: _Core, now_ns: int) -> bool:
        """Judge a node; whether its core has something to decide."""
        node = core.node
        for change in core.gate.step(UtilizationSampled(node.sensor.utilizations), now_ns):
            core.condition = change.new
            self._changes += 1
        waits = now_ns < core.due_ns and core.saw == self._changes
        return bool(core.heard) or (self.busy(node) and not waits)

    def _round(self, due: list[_Core], views: dict[str, PeerView], now_ns: int) -> list[_Core]:
        """Step some cores; those that have heard something by it."""
        said = [(core, self._step(core, views, now_ns)) for core in due]
        heard = []
        for core, tells in said:
            views[core.node.name] = self._view(core)
            for tell in tells:
                peer = self._cores[tell.peer]
                if not peer.node.up:
                    continue
                if not peer.heard:
                    heard.append(peer)
                peer.heard.append(Heard(core.node.name, tell.message))
                self._cluster.lively[peer.node.place] = peer.node
        return heard

    def _step(self, core: _Core, views: dict[str, PeerView], now_ns: int) -> tuple[Tell, ...]:
        heard, core.heard = tuple(core.heard), []
        own = views[core.node.name].report or self._report(core)
        peers = tuple(view for name, view in views.items() if name != core.node.name)
        stepped = core.core.step(self._situation(core, own, peers), own, now_ns, heard)
        if stepped.moves:
            for move in stepped.moves:
                core.decider.order(FailoverOrdered(move.vip, move.to), now_ns)
            tells = stepped.tells
            stepped = core.core.step(self._situation(core, own, peers), own, now_ns)
            tells = (*tells, *stepped.tells)
        else:
            tells = stepped.tells
        core.decision, said = stepped.decision, core.permits.report
        now_open = (bool(said.sheds), said.asks, said.granted_to)
        if now_open != core.open_as:
            core.open_as, core.open = now_open, any(now_open)
            self._changes += 1
        core.saw = self._changes
        self._follow(core)
        due_ns = core.core.deadline_ns
        core.due_ns = now_ns + AGAIN_NS
        if due_ns is not None and now_ns < due_ns < core.due_ns:
            core.due_ns = due_ns
        return tells

    def _follow(self, core: _Core) -> None:
        decision, node = core.decision, core.node
        if decision is None:
            return
        for transition in decision.transitions:
            taken = getattr(transition, "taker", None)
            core.yielded = frozenset({SERVICE}) if taken else frozenset()
        for stance in decision.anycast:
            node.wanted = stance.weight
            node.wanted_shut = stance.stance is Stance.SHUT
        for vip in decision.stances:
            node.wanted = FULL_WEIGHT if vip.contend else 0
            if isinstance(self._cluster, VipCluster):
                self._cluster.preempts[node.place] = vip.preempt

    def _situation(self, core: _Core, own: NodeReport, peers: tuple[PeerView, ...]) -> Situation:
        gate, node = core.gate.snapshot(), core.node
        announced: tuple[Announcement, ...] = ()
        if node.weight and not self._is_vip:
            announced = (Announcement(SERVICE, (SERVICE,), node.shut, node.weight),)
        return Situation(
            condition=gate.condition,
            reasons=gate.reasons,
            intent=OperatorIntent(yielded=core.yielded),
            peers=peers,
            resources=own.resources,
            roles=own.vips,
            held=(HeldAddresses(SERVICE, (SERVICE,), complete=True),),
            announced=announced,
        )

    # ---- reports -------------------------------------------------------------------------------

    def _view(self, core: _Core) -> PeerView:
        """As all peers see it."""
        return PeerView(core.node.name, self._report(core), 100.0, fresh=core.node.up)

    def _report(self, core: _Core) -> NodeReport:
        node, lively = core.node, core.node.place in self._cluster.lively
        if not lively:
            rate = self._cluster.quiet(node)
            said = core.report
            if said is not None and abs(rate - core.rate) < SAME * node.server.capacity:
                return said
            core.rate = rate
            server = node.server
            server.handshakes_per_s = rate
            server.busy = min(1.0, server.base + rate / server.capacity * server.slowness)
            server.connections = self._cluster.connections * node.share
        utilizations = node.sensor.utilizations if lively else node.now()
        core.report = None if lively else self._made_report(core, utilizations)
        return core.report or self._made_report(core, utilizations)

    def _made_report(self, core: _Core, utilizations: tuple[Utilization, ...]) -> NodeReport:
        node = core.node
        gate = core.gate.snapshot()
        decided = core.decision.condition if core.decision is not None else gate.condition
        announced: tuple[Announcement, ...] = ()
        if node.weight:
            announced = (Announcement(SERVICE, (SERVICE,), node.shut, node.weight),)
        rungs = [in_force(each, announced) if announced else WITHDRAWN for each in core.anycast]
        return NodeReport(
            node=node.name,
            site="",
            version="sim",
            condition=decided,
            reasons=gate.reasons,
            proxy_up=node.up,
            resources=utilizations or node.now(),
            connections=round(node.server.connections),
            vips=tuple(
                VipReport(
                    v.name,
                    Role.ACTIVE if node.weight else Role.BACKUP if node.wanted else Role.RELEASED,
                    v.priority,
                    0,
                )
                for v in core.vips
            ),
            anycast=tuple(
                AnycastReport(each.name, rung.stance, rung.weight, each.weight, 0, neighbors_up=1)
                for each, rung in zip(core.anycast, rungs, strict=True)
            ),
            storm=node.sensor.storm,
            permits=core.permits.report,
        )
