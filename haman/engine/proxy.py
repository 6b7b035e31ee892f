"""The adapter of `lifeline`: pidfds of the processes that serve, and who listens on their port."""

import os
from collections.abc import Callable
from typing import Final

from haman.core.facts import ServingProxy
from haman.core.frozen import dataclass
from haman.core.lifeline import Lifeline
from haman.core.processes import ProcessId
from haman.core.words import Reason
from haman.engine.loop import Loop
from haman.engine.reporter import Reporter
from haman.system.inet_diag import InetDiag

PROCESSES_MAX: Final = 256
"""Descriptors are few; a proxy of more processes is left to the controller."""


@dataclass(frozen=True, slots=True)
class _Watched:
    """A process that lives, as far as is known."""

    process: ProcessId
    pidfd: int

    def fileno(self) -> int:
        """Readable when it has ended, its last thread with it, and all its descriptors are closed."""
        return self.pidfd


class ProxyWatch:
    """Calls `died` when the proxy is dead for certain; never, where the kernel does not tell who listens."""

    def __init__(self, loop: Loop, reporter: Reporter, died: Callable[[], None]) -> None:
        self._loop = loop
        self._reporter = reporter
        self._died = died
        self._core = Lifeline()
        self._sockets: InetDiag | None = None
        self._watched: dict[ProcessId, _Watched] = {}

    @property
    def dead(self) -> tuple[Reason, ...]:
        """Why nothing may be held; () = the proxy is not known to be dead."""
        return self._core.dead

    def declare(self, serving: ServingProxy | None) -> None:
        """Watch these processes, and no others."""
        if not self._core.declare(serving):
            return
        # What nobody listens on now says nothing when they end: the proxy serves elsewhere.
        if serving is not None and (
            len(serving.processes) > PROCESSES_MAX or not self._listens(serving.port)
        ):
            self._core.declare(None)
        for process in self._watched.keys() - self._core.alive:
            self._forget(process)
        for process in self._core.alive - self._watched.keys():
            self._watch(process)

    def _watch(self, process: ProcessId) -> None:
        # Whose pid it is now is not looked at: the controller has a descriptor of its own, and tells.
        try:
            watched = _Watched(process, os.pidfd_open(process.pid))
        except ProcessLookupError:
            self._ended(process)
        except OSError as error:
            text = (
                f"the end of process {process.pid}, which serves, is not watched: {error.strerror}"
            )
            self._reporter.noise("proxy-not-watched", text, about=str(process.pid))
        else:
            self._watched[process] = watched
            self._loop.watch(watched, lambda: self._exited(process))

    def _exited(self, process: ProcessId) -> None:
        self._forget(process)
        self._ended(process)

    def _ended(self, process: ProcessId) -> None:
        last = self._core.alive <= {process}
        if self._core.ended(process, listens=last and self._listens(self._core.port)):
            self._died()

    def _listens(self, port: int) -> bool:
        """In doubt it does: the controller looks more closely."""
        try:
            if self._sockets is None:
                self._sockets = InetDiag()
            return self._sockets.listens(port)
        except OSError as error:
            self._reporter.noise(
                "proxy-not-watched", f"who listens on port {port} is not known: {error}"
            )
            return True

    def _forget(self, process: ProcessId) -> None:
        watched = self._watched.pop(process)
        self._loop.forget(watched)
        os.close(watched.pidfd)

    def close(self) -> None:
        """Give all descriptors back."""
        for process in list(self._watched):
            self._forget(process)
        if self._sockets is not None:
            self._sockets.close()
