"""Telling the link where an address lives now, more than once, since any one frame may be lost.

A burst begins with a frame for each address at once; repeats follow after 50 ms, 200 ms, 1 s, 3 s
and then every 3 s, `garp_count` in all: the first ones serve hosts that were busy, the late ones
switches whose port was still blocked. With `garp_refresh_s` one more frame goes out each such time.
"""

from collections.abc import Callable
from typing import Final

from haman.core.frozen import dataclass
from haman.core.vrrp.group import Key

_NS_PER_MS: Final = 1_000_000
_REPEATS_NS: Final = tuple(ms * _NS_PER_MS for ms in (0, 50, 200, 1000, 3000))
_LATER_NS: Final = 3000 * _NS_PER_MS


@dataclass(slots=True)
class _Burst:
    began_ns: int
    count: int
    refresh_ns: int
    sent: int = 0

    @property
    def due_ns(self) -> int | None:
        if self.sent < self.count:
            return self.began_ns + _offset_ns(self.sent)
        if self.refresh_ns:
            last_ns = self.began_ns + _offset_ns(self.count - 1)
            return last_ns + (self.sent - self.count + 1) * self.refresh_ns
        return None


def _offset_ns(place: int) -> int:
    if place < len(_REPEATS_NS):
        return _REPEATS_NS[place]
    return _REPEATS_NS[-1] + (place - len(_REPEATS_NS) + 1) * _LATER_NS


class Announcer:
    """The bursts under way, one per virtual router.

    Args:
        send: sends one frame for each address of the virtual router.
    """

    def __init__(self, send: Callable[[Key], None]) -> None:
        self._send = send
        self._bursts: dict[Key, _Burst] = {}

    def announce(self, key: Key, *, count: int, refresh_s: float, now_ns: int) -> None:
        """Begin a burst; the first frames go out before this returns."""
        burst = _Burst(now_ns, count, round(refresh_s * 1e9), sent=1)
        self.stop(key)
        if burst.due_ns is not None:
            self._bursts[key] = burst
        self._send(key)

    def stop(self, key: Key) -> None:
        """The addresses are no longer here."""
        self._bursts.pop(key, None)

    @property
    def deadline_ns(self) -> int | None:
        """When the next frames are due."""
        due = [at for burst in self._bursts.values() if (at := burst.due_ns) is not None]
        return min(due, default=None)

    def send_due(self, now_ns: int) -> None:
        """Send what is due; a late call sends one frame per address, not those that were missed."""
        for key, burst in tuple(self._bursts.items()):
            due_ns = burst.due_ns
            if due_ns is None or due_ns > now_ns:
                continue
            while due_ns is not None and due_ns <= now_ns:
                burst.sent += 1
                due_ns = burst.due_ns
            if due_ns is None:
                del self._bursts[key]
            self._send(key)
