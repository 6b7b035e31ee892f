"""Smoothing of rates: fast up, slow down, and no single spike."""

from math import exp
from statistics import median

NS_PER_S = 1_000_000_000
RISE_S = 0.3
FALL_S = 15.0
WINDOW = 3


class Smoother:
    """Median of the last three values, then an exponential average with unequal time constants.

    The median drops a lone spike; a rise is followed with RISE_S, a fall with FALL_S, because
    taking overload too late costs clients and taking relief too late costs nothing: at five samples
    a second, twice the ceiling is seen as over it in the third one. Values are
    weighted by the time between them, so a late sampler changes nothing but the resolution.
    """

    def __init__(self) -> None:
        self._window: list[float] = []
        self._value: float | None = None
        self._at_ns = 0

    def add(self, value: float, at_ns: int, rise_s: float = RISE_S) -> float:
        """The smoothed value after taking in a new one.

        Args:
            value: now.
            at_ns: its instant; must not go back.
            rise_s: with which a rise is followed; shorter where something else confirms it.
        """
        self._window = [*self._window[1 - WINDOW :], value]
        target = median(self._window)
        if self._value is None:
            self._value = target
        else:
            constant_s = rise_s if target > self._value else FALL_S
            weight = 1.0 - exp(-(at_ns - self._at_ns) / NS_PER_S / constant_s)
            self._value += weight * (target - self._value)
        self._at_ns = at_ns
        return self._value
