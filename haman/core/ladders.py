"""The ladders of all anycast services of a node, stepped with the one situation it is in."""

from haman.core import because
from haman.core.announcements import AnycastStance
from haman.core.handover.steering import TailStanding
from haman.core.ladder import ConfiguredAnycast, Footing, Ladder, in_force
from haman.core.serving import servers, unladen
from haman.core.situation import Situation
from haman.core.words import Condition, Reason


class Ladders:
    """One ladder per configured service, in their order."""

    def __init__(self, services: tuple[ConfiguredAnycast, ...]) -> None:
        self._services = services
        self._ladders = {service.name: Ladder(service) for service in services}

    def reconfigure(self, services: tuple[ConfiguredAnycast, ...]) -> None:
        """Take over a new set; a service that stays keeps its rung, a new one is announced afresh."""
        self._services = services
        before, self._ladders = self._ladders, {}
        for service in services:
            ladder = before.get(service.name)
            if ladder is None:
                ladder = Ladder(service)
            else:
                ladder.reconfigure(service)
            self._ladders[service.name] = ladder

    @property
    def known(self) -> bool:
        """Every ladder knows what the relay holds, so that the relay may be told what to hold."""
        return all(ladder.known for ladder in self._ladders.values())

    @property
    def deadline_ns(self) -> int | None:
        """When the first timer ends; None if none runs."""
        deadlines = (ladder.deadline_ns for ladder in self._ladders.values())
        return min((d for d in deadlines if d is not None), default=None)

    def step(
        self, situation: Situation, reasons: tuple[Reason, ...], now_ns: int
    ) -> tuple[AnycastStance, ...]:
        """The stance of every service; `reasons` are those of the node's condition."""
        return tuple(
            self._ladders[service.name].step(footing(service, situation, reasons), now_ns)
            for service in self._services
        )


def footing(
    service: ConfiguredAnycast, situation: Situation, reasons: tuple[Reason, ...] = ()
) -> Footing:
    """What the ladder of a service stands upon; `reasons` are those of the node's condition."""
    complete, missing = _addresses(service.name, situation)
    if situation.awaits and complete:
        complete = None  # whether others serve is not known yet, nor so whom to ask
    announced, serving = situation.announced, servers(service.name, situation.peers)
    return Footing(
        condition=situation.condition,
        serviceable=situation.serviceable,
        drained=situation.intent.drained,
        ending=situation.ending,
        complete=complete,
        in_force=None if announced is None else in_force(service, announced),
        servers=serving,
        unladen=unladen(serving, situation.peers, situation.resources),
        holds=_holds(service.name, situation),
        shed=situation.permits.sheds.get(service.name),
        reasons=reasons,
        missing=missing,
        tail=situation.tails.get(service.name, TailStanding()),
    )


def _addresses(service: str, situation: Situation) -> tuple[bool | None, tuple[Reason, ...]]:
    """Whether the kernel has them all, None = not known yet; and why not."""
    if situation.engine_lost:
        return False, (because.ENGINE_SILENT,)
    if situation.held is None:
        return None, ()
    held = next((h for h in situation.held if h.service == service), None)
    # An engine that speaks, and not of this service, does not hold its addresses.
    return (False, ()) if held is None else (held.complete, held.reasons)


def _holds(service: str, situation: Situation) -> tuple[Reason, ...]:
    holds = [because.PEERS_AWAITED] if situation.awaits else []
    if situation.condition is Condition.SATURATED:
        holds.append(
            because.saturated_rung(service, situation.resources, situation.permits.holding)
        )
    if situation.is_late:
        holds.append(because.STALE)
    if situation.intent.paused:
        holds.append(because.paused_rung(service))
    if situation.isolated:
        holds.append(because.isolated_rung(service))
    return tuple(holds)
