"""When will it be used up: for what only grows until somebody does something about it.

The slope is Theil and Sen's: the median of the slopes between all pairs of points, which a burst
of up to a third of them does not bend. It counts only if nearly all pairs agree on its sign.
"""

from collections import deque
from statistics import median

NS_PER_S = 1_000_000_000
POINT_NS = 2 * NS_PER_S
POINTS = 30
POINTS_LEAST = 8
AGREED = 0.7
"""Pairs that rise minus pairs that do not, over all pairs (Kendall's tau): below it is noise."""
HORIZON_S = 7 * 86_400.0


class Growth:
    """A point every 2 s, for a minute; a gap of more than ten points begins anew."""

    def __init__(self) -> None:
        self._points: deque[tuple[int, float]] = deque(maxlen=POINTS)
        self.slope_per_s: float | None = None
        """Units per second; None while it does not grow, or not steadily."""

    def add(self, at_ns: int, used: float) -> None:
        """Take in a value; instants must not go back."""
        if self._points:
            gap_ns = at_ns - self._points[-1][0]
            if gap_ns < POINT_NS:
                return
            if gap_ns > 10 * POINT_NS:
                self._points.clear()
        self._points.append((at_ns, used))
        self.slope_per_s = self._slope()

    def _slope(self) -> float | None:
        points = list(self._points)
        if len(points) < POINTS_LEAST or points[-1][1] <= points[0][1]:
            return None
        slopes = [
            (value - before) / (at_ns - before_ns)
            for i, (at_ns, value) in enumerate(points)
            for before_ns, before in points[:i]
        ]
        rising = sum(1 if slope > 0 else -1 for slope in slopes)
        if rising < AGREED * len(slopes):
            return None
        return median(slopes) * NS_PER_S

    def exhausted_in_s(self, used: float, ceiling: float) -> float | None:
        """Seconds until `ceiling` at this pace; 0 beyond it; None when it does not grow."""
        if not self.slope_per_s:
            return None
        left_s = max(0.0, (ceiling - used) / self.slope_per_s)
        return left_s if left_s <= HORIZON_S else None
