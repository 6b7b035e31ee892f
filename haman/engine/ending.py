"""The ordered end of a node: of its VIPs (`parting`), and of what it announces at the same time.

What is announced: shut → sessions closed → addresses off.

Every address of an anycast service must outlive the last route to it, or clients are refused by a
node that still looks alive. The VIPs part beside it, and do not wait for it.

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

from haman.config.model import Config
from haman.core.words import Reason
from haman.engine.anycast import Anycast
from haman.engine.child import NS_PER_S
from haman.engine.exabgp import END_WITHIN_NS, Exabgp
from haman.engine.parting import Parting

SETTLE_NS: Final = NS_PER_S // 4


class _State(Enum):
    RUNNING = auto()
    SHUTTING = auto()
    CLOSING = auto()
    SETTLING = auto()
    OVER = auto()


class Ending:
    """From the first TERM to the last address."""

    def __init__(self, anycast: Anycast, exabgp: Exabgp, parting: Parting) -> None:
        self._parting = parting
        self._anycast = anycast
        self._exabgp = exabgp
        self._state = _State.RUNNING
        self._until_ns: int | None = None

    @property
    def over(self) -> bool:
        """Nothing of it is left to wait for but the kernel."""
        return self._state is _State.OVER and self.parted

    @property
    def parted(self) -> bool:
        """The VIPs' part is over: the controller's word on them counts no more."""
        return self._parting.over

    @property
    def _announced(self) -> bool:
        return self._anycast.holding and self._exabgp.running

    def begin(self, why: Reason, config: Config, now_ns: int) -> int:
        """The first TERM.

        Args:
            why: said of VIPs that are released.
            config: says how long routes stay shut, and tails are served.
            now_ns: monotonic.

        Returns:
            How long it may take from here to `over`.
        """
        tail_ns = round(config.engine.end_tail_s * NS_PER_S)
        parting_ns = self._parting.begin(why, tail_ns, now_ns)
        # Without a controller nobody shuts: then there is nothing to wait for.
        shut_ms = config.bgp.end_shut_ms if config.bgp and self._parting.supervised else 0
        shut_ns = shut_ms * 1_000_000
        if not self._announced:
            self._finish(now_ns)
            return parting_ns
        self._state, self._until_ns = _State.SHUTTING, now_ns + shut_ns
        self.turn(now_ns)
        return max(parting_ns, shut_ns + END_WITHIN_NS + SETTLE_NS)

    def hurry(self, now_ns: int) -> None:
        """Another TERM: no more waiting."""
        self._parting.hurry(now_ns)
        if self._state is not _State.OVER:
            self._exabgp.kill()
            self._finish(now_ns)

    @property
    def deadline_ns(self) -> int | None:
        """When `turn` is due at the latest."""
        times = (self._until_ns, self._parting.deadline_ns)
        return min((t for t in times if t is not None), default=None)

    def turn(self, now_ns: int) -> None:
        """Go on when it is time."""
        self._parting.turn(now_ns)
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
