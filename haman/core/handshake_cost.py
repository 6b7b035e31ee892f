"""From paced bursts of handshakes to what one costs the proxy, full and resumed.

A burst is some handshakes back to back, with the proxy's CPU time before and after. What the proxy
spends anyway is measured between the bursts and taken off. Medians are taken, for a burst in which
the host did something else is no measurement.

Paced handshakes cost more than those under load, for caches are cold: 27–80 % one by one, less in
batches. That errs to the safe side. Their difference, the key operation alone, does not depend on the pace (231 µs paced
and 247 µs back to back for RSA-2048; 3137 and 3127 µs for RSA-4096).
"""

from collections.abc import Sequence
from statistics import median, quantiles

from haman.core.frozen import dataclass

BURSTS_MIN = 4
SPREAD_MAX = 0.35
"""Of the middle half of the bursts, ÷ median: above it the figure is no basis for a ceiling."""
NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Burst:
    """Handshakes back to back.

    Attributes:
        handshakes: how many; 0 = a pause.
        cpu_ns: that the proxy spent meanwhile, all threads together.
        wall_ns: how long it took.
    """

    handshakes: int
    cpu_ns: int
    wall_ns: int


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time of the proxy for one handshake.

    Attributes:
        s: the median.
        spread: of the middle half of the bursts, ÷ median.
    """

    s: float
    spread: float
    handshakes: int

    @property
    def steady(self) -> bool:
        """Whether the bursts agree well enough."""
        return self.spread <= SPREAD_MAX


def idle_cores(pauses: Sequence[Burst]) -> float:
    """What the proxy spends anyway, in cores."""
    shares = [p.cpu_ns / p.wall_ns for p in pauses if p.wall_ns]
    return median(shares) if shares else 0.0


def cost(bursts: Sequence[Burst], idle: float) -> Cost | None:
    """The cost of one handshake.

    Args:
        bursts: of one kind.
        idle: what the proxy spends anyway, in cores.

    Returns:
        None if there are too few bursts, or the proxy spent nothing measurable on them.
    """
    each = [(b.cpu_ns - idle * b.wall_ns) / b.handshakes / NS_PER_S for b in bursts if b.handshakes]
    if len(each) < BURSTS_MIN:
        return None
    middle = median(each)
    if middle <= 0:
        return None
    low, _, high = quantiles(each, n=4)
    return Cost(middle, (high - low) / middle, sum(b.handshakes for b in bursts))
