"""The controller, as the engine's child: started, listened to, and started again.

States: waiting (until `start_at`) → running → (dead, or killed because it hung) → waiting. The wait
grows from 0.1 s to 5 s while it keeps dying, and begins anew after 30 s of life. Whatever it does,
the engine keeps what it holds: the last stances stay in force.

It runs as user `haman` if there is such a user, else as the engine's own (`identity`).
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Final

from haman.core.facts import ToEngine
from haman.engine.identity import Identity
from haman.engine.loop import Loop
from haman.engine.reporter import Reporter
from haman.system import clock, link

NS_PER_S: Final = 1_000_000_000
BACKOFF_FIRST_NS: Final = NS_PER_S // 10
BACKOFF_MAX_NS: Final = 5 * NS_PER_S
SETTLED_NS: Final = 30 * NS_PER_S
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
        self._identity = identity
        self._loop = loop
        self._reporter = reporter
        self._received = received
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd: _Descriptor | None = None
        self._start_at_ns: int | None = clock.monotonic_ns()
        self._started_ns = 0
        self._backoff_ns = BACKOFF_FIRST_NS
        self._starts = 0
        self._hung_at_ns = 0
        engine, controller = link.pair()
        controller.close()
        self.link = link.EngineEnd(engine)
        """What is told here waits for the next controller while there is none."""

    @property
    def pid(self) -> int | None:
        """Of the controller that runs."""
        return self._process.pid if self._process else None

    @property
    def deadline_ns(self) -> int | None:
        """When `turn` is due at the latest."""
        return self._start_at_ns if self._process is None else self._hung_at_ns

    def turn(self, now_ns: int) -> None:
        """Start it, or end one that hangs."""
        if self._process is None:
            if self._start_at_ns is not None and now_ns >= self._start_at_ns:
                self._start(now_ns)
        elif now_ns >= self._hung_at_ns:
            self._hung_at_ns = now_ns + HUNG_NS
            text = "the controller has said nothing for too long: killed, it will be started again"
            self._reporter.event("controller-hung", text)
            self._process.kill()

    def _start(self, now_ns: int) -> None:
        engine, controller = link.pair()
        try:
            self._process = subprocess.Popen(
                [*self._command, str(controller.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(controller.fileno(),),
                user=self._identity.user,
                group=self._identity.group,
                extra_groups=self._identity.groups,
            )
        except (OSError, subprocess.SubprocessError) as error:
            engine.close()
            self._reporter.noise("controller-died", f"the controller could not be started: {error}")
            self._wait(now_ns)
            return
        finally:
            controller.close()
        fresh = link.EngineEnd(engine)
        fresh.inherit(self.link)
        self.link.close()
        self.link = fresh
        self._loop.watch(fresh, self._read)
        self._pidfd = _Descriptor(os.pidfd_open(self._process.pid))
        self._loop.watch(self._pidfd, self._died)
        self._started_ns = now_ns
        self._hung_at_ns = now_ns + FIRST_MESSAGE_NS
        self._starts += 1
        if self._starts > 1:
            text = f"the controller runs again, as process {self._process.pid}"
            self._reporter.event("controller-restarted", text)

    def _wait(self, now_ns: int) -> None:
        self._start_at_ns = now_ns + self._backoff_ns
        self._backoff_ns = min(self._backoff_ns * 2, BACKOFF_MAX_NS)

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

    def _died(self) -> None:
        process, now_ns = self._process, clock.monotonic_ns()
        if process is None or self._pidfd is None:
            return
        status = process.wait()
        self._loop.forget(self._pidfd)
        self._pidfd.close()
        with contextlib.suppress(KeyError):  # forgotten already if it had closed its end
            self._loop.forget(self.link)
        self._process = self._pidfd = None
        why = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        text = f"the controller ended with {why}; what is held stays held"
        self._reporter.event("controller-died", text)
        if now_ns - self._started_ns >= SETTLED_NS:
            self._backoff_ns = BACKOFF_FIRST_NS
        self._wait(now_ns)

    def forward(self, number: signal.Signals) -> None:
        """Pass a signal on."""
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self, timeout_s: float) -> None:
        """End it, politely at first; at most this long."""
        self._start_at_ns = None
        self.link.flush()
        self.link.close()  # what was sent can still be read
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._pidfd is not None:
            self._pidfd.close()
        self._process = self._pidfd = None


class _Descriptor:
    """A bare descriptor, for the loop."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def close(self) -> None:
        os.close(self._number)
