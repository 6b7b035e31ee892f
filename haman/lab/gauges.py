"""How loaded the proxy nodes are while a drill runs, by their own word, twice a second."""

import contextlib
import threading
import time
from collections.abc import Sequence
from typing import Self

from msgspec import Struct

from haman.api.client import RefusedError, UnreachableError
from haman.lab import agent
from haman.lab.runtime import Runtime

EVERY_S = 0.5


class Gauge(Struct, frozen=True, array_like=True):
    """The most used resource of a node at an instant (monotonic)."""

    at_ns: int
    node: str
    resource: str
    utilization: float


class Gauges:
    """Asks the nodes' agents from `__enter__` to `__exit__`; `read` holds what they said."""

    def __init__(self, runtime: Runtime, nodes: Sequence[str]) -> None:
        self.read: list[Gauge] = []
        self._runtime = runtime
        self._nodes = nodes
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="gauges", daemon=True)

    def __enter__(self) -> Self:
        """Begin to ask."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """An answer that is under way is waited for."""
        self.end()
        self._thread.join()

    def end(self) -> None:
        """Ask no more."""
        self._end.set()

    def _ask(self) -> None:
        while not self._end.wait(EVERY_S):
            for node in self._nodes:
                if self._end.is_set():
                    return
                with contextlib.suppress(OSError, UnreachableError, RefusedError):
                    self._note(node)

    def _note(self, node: str) -> None:
        told = agent.status(self._runtime, node)
        own = next((n for n in told.nodes if n.name == node), None) if told else None
        if own is None:
            return
        known = [(r.utilization, r.name) for r in own.resources if r.utilization is not None]
        if known:
            most, name = max(known)
            self.read.append(Gauge(time.monotonic_ns(), node, name, round(most, 4)))
