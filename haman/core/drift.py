"""Does a handshake still cost what was calibrated?

CPU time of the proxy ÷ what its handshakes should have cost, over windows of WINDOW_NS in which there
were HANDSHAKES_LEAST, and in which handshakes, by their calibrated cost, were at least MOSTLY of what
the proxy did: where requests are nearly all of the work, nothing can be told. The median of the last
WINDOWS of them is judged, so that neither one odd minute nor a single burst moves it.

States
    steady    the median is near 1, or not known
    drifted   it was at or beyond DEARER or CHEAPER

    from      observed                                         to
    steady    median >= DEARER or <= CHEAPER                   drifted
    drifted   CHEAPER_AGAIN < median < DEARER_AGAIN            steady
    any       another calibration                              steady, all windows forgotten
    any       a gap, another process                           unchanged; the window begins anew

The two sides are not alike. A proxy cannot spend less than its handshakes cost, so that "cheaper" is
certain; but what was measured at a slow pace errs upwards by up to 80 %, hence CHEAPER. "Dearer" counts
the requests that come with the handshakes, and so says no more than that something costs it.

Invariant: missing data neither raise nor clear it. Nothing is decided upon it: it is for people.
"""

from collections import deque
from statistics import median

from haman.core.frozen import dataclass

NS_PER_S = 1_000_000_000
WINDOW_NS = 10 * NS_PER_S
WINDOWS = 6
HANDSHAKES_LEAST = 500
MOSTLY = 0.3
DEARER, DEARER_AGAIN = 1.75, 1.5
CHEAPER, CHEAPER_AGAIN = 0.5, 0.6


@dataclass(frozen=True, slots=True)
class Spent:
    """Cumulative, since any common beginning.

    Attributes:
        cpu_ns: of all threads of the proxy.
        handshakes: done, full and resumed.
        expected_ns: what those cost by the calibration.
    """

    at_ns: int
    cpu_ns: int
    handshakes: int
    expected_ns: float


class Drift:
    """The engine of this module."""

    def __init__(self) -> None:
        self._begun: Spent | None = None
        self._ratios: deque[float] = deque(maxlen=WINDOWS)
        self._drifted: float | None = None

    def step(self, now: Spent) -> None:
        """Take in one reading; instants and counts must not go back without `interrupt`."""
        begun = self._begun
        if begun is None:
            self._begun = now
            return
        if now.at_ns - begun.at_ns < WINDOW_NS:
            return
        self._begun = now
        cpu_ns = now.cpu_ns - begun.cpu_ns
        expected_ns = now.expected_ns - begun.expected_ns
        if (
            now.handshakes - begun.handshakes < HANDSHAKES_LEAST
            or cpu_ns <= 0
            or expected_ns < MOSTLY * cpu_ns
        ):
            return
        self._ratios.append(cpu_ns / expected_ns)
        if len(self._ratios) == WINDOWS:
            self._judge(median(self._ratios))

    def _judge(self, ratio: float) -> None:
        if ratio >= DEARER or ratio <= CHEAPER:
            self._drifted = ratio
        elif self._drifted is not None:
            self._drifted = None if CHEAPER_AGAIN < ratio < DEARER_AGAIN else ratio

    def interrupt(self) -> None:
        """Begin the window anew: a gap, or another process that counts."""
        self._begun = None

    @property
    def ratio(self) -> float | None:
        """What handshakes cost ÷ what was calibrated; None while that is no news."""
        return self._drifted


def advice(ratio: float, full_s: float) -> str:
    """What goes on and what to do about it.

    Args:
        ratio: as `Drift.ratio`.
        full_s: the calibrated cost of a full handshake.
    """
    minute = WINDOWS * WINDOW_NS // NS_PER_S
    seen = (
        f"handshakes take {ratio:.1f} times the CPU time that was calibrated, some"
        f" {ratio * full_s * 1e6:.0f} µs instead of {full_s * 1e6:.0f} µs for a full one (median of"
        f" {minute} s or more)"
    )
    if ratio < 1:
        return (
            f"{seen}: the ceiling of tls is lower than it need be, and the node seems fuller than it"
            " is; run haman calibrate again"
        )
    return (
        f"{seen}: either they became dearer (another certificate, version or host) and the ceiling of"
        " tls is higher than what this node can do, or the requests that come with them cost it; run"
        " haman calibrate again, and trust cpu more than tls if that finds the same cost as before"
    )
