"""Two nodes in a handover: both machines, a model of their engines and of VRRP, and a faulty network.

Time goes in steps of 10 ms. Each node's engine carries out what its machine orders, a step later. Of
VRRP there is as much as matters: who is active; a taker that becomes active makes a giver yield that
was told to; a backup takes over from a dead node after its down time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from haman.core.handover.giver import Giver
from haman.core.handover.messages import (
    NS_PER_MS,
    Ended,
    EngineSaid,
    HandoverOrder,
    HandoverReport,
    Moved,
    Output,
    PeerSaid,
    Phase,
    Said,
    Say,
    Side,
    Step,
    TimePassed,
    VipPlace,
)
from haman.core.handover.taker import Taker
from haman.core.words import Reason

TICK_NS = 10 * NS_PER_MS
DOWN_TICKS = 40
VIPS = ("web", "api")
TAIL_NS = 3_000 * NS_PER_MS
A_PLACES = tuple(VipPlace(vip, "02:00:00:00:00:0a", ("10.77.0.11",)) for vip in VIPS)
B_PLACES = tuple(VipPlace(vip, "02:00:00:00:00:0b", ("10.77.0.12",)) for vip in VIPS)

Fate = Callable[[int, Said], list[int]]
"""Number and text of a message → after how many ticks it arrives, once for each; [] = never."""


def prompt(_number: int, _said: Said) -> list[int]:
    return [1]


@dataclass
class Node:
    """One of the two.

    `stuck` keeps the engine from doing a step, `refusal` is its problem.
    """

    name: str
    places: tuple[VipPlace, ...]
    active: bool
    alive: bool = True
    machine: Giver | Taker | None = None
    ordered: tuple[HandoverOrder, ...] = ()
    stuck: Step | None = None
    refusal: Reason | None = None
    connections: int = 0
    outputs: list[Output] = field(default_factory=list)

    @property
    def orders(self) -> tuple[HandoverOrder, ...]:
        return self.machine.orders if self.machine is not None else ()

    @property
    def ended(self) -> list[Ended]:
        return [o for o in self.outputs if isinstance(o, Ended)]

    @property
    def moved(self) -> bool:
        return any(isinstance(o, Moved) for o in self.outputs)

    def reports(self) -> tuple[HandoverReport, ...]:
        return tuple(self._report(order) for order in self.ordered)

    def _report(self, order: HandoverOrder) -> HandoverReport:
        reached: Step | None = order.step
        if self.refusal is not None or self.stuck is Step.READY:
            reached = None
        elif (order.side is Side.TAKING and not self.active) or self.stuck is order.step:
            reached = Step.READY
        count = self.connections if order.vip == VIPS[0] else 0
        return HandoverReport(order, reached, self.refusal, count)

    def yields(self) -> bool:
        steps = {r.order.step for r in self.reports() if r.order.side is Side.GIVING and r.reached}
        return bool(steps & {Step.TAKE, Step.TAIL})


class World:
    """Both nodes, a gives to b."""

    def __init__(self, fate: Fate = prompt, connections: int = 0) -> None:
        self.now = 1_000_000 * NS_PER_MS
        self.tick = 0
        self.a = Node("a", A_PLACES, active=True, connections=connections)
        self.b = Node("b", B_PLACES, active=False)
        self.fate = fate
        self.flying: list[tuple[int, Node, Said]] = []
        self.sent: list[Said] = []
        self.b_takes = True
        self.b_answers = True
        self.seen: set[str] = set()
        self.down_since: int | None = None
        self.unserved = 0
        self.a.machine = Giver("h1", VIPS, "b", TAIL_NS, A_PLACES, now_ns=self.now)

    # ---- one tick ------------------------------------------------------------------------------

    def run(self, ticks: int, until: Callable[[], bool] = lambda: False) -> None:
        for _ in range(ticks):
            if until():
                return
            self.step()

    def step(self) -> None:
        self.tick += 1
        self.now += TICK_NS
        self._elect()
        due = [f for f in self.flying if f[0] <= self.tick]
        self.flying = [f for f in self.flying if f[0] > self.tick]
        for _, node, said in due:
            self._deliver(node, said)
        for node in (self.a, self.b):
            if not node.alive or node.machine is None:
                continue
            self._give(node, self._engine(node))
            deadline = node.machine.deadline_ns
            if deadline is not None and deadline <= self.now:
                self._give(node, TimePassed())
            if node.machine.finished:
                node.machine = None
        for node in (self.a, self.b):
            node.ordered = node.orders if node.alive else ()
        if not any(n.alive and n.active for n in (self.a, self.b)):
            self.unserved += 1

    def _engine(self, node: Node) -> EngineSaid:
        active = frozenset(VIPS if node.active else ())
        return EngineSaid(node.reports(), active, active, node.places)

    def _give(self, node: Node, event) -> None:
        assert node.machine is not None
        outputs = node.machine.step(event, self.now)
        node.outputs += outputs
        for output in outputs:
            if isinstance(output, Say):
                self._send(node, output.said)

    def _send(self, node: Node, said: Said) -> None:
        other = self.b if node is self.a else self.a
        for delay in self.fate(len(self.sent), said):
            self.flying.append((self.tick + delay, other, said))
        self.sent.append(said)

    def _deliver(self, node: Node, said: Said) -> None:
        if not node.alive or (node is self.b and not self.b_answers):
            return
        fresh = said.phase is Phase.OFFER and said.id not in self.seen
        if node is self.b and node.machine is None and fresh:
            self.seen.add(said.id)
            node.machine = Taker(said, "a", TAIL_NS, self.now)
        if node.machine is not None:
            self._give(node, PeerSaid(said))

    def _elect(self) -> None:
        """VRRP: what the engines do by themselves."""
        taking = [r for r in self.b.reports() if r.order.step in {Step.TAKE, Step.TAIL}]
        can = self.b.alive and self.b_takes and not self.b.refusal and self.b.stuck is not Step.TAKE
        if can and taking and not self.b.active and (not self.a.active or self.a.yields()):
            self.b.active, self.a.active = True, False
        alive = [n for n in (self.a, self.b) if n.alive]
        if any(n.active for n in alive):
            self.down_since = None
        elif self.down_since is None:
            self.down_since = self.tick
        elif self.tick - self.down_since >= DOWN_TICKS and alive:
            alive[0].active = True

    # ---- faults and ends -----------------------------------------------------------------------

    def kill(self, node: Node) -> None:
        node.alive = node.active = False
        node.machine, node.ordered = None, ()

    @property
    def over(self) -> bool:
        return self.a.machine is None and self.b.machine is None

    def check_end(self) -> None:
        """Whatever happened: nothing is left of it, and one node that lives has the VIPs."""
        assert self.over, (self.a.machine and self.a.machine.state, self.b.machine)
        assert self.a.ordered == self.b.ordered == ()
        assert sum(n.active for n in (self.a, self.b)) == 1
