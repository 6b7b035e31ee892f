"""A process of the engine's: started, watched, ended, and started again when it dies.

States: idle (not wanted) → waiting (until `start_at`) → running → waiting … The wait grows from 0.1 s
to 5 s while it keeps dying, and begins anew after 30 s of life.

It leads its own session, so a signal from the terminal is the engine's alone, and is killed by the
kernel when the engine dies (`spawn`).
"""

import os
import select
import signal
from collections.abc import Callable
from typing import Final

from haman.engine.loop import Loop
from haman.system import clock, confine

NS_PER_S: Final = 1_000_000_000
BACKOFF_FIRST_NS: Final = NS_PER_S // 10
BACKOFF_MAX_NS: Final = 5 * NS_PER_S
SETTLED_NS: Final = 30 * NS_PER_S


class Child:
    """One process at a time.

    Args:
        spawn: starts it and returns its id; an OSError is a death like any other.
        died: called with how it ended, in words, when it is gone; or why it could not be started.
    """

    def __init__(
        self, loop: Loop, spawn: Callable[[], int], died: Callable[[str, int], None]
    ) -> None:
        self._loop = loop
        self._spawn = spawn
        self._died = died
        self._pidfd = -1
        self._start_at_ns: int | None = None
        self._not_before_ns = 0
        self._started_ns = 0
        self._backoff_ns = BACKOFF_FIRST_NS
        self.pid: int | None = None
        """Of the one that runs; None = none does."""
        self.starts = 0
        """How often one was started."""

    def fileno(self) -> int:
        """Readable when it is dead."""
        return self._pidfd

    def want(self, now_ns: int) -> None:
        """Have it run from now on: start it, as soon as its last death is long enough ago."""
        if self.pid is None and self._start_at_ns is None:
            self._start_at_ns = max(now_ns, self._not_before_ns)

    def excuse(self) -> None:
        """Its last end was no failure: the next start need not wait."""
        self._not_before_ns, self._backoff_ns = 0, BACKOFF_FIRST_NS

    def give_up(self) -> None:
        """Start it no more."""
        self._start_at_ns = None

    @property
    def deadline_ns(self) -> int | None:
        """When `turn` is due."""
        return self._start_at_ns

    def turn(self, now_ns: int) -> bool:
        """Start it when it is time; True = it was started."""
        if self._start_at_ns is None or now_ns < self._start_at_ns:
            return False
        self._start_at_ns = None
        try:
            self.pid = self._spawn()
        except OSError as error:
            self._wait(now_ns)
            self._died(f"could not be started: {error}", now_ns)
            return False
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.watch(self, self._exited)
        self._started_ns = now_ns
        self.starts += 1
        return True

    def settled(self, now_ns: int) -> bool:
        """It runs, and has for so long that its last death is history."""
        return self.pid is not None and now_ns - self._started_ns >= SETTLED_NS

    def signal(self, number: signal.Signals) -> None:
        """Pass a signal to it, if it runs."""
        if self.pid is not None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it and its process group, if it runs."""
        if self.pid is not None:
            os.killpg(self.pid, signal.SIGKILL)

    def stop(self, timeout_s: float) -> None:
        """End it for good, politely at first; waits at most this long for that."""
        self.give_up()
        if self.pid is None:
            return
        self.signal(signal.SIGTERM)
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if not poll.poll(round(timeout_s * 1000)):
            self.kill()
        self._reap()

    def _exited(self) -> None:
        now_ns = clock.monotonic_ns()
        if self.settled(now_ns):
            self._backoff_ns = BACKOFF_FIRST_NS
        how = _ended_with(self._reap())
        self._wait(now_ns)
        self._died(how, now_ns)

    def _reap(self) -> int:
        _, status = os.waitpid(self.pid or 0, 0)
        self._loop.forget(self)
        os.close(self._pidfd)
        self.pid, self._pidfd = None, -1
        return os.waitstatus_to_exitcode(status)

    def _wait(self, now_ns: int) -> None:
        self._not_before_ns = now_ns + self._backoff_ns
        self._backoff_ns = min(self._backoff_ns * 2, BACKOFF_MAX_NS)


def _ended_with(code: int) -> str:
    if code < 0:
        return f"ended with signal {signal.Signals(-code).name}"
    if code == confine.FAILED:
        return f"ended with status {code}: its command could not be run, see the agent's log"
    return f"ended with status {code}"
