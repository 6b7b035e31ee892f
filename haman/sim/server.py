"""A proxy under load, as measured: a knee, a queue, clients that give up, work done for the dead.

One step takes a span of time and the clients that arrived in it. Handshakes are served in order.
A client that has waited for its timeout is gone, but its handshake still stands in the queue and is
still worked on: that is what makes goodput fall past the knee. The longer the queue, the less is
done (2216 handshakes/s with 8 waiting, 2000 with 1000, 1502 with 3000: measured).
"""

from collections import deque
from typing import Final

from haman.core.facts import ServingProxy
from haman.core.processes import ProcessId

CROWDING: Final = 0.3
"""By how much a second of waiting work slows the rest."""
HTTP: Final = 80
TLS_KNEE: Final = 0.9
"""Of a core: the ceiling that the meter knows for handshakes."""


class Server:
    """One proxy.

    Args:
        capacity: full handshakes per second with all of the CPU.
        timeout_s: clients wait so long.
        backlog: that can wait; others are refused.
        base: share of the CPU used without any client.
        request: share of the CPU that one established connection uses.
        connections_max: as configured.
    """

    __slots__ = (
        "_queue",
        "_timed_out",
        "alive",
        "backlog",
        "base",
        "busy",
        "capacity",
        "connections",
        "connections_max",
        "handshakes_per_s",
        "life",
        "request",
        "slowness",
        "timeout_s",
        "waiting",
    )

    def __init__(
        self,
        capacity: float,
        timeout_s: float,
        backlog: float,
        *,
        base: float = 0.03,
        request: float = 0.0,
        connections_max: float = 1e6,
    ) -> None:
        self.capacity = capacity
        self.timeout_s = timeout_s
        self.backlog = backlog
        self.base = base
        self.request = request
        self.connections_max = connections_max
        self.alive = True
        self.life = 1
        """Another one than before knows none of its connections."""
        self.slowness = 1.0
        self.connections = 0.0
        self.waiting = 0.0
        self.handshakes_per_s = 0.0
        self.busy = base
        self._queue: deque[list[float]] = deque()
        self._timed_out = 0.0

    @property
    def serving(self) -> ServingProxy:
        """As it is found while it lives."""
        return ServingProxy((ProcessId(self.life, 0),), HTTP)

    def reset(self) -> None:
        """Forget every client: the proxy died."""
        self.life += 1
        self._queue.clear()
        self.waiting = self._timed_out = self.connections = 0.0
        self.handshakes_per_s = 0.0
        self.busy = 0.0

    def step(self, now_s: float, span_s: float, arrived: float) -> tuple[float, float]:
        """Take in what arrived and work; the clients that were served, and those that gave up."""
        idle = self.base + self.request * self.connections
        most = self.capacity / self.slowness * span_s
        budget = most * max(0.02, 1.0 - idle)
        if not self._queue and arrived <= budget:
            self.handshakes_per_s = arrived / span_s
            self.busy = min(1.0, idle + arrived / most)
            return arrived, 0.0
        return self._crowded(now_s, span_s, arrived, budget, idle)

    def _crowded(
        self, now_s: float, span_s: float, arrived: float, budget: float, idle: float
    ) -> tuple[float, float]:
        queue = self._queue
        room = max(0.0, self.backlog - self.waiting)
        refused = max(0.0, arrived - room)
        if arrived > refused:
            queue.append([now_s, arrived - refused, 0.0])
            self.waiting += arrived - refused
        budget /= 1.0 + CROWDING * self.waiting / self.capacity
        left, served, gone = budget, 0.0, refused
        dead_s = now_s - self.timeout_s
        for cohort in queue:
            if cohort[0] > dead_s:
                break
            if not cohort[2]:
                cohort[2] = 1.0
                gone += cohort[1]
        while queue and left > 0:
            cohort = queue[0]
            done = min(left, cohort[1])
            left -= done
            cohort[1] -= done
            self.waiting -= done
            if not cohort[2]:
                served += done
            if cohort[1] <= 1e-9:
                queue.popleft()
        if not queue:
            self.waiting = 0.0
        worked = budget - left
        self.handshakes_per_s = worked / span_s
        full = budget > 0 and left <= budget * 1e-9
        self.busy = 1.0 if full else min(1.0, idle + (1.0 - idle) * worked / max(budget, 1e-9))
        return served, gone

    @property
    def delay_s(self) -> float:
        """How long a client that comes now will wait."""
        return self.waiting / self.capacity

    @property
    def tls_used(self) -> float:
        """Core-seconds per second that handshakes take."""
        return self.handshakes_per_s / self.capacity

    def demand(self, arriving_per_s: float) -> float:
        """Of the knee, what these clients would need; 1 = all that it can do for long."""
        idle = self.base + self.request * self.connections
        return (arriving_per_s / self.capacity + idle) / TLS_KNEE
