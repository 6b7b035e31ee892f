"""The real-time loop: sockets and one timer, nothing that waits."""

import select
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from haman.engine.lateness import Lateness
from haman.system import clock

_EVENTS_MAX: Final = 64
HASTY_MAX: Final = 1000
"""Turns in a row that were due again before they had ended; more is a bug, and no storm of packets."""
REST_NS: Final = 1_000_000
STALL_NS: Final = 1_000_000
"""A turn that is due and begins so late does not know what came meanwhile."""
EARLY_NS: Final = 100_000_000
"""What is due each second is done so much earlier where there is a turn anyhow: each one costs."""
QUIET: Final = object()
"""What a callback returns that leaves nothing to be done: heartbeats, by the hundred a second."""
ADVERTS: Final = object()
"""What a callback returns that took in adverts, and nothing else."""


def earliest(*deadlines_ns: int | None) -> int:
    """The first of those that there are; at least one is."""
    return min(at_ns for at_ns in deadlines_ns if at_ns is not None)


class Readable(Protocol):
    """Something with a descriptor."""

    def fileno(self) -> int:
        """The descriptor."""


class Loop:
    """Calls back when a descriptor is readable, then gives the turn, which says when the next is due.

    What was received is looked at before time is: after a stall the packets that wait tell what
    happened meanwhile, and only then may a timer that is overdue act on it.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._timer = clock.Timer()
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._epoll.register(self._timer, select.EPOLLIN)
        self.lateness = Lateness(clock.monotonic_ns())
        self._hasty = 0
        self.late_ns = 0
        """By how much the present turn missed its instant; 0 if it came before."""
        self.adverts_alone = False
        """Nothing brought the present turn but time, and adverts."""

    def watch(self, readable: Readable, callback: Callable[[], object]) -> None:
        """Call back, level-triggered, when `readable` is readable or broken.

        A callback that returns `QUIET` says that no turn is needed for what it took in, nor any
        earlier one than before; one that returns `ADVERTS`, that the turn has no more to look at.
        """
        self._callbacks[readable.fileno()] = callback
        self._epoll.register(readable, select.EPOLLIN)

    def forget(self, readable: Readable) -> None:
        """No longer; before it is closed."""
        del self._callbacks[readable.fileno()]
        self._epoll.unregister(readable)

    def run(self, turn: Callable[[int], int | None]) -> None:
        """Run until `turn` returns None.

        Args:
            turn: does what is due at the instant given, and returns the next one.
        """
        due_ns = turn(clock.monotonic_ns())
        self._timer.arm(due_ns)
        while due_ns is not None:
            ready = self._epoll.poll(maxevents=_EVENTS_MAX)
            now_ns = clock.monotonic_ns()
            self.late_ns = max(now_ns - due_ns, 0)
            if now_ns >= due_ns:
                self.lateness.add(self.late_ns, now_ns)
            self.adverts_alone = True
            is_quiet = self._take_in(ready)
            now_ns = clock.monotonic_ns()
            if now_ns - due_ns > STALL_NS:
                # It may have been stopped after the look: what came since is not in it.
                is_quiet &= self._take_in(self._epoll.poll(0, _EVENTS_MAX))
                now_ns = clock.monotonic_ns()
            if is_quiet and now_ns < due_ns:
                continue
            due_ns = self._spaced(turn(now_ns))
            self._timer.arm(due_ns)

    def _take_in(self, ready: Iterable[tuple[int, int]]) -> bool:
        """Call back whom these events are about; whether no turn is needed for what they took in."""
        is_quiet = True
        for descriptor, _ in ready:
            # One callback may have closed what another event of this batch is about.
            callback = self._callbacks.get(descriptor)
            if callback is None or (left := callback()) is QUIET:
                continue
            is_quiet = False
            self.adverts_alone &= left is ADVERTS
        return is_quiet

    def _spaced(self, due_ns: int | None) -> int | None:
        """At this priority, a deadline that never passes would take the host from everybody else."""
        now_ns = clock.monotonic_ns()
        self._hasty = self._hasty + 1 if due_ns is not None and due_ns <= now_ns else 0
        return due_ns if self._hasty < HASTY_MAX else now_ns + REST_NS

    def close(self) -> None:
        """Give the descriptors back."""
        self._timer.close()
        self._epoll.close()
