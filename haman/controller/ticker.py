"""Ticks on a grid that everything in the process shares, so that what is due together wakes once."""

import asyncio
from collections.abc import Callable


class Ticker:
    """Ticks at multiples of an interval on the loop's clock; those slept through are skipped.

    A wake-up costs an idle processor more than most of the work that it does then. The first tick
    comes half an interval to one and a half after the start.

    Args:
        interval_s: from one tick to the next.
        after_s: behind the grid, for what needs the work of other tickers done.
    """

    def __init__(self, interval_s: float, after_s: float = 0.0) -> None:
        self.interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._after_s = after_s
        self._due_s = self._on_grid()
        self._timer: asyncio.TimerHandle | None = None

    async def tick(self) -> float:
        """Sleep until the next tick.

        Returns:
            How late this one is, in seconds, work since the last one included.
        """
        self._due_s += self.interval_s
        await asyncio.sleep(max(0.0, self._due_s - self._loop.time()))
        return self._late_s()

    def call(self, work: Callable[[float], object]) -> None:
        """Have `work`, which never waits, called at each tick, with how late it is in seconds.

        A task that sleeps in between would take two turns of the loop for each of them.
        """
        self._due_s += self.interval_s
        self._timer = self._loop.call_at(self._due_s, self._call, work)

    def _call(self, work: Callable[[float], object]) -> None:
        late_s = self._late_s()
        self.call(work)
        work(late_s)

    def pace(self, interval_s: float) -> None:
        """Another interval, once the tick has come that is waited for."""
        if interval_s != self.interval_s:
            self.interval_s = interval_s
            self._due_s = self._on_grid()

    def cancel(self) -> None:
        """Call no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _on_grid(self) -> float:
        return round(self._loop.time() / self.interval_s) * self.interval_s + self._after_s

    def _late_s(self) -> float:
        late_s = self._loop.time() - self._due_s
        self._due_s += max(0.0, late_s // self.interval_s) * self.interval_s
        return late_s
