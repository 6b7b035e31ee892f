"""What the engine tells the controller: events in order, counters, and how noisy they may be."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from haman.core.words import Event, Reason
from haman.system import clock

_NOISY_NS: Final = 10_000_000_000
_NOISES_MAX: Final = 1024


class Reporter:
    """Collects events and counters.

    Args:
        tell: takes each event.
    """

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell
        self._noises: dict[tuple[str, str, str], tuple[int, int]] = {}
        self.counters: Counter[str] = Counter()
        self.changed = True
        """Something happened since the last report; whoever reports resets it."""

    def event(
        self,
        kind: str,
        text: str,
        *,
        service: str = "",
        reasons: tuple[Reason, ...] = (),
        data: dict[str, int | float | str] | None = None,
    ) -> None:
        """Something happened."""
        self.changed = True
        self._tell(Event(kind, clock.wall_ns(), text, service, reasons, data or {}))

    def noise(
        self,
        kind: str,
        text: str,
        *,
        about: str = "",
        service: str = "",
        data: dict[str, int | float | str] | None = None,
    ) -> None:
        """Something happened that may happen a thousand times a second: told once in 10 s.

        Args:
            kind: as `event`.
            text: as `event`.
            about: what is counted together, besides kind and service.
            service: as `event`.
            data: as `event`; `suppressed` is added.
        """
        now_ns = clock.monotonic_ns()
        key = (kind, service, about)
        told_ns, suppressed = self._noises.get(key, (now_ns - _NOISY_NS, 0))
        if now_ns - told_ns < _NOISY_NS:
            self._noises[key] = (told_ns, suppressed + 1)
            return
        if len(self._noises) >= _NOISES_MAX:
            self._noises.clear()  # a flood of different noises: bounded memory comes first
        self._noises[key] = (now_ns, 0)
        shown = {**(data or {}), "suppressed": suppressed} if suppressed else data
        self.event(kind, text, service=service, data=shown)
