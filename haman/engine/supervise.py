"""The controller, as the engine's child: started, listened to, and started again.

One that says nothing for too long hangs, and is killed: in time for the next one to renew the lease
of what is announced (`config.lease`), or routers would leave a node that serves, and come back.
Whatever it does, the engine keeps what it holds: the last stances stay in force.

It runs as user `haman` if there is such a user, else as the engine's own (`identity`).
"""

import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from typing import Final

from haman.config.lease import controller_patience_s
from haman.config.model import Config
from haman.core.facts import ToEngine
from haman.engine.child import NS_PER_S, Child
from haman.engine.identity import Identity
from haman.engine.loop import Loop
from haman.engine.reporter import Reporter
from haman.system import clock, link
from haman.system.spawn import spawn

FIRST_MESSAGE_NS: Final = 30 * NS_PER_S
STOOD_STILL_NS: Final = NS_PER_S
"""An engine that woke so late was stopped itself, and cannot say who was silent meanwhile."""


class Supervisor:
    """One controller at a time.

    Args:
        command: of the controller; the number of its descriptor is appended.
        identity: that it runs as.
        received: called with each message of the controller's.
        config: in force at first.
    """

    def __init__(
        self,
        command: Sequence[str],
        identity: Identity,
        loop: Loop,
        reporter: Reporter,
        received: Callable[[ToEngine], None],
        *,
        config: Config,
    ) -> None:
        self._command = list(command)
        self._confinement = identity.confinement()
        self._loop = loop
        self._reporter = reporter
        self._received = received
        self._child = Child(loop, self._spawn, self._died)
        self._child.want(clock.monotonic_ns())
        self._patience_ns = _patience_ns(config)
        self._hung_at_ns = 0
        self._closed = False  # by the one that runs
        self._hung = False  # one that was killed
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
        elif self.pid is not None and self._loop.late_ns >= STOOD_STILL_NS:
            self._hung_at_ns = max(self._hung_at_ns, now_ns + self._patience_ns)
        elif self.pid is not None and now_ns >= self._hung_at_ns:
            self._hung_at_ns = now_ns + self._patience_ns
            self._hung = not self._closed
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
        self._closed = False
        self._loop.watch(fresh, self._read)
        return pid

    def _read(self) -> None:
        received = self.link.receive()
        for text in received.malformed:
            self._reporter.counters["link_malformed"] += 1
            self._reporter.noise("message-dropped", text)
        if received.messages:
            self._hung_at_ns = clock.monotonic_ns() + self._patience_ns
        for message in received.messages:
            self._received(message)  # type: ignore[arg-type]  # the engine's end accepts only these
        if received.closed:
            # Its process is about to end, or has lost its mind; `turn` ends one that lingers.
            self._loop.forget(self.link)
            self._closed = True
            self._hung_at_ns = min(self._hung_at_ns, clock.monotonic_ns() + NS_PER_S)

    def _died(self, how: str, now_ns: int) -> None:
        with contextlib.suppress(KeyError):  # it had closed its end before, or there was none
            self._loop.forget(self.link)
        if self._hung:
            # Said now: what is told to one that hangs is lost with it. And the next one starts at once:
            # hanging took its time, and the lease does not wait for more.
            self._hung = False
            text = "the controller had said nothing for too long: killed, it is started again"
            self._reporter.event("controller-hung", text)
            self._child.excuse()
        self._reporter.event("controller-died", f"the controller {how}; what is held stays held")
        self._child.want(now_ns)

    def reload(self, config: Config) -> None:
        """The engine has taken over another configuration, and the controller shall."""
        self._patience_ns = _patience_ns(config)
        self._child.signal(signal.SIGHUP)

    def stop(self, timeout_s: float) -> None:
        """End it, politely at first; at most this long."""
        self.link.flush()
        self.link.close()  # what was sent can still be read
        self._child.stop(timeout_s)


def _patience_ns(config: Config) -> int:
    return round(controller_patience_s(config) * NS_PER_S)
