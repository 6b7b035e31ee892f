"""The engine's part in tails of anycast services, modelled: orders with leases, rules, and their keeper.

As `haman.engine.diversions` with its child: the child is started for the first order, told the whole set
on a change and every second, answers what has come of it, and ends with its rules when the engine is
silent. What a node knows needs no model of its own: it is what its proxy has.
"""

from collections.abc import Callable
from random import Random
from typing import Final

from haman.core.frozen import dataclass
from haman.core.handover.messages import NS_PER_MS, NS_PER_S, Side
from haman.core.handover.steering import SteerOrder, SteerReport
from haman.sim.clocks import Clock
from haman.sim.process import Process

START_LEAST_NS, START_SPREAD_NS = 60 * NS_PER_MS, 200 * NS_PER_MS
"""From the first order to rules in force, with the start of the child."""
WORK_LEAST_NS, WORK_SPREAD_NS = 2 * NS_PER_MS, 20 * NS_PER_MS
BEAT_NS: Final = NS_PER_S
SILENCE_NS: Final = 3 * NS_PER_S
"""The child ends when the engine has been silent for so long."""
PASSED_NS: Final = 10 * NS_PER_S
"""A connection counts as handed on for so long."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Of one service, in the kernel: who gets what is not known here.

    Attributes:
        side: taking: a survivor's; giving: the pivot's.
        peer: the pivot's MAC address; giving: "".
        next: of who is next in line; "" = nobody: it is answered here.
        after: MAC addresses of who is before this node in line.
        others: of the cluster's other nodes.
    """

    side: Side
    peer: str
    next: str
    after: tuple[str, ...]
    others: tuple[str, ...]

    def to(self, came: str) -> str:
        """Where a segment goes that came from this MAC address, "" = a router; "" = it is answered here."""
        if self.side is Side.GIVING or (came and came in self.after):
            return self.next
        return "" if came and came in self.others else self.peer

    def counts(self, came: str, *, known: bool) -> bool:
        """Whether a segment says that a router sends its connection to another node than the one that has it."""
        return self.side is Side.GIVING and (came in self.others or bool(self.next and not known))


@dataclass(frozen=True, slots=True)
class _Answer:
    rules: Rules
    connections: int
    passed: int


class Steering:
    """The orders of one engine and the rules that its child keeps.

    Args:
        engine: its process.
        child: the process that keeps the rules.
        count: a service's connections here.
        changed: what is reported is not as before.
    """

    def __init__(
        self,
        clock: Clock,
        random: Random,
        *,
        engine: Process,
        child: Process,
        count: Callable[[str], int],
        changed: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._random = random
        self._engine = engine
        self._child = child
        self._count = count
        self._changed = changed
        self._orders: dict[str, SteerOrder] = {}
        self._answers: dict[str, _Answer] = {}
        self._passed: dict[str, dict[int, int]] = {}
        self._told_ns = 0
        self.rules: dict[str, Rules] = {}
        """In the kernel, by service."""

    @property
    def idle(self) -> bool:
        """No order, no rule."""
        return not self._orders and not self.rules

    def clear(self) -> None:
        """The engine is gone, and its child with it."""
        self._orders.clear()
        self._dismiss()

    def declare(self, orders: tuple[SteerOrder, ...]) -> None:
        """The controller's wish: every order that there shall be."""
        wanted = {order.service: order for order in orders}
        if wanted == self._orders:
            return
        began, self._orders = not self._orders, wanted
        self._tell()
        if began:
            self._engine.soon(BEAT_NS, self._beat)
        self._changed()

    def _beat(self) -> None:
        now_ns = self._clock.now_ns
        late = [name for name, order in self._orders.items() if now_ns >= order.until_ns]
        for name in late:
            del self._orders[name]
        self._tell()
        if late:
            self._changed()
        if self._orders:
            self._engine.soon(BEAT_NS, self._beat)

    def _tell(self) -> None:
        """Have the child make the kernel's rules the wanted ones."""
        if not self._orders:
            self._dismiss()
            return
        least_ns, spread_ns = WORK_LEAST_NS, WORK_SPREAD_NS
        if not self._child.alive:
            self._child.start()
            least_ns, spread_ns = START_LEAST_NS, START_SPREAD_NS
        told_ns = self._told_ns = self._clock.now_ns
        wanted = {name: _rules(order) for name, order in self._orders.items()}
        self._child.post(
            least_ns + int(self._random.random() * spread_ns), lambda: self._carry_out(wanted)
        )
        self._child.at(told_ns + SILENCE_NS, lambda: self._listen(told_ns))

    def _dismiss(self) -> None:
        self._child.die()
        self.rules.clear()
        self._answers.clear()
        self._passed.clear()

    def _carry_out(self, wanted: dict[str, Rules]) -> None:
        self.rules = dict(wanted)
        now_ns = self._clock.now_ns
        answers = {}
        for name, rules in wanted.items():
            passed = self._passed.get(name, {})
            lately = sum(now_ns - at_ns < PASSED_NS for at_ns in passed.values())
            answers[name] = _Answer(rules, self._count(name), lately)
        self._engine.post(0, lambda: self._answered(answers))

    def _answered(self, answers: dict[str, _Answer]) -> None:
        if self._child.alive and answers != self._answers:
            self._answers = answers
            self._changed()

    def _listen(self, told_ns: int) -> None:
        if self._told_ns == told_ns:
            self._dismiss()

    def hand_on(self, service: str, number: int) -> None:
        """A connection's segment came by the pivot's rules, and counts (`Rules.counts`)."""
        self._passed.setdefault(service, {})[number] = self._clock.now_ns

    def reports(self) -> tuple[SteerReport, ...]:
        """How far each order is."""
        return tuple(map(self._report, self._orders.values()))

    def _report(self, order: SteerOrder) -> SteerReport:
        found = self._answers.get(order.service)
        if found is None or found.rules != _rules(order):
            return SteerReport(order)
        passed = found.passed if order.side is Side.GIVING else 0
        return SteerReport(order, ready=True, connections=found.connections, passed=passed)


def _rules(order: SteerOrder) -> Rules:
    """A node has one link here, and is known on it by one MAC address."""
    peer = order.places[0].mac if order.places else ""
    after = order.next_places[0].mac if order.next_places else ""
    return Rules(order.side, peer, after, order.after, order.others)
