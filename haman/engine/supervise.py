"""The controller, as the engine's child: started, listened to, and started again.

One that says nothing for too long hangs, and is killed. Whatever it does, the engine keeps what it
holds: the last stances stay in force.

It runs as user `haman` if there is such a user, else as the engine's own (`identity`).
"""

import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from typing import Final

from haman.core.facts import ToEngine
from haman.engine.child import NS_PER_S, Child
from haman.engine.identity import Identity
from haman.engine.loop import Loop
from haman.engine.reporter import Reporter
from haman.system import clock, link
from haman.system.spawn import spawn

HUNG_NS: Final = 10 * NS_PER_S
FIRST_MESSAGE_NS: Final = 30 * NS_PER_S


class Supervisor:
    """One controller at a time.

    Args:
        command: of the controller; the number of its descriptor is appended.
        identity: that it runs as.
        received: called with each message of the controller's.
    """

    def __init__(
        self,
        command: Sequence[str],
        identity: Identity,
        loop: Loop,
        reporter: Reporter,
        received: Callable[[ToEngine], None],
    ) -> None:
        self._command = list(command)
        self._confinement = identity.confinement()
        self._loop = loop
        self._reporter = reporter
        self._received = received
        self._child = Child(loop, self._spawn, self._died)
        self._child.want(clock.monotonic_ns())
        self._hung_at_ns = 0
        engine, controller = link.pair()
        controller.close()
        self.link = link.EngineEnd(engine)
        """What is told here waits for the next controller while there is none."""

    @property
    def pid(self) -> int | None:
        """Of the controller that runs."""
        return self._child.pid

    @property
    def deadline_ns(self) -> int | None:
        """When `turn` is due at the latest."""
        return self._child.deadline_ns if self._child.pid is None else self._hung_at_ns

    def turn(self, now_ns: int) -> None:
        """Start it, or end one that hangs."""
        if self._child.turn(now_ns):
            self._hung_at_ns = now_ns + FIRST_MESSAGE_NS
            if self._child.starts > 1:
                text = f"the controller runs again, as process {self.pid}"
                self._reporter.event("controller-restarted", text)
        elif self.pid is not None and now_ns >= self._hung_at_ns:
            self._hung_at_ns = now_ns + HUNG_NS
            text = "the controller has said nothing for too long: killed, it will be started again"
            self._reporter.event("controller-hung", text)
            self._child.kill()

    def _spawn(self) -> int:
        engine, controller = link.pair()
        number = controller.fileno()
        command = [*self._command, str(number)]
        try:
            pid = spawn(command, os.environ, self._confinement, keep=(number,))
        except OSError:
            engine.close()
            raise
        finally:
            controller.close()
        fresh = link.EngineEnd(engine)
        fresh.inherit(self.link)
        self.link.close()
        self.link = fresh
        self._loop.watch(fresh, self._read)
        return pid

    def _read(self) -> None:
        received = self.link.receive()
        for text in received.malformed:
            self._reporter.counters["link_malformed"] += 1
            self._reporter.noise("message-dropped", text)
        if received.messages:
            self._hung_at_ns = clock.monotonic_ns() + HUNG_NS
        for message in received.messages:
            self._received(message)  # type: ignore[arg-type]  # the engine's end accepts only these
        if received.closed:
            # Its process is about to end, or has lost its mind; `turn` ends one that lingers.
            self._loop.forget(self.link)
            self._hung_at_ns = min(self._hung_at_ns, clock.monotonic_ns() + NS_PER_S)

    def _died(self, how: str, now_ns: int) -> None:
        with contextlib.suppress(KeyError):  # it had closed its end before, or there was none
            self._loop.forget(self.link)
        self._reporter.event("controller-died", f"the controller {how}; what is held stays held")
        self._child.want(now_ns)

    def forward(self, number: signal.Signals) -> None:
        """Pass a signal on."""
        self._child.signal(number)

    def stop(self, timeout_s: float) -> None:
        """End it, politely at first; at most this long."""
        self.link.flush()
        self.link.close()  # what was sent can still be read
        self._child.stop(timeout_s)
