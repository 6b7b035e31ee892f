"""Whether this process was stopped or starved just now, so that what it reads may be old.

A datagram carries no time. One that waited in the socket while the controller was frozen looks as
young as any other; where an old one would do harm, the reader asks here first.
"""

OVERSLEPT_NS = 1_500_000_000
"""Ticks are at most 500 ms apart; one so late is no jitter. What was queued is read within as long."""


class Wakefulness:
    """Knows the last tick and the last time that it came far too late."""

    def __init__(self, now_ns: int) -> None:
        self._ticked_ns = self._awake_from_ns = now_ns

    def tick(self, now_ns: int) -> None:
        """The loop turns; to be called at most 500 ms apart."""
        if now_ns - self._ticked_ns > OVERSLEPT_NS:
            self._awake_from_ns = now_ns + OVERSLEPT_NS
        self._ticked_ns = now_ns

    def overslept(self, now_ns: int) -> bool:
        """The next tick is far too late, or the last one was."""
        return now_ns - self._ticked_ns > OVERSLEPT_NS or now_ns < self._awake_from_ns
