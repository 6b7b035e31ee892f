"""The tails of all anycast services of a node, here and elsewhere: both machines, and what they look at.

    situation, the engine's reports ─► pivots, survivors ─► situation with tails, orders, words, notes

It comes before permits and decisions, as daemon and simulator both drive them: what tails ask of the
ladders is part of the situation. What the ladders say of weights that wait comes back (`heed`).
"""

from dataclasses import replace

from haman.core.announcements import AnycastReport, AnycastStance
from haman.core.facts import EngineReported
from haman.core.handover.pivot import Pivot
from haman.core.handover.pivot_facts import QUIET_NS, PivotFacts, TailNote
from haman.core.handover.steering import SteerOrder
from haman.core.handover.survivor import Survivor
from haman.core.ladder import ConfiguredAnycast, Rung
from haman.core.ladders import footing
from haman.core.situation import Situation

NS_PER_S = 1_000_000_000
STEP_LATE_NS = 2 * NS_PER_S
"""A rung is in force some 100 ms after it was wanted, more on a busy host."""


class Tails:
    """Both sides, for every anycast service.

    Args:
        node: its name.
        services: those configured.
    """

    def __init__(self, node: str, services: tuple[ConfiguredAnycast, ...]) -> None:
        self._node = node
        self._pivots: dict[str, Pivot] = {}
        self._survivors: dict[str, Survivor] = {}
        self._waiting: frozenset[str] = frozenset()
        """Services that are to have another weight, or one again."""
        self._shed: tuple[str, ...] = ()
        self.reconfigure(services)

    def reconfigure(self, services: tuple[ConfiguredAnycast, ...]) -> None:
        """Take over the services; what is under way for one that stays goes on."""
        self._services = services
        pivots, survivors = self._pivots, self._survivors
        self._pivots = {a.name: pivots.get(a.name, self._pivot(a)) for a in services}
        self._survivors = {
            a.name: survivors.get(a.name, Survivor(a.name, self._node)) for a in services
        }
        for each in services:
            self._pivots[each.name].tail_ns = each.tail_ns

    def _pivot(self, service: ConfiguredAnycast) -> Pivot:
        return Pivot(service.name, self._node, service.tail_ns)

    def step(
        self, situation: Situation, said: EngineReported | None, now_ns: int
    ) -> tuple[Situation, tuple[tuple[str, TailNote], ...]]:
        """Look around: the situation with what tails ask of the ladders; notes, each with its service.

        Args:
            situation: what the decision is about to be made from.
            said: the engine's word; None = it has said nothing yet.
            now_ns: the monotonic instant.
        """
        if not self._services:
            return situation, ()
        reports = said.steers if said is not None else None
        notes: list[tuple[str, TailNote]] = []
        for service in self._services:
            pivot, survivor = self._pivots[service.name], self._survivors[service.name]
            footed, word = footing(service, situation), survivor.word
            facts = PivotFacts(
                drained=footed.drained,
                comes=footed.comes and service.name not in self._shed,
                shifts=service.name in self._waiting,
                dead=footed.broken,
                ending=footed.ending,
                in_force=footed.in_force,
                quiet_ns=_quiet_ns(service, footed.in_force),
                steers=word is not None and word.ready,
                peers=situation.peers,
                reports=reports,
            )
            noted = pivot.step(facts, now_ns)
            survivor.step(
                situation.peers,
                reports,
                now_ns,
                drains=pivot.asks,
                leans=pivot.leans,
            )
            notes += [(service.name, note) for note in noted]
        tails = {name: pivot.standing for name, pivot in self._pivots.items()}
        return replace(situation, tails=tails), tuple(notes)

    def heed(self, stances: tuple[AnycastStance, ...], sheds: tuple[str, ...]) -> bool:
        """Take in what was decided; whether it is news, and so to be stepped at once.

        Args:
            stances: whose weight waits for a tail.
            sheds: services that by permit have less than their weight; one that is shut so does not come back.
        """
        self._shed = sheds
        before, self._waiting = self._waiting, frozenset(s.service for s in stances if s.waits)
        return before != self._waiting

    @property
    def idle(self) -> bool:
        """Nothing is asked for, served or steered, nor about to be."""
        rest = all(pivot.state in {"idle", "done"} for pivot in self._pivots.values())
        return rest and not any(survivor.peer for survivor in self._survivors.values())

    def orders(self, now_ns: int) -> tuple[SteerOrder, ...]:
        """What the engine shall do."""
        sides: tuple[Pivot | Survivor, ...] = (
            *self._pivots.values(),
            *self._survivors.values(),
        )
        found = (side.order(now_ns) for side in sides)
        return tuple(order for order in found if order is not None)

    def told(self, reports: tuple[AnycastReport, ...]) -> tuple[AnycastReport, ...]:
        """This node's word on every service, with what it says of tails."""
        return tuple(map(self._told, reports))

    def _told(self, report: AnycastReport) -> AnycastReport:
        pivot = self._pivots[report.service]
        word, steers = pivot.word, self._survivors[report.service].word
        if word is None and steers is None:
            return report
        return replace(report, tail=word, connections_left=pivot.left, steers=steers)


def _quiet_ns(service: ConfiguredAnycast, in_force: Rung | None) -> int:
    """How long a rung must not have changed to be the last: below the top one, the next may follow."""
    climbs = in_force != service.rungs[0]
    return max(QUIET_NS, service.step_ns + STEP_LATE_NS if climbs else 0)
