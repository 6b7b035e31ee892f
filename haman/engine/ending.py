"""The ordered end of a node that is announced: shut → sessions closed → addresses off.

Every address of an anycast service must outlive the last route to it, or clients are refused by a
node that still looks alive. The VIPs wait for none of this: they were released before it begins.

| state | entered when | leaves after | to |
|---|---|---|---|
| shutting | TERM, and something is announced | `end_shut_ms`, or at once: no controller, ExaBGP gone | closing |
| closing | ExaBGP is told to end (its sessions close: routers withdraw) | its end; killed after 1 s | settling |
| settling | ExaBGP is gone | `SETTLE_NS`: routers need 61 to 87 ms (measured) | over |
| over | the addresses are dropped | | |

Bound: `end_shut_ms` + 1.25 s, and the kernel's confirmation. A second TERM, or a node that has no
anycast address, goes straight to `over`.
"""

from enum import Enum, auto
from typing import Final

from haman.engine.anycast import Anycast
from haman.engine.child import NS_PER_S
from haman.engine.exabgp import END_WITHIN_NS, Exabgp

SETTLE_NS: Final = NS_PER_S // 4


class _State(Enum):
    RUNNING = auto()
    SHUTTING = auto()
    CLOSING = auto()
    SETTLING = auto()
    OVER = auto()


class Ending:
    """From the first TERM to the last address."""

    def __init__(self, anycast: Anycast, exabgp: Exabgp) -> None:
        self._anycast = anycast
        self._exabgp = exabgp
        self._state = _State.RUNNING
        self._until_ns: int | None = None

    @property
    def begun(self) -> bool:
        """The agent was told to end."""
        return self._state is not _State.RUNNING

    @property
    def over(self) -> bool:
        """Nothing of it is left to wait for but the kernel."""
        return self._state is _State.OVER

    def bound_ns(self, shut_ns: int) -> int:
        """How long it may take from `begin` to `over`."""
        return shut_ns + END_WITHIN_NS + SETTLE_NS if self._announced else 0

    @property
    def _announced(self) -> bool:
        return self._anycast.holding and self._exabgp.running

    def begin(self, shut_ns: int, now_ns: int) -> None:
        """The first TERM.

        Args:
            shut_ns: how long routes stay shut before the sessions close; 0 if nobody can shut them.
            now_ns: monotonic.
        """
        if not self._announced:
            self._finish(now_ns)
            return
        self._state, self._until_ns = _State.SHUTTING, now_ns + shut_ns
        self.turn(now_ns)

    def hurry(self, now_ns: int) -> None:
        """Another TERM: no more waiting."""
        if not self.over:
            self._exabgp.kill()
            self._finish(now_ns)

    @property
    def deadline_ns(self) -> int | None:
        """When `turn` is due at the latest."""
        return self._until_ns

    def turn(self, now_ns: int) -> None:
        """Go on when it is time."""
        if self._state is _State.SHUTTING and (self._due(now_ns) or not self._exabgp.running):
            self._state, self._until_ns = _State.CLOSING, None
            self._exabgp.end(now_ns)
        if self._state is _State.CLOSING and not self._exabgp.running:
            self._state, self._until_ns = _State.SETTLING, now_ns + SETTLE_NS
        if self._state is _State.SETTLING and self._due(now_ns):
            self._finish(now_ns)

    def _due(self, now_ns: int) -> bool:
        return self._until_ns is not None and now_ns >= self._until_ns

    def _finish(self, now_ns: int) -> None:
        self._state, self._until_ns = _State.OVER, None
        self._exabgp.end(now_ns)
        self._anycast.end(now_ns)
