"""The controller's view of BGP: what is declared to the announcer, and what it says is in force."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from haman.bgp.surface import AnnouncerSnapshot, AnnouncerView
from haman.config.model import Config
from haman.controller.anycast import announcements, anycast_report, rung, rung_events
from haman.controller.ports import Clock
from haman.core.announcements import Announcement, AnycastReport, AnycastStance, NeighborReport
from haman.core.anycast_alerts import BgpPicture
from haman.core.decide import Decision
from haman.core.facts import EngineReported
from haman.core.ladder import Rung
from haman.core.words import Event

log = logging.getLogger(__name__)

MakeAnnouncer = Callable[[Config, Callable[[], None], Callable[[Event], None]], AnnouncerView]
"""From the configuration, what to call when anything changed, and where to note events."""

_NOTHING = AnnouncerSnapshot()


class BgpSide:
    """Owns the announcer, if the configuration has `[bgp]`; nothing but `run` waits."""

    def __init__(
        self,
        config: Config,
        make: MakeAnnouncer | None,
        clock: Clock,
        on_change: Callable[[], None],
        tell: Callable[[Event], None],
    ) -> None:
        self._config = config
        self._make = make
        self._clock = clock
        self._on_change = on_change
        self._tell = tell
        self._declared: tuple[Announcement, ...] | None = None
        self._stances: tuple[AnycastStance, ...] = ()
        self._since: dict[str, tuple[Rung, int]] = {}
        self._running: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._announcer = self._made()

    def _made(self) -> AnnouncerView | None:
        if self._config.bgp is None or self._make is None:
            return None
        return self._make(self._config, self._on_change, self._tell)

    def snapshot(self) -> AnnouncerSnapshot:
        """What is announced, and to whom; nothing to nobody without `[bgp]`."""
        return _NOTHING if self._announcer is None else self._announcer.snapshot()

    @property
    def announced(self) -> tuple[Announcement, ...] | None:
        """What the relay holds; None while it is not reached."""
        snapshot = self.snapshot()
        return snapshot.announced if snapshot.relay else None

    def digest(self, engine: EngineReported | None) -> str:
        """Of the ExaBGP configuration that shall run; "" = none.

        Until there is a valid one of this controller, the one that runs stays: it is the work of
        the controller before, and its sessions are up.
        """
        if self._announcer is None:
            return ""
        running = engine.exabgp.configuration if engine is not None and engine.exabgp else ""
        return self._announcer.snapshot().digest or running

    def declare(self, decision: Decision) -> tuple[Event, ...]:
        """Have announced what was decided; the stances that changed, as events.

        Not before the relay was heard: an empty set would take away what it holds.
        """
        if self._announcer is None or not decision.announces:
            return ()
        wanted = announcements(self._config, decision.anycast)
        if wanted != self._declared:
            self._declared = wanted
            self._announcer.declare(wanted)
        events = rung_events(self._stances, decision.anycast, self._clock.wall_ns())
        self._stances = decision.anycast
        return events

    def services(
        self, stances: tuple[AnycastStance, ...], engine: EngineReported | None
    ) -> tuple[AnycastReport, ...]:
        """This node's word on every anycast service."""
        wanted = {stance.service: stance for stance in stances}
        held = {h.service: h for h in engine.anycast} if engine is not None else {}
        snapshot = self.snapshot()
        reports = []
        for service in self._config.anycast:
            name, actual = service.name, rung(service, snapshot)
            if name not in self._since or self._since[name][0] != actual:
                self._since[name] = (actual, self._clock.wall_ns())
            since_ns = self._since[name][1]
            reports.append(
                anycast_report(service, wanted.get(name), held.get(name), snapshot, since_ns)
            )
        return tuple(reports)

    def neighbors(self, engine: EngineReported | None) -> tuple[NeighborReport, ...]:
        """Every neighbor's session, with the state of its BFD session, which is the engine's."""
        bfd = {b.neighbor: b.state for b in engine.bfd} if engine is not None else {}
        return tuple(
            replace(each, bfd=bfd.get(each.name, each.bfd)) for each in self.snapshot().neighbors
        )

    def picture(self, engine: EngineReported | None) -> BgpPicture | None:
        """What alerts need to know; None without `[bgp]`."""
        if self._announcer is None:
            return None
        snapshot = self._announcer.snapshot()
        exabgp = engine.exabgp if engine is not None else None
        return BgpPicture(snapshot.relay, snapshot.problem, exabgp, self._stances)

    def reconfigure(self, config: Config) -> None:
        """Take over a configuration; `[bgp]` may come and go."""
        self._config = config
        if self._announcer is not None and config.bgp is not None:
            self._announcer.reconfigure(config)
            return
        if self._announcer is None and config.bgp is None:
            return
        self._announcer, self._declared, self._stances = self._made(), None, ()
        if self._running is not None:
            self._running.cancel()
        self._changed.set()

    async def run(self) -> None:
        """Run the announcer until cancelled; another one where a reload brought or took `[bgp]`."""
        while True:
            self._changed.clear()
            if self._announcer is None:
                await self._changed.wait()
                continue
            self._running = asyncio.get_running_loop().create_task(self._announcer.run())
            try:
                await asyncio.wait({self._running})
            finally:
                self._running.cancel()
                await asyncio.wait({self._running})
            if not self._running.cancelled():
                self._running.result()
                raise RuntimeError("the announcer ended")
