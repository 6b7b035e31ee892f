"""The engine's watch over its guard: one that died is replaced.

The guard is asleep, and only the kernel (out of memory) or a person ends it. While there is none, a
dead engine's addresses stay until their lease is over.
"""

import os
from typing import Final

from haman.engine.guard import Guard
from haman.engine.loop import Loop
from haman.engine.reporter import Reporter
from haman.system import clock, realtime

NS_PER_S: Final = 1_000_000_000
BACKOFF_FIRST_NS: Final = NS_PER_S // 10
BACKOFF_MAX_NS: Final = 5 * NS_PER_S


class Sentry:
    """Watches the guard.

    Args:
        priority: real-time priority to give it; 0 = none.
    """

    def __init__(self, guard: Guard, loop: Loop, reporter: Reporter, priority: int) -> None:
        self._guard = guard
        self._loop = loop
        self._reporter = reporter
        self._priority = priority
        self._pidfd = -1
        self._restart_at_ns: int | None = None
        self._backoff_ns = BACKOFF_FIRST_NS
        self._adopt()

    def fileno(self) -> int:
        """Readable when the guard is dead."""
        return self._pidfd

    @property
    def alive(self) -> bool:
        """A guard is there."""
        return self._restart_at_ns is None

    @property
    def deadline_ns(self) -> int | None:
        """When `turn` is due."""
        return self._restart_at_ns

    def turn(self, now_ns: int) -> None:
        """Start another guard when it is time."""
        if self._restart_at_ns is None or now_ns < self._restart_at_ns:
            return
        try:
            self._guard.restart()
        except OSError as error:
            self._reporter.noise("guard-died", f"no guard could be started: {error}")
            self._later(now_ns)
            return
        self._restart_at_ns = None
        self._adopt()
        self._reporter.event("guard-restarted", f"a new guard, process {self._guard.pid}")

    def _adopt(self) -> None:
        self._pidfd = os.pidfd_open(self._guard.pid)
        self._loop.watch(self, self._died)
        if self._priority:
            problem = realtime.raise_priority(self._priority, self._guard.pid)
            if problem:
                self._reporter.noise("realtime-refused", f"the guard: {problem}", about="guard")

    def _died(self) -> None:
        os.waitpid(self._guard.pid, 0)
        self._loop.forget(self)
        os.close(self._pidfd)
        self._reporter.event("guard-died", "the guard died; another one is started")
        self._later(clock.monotonic_ns())

    def _later(self, now_ns: int) -> None:
        self._restart_at_ns = now_ns + self._backoff_ns
        self._backoff_ns = min(self._backoff_ns * 2, BACKOFF_MAX_NS)
