"""The engine's hold on the process that keeps the rules of tails (`steerer`).

It is started when the first rule is wanted and ended when none is. What it is told is the whole
desired set, on a change and every second, which is also how it knows that the engine lives.
"""

import contextlib
import os
import socket
from collections import deque
from typing import Final

from haman.core.frozen import dataclass
from haman.engine import anycast_rules, steering_rules
from haman.engine.anycast_rules import Diversion
from haman.engine.child import NS_PER_S, Child
from haman.engine.loop import Loop
from haman.engine.reporter import Reporter
from haman.engine.steerer import MESSAGE_BYTES_MAX, Job, outcomes, pack
from haman.engine.steering_rules import Steering
from haman.system.spawn import Confinement, spawn

SILENCE_S: Final = 3
"""As the least lease of an address: who hangs for so long loses both."""
ALIVE_NS: Final = NS_PER_S
NICE: Final = -10
RETRY_NS: Final = NS_PER_S // 5
"""While something fails."""

Rules = Steering | Diversion


@dataclass(frozen=True, slots=True)
class Steered:
    """What became of rules.

    Attributes:
        problem: why they are not in force; "" = they are.
        connections: to their addresses, not at their end; None = not counted.
        passed: of a tail of anycast: handed on lately.
    """

    problem: str = ""
    connections: int | None = None
    passed: int = 0


def _job(rules: Rules) -> Job:
    return anycast_rules.job(rules) if isinstance(rules, Diversion) else steering_rules.job(rules)


class SteeringChild:
    """One process at a time, and none most of the time. Nothing here waits."""

    def __init__(self, loop: Loop, reporter: Reporter) -> None:
        self._loop = loop
        self._reporter = reporter
        self._child = Child(loop, self._spawn, self._died)
        self._socket: socket.socket | None = None
        self._wanted: tuple[Rules, ...] = ()
        self._warm = False
        self._steered: dict[Rules, Steered] = {}
        self._told: deque[tuple[Rules, ...]] = deque()
        """What it has not answered yet."""
        self._problem = ""
        self._tell_at_ns: int | None = None
        self._dismissed = False

    def want(self, steerings: tuple[Rules, ...], now_ns: int, *, warm: bool) -> None:
        """Have exactly these; cheap when it is as before. `warm`: or more will come soon."""
        if (steerings, warm) == (self._wanted, self._warm):
            return
        self._wanted, self._warm = steerings, warm
        self._tell_at_ns = now_ns
        if steerings or warm:
            self._child.want(now_ns)
        elif self._socket is None:  # it died, and is not started again for nothing
            self._child.give_up()

    def state(self, steering: Rules) -> Steered | None:
        """What it last said of exactly this; None = nothing yet."""
        steered = self._steered.get(steering)
        if steered is None and self._problem:
            return Steered(self._problem)
        return steered

    @property
    def deadline_ns(self) -> int | None:
        """When `turn` is due at the latest."""
        # While there is nobody to tell, nothing is due: the last one ends, or the next one starts.
        tell_at_ns = self._tell_at_ns if self._socket is not None else None
        times = (self._child.deadline_ns, tell_at_ns)
        return min((t for t in times if t is not None), default=None)

    def turn(self, now_ns: int) -> None:
        """Start it, tell it what is wanted, or let it go."""
        if self._child.turn(now_ns):
            self._problem = ""
            self._tell_at_ns = now_ns
        if self._tell_at_ns is None or now_ns < self._tell_at_ns or self._socket is None:
            return
        if not self._wanted and not self._warm:
            self._close()  # it ends by that, and its tables with it
            self._dismissed = True
            self._tell_at_ns = None
            self._steered.clear()
            return
        failing = any(steered.problem for steered in self._steered.values())
        self._tell_at_ns = now_ns + (RETRY_NS if failing else ALIVE_NS)
        with contextlib.suppress(OSError):  # it does not read now, or is about to be found dead
            self._socket.send(pack(map(_job, self._wanted)))
            self._told.append(self._wanted)

    def stop(self) -> None:
        """End it for good."""
        self._wanted, self._warm = (), False
        self._close()
        self._child.stop(timeout_s=0.5)

    def _spawn(self) -> int:
        own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        own.setblocking(False)
        number = other.fileno()
        command = ["haman.engine.steerer", str(number), str(SILENCE_S)]
        try:
            pid = spawn(command, os.environ, Confinement(), keep=(number,))
            with contextlib.suppress(PermissionError):  # on a busy host it has a deadline to keep
                os.setpriority(os.PRIO_PROCESS, pid, NICE)
        except OSError:
            own.close()
            raise
        finally:
            other.close()
        self._close()
        self._socket = own
        self._loop.watch(own, self._read)
        return pid

    def _read(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(MESSAGE_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close()
            return
        told = zip(self._told.popleft(), outcomes(data), strict=True)
        self._steered = {rules: Steered(*outcome) for rules, outcome in told}
        self._reporter.changed = True

    def _close(self) -> None:
        if self._socket is not None:
            self._loop.forget(self._socket)
            self._socket.close()
            self._socket = None
            self._told.clear()

    def _died(self, how: str, now_ns: int) -> None:
        self._close()
        self._steered.clear()
        if self._dismissed:
            self._dismissed = False
            self._child.excuse()
            if self._wanted or self._warm:
                self._child.want(now_ns)
            return
        if not self._wanted and not self._warm:
            return
        self._problem = f"the process that keeps the rules of tails {how}"
        self._reporter.event("handover-rules-lost", f"{self._problem}; started again")
        self._child.want(now_ns)
