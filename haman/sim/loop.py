"""Virtual time: what is due, in order, and nothing else."""

import heapq
from collections.abc import Callable

Act = Callable[[], None]


class Loop:
    """An event loop over virtual nanoseconds. What is due at one instant happens as it was asked for."""

    __slots__ = ("_due", "_serial", "now_ns")

    def __init__(self) -> None:
        self.now_ns = 0
        """True time, which no host knows."""
        self._due: list[tuple[int, int, Act]] = []
        self._serial = 0

    def at(self, at_ns: int, act: Act) -> None:
        """Have `act` done at an instant; one that has passed is now."""
        self._serial += 1
        heapq.heappush(self._due, (max(at_ns, self.now_ns), self._serial, act))

    def after(self, delay_ns: int, act: Act) -> None:
        """Have `act` done in a while."""
        self.at(self.now_ns + delay_ns, act)

    def run_until(self, end_ns: int) -> None:
        """Do everything that is due up to `end_ns`, which is the time then."""
        due = self._due
        while due and due[0][0] <= end_ns:
            self.now_ns, _, act = heapq.heappop(due)
            act()
        self.now_ns = end_ns
