"""ExaBGP, as the engine's child: run with the configuration that the controller wrote.

It runs while the controller names a configuration (its digest), and through the controller's own
death: the last word stays. Another digest is another text in the same file: ExaBGP is told to read
it again (USR1), which keeps the sessions that did not change. Never HUP: to ExaBGP that means "end".

What is run is fixed here: this interpreter, `exabgp`, and the file beside the API's socket. The file
itself names the relay that ExaBGP starts, and is the controller's. So ExaBGP has none of the
engine's powers: it is the user `haman`, or, where there is none, root without any capability.

It writes its log to the engine's own standard output and error, for journald to bound: a pipe that
somebody must read would stop BGP whenever the engine or the controller is late.

When the engine dies, the kernel kills ExaBGP (`spawn`), its sessions end with a FIN, and routers have
withdrawn within 0.1 s; the addresses stay until their lease is over.
"""

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from haman.config.exabgp import exabgp_environment
from haman.core.announcements import EXABGP_CONF, ExabgpReport
from haman.engine.child import NS_PER_S, Child
from haman.engine.identity import Identity
from haman.engine.loop import Loop
from haman.engine.reporter import Reporter
from haman.system.signalling import catches
from haman.system.spawn import spawn

RELOAD_AGAIN_NS: Final = NS_PER_S // 20
END_WITHIN_NS: Final = NS_PER_S
"""From TERM to KILL. It needs some 10 ms (measured)."""
_PASSED_ON: Final = ("PATH", "PYTHONPATH", "LANG", "TZ")


def arguments(api_socket: str) -> tuple[str, ...]:
    """What this interpreter is run with."""
    return ("-m", "exabgp", "server", str(Path(api_socket).parent / EXABGP_CONF))


class Exabgp:
    """One ExaBGP at a time.

    Args:
        api_socket: of the configuration; ExaBGP's file is in the same directory.
        identity: that it runs as.
        environment: the engine's own; little of it is passed on.
    """

    def __init__(
        self,
        api_socket: str,
        identity: Identity,
        loop: Loop,
        reporter: Reporter,
        environment: Mapping[str, str],
    ) -> None:
        self._command = [sys.executable, *arguments(api_socket)]
        self._confinement = identity.confinement(powerless=True)
        self._environment = {
            **{name: environment[name] for name in _PASSED_ON if name in environment},
            **exabgp_environment(identity.name),
        }
        self._reporter = reporter
        self._child = Child(loop, self._spawn, self._died)
        self._wanted = ""
        self._loaded = ""
        self._reload_at_ns: int | None = None
        self._kill_at_ns: int | None = None
        self._problem = ""

    @property
    def running(self) -> bool:
        """It is there."""
        return self._child.pid is not None

    def declare(self, digest: str, now_ns: int) -> None:
        """Have it run with the configuration of this digest; "" = not at all."""
        if digest == self._wanted:
            return
        self._wanted = digest
        self._reporter.changed = True
        if not digest:
            self.end(now_ns)
        elif self.running and self._kill_at_ns is None:
            self._reload_at_ns = now_ns
        elif not self.running:
            self._child.want(now_ns)

    def end(self, now_ns: int) -> None:
        """Ask it to end and start it no more; killed when it has not ended in `END_WITHIN_NS`."""
        self._wanted, self._problem = "", ""
        self._reload_at_ns = None
        self._child.give_up()
        if self.running and self._kill_at_ns is None:
            self._child.signal(signal.SIGTERM)
            self._kill_at_ns = now_ns + END_WITHIN_NS

    def kill(self) -> None:
        """End it now, and start it no more."""
        self._wanted = ""
        self._child.give_up()
        self._child.kill()

    @property
    def deadline_ns(self) -> int | None:
        """When `turn` is due at the latest."""
        times = (self._child.deadline_ns, self._reload_at_ns, self._kill_at_ns)
        return min((at_ns for at_ns in times if at_ns is not None), default=None)

    def turn(self, now_ns: int) -> None:
        """Start it, have it read again, or end one that does not go."""
        if self._child.turn(now_ns):
            self._loaded = self._wanted
            text = f"ExaBGP runs as process {self._child.pid}"
            self._reporter.event("exabgp-started", text)
        if self._reload_at_ns is not None and now_ns >= self._reload_at_ns:
            self._reload(now_ns)
        if self._kill_at_ns is not None and now_ns >= self._kill_at_ns:
            self._kill_at_ns = now_ns + END_WITHIN_NS
            self._reporter.event("exabgp-hung", "ExaBGP was told to end and does not: killed")
            self._child.kill()

    def _reload(self, now_ns: int) -> None:
        """Tell it, but not before it listens: until then the signal would be its death."""
        if self._child.pid is not None and not catches(self._child.pid, signal.SIGUSR1):
            self._reload_at_ns = now_ns + RELOAD_AGAIN_NS
            return
        self._reload_at_ns = None
        self._child.signal(signal.SIGUSR1)
        self._loaded = self._wanted
        self._reporter.event("exabgp-reloaded", "ExaBGP reads its new configuration")

    def _spawn(self) -> int:
        # It would say so itself, but only in its log.
        Path(self._command[-1]).stat()
        return spawn(self._command, self._environment, self._confinement)

    def _died(self, how: str, now_ns: int) -> None:
        asked = self._kill_at_ns is not None
        self._kill_at_ns = self._reload_at_ns = None
        self._loaded = ""
        if asked or not self._wanted:
            self._reporter.event("exabgp-ended", f"ExaBGP {how}, as it was told")
        else:
            self._problem = f"ExaBGP {how}"
            text = f"{self._problem}: nothing is announced until it runs again"
            self._reporter.event("exabgp-died", text)
        if self._wanted:
            self._child.want(now_ns)

    def stop(self, timeout_s: float) -> None:
        """End it for good; waits at most this long for a polite end."""
        self._wanted = ""
        self._child.stop(timeout_s)

    def report(self, now_ns: int) -> ExabgpReport | None:
        """What is to be said of it; None = it was not asked for."""
        if not self._wanted and not self.running:
            return None
        child = self._child
        problem = "" if child.settled(now_ns) else self._problem
        return ExabgpReport(self.running, self._loaded, child.pid or 0, child.starts, problem)
