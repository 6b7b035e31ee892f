"""Observations, no more often than people can use them."""

from typing import Final

from haman.core.vrrp.messages import Observed
from haman.core.vrrp.timers import NS_PER_S

OBSERVE_EVERY_NS: Final = 60 * NS_PER_S


class Observations:
    """Lets one observation of a code through per minute, and counts the others.

    The codes are those of this package, so what is remembered is bounded.
    """

    __slots__ = ("_by_code",)

    def __init__(self) -> None:
        self._by_code: dict[str, tuple[int, int]] = {}

    def make(
        self, code: str, text: str, now: int, data: dict[str, int | float | str] | None = None
    ) -> tuple[Observed, ...]:
        """The observation, or nothing."""
        quiet_until, suppressed = self._by_code.get(code, (now, 0))
        if now < quiet_until:
            self._by_code[code] = (quiet_until, suppressed + 1)
            return ()
        self._by_code[code] = (now + OBSERVE_EVERY_NS, 0)
        return (Observed(code, text, {**(data or {}), "suppressed": suppressed}),)
