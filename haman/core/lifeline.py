"""Whether the proxy is dead for certain, as the engine sees it without the controller.

The controller finds out which processes serve; until it says otherwise, the engine watches just these.
Their end alone proves nothing, since after a reload others may serve that the controller has yet to
find; but those listen on the same port, and of the dead nobody does. Both together are certain, and
need no search: so a proxy that dies is let go of at once even where the controller waits for a core,
hangs, or is dead itself. What is not certain is left to the controller.

States
    unwatched  nothing was declared, or somebody listens though all that were declared have ended
    alive      one of them lives
    dead       all have ended, and nobody listens

    from       input                                      to
    any        none declared, or others                   unwatched, alive
    alive      the last of them ended, somebody listens   unwatched
    alive      the last of them ended, nobody listens     dead

Timers: none.
Invariant: who is dead stays so until the controller declares others, or that it watches nothing: its
word may have been on the way when they died.
"""

from haman.core.facts import ServingProxy
from haman.core.processes import ProcessId
from haman.core.words import Reason


class Lifeline:
    """The processes of one declaration."""

    def __init__(self) -> None:
        self._serving: ServingProxy | None = None
        self._alive: set[ProcessId] = set()
        self.dead: tuple[Reason, ...] = ()
        """Why nothing may be held; () = the proxy is not known to be dead."""

    @property
    def alive(self) -> frozenset[ProcessId]:
        """Those whose end is to be told."""
        return frozenset(self._alive)

    @property
    def port(self) -> int:
        """On which somebody listens while anybody serves; 0 = nothing is watched."""
        return self._serving.port if self._serving is not None else 0

    def declare(self, serving: ServingProxy | None) -> bool:
        """Take in what the controller found; False = nothing new.

        None = it knows of none, or none that could be watched so.
        """
        if serving == self._serving:
            return False
        self._serving, self.dead = serving, ()
        self._alive = set(serving.processes) if serving is not None else set()
        return True

    def ended(self, process: ProcessId, *, listens: bool) -> bool:
        """Take in the end of one of `alive`; True = the proxy is dead.

        Args:
            process: that ended.
            listens: somebody still does, on `port`; looked at after its end.
        """
        self._alive.discard(process)
        if self._alive or self._serving is None or listens:
            return False
        pids = sorted(process.pid for process in self._serving.processes)
        who = f"process {pids[-1]}" if len(pids) == 1 else f"all {len(pids)} processes that served"
        text = f"the proxy died: {who} ended, and nobody listens on port {self._serving.port}"
        self.dead = (Reason("proxy-died", text, {"pid": pids[-1], "port": self._serving.port}),)
        return True
