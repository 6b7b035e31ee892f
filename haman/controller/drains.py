"""Tails of anycast services, here and elsewhere: the machines of `core.handover`, and their world.

What they say travels in this node's report, what they want goes to the engine with the stances, and what
peers and the engine say comes back to them with each decision.
"""

from dataclasses import replace

from haman.config.model import Anycast, Config
from haman.controller.anycast import configured_anycast
from haman.core.announcements import AnycastReport, AnycastStance
from haman.core.facts import EngineReported
from haman.core.handover.pivot import Pivot
from haman.core.handover.pivot_facts import QUIET_NS, PivotFacts, TailNote
from haman.core.handover.steering import SteerOrder
from haman.core.handover.survivor import Survivor
from haman.core.ladder import ConfiguredAnycast, Rung
from haman.core.ladders import footing
from haman.core.situation import Situation
from haman.core.words import Event

NS_PER_S = 1_000_000_000
STEP_LATE_NS = 2 * NS_PER_S
"""A rung is in force some 100 ms after it was wanted, more on a busy host."""


class Drains:
    """Both sides, for every anycast service."""

    def __init__(self, config: Config) -> None:
        self._pivots: dict[str, Pivot] = {}
        self._survivors: dict[str, Survivor] = {}
        self._waiting: frozenset[str] = frozenset()
        """Services that are to have another weight."""
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        """Take over the services; what is under way for one that stays goes on."""
        self._services: tuple[ConfiguredAnycast, ...] = configured_anycast(config)
        node, old = config.node.name, (self._pivots, self._survivors)
        self._pivots = {a.name: old[0].get(a.name, _pivot(a, node)) for a in config.anycast}
        self._survivors = {
            a.name: old[1].get(a.name, Survivor(a.name, node)) for a in config.anycast
        }
        for each in config.anycast:
            self._pivots[each.name].tail_ns = _tail_ns(each)

    def step(
        self, situation: Situation, said: EngineReported | None, now_ns: int, at_ns: int
    ) -> tuple[Situation, tuple[Event, ...]]:
        """Look around: the situation with what tails ask of the ladders, and what is to be noted."""
        events: list[Event] = []
        reports = said.steers if said is not None else None
        for service in self._services:
            pivot, survivor = self._pivots[service.name], self._survivors[service.name]
            footed, word = footing(service, situation), survivor.word
            facts = PivotFacts(
                drained=footed.drained,
                comes=footed.comes,
                shifts=service.name in self._waiting,
                dead=footed.broken,
                ending=footed.ending,
                in_force=footed.in_force,
                quiet_ns=_quiet_ns(service, footed.in_force),
                steers=word is not None and word.ready,
                peers=situation.peers,
                reports=reports,
            )
            notes = pivot.step(facts, now_ns)
            survivor.step(
                situation.peers,
                reports,
                now_ns,
                drains=pivot.asks,
                covered=pivot.state == "covered",
            )
            events += [_event(service.name, note, at_ns) for note in notes]
        tails = {name: pivot.standing for name, pivot in self._pivots.items()}
        return replace(situation, tails=tails), tuple(events)

    def heed(self, stances: tuple[AnycastStance, ...]) -> bool:
        """Take in whose weight waits for a tail; whether that is news, and so to be stepped at once."""
        before, self._waiting = self._waiting, frozenset(s.service for s in stances if s.waits)
        return before != self._waiting

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
        return tuple(self._told(report) for report in reports)

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


def _pivot(service: Anycast, node: str) -> Pivot:
    return Pivot(service.name, node, _tail_ns(service))


def _tail_ns(service: Anycast) -> int:
    return round(service.handover_timeout_s * NS_PER_S)


_TEXTS = {
    "tail-started": "the tail of {} began",
    "tail-ended": "the tail of {} is over",
    "tail-refused": "{} has no tail",
}


def _event(service: str, note: TailNote, at_ns: int) -> Event:
    text = f"{_TEXTS[note.kind].format(service)}: {note.reason.text}"
    data: dict[str, int | float | str] = {"with": ", ".join(note.survivors), "cut": note.cut}
    return Event(note.kind, at_ns, text, service, (note.reason,), data)
