"""Ticks on a grid that everything in the process shares, so that what is due together wakes once."""

import asyncio


class Ticker:
    """Ticks at multiples of an interval on the loop's clock; those slept through are skipped.

    A wake-up costs an idle processor more than most of the work that it does then. The first tick
    comes half an interval to one and a half after the start.
    """

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        now_s = asyncio.get_running_loop().time()
        self._due_s = round(now_s / interval_s) * interval_s

    async def tick(self) -> float:
        """Sleep until the next tick.

        Returns:
            How late this one is, in seconds, work since the last one included.
        """
        loop = asyncio.get_running_loop()
        self._due_s += self.interval_s
        await asyncio.sleep(max(0.0, self._due_s - loop.time()))
        late_s = loop.time() - self._due_s
        self._due_s += late_s // self.interval_s * self.interval_s
        return late_s
