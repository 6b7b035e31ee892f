"""A process of a host: it lives, is stopped, is late."""

from collections import deque
from collections.abc import Callable

from haman.sim.clocks import Clock
from haman.sim.loop import Act, Loop

WAITING_MAX = 1024
"""What a stopped process finds when it goes on: a socket buffer is no longer."""


class Process:
    """Runs what is due while it lives; what comes due while it is stopped waits for it.

    Args:
        late_ns: drawn anew for each time it is woken.
    """

    __slots__ = (
        "_clock",
        "_epoch",
        "_late_ns",
        "_loop",
        "_posted_ns",
        "_stops",
        "_waiting",
        "alive",
    )

    def __init__(self, loop: Loop, clock: Clock, late_ns: Callable[[], int]) -> None:
        self._loop = loop
        self._clock = clock
        self._late_ns = late_ns
        self._epoch = 0
        self._posted_ns = 0
        self._stops = 0
        self._waiting: deque[Act] = deque()
        self.alive = False

    @property
    def running(self) -> bool:
        """Alive, and not stopped."""
        return self.alive and not self._stops

    def start(self) -> None:
        """Begin a new life."""
        self._epoch += 1
        self._waiting.clear()
        self.alive = True

    def die(self) -> None:
        """End; what was due never happens."""
        self._epoch += 1
        self._waiting.clear()
        self.alive = False

    def stop(self) -> None:
        """Stop it; stops add up."""
        self._stops += 1

    def go_on(self) -> None:
        """Take back one stop; what has waited happens now, in order."""
        self._stops -= 1
        if not self._stops:
            waiting, self._waiting = self._waiting, deque()
            for act in waiting:
                self.post(0, act)

    def soon(self, delay_ns: int, act: Act) -> None:
        """Do something in this life of the process, in a while of true time, and a bit late."""
        epoch = self._epoch
        self._loop.after(delay_ns + self._late_ns(), lambda: self._do(epoch, act))

    def post(self, delay_ns: int, act: Act) -> None:
        """As `soon`, but never before what was posted earlier: links and sockets keep their order."""
        at_ns = self._loop.now_ns + delay_ns + self._late_ns()
        self._posted_ns = max(at_ns, self._posted_ns)
        epoch = self._epoch
        self._loop.at(self._posted_ns, lambda: self._do(epoch, act))

    def at(self, local_ns: int, act: Act) -> None:
        """Do something in this life of the process, when its host's clock says so, and a bit late."""
        epoch = self._epoch
        at_ns = max(self._clock.true_ns(local_ns), self._loop.now_ns) + self._late_ns()
        self._loop.at(at_ns, lambda: self._do(epoch, act))

    def _do(self, epoch: int, act: Act) -> None:
        if epoch != self._epoch:
            return
        if self._stops:
            if len(self._waiting) < WAITING_MAX:
                self._waiting.append(act)
            return
        act()
