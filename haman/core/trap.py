"""The metastable trap: a proxy that is busy with nothing but clients that have gone.

After a storm, the accept queue can hold more clients than are accepted within their time-out. Each
one is dead when its turn comes, its handshake fails, and it has come back to the end of the queue:
the proxy idles, serves nobody, and does not recover by itself. (Measured: a limit of 1,800 handshakes
per second and 4,000 clients that wait 1 s; 15 s later 2,700 wait, HAProxy says that it is 98 % idle.)

States
    clear     not so
    suspected all signs at once, for less than DWELL_NS
    trapped   told to the operator

    from       observed                                          to
    clear      all signs                                         suspected
    suspected  all signs for DWELL_NS                            trapped
    suspected  a sign is gone for GONE_NS                        clear
    trapped    a sign is gone for CLEAR_NS                       clear
    any        a reading is missing                              unchanged

Signs: the CPU is below IDLE; the last client in the queue will wait longer than clients do; nearly
all handshakes of the last seconds failed.

Invariant: missing data neither raise nor clear it. Nothing is decided upon it: it is for people.
"""

from enum import StrEnum
from math import exp

from haman.core.frozen import dataclass
from haman.core.words import percent

NS_PER_S = 1_000_000_000
IDLE = 0.5
FAILED = 0.8
MEMORY_S = 2.0
DWELL_NS = 2 * NS_PER_S
GONE_NS = NS_PER_S
"""The proxy accepts in bursts, so that the queue looks empty for a moment between two of them."""
CLEAR_NS = 5 * NS_PER_S
ACCEPTED_LEAST_PER_S = 1.0


class TrapState(StrEnum):
    """See the head of this module."""

    CLEAR = "clear"
    SUSPECTED = "suspected"
    TRAPPED = "trapped"


@dataclass(frozen=True, slots=True)
class Signs:
    """What was seen in one round; None = unknown.

    Attributes:
        cpu: utilization of the hottest thread, or of the quota.
        delay_s: that the last client in the accept queue will wait.
        accepted_per_s: connections accepted.
        failed_per_s: handshakes that failed.
    """

    cpu: float | None
    delay_s: float | None
    accepted_per_s: float | None
    failed_per_s: float | None


class Trap:
    """The engine of this module."""

    def __init__(self, client_timeout_s: float) -> None:
        self._client_timeout_s = client_timeout_s
        self.state = TrapState.CLEAR
        self._since_ns = 0
        self._seen_ns = 0
        self._at_ns: int | None = None
        self._accepted = self._failed = 0.0
        self._cpu = self._delay_s = 0.0

    def step(self, signs: Signs, now_ns: int) -> None:
        """Take in one round."""
        if (
            signs.cpu is None
            or signs.delay_s is None
            or signs.accepted_per_s is None
            or signs.failed_per_s is None
        ):
            return
        self._average(signs.accepted_per_s, signs.failed_per_s, now_ns)
        holds = (
            signs.cpu < IDLE
            and signs.delay_s > self._client_timeout_s
            and self._accepted >= ACCEPTED_LEAST_PER_S
            and self._failed >= FAILED * self._accepted
        )
        if holds:
            self._seen_ns = now_ns
            self._cpu, self._delay_s = signs.cpu, signs.delay_s
        match self.state:
            case TrapState.CLEAR if holds:
                self.state, self._since_ns = TrapState.SUSPECTED, now_ns
            case TrapState.SUSPECTED if now_ns - self._seen_ns >= GONE_NS:
                self.state = TrapState.CLEAR
            case TrapState.SUSPECTED if holds and now_ns - self._since_ns >= DWELL_NS:
                self.state = TrapState.TRAPPED
            case TrapState.TRAPPED if now_ns - self._seen_ns >= CLEAR_NS:
                self.state = TrapState.CLEAR
            case _:
                pass

    def _average(self, accepted: float, failed: float, now_ns: int) -> None:
        """Over some seconds: one interval sees too few of both."""
        if self._at_ns is None:
            weight = 1.0
        else:
            weight = 1.0 - exp(-max(0, now_ns - self._at_ns) / NS_PER_S / MEMORY_S)
        self._at_ns = now_ns
        self._accepted += weight * (accepted - self._accepted)
        self._failed += weight * (failed - self._failed)

    @property
    def text(self) -> str:
        """What goes on and what to do about it; "" unless trapped."""
        if self.state is not TrapState.TRAPPED:
            return ""
        bearable = max(1, int(self._accepted * self._client_timeout_s / 2))
        failed = percent(min(1.0, self._failed / max(self._accepted, ACCEPTED_LEAST_PER_S)))
        return (
            f"metastable: clients wait {self._delay_s:.1f} s in the accept queue and give up after "
            f"{self._client_timeout_s:g} s, so that {failed} of what is accepted is dead, while the "
            f"CPU is used to {percent(self._cpu)}; this does not end by itself. Lower the backlog of "
            f"the listeners to some {bearable}, lift the rate limit or maxconn that holds clients "
            "back, have clients wait longer and retry later, or restart the proxy to empty the queue"
        )
