"""Local ports by destination: counted only when they can matter, and in small steps.

How many sockets there are at all costs 6 µs to ask; they are counted one by one only when all of
them together could fill WALK_FROM of the knee of one destination. Below that the total is told, as
an upper bound.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from haman.controller.ports import Clock
from haman.controller.ticker import Ticker
from haman.core.processes import ProcessId
from haman.core.resources import PortsSampled, Reading, SourceFailed
from haman.core.resources.counts import PORTS_KNEE
from haman.system.netdev import SocketTotals
from haman.system.netns import open_inside
from haman.system.portrange import PortRange
from haman.system.sockdiag import SockDiag, crowded

NS_PER_S = 1_000_000_000
EVERY_S = 1.0
WALK_FROM = 0.25
WALK_SHARE = 20
PAUSE_NS_MAX = 4 * NS_PER_S
"""A walk takes no more than a twentieth of the time, but for those of over 0.2 s."""
DEADLINE_NS = NS_PER_S


class PortWalk:
    """Counts the ports of the network namespace of one process at a time."""

    def __init__(self, clock: Clock, take: Callable[[Reading], None]) -> None:
        self._clock = clock
        self._take = take
        self._leader: ProcessId | None = None
        self._opened: tuple[SocketTotals, PortRange, SockDiag] | None = None
        self._rest_ns = 0

    async def run(self, members: Callable[[], tuple[ProcessId, ...]]) -> None:
        """Count once a second until cancelled."""
        ticker = Ticker(EVERY_S)
        try:
            while True:
                if found := members():
                    await self._sample(found)
                await ticker.tick()
        finally:
            self._close()

    async def _sample(self, members: tuple[ProcessId, ...]) -> None:
        if self._leader not in members:
            self._close()
            self._leader = members[0]
        now_ns = self._clock.monotonic_ns()
        try:
            totals, ranges, diag = self._open(self._leader)
            total = totals.sample()
            lowest, highest = ranges.read()
            span = highest - lowest + 1
            if total < WALK_FROM * PORTS_KNEE * span:
                self._take(PortsSampled(now_ns, total, span))
            elif now_ns >= self._rest_ns:
                await self._walk(diag, lowest, highest)
        except (OSError, ValueError) as error:
            self._close()
            why = (
                f"local ports cannot be counted: {error.strerror or error}"
                if isinstance(error, OSError)
                else str(error)
            )
            self._take(SourceFailed(now_ns, "ports", why))

    async def _walk(self, diag: SockDiag, lowest: int, highest: int) -> None:
        """Some hundred sockets at a time; in between, everybody else has their turn."""
        begun_ns = self._clock.monotonic_ns()
        took_ns, counted = 0, Counter[bytes]()
        for counted in diag.crowds(lowest, highest):  # noqa: B007 - the last one is used
            await asyncio.sleep(0)
            took_ns = self._clock.monotonic_ns() - begun_ns
            if took_ns > DEADLINE_NS:
                self._rest_ns = begun_ns + PAUSE_NS_MAX
                raise TimeoutError(0, f"more than {DEADLINE_NS / NS_PER_S:g} s")
        self._rest_ns = begun_ns + min(PAUSE_NS_MAX, WALK_SHARE * took_ns)
        worst, span = crowded(counted), highest - lowest + 1
        if worst is None:
            self._take(PortsSampled(begun_ns, 0, span))
        else:
            found = PortsSampled(begun_ns, worst.sockets, span, worst.source, worst.destination)
            self._take(found)

    def _open(self, leader: ProcessId | None) -> tuple[SocketTotals, PortRange, SockDiag]:
        if self._opened is None and leader is not None:
            totals = SocketTotals(leader.pid)
            try:
                ranges, diag = open_inside(leader.pid, lambda: (PortRange(), SockDiag()))
            except OSError:
                totals.close()
                raise
            self._opened = (totals, ranges, diag)
        if self._opened is None:
            raise ProcessLookupError(3, "no process")
        return self._opened

    def _close(self) -> None:
        for each in self._opened or ():
            each.close()
        self._opened = None
