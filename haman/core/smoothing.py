"""Smoothing of rates: fast up, slow down, and no single spike."""

from math import exp

NS_PER_S = 1_000_000_000
RISE_S = 0.3
SUSTAINED_S = 2.0
FALL_S = 15.0
WINDOW = 3


class Smoother:
    """Median of the last three values, then the higher of two exponential averages.

    The median drops a lone spike. The *quick* average follows a rise with RISE_S, because taking
    overload too late costs clients: at five samples a second, twice the ceiling is seen as over it
    in the third one; and it falls as fast. The *sustained* one rises with SUSTAINED_S and falls with
    FALL_S, because taking relief too late costs nothing. So what lasted comes down slowly, and a
    burst that was over in less than a second, as when the clients of a moved address come back, is
    no load that lasts. Values are weighted by the time between them, so a late sampler changes
    nothing but the resolution.
    """

    def __init__(self) -> None:
        self._window: list[float] = []
        self._quick = self._sustained = 0.0
        self._at_ns = 0

    def add(self, value: float, at_ns: int, rise_s: float = RISE_S) -> float:
        """The smoothed value after taking in a new one.

        Args:
            value: now.
            at_ns: its instant; must not go back.
            rise_s: with which a rise is followed; shorter where something else confirms it.
        """
        first = not self._window
        self._window = [*self._window[1 - WINDOW :], value]
        target = _median(self._window)
        if first:
            self._quick = self._sustained = target
        else:
            took_s = (at_ns - self._at_ns) / NS_PER_S
            quick_s = rise_s if target > self._quick else RISE_S
            self._quick = _towards(target, self._quick, took_s / quick_s)
            constant_s = SUSTAINED_S if target > self._sustained else FALL_S
            self._sustained = _towards(target, self._sustained, took_s / constant_s)
        self._at_ns = at_ns
        return max(self._quick, self._sustained)


def _median(values: list[float]) -> float:
    """Of one to three of them."""
    if len(values) == 2:
        return (values[0] + values[1]) / 2
    return sorted(values)[len(values) // 2]


def _towards(target: float, value: float, constants: float) -> float:
    return value + (1.0 - exp(-constants)) * (target - value)
