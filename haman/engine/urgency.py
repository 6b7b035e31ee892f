"""The engine before everybody else on its host: asked for once, and what the kernel refused."""

from haman.engine.reporter import Reporter
from haman.system import realtime


class Urgency:
    """Makes the calling thread real-time and locks the process's memory.

    Args:
        priority: of the loop; 0 = as everybody.
    """

    def __init__(self, priority: int, reporter: Reporter) -> None:
        self._priority = priority
        refused = [realtime.lock_memory()]
        if priority:
            refused.append(realtime.raise_priority(priority))
        self._problems = tuple(problem for problem in refused if problem)
        for problem in self._problems:
            reporter.event("realtime-refused", problem)

    def raise_worker(self) -> None:
        """In the thread whose answer the loop waits for: the loop is not to keep it from its core."""
        if self._priority:
            realtime.raise_priority(self._priority)

    def raise_thread(self) -> None:
        """In another one: never wait for the interpreter behind ordinary processes. See `realtime`."""
        if self._priority:
            realtime.raise_priority(max(self._priority - 1, 1))

    @property
    def granted(self) -> bool:
        """It was asked for, and nothing was refused."""
        return bool(self._priority) and not self._problems

    @property
    def problem(self) -> str:
        """Why not; "" if nothing was refused."""
        return "; ".join(self._problems)
