"""How many new connections clients open, from the proxy's counter of accepted ones."""

from collections import deque

from haman.core.frozen import dataclass
from haman.core.processes import ProcessId

NS_PER_S = 1_000_000_000
WINDOW_NS = 10 * NS_PER_S
INTERVALS_MAX = 256


@dataclass(frozen=True, slots=True)
class Accepted:
    """The counter at one instant.

    Attributes:
        epoch: of the process that counts; another one counts anew.
        accepted: connections since the start of that process.
        own: how many connections haman itself ever opened to it: probes, and questions where the
            proxy counts those.
    """

    at_ns: int
    epoch: ProcessId
    accepted: int
    own: int = 0


class Arrivals:
    """The mean rate over the last 10 s.

    An interval in which the process changed or its counter went back says nothing, and neither
    does one so long that the reading before it had grown stale; both are left out of the mean.
    """

    def __init__(self, stale_ns: int) -> None:
        self._stale_ns = stale_ns
        self._before: Accepted | None = None
        self._intervals: deque[tuple[int, int, int]] = deque(maxlen=INTERVALS_MAX)

    def add(self, now: Accepted) -> None:
        """Take in the next reading; one that is not later than the last is ignored."""
        before = self._before
        if before is not None and now.at_ns <= before.at_ns:
            return
        self._before = now
        if before is None or now.epoch != before.epoch or now.accepted < before.accepted:
            return
        took_ns = now.at_ns - before.at_ns
        if took_ns <= self._stale_ns:
            opened = now.accepted - before.accepted - max(0, now.own - before.own)
            self._intervals.append((now.at_ns, took_ns, opened))

    def per_s(self, now_ns: int) -> float | None:
        """Connections per second that were not haman's own; None when nothing recent is known."""
        if self._before is None or now_ns - self._before.at_ns > self._stale_ns:
            return None
        while self._intervals and now_ns - self._intervals[0][0] > WINDOW_NS:
            self._intervals.popleft()
        took_ns = sum(took for _, took, _ in self._intervals)
        if not took_ns:
            return None
        # A probe may be counted in the interval after the one in which it was sent, so that single
        # intervals can be negative; their sum is not, but for one at the edge.
        return max(0, sum(opened for _, _, opened in self._intervals)) * NS_PER_S / took_ns
