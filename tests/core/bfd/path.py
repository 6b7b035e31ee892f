"""Two sessions joined by a path that loses and delays what the test says; time is a number.

What is sent is encoded, and decoded by whoever receives it. After each step the path holds both
ends to the invariants of `session`. Each end has its own clock, which may run fast or slow.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import settings

from haman.core.bfd.messages import (
    ControlReceived,
    Discarded,
    Input,
    Output,
    SendControl,
    SessionConfig,
    StateChanged,
    TimePassed,
)
from haman.core.bfd.packet import ControlPacket, SessionState, decode, encode
from haman.core.bfd.session import SLOW_TX_US, Session
from haman.core.bfd.transitions import TRANSITIONS

MS = 1_000_000
S = 1_000 * MS
ALLOWED = {(t.old, t.event, t.new) for t in TRANSITIONS}

# Examples that are the same in each run, on a machine that may be busy.
steady = settings(deadline=None, derandomize=True, max_examples=200)


def config(interval_ms: int = 50, multiplier: int = 3, **more: int) -> SessionConfig:
    values = {
        "desired_min_tx_us": interval_ms * 1000,
        "required_min_rx_us": interval_ms * 1000,
        "detect_mult": multiplier,
    }
    return SessionConfig(**(values | more))


def checked(session: Session, event: Input, now: int, jitter: float) -> tuple[Output, ...]:
    """A step, and the invariants that hold after each."""
    old = session.state
    outputs = session.step(event, now, jitter)
    sent = [o.packet for o in outputs if isinstance(o, SendControl)]
    changes = [o for o in outputs if isinstance(o, StateChanged)]
    assert len(sent) <= 1
    for packet in sent:
        assert packet.state is session.state
        assert not (packet.poll and packet.final)
        assert packet.required_min_echo_rx_us == 0
        if packet.state is not SessionState.UP:
            assert packet.desired_min_tx_us >= SLOW_TX_US
            assert not packet.poll
    assert [(c.old, c.new) for c in changes] == (
        [(old, session.state)] if session.state is not old else []
    )
    if changes:
        assert (old, type(event), session.state) in ALLOWED
        assert not outputs[: outputs.index(changes[0])] or sent  # the wire first, then the word
    deadline = session.deadline_ns
    if isinstance(event, TimePassed):
        assert deadline is None or deadline > now
    return outputs


@dataclass
class End:
    """One end: its session, and a clock that gains `drift` on true time."""

    config: SessionConfig
    session: Session
    drift: float = 1.0
    hanging: bool = False
    sent: list[tuple[int, ControlPacket]] = field(default_factory=list)
    changes: list[tuple[int, StateChanged]] = field(default_factory=list)
    discarded: list[Discarded] = field(default_factory=list)
    inbox: list[bytes] = field(default_factory=list)

    def clock(self, true_ns: int) -> int:
        return int(true_ns * self.drift)

    def due(self) -> int | None:
        deadline = self.session.deadline_ns
        return None if deadline is None else -int(-deadline // self.drift)


class Path:
    """`delay_ns(sender)` gives the time that a packet of this end takes, or None: lost."""

    def __init__(self, a: SessionConfig, b: SessionConfig, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.now = 100 * S
        self.ends: dict[str, End] = {}
        for name, each in (("a", a), ("b", b)):
            self.ends[name] = End(each, Session(each, self._discriminator(), self.now))
        self.delay_ns: Callable[[str], int | None] = lambda _: 1 * MS
        self._flying: list[tuple[int, int, str, bytes]] = []
        self._arrives = {"a": 0, "b": 0}
        self._sequence = 0

    def _discriminator(self) -> int:
        return self.random.randint(1, 0xFFFFFFFF)

    # ---- driving -------------------------------------------------------------------------------

    def tell(self, name: str, event: Input) -> None:
        end = self.ends[name]
        for output in checked(end.session, event, end.clock(self.now), self.random.random()):
            match output:
                case SendControl(packet):
                    end.sent.append((self.now, packet))
                    delay = self.delay_ns(name)
                    if delay is not None:
                        self._sequence += 1
                        other = "b" if name == "a" else "a"
                        # Over one hop nothing overtakes.
                        self._arrives[name] = max(self._arrives[name], self.now + delay)
                        flight = (self._arrives[name], self._sequence, other, encode(packet))
                        heapq.heappush(self._flying, flight)
                case StateChanged():
                    end.changes.append((self.now, output))
                case Discarded():
                    end.discarded.append(output)

    def run(self, for_ns: int) -> None:
        """Let time pass: packets arrive before timers end, as the engine does it."""
        until = self.now + for_ns
        for _ in range(200_000):
            moments = [self._flying[0][0]] if self._flying else []
            live = {name: end for name, end in self.ends.items() if not end.hanging}
            moments += [due for end in live.values() if (due := end.due()) is not None]
            if not moments or min(moments) > until:
                self.now = until
                return
            self.now = max(self.now, min(moments))
            while self._flying and self._flying[0][0] <= self.now:
                _, _, name, data = heapq.heappop(self._flying)
                if self.ends[name].hanging:
                    self.ends[name].inbox.append(data)
                else:
                    self.tell(name, ControlReceived(decode(data, ttl=255)))
            for name, end in live.items():
                deadline = end.session.deadline_ns
                if deadline is not None and deadline <= end.clock(self.now):
                    self.tell(name, TimePassed())
        raise AssertionError("time stands still")

    def up(self, within_ns: int = 5 * S) -> None:
        """Run until both ends are up, and what that set off has settled."""
        self.until(lambda: self.states == ("up", "up"), within_ns)
        self.run(S)
        assert self.states == ("up", "up")

    def until(self, condition: Callable[[], bool], within_ns: int) -> int:
        """Run until the condition holds; how long that took."""
        began = self.now
        while not condition():
            assert self.now - began < within_ns, f"not within {within_ns / S} s: {self.states}"
            self.run(MS)
        return self.now - began

    def hang(self, name: str) -> None:
        """The end's process stops; what is sent to it waits in its socket."""
        self.ends[name].hanging = True

    def resume(self, name: str) -> None:
        end = self.ends[name]
        end.hanging = False
        waiting, end.inbox = end.inbox, []
        for data in waiting:
            self.tell(name, ControlReceived(decode(data, ttl=255)))
        self.tell(name, TimePassed())

    def restart(self, name: str, config: SessionConfig | None = None) -> None:
        """The end's process dies and another begins, which knows nothing."""
        end = self.ends[name]
        end.config = config or end.config
        end.session = Session(end.config, self._discriminator(), end.clock(self.now))
        end.inbox.clear()

    # ---- asking --------------------------------------------------------------------------------

    @property
    def states(self) -> tuple[str, str]:
        return (self.ends["a"].session.state.word, self.ends["b"].session.state.word)

    def sent(self, name: str, since_ns: int) -> list[tuple[int, ControlPacket]]:
        return [(at, packet) for at, packet in self.ends[name].sent if at >= since_ns]

    def downs(self) -> int:
        """How often an end left the state up."""
        return sum(
            change.old is SessionState.UP for end in self.ends.values() for _, change in end.changes
        )
