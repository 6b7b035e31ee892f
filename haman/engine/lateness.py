"""How late the loop wakes: percentiles of the last minute, a histogram for ever, bounded memory."""

from bisect import bisect_left
from typing import Final

from haman.core.facts import LatenessReport

_NS_PER_S: Final = 1_000_000_000
_SLICE_NS: Final = 5 * _NS_PER_S
_SLICES: Final = 12  # a minute
# Upper bounds from 1 µs to 100 s, each a quarter above the last: percentiles are that exact.
_FINE_NS: Final = tuple(round(1000 * 1.25**i) for i in range(84))
_COARSE_S: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_COARSE_NS: Final = tuple(round(bound * _NS_PER_S) for bound in _COARSE_S)


class _Slice:
    __slots__ = ("begin_ns", "count", "counts", "max_ns")

    def __init__(self, begin_ns: int) -> None:
        self.begin_ns = begin_ns
        self.counts = [0] * (len(_FINE_NS) + 1)
        self.count = 0
        self.max_ns = 0


class Lateness:
    """Collects by how much each wake-up missed its instant."""

    def __init__(self, now_ns: int) -> None:
        self._slices = [_Slice(now_ns)]
        self._coarse = [0] * (len(_COARSE_NS) + 1)
        self._sum_ns = 0
        self._count = 0

    def add(self, late_ns: int, now_ns: int) -> None:
        """One wake-up, `late_ns` after it was due."""
        current = self._slices[-1]
        if now_ns - current.begin_ns >= _SLICE_NS:
            current = _Slice(now_ns)
            self._slices.append(current)
            self._forget(now_ns)
        current.counts[bisect_left(_FINE_NS, late_ns)] += 1
        current.count += 1
        current.max_ns = max(current.max_ns, late_ns)
        self._coarse[bisect_left(_COARSE_NS, late_ns)] += 1
        self._sum_ns += late_ns
        self._count += 1

    def report(self, now_ns: int) -> LatenessReport:
        """The last minute, and the histogram since the start."""
        self._forget(now_ns)
        count = sum(part.count for part in self._slices)
        max_ns = max(part.max_ns for part in self._slices)
        counts = list(map(sum, zip(*(p.counts for p in self._slices), strict=True)))
        cumulative, buckets = 0, []
        for bound_s, here in zip(_COARSE_S, self._coarse, strict=False):
            cumulative += here
            buckets.append((bound_s, cumulative))
        return LatenessReport(
            p50_ms=_percentile_ns(counts, count, max_ns, 0.50) / 1e6,
            p99_ms=_percentile_ns(counts, count, max_ns, 0.99) / 1e6,
            max_ms=max_ns / 1e6,
            buckets=tuple(buckets),
            sum_s=self._sum_ns / _NS_PER_S,
            count=self._count,
        )

    def _forget(self, now_ns: int) -> None:
        old = now_ns - _SLICES * _SLICE_NS
        while len(self._slices) > 1 and self._slices[0].begin_ns < old:
            del self._slices[0]


def _percentile_ns(counts: list[int], count: int, max_ns: int, fraction: float) -> int:
    """The bound below which that fraction lies; never more than the worst one seen."""
    wanted = fraction * count
    seen = 0
    for bound_ns, here in zip(_FINE_NS, counts, strict=False):
        seen += here
        if seen and seen >= wanted:
            return min(bound_ns, max_ns)
    return max_ns
