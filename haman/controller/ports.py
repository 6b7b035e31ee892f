"""Time, as the controller sees it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one to decide by, one to show."""

    def monotonic_ns(self) -> int:
        """Never steps; every decision and timeout uses it."""

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch; for people only, it may jump."""


class SystemClock:
    """The host's clocks."""

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        """CLOCK_REALTIME."""
        return time.time_ns()
