"""Nodes of one anycast service around real pivots, survivors and ladders, with a model of engines.

Time goes in ticks of 100 ms. A node's report reaches the others a tick later, its engine does what it
is told a tick later, and its relay has what its ladder wants a tick after that.
"""

from dataclasses import dataclass, field, replace

from haman.core.announcements import AnycastReport
from haman.core.handover.messages import NS_PER_MS, NS_PER_S, Side
from haman.core.handover.pivot import Pivot
from haman.core.handover.pivot_facts import QUIET_NS, PivotFacts, TailNote
from haman.core.handover.steering import LinkPlace, SteerOrder, SteerReport
from haman.core.handover.survivor import Survivor
from haman.core.ladder import ConfiguredAnycast, Footing, Ladder, Rung, Shed
from haman.core.reports import NodeReport, PeerView
from haman.core.serving import servers
from haman.core.words import Condition, Reason, Stance

TICK_NS = 100 * NS_PER_MS
TAIL_NS = 15 * NS_PER_S
EDGE = ConfiguredAnycast("edge", reduced_weights=(), step_ns=NS_PER_S, drain_ns=NS_PER_S)
FULL = Rung(Stance.FULL, 100)
HALF = Rung(Stance.REDUCED, 50)
STEPS = replace(EDGE, reduced_weights=(50, 25))


@dataclass
class Node:
    """One of them.

    `connections` are what its engine counts, `passed` what it hands on; `problem` is the engine's; `mute`: reports are lost;
    `hangs`: the engine never gets anything done; `slow`: `rules` are in force so many ticks later; `held_back`:
    it may not come to be announced.
    """

    name: str
    configured: ConfiguredAnycast = EDGE
    shed: Shed | None = None
    tail_ns: int = TAIL_NS
    in_force: Rung = FULL
    drained: bool = False
    broken: bool = False
    connections: int = 0
    passed: int = 0
    problem: Reason | None = None
    mute: bool = False
    hangs: bool = False
    slow: int = 0
    held_back: bool = False
    worked: tuple[object, int] = ((), 0)
    old: bool = False
    dead: bool = False
    ordered: tuple[SteerOrder, ...] = ()
    reports: tuple[SteerReport, ...] | None = ()
    rules: SteerOrder | None = None
    notes: list[TailNote] = field(default_factory=list)
    held: bool = True

    def __post_init__(self) -> None:
        self.ladder = Ladder(self.configured)
        self.start()

    def start(self) -> None:
        """Begin as a controller does: knowing nothing."""
        self.pivot = Pivot("edge", self.name, self.tail_ns)
        self.survivor = Survivor("edge", self.name)

    @property
    def places(self) -> tuple[LinkPlace, ...]:
        return () if self.old else (LinkPlace(f"02:00:00:00:00:{self.name}", (self.name,)),)

    @property
    def codes(self) -> list[str]:
        return [f"{note.kind}: {note.reason.code}" for note in self.notes]

    def order(self, side: Side) -> SteerOrder | None:
        return next((o for o in self.ordered if o.side is side), None)

    @property
    def steers_for(self) -> str:
        order = self.order(Side.TAKING)
        return order.peer if order is not None else ""

    def report(self) -> NodeReport:
        said = AnycastReport(
            "edge",
            self.in_force.stance,
            self.in_force.weight,
            100,
            0,
            neighbors_up=1,
            tail=self.pivot.word,
            connections_left=self.pivot.left,
            steers=self.survivor.word,
        )
        condition = Condition.FAULT if self.broken else Condition.IN_SERVICE
        return NodeReport(
            self.name, "", "1", condition, drained=self.drained, anycast=(said,), links=self.places
        )


class Cluster:
    """All of them, and the time."""

    def __init__(self, *names: str, configured: ConfiguredAnycast = EDGE) -> None:
        self.nodes = {name: Node(name, configured) for name in names}
        self.heard: dict[str, tuple[NodeReport, int]] = {}
        self.now_ns = 0
        self.fresh_ns = NS_PER_S
        self.run(2)

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def run(self, ticks: int, until=lambda: False) -> None:
        for _ in range(ticks):
            if until():
                return
            self.step()

    def step(self) -> None:
        self.now_ns += TICK_NS
        living = [node for node in self.nodes.values() if not node.dead]
        for node in living:
            if node.reports is not None and not node.hangs:
                node.rules = node.rules if node.ordered else None
                node.reports = tuple(self._engine(node, order) for order in node.ordered)
            self._decide(node)
        for node in living:
            if not node.mute:
                self.heard[node.name] = (node.report(), self.now_ns)
        self.check()

    def _engine(self, node: Node, order: SteerOrder) -> SteerReport:
        passed = node.passed if order.side is Side.GIVING else 0
        rules = (order.side, order.peer, order.next, order.after)
        node.worked = (rules, node.worked[1] + 1 if node.worked[0] == rules else 0)
        if node.worked[1] < node.slow:
            return SteerReport(order)
        node.rules = order if node.problem is None else None
        return SteerReport(order, node.problem is None, node.problem, node.connections, passed)

    def peers(self, name: str) -> tuple[PeerView, ...]:
        views = []
        for other in sorted(self.nodes.keys() - {name}):
            report, at_ns = self.heard.get(other, (None, 0))
            age_ns = self.now_ns - at_ns
            fresh = report is not None and age_ns < self.fresh_ns
            views.append(PeerView(other, report, age_ns / NS_PER_MS, fresh))
        return tuple(views)

    def _decide(self, node: Node) -> None:
        peers = self.peers(node.name)
        footing = Footing(
            Condition.FAULT if node.broken else Condition.IN_SERVICE,
            drained=node.drained,
            in_force=node.in_force,
            servers=servers("edge", peers),
            holds=(Reason("paused", "paused"),) if node.held_back else (),
            shed=node.shed,
        )
        word = node.survivor.word
        facts = PivotFacts(
            drained=node.drained,
            comes=footing.comes and node.shed is None,
            shifts=node.ladder.snapshot().waits,
            dead=node.broken,
            ending=False,
            in_force=node.in_force,
            quiet_ns=QUIET_NS if node.in_force == FULL else QUIET_NS + 2 * NS_PER_S,
            steers=word is not None and word.ready,
            peers=peers,
            reports=node.reports,
        )
        node.notes += node.pivot.step(facts, self.now_ns)
        node.survivor.step(
            peers,
            node.reports,
            self.now_ns,
            drains=node.pivot.asks,
            leans=node.pivot.leans,
        )
        footing = replace(footing, tail=node.pivot.standing)
        stance = node.ladder.step(footing, self.now_ns)
        node.in_force, node.held = Rung(stance.stance, stance.weight), stance.held
        orders = (side.order(self.now_ns) for side in (node.pivot, node.survivor))
        node.ordered = tuple(replace(o, until_ns=0) for o in orders if o is not None)

    def check(self) -> None:
        """What must be so at each instant."""
        for node in self.nodes.values():
            # Who is steered to steers to nobody, or segments would go round.
            assert len(node.ordered) < 2, node.name
            # Frames that come have somebody to answer them.
            living = [n for n in self.nodes.values() if not n.dead]
            if any(n.steers_for == node.name for n in living) and node in living:
                assert node.held, node.name
        # What nobody knows is answered by somebody: it does not go round.
        for name in self.nodes:
            assert len(self._way(name)) <= 2 * len(self.nodes), name

    def found(self, home: str, at: str) -> bool:
        """Whether a segment of a connection that `home` knows is answered there, sent in by a router at `at`."""
        return home in self._way(at)

    def _way(self, at: str) -> list[str]:
        """Where a segment comes by that nobody knows."""
        way, came = [at], ""
        while len(way) < 64 and (after := self._goes(at, came)):  # the hop limit
            at, came = after, at
            way.append(at)
        return way

    def _goes(self, at: str, came: str) -> str:
        """Where the rules of a node send what it does not know; "" = it is answered there."""
        order = self.nodes[at].rules
        if order is None:
            return ""
        mac = self.nodes[came].places[0].mac if came else ""
        if order.side is Side.GIVING or mac in order.after:
            return order.next
        return "" if mac in order.others else order.peer
