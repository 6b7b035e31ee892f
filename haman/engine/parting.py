"""The ordered end of VIPs: handed over where a peer is ready, their connections served on for a while.

| state | entered when | leaves after | to |
|---|---|---|---|
| handing | TERM, with a controller, and a VIP is active or in its tail | no VIP is active here; at the latest `HAND_OVER_NS`, or `ANSWER_NS` in which no handover of an active VIP began | tail |
| tail | no VIP is active here | no tail is left; at the latest `end_tail_s` | over |
| over | the rest is released as ever: priority 0, addresses off, the rules of tails | | |

The controller, which is told that the agent ends, begins the handovers, and releases what it cannot
hand over: that is no longer active then, so this does not wait for it. A second TERM, the controller's
death, `end_tail_s = 0` or a node that holds nothing goes straight to `over`; connections that are left
then are cut. Bound: `HAND_OVER_NS` + `end_tail_s`.
"""

from enum import Enum, auto
from typing import Final, Protocol

from haman.core.words import Reason
from haman.engine.child import NS_PER_S

HAND_OVER_NS: Final = 6 * NS_PER_S
"""A handover whose peer answers takes a second; what an abort takes is bounded by its own steps."""
ANSWER_NS: Final = NS_PER_S // 2
"""The controller, which is asked at once, has begun the handovers by then, or hangs."""


class _State(Enum):
    RUNNING = auto()
    HANDING = auto()
    TAIL = auto()
    OVER = auto()


class Held(Protocol):
    """What is needed of `Vips`."""

    @property
    def active(self) -> frozenset[str]:
        """VIPs that this node holds."""

    def stop(self, reasons: tuple[Reason, ...], now_ns: int) -> None:
        """Let go of everything for good."""


class Given(Protocol):
    """What is needed of `Handovers`."""

    @property
    def given(self) -> frozenset[str]:
        """VIPs that this node gives away, or has given and serves the tail of."""

    def stop(self, now_ns: int) -> None:
        """Nothing moves any more."""


class Supervised(Protocol):
    """What is needed of `Supervisor`."""

    @property
    def pid(self) -> int | None:
        """Of the controller, which alone can hand over or shut; None = there is none."""


class Parting:
    """From the first TERM to the last VIP."""

    def __init__(self, vips: Held, handovers: Given, controller: Supervised) -> None:
        self._controller = controller
        self._vips = vips
        self._handovers = handovers
        self._state = _State.RUNNING
        self._reason = Reason("shutdown", "the agent is ending")
        self._tail_ns = 0
        self._began_ns = 0
        self._until_ns: int | None = None

    @property
    def over(self) -> bool:
        """Nothing of it is left to wait for but the kernel."""
        return self._state is _State.OVER

    @property
    def supervised(self) -> bool:
        """There is a controller."""
        return self._controller.pid is not None

    def begin(self, reason: Reason, tail_ns: int, now_ns: int) -> int:
        """The first TERM.

        Args:
            reason: said of what is released.
            tail_ns: how long tails are served; 0 = nothing is handed over.
            now_ns: monotonic.

        Returns:
            How long it may take until it is over.
        """
        self._reason, self._tail_ns, self._began_ns = reason, tail_ns, now_ns
        holds = self._vips.active or self._handovers.given
        if not (tail_ns and holds and self.supervised):
            self._finish(now_ns)
            return 0
        self._state, self._until_ns = _State.HANDING, now_ns + HAND_OVER_NS
        return HAND_OVER_NS + tail_ns

    def hurry(self, now_ns: int) -> None:
        """Another TERM: no more waiting."""
        if not self.over:
            self._finish(now_ns)

    @property
    def deadline_ns(self) -> int | None:
        """When `turn` is due at the latest."""
        if self._until_ns is None:
            return None
        return min(self._until_ns, self._answer_ns) if self._waits else self._until_ns

    @property
    def _answer_ns(self) -> int:
        return self._began_ns + ANSWER_NS

    @property
    def _waits(self) -> bool:
        """For the controller's first word."""
        unanswered = self._vips.active and not self._vips.active & self._handovers.given
        return self._state is _State.HANDING and bool(unanswered)

    def turn(self, now_ns: int) -> None:
        """Go on when it is time."""
        if self._until_ns is None:
            return
        due = now_ns >= self._until_ns or not self.supervised
        if self._state is _State.HANDING:
            if due or (self._waits and now_ns >= self._answer_ns):
                self._finish(now_ns)
            elif not self._vips.active:
                self._state, self._until_ns = _State.TAIL, now_ns + self._tail_ns
        if self._state is _State.TAIL and (due or not self._handovers.given):
            self._finish(now_ns)

    def _finish(self, now_ns: int) -> None:
        self._state, self._until_ns = _State.OVER, None
        self._vips.stop((self._reason,), now_ns)
        self._handovers.stop(now_ns)
