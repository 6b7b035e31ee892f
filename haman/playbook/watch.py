"""Watches the cluster while a node is at work: what the node itself does not explain ends the run."""

import threading
from collections.abc import Callable

from haman.api import schema
from haman.playbook.cluster import Cluster, SilentError
from haman.playbook.guards import worse

EVERY_S = 0.5
BAD_LOOKS = 3
SILENT_LOOKS = 20


class Watch:
    """A thread that looks, while it is told which nodes are at work.

    Args:
        cluster: the agents.
        before: the cluster when the run began.
        tell: called once, from the thread, with what got worse.
    """

    def __init__(
        self, cluster: Cluster, before: schema.Status, tell: Callable[[tuple[str, ...]], None]
    ) -> None:
        self._cluster = cluster
        self._before = before
        self._tell = tell
        self._out: tuple[str, ...] = ()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="playbook-watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def at_work(self, nodes: tuple[str, ...]) -> None:
        """Say whose own state means nothing now; () = nobody is at work, and nothing is looked at."""
        self._out = nodes

    def end(self) -> None:
        """End, and wait for it."""
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        bad_looks = silent = 0
        while not self._stop.wait(EVERY_S):
            out = self._out
            if not out:
                bad_looks = silent = 0
                continue
            try:
                bad = worse(self._before, self._cluster.status(out[-1]), out, settled=False)
                silent = 0
            except SilentError as error:
                silent += 1
                bad = [str(error)] if silent >= SILENT_LOOKS else []
            bad_looks = bad_looks + 1 if bad and out == self._out else 0
            if bad_looks >= BAD_LOOKS or silent >= SILENT_LOOKS:
                self._tell(tuple(bad))
                return
