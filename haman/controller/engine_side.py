"""The controller's view of the engine: what was declared to it, and what it last said."""

import asyncio
import logging

from haman.controller.ports import Clock
from haman.core.announcements import AnycastStance
from haman.core.facts import (
    EngineReported,
    EventsReported,
    HoldersSaid,
    ServingProxy,
    StancesDeclared,
    TakeoverOrdered,
    VipReport,
    VipStance,
)
from haman.core.frozen import dataclass
from haman.core.handover.messages import HandoverOrder
from haman.core.handover.steering import SteerOrder
from haman.core.one_way import holder_words
from haman.core.reports import PeerView
from haman.core.vrrp.explain import ONE_WAY_LOSS
from haman.core.words import Event, Reason
from haman.system.link import ControllerEnd

ALIVE_NS = 1_000_000_000
"""Stances are repeated this often, so that the engine sees that the controller lives."""
FIRST_REPORT_NS = 1_000_000_000
"""How long the first stances wait for the engine to say what it holds."""
_OUTRANKED = {"higher-priority", "greater-address", ONE_WAY_LOSS}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineNews:
    """What one look at the link brought.

    Attributes:
        changed: what the engine is to a service is not as before, or it was told to end.
        closed: the engine is gone.
    """

    events: tuple[Event, ...] = ()
    changed: bool = False
    closed: bool = False


class EngineSide:
    """Declares, orders and listens; never blocks."""

    def __init__(self, link: ControllerEnd, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._started_ns = clock.monotonic_ns()
        self._sent_ns = 0
        self._generation = 0
        self._writing = False
        self._role_reasons: dict[str, tuple[Reason, ...]] = {}
        self._heard_ns: int | None = None
        self._reported_ns: int | None = None
        self._anycast: tuple[AnycastStance, ...] = ()
        self._exabgp = ""
        self._handovers: tuple[HandoverOrder, ...] = ()
        self._steers: tuple[SteerOrder, ...] = ()
        self._serving: ServingProxy | None = None
        self.stances: tuple[VipStance, ...] = ()
        self.reported: EngineReported | None = None

    @property
    def fileno(self) -> int:
        """For the event loop."""
        return self._link.fileno()

    @property
    def roles(self) -> tuple[VipReport, ...]:
        """What this node is to each VIP, as last said; () before the first report."""
        return self.reported.vips if self.reported is not None else ()

    def ready(self, now_ns: int) -> bool:
        """Whether stances may be declared: the engine spoke first, or had the time to.

        A controller that was restarted must know what the engine holds before it declares
        anything, or its first word would take that away.
        """
        return self._heard_ns is not None or now_ns - self._started_ns >= FIRST_REPORT_NS

    def age_ms(self, now_ns: int) -> float:
        """Since the engine last said anything, or since the start if it never did."""
        since_ns = self._started_ns if self._heard_ns is None else self._heard_ns
        return (now_ns - since_ns) / 1e6

    @property
    def word_age_ms(self) -> float | None:
        """Since the engine last said what it is; None = not yet."""
        if self._reported_ns is None:
            return None
        return (self._clock.monotonic_ns() - self._reported_ns) / 1e6

    def declare(
        self,
        stances: tuple[VipStance, ...],
        anycast: tuple[AnycastStance, ...] = (),
        exabgp: str = "",
        handovers: tuple[HandoverOrder, ...] = (),
        steers: tuple[SteerOrder, ...] = (),
        *,
        serving: ServingProxy | None = None,
    ) -> bool:
        """Send the stances if they are others than before; True = they are.

        Args:
            stances: of every VIP.
            anycast: of every anycast service.
            exabgp: digest of the configuration that ExaBGP shall run with; "" = not at all.
            handovers: of every VIP that moves.
            steers: of every anycast service that has a tail somewhere.
            serving: the proxy as it is found now; others than before are told, and are no other stances.
        """
        wanted = (stances, anycast, exabgp, handovers, steers)
        now = (self.stances, self._anycast, self._exabgp, self._handovers, self._steers)
        same = bool(self._generation) and wanted == now
        if same and serving == self._serving:
            return False
        self._generation += not same
        self.stances, self._anycast, self._exabgp, self._handovers, self._steers = wanted
        self._serving = serving
        self._send()
        return not same

    def stay_alive(self, now_ns: int) -> None:
        """Repeat the stances when it is time."""
        if self._generation and now_ns - self._sent_ns >= ALIVE_NS:
            self._send()

    def order(self, vip: str, reasons: tuple[Reason, ...]) -> None:
        """Have the engine take a VIP that its holder let go."""
        if not self._link.order(TakeoverOrdered(vip, reasons)):
            self._write_later()

    def pass_on(self, peers: tuple[PeerView, ...], now_ns: int) -> None:
        """Tell the engine of peers that are active, where it does not hear that itself."""
        places = self.reported.places if self.reported is not None else ()
        words = holder_words(self.roles, {p.vip: p.sources for p in places}, peers, now_ns)
        if words and not self._link.tell(HoldersSaid(words)):
            self._write_later()

    def read(self) -> EngineNews:
        """Everything the engine said."""
        received = self._link.receive()
        events: list[Event] = []
        changed = False
        for text in received.malformed:
            log.error("engine link: %s", text)
        for message in received.messages:
            self._heard_ns = self._clock.monotonic_ns()
            if isinstance(message, EngineReported):
                changed = changed or self.reported is None or _differ(message, self.reported)
                self.reported, self._reported_ns = message, self._heard_ns
            elif isinstance(message, EventsReported):
                events += self._events(message)
        return EngineNews(tuple(events), changed, received.closed)

    def close(self) -> None:
        """Close this end of the link."""
        self._link.close()

    def why_released(self, event: Event) -> tuple[Reason, ...] | None:
        """Why the engine let a VIP go: best known first; None = a better node has it already."""
        stance = next((s for s in self.stances if s.vip == event.service), None)
        wanted = stance.reasons if stance is not None and not stance.contend else ()
        reasons = event.reasons or wanted or self._role_reasons.get(event.service, ())
        return None if any(r.code in _OUTRANKED for r in reasons) else reasons

    def _events(self, message: EventsReported) -> list[Event]:
        if message.dropped:
            log.warning("%d events of the engine were lost", message.dropped)
        for event in message.events:
            if event.type == "role-changed":
                self._role_reasons[event.service] = event.reasons
        return list(message.events)

    def _send(self) -> None:
        self._sent_ns = self._clock.monotonic_ns()
        declared = StancesDeclared(
            self._generation,
            self.stances,
            self._anycast,
            self._exabgp,
            self._handovers,
            self._steers,
            self._serving,
        )
        if not self._link.declare(declared):
            self._write_later()

    def _write_later(self) -> None:
        """The engine does not read now: write as soon as it does."""
        if not self._writing:
            self._writing = True
            asyncio.get_running_loop().add_writer(self._link.fileno(), self._writable)

    def _writable(self) -> None:
        if self._link.flush():
            self._writing = False
            asyncio.get_running_loop().remove_writer(self._link.fileno())


def _differ(one: EngineReported, other: EngineReported) -> bool:
    """In what decisions depend upon or peers are told; not in what only grows."""
    return any(getattr(one, name) != getattr(other, name) for name in _TOLD)


_TOLD = ("vips", "anycast", "bfd", "exabgp", "ending", "handovers", "steers", "links")
