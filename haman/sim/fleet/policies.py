"""What is done without haman: scripts that look at one node and know nothing of the others."""

from dataclasses import dataclass
from typing import Final

from haman.core.saturation import Thresholds
from haman.sim.fleet.cluster import Cluster
from haman.sim.fleet.node import FULL_WEIGHT, Node
from haman.sim.plans import NS_PER_S
from haman.sim.server import TLS_KNEE

RISE_NS: Final = 3 * NS_PER_S
"""Above the threshold for so long: three checks of a script that runs every second."""
HOLD_NS: Final = 30 * NS_PER_S
"""Below the lower one for so long before a step back."""
WEIGHTS: Final = (FULL_WEIGHT, 50, 25)
_THRESHOLDS: Final = Thresholds()


class Nothing:
    """Announce everything, whatever comes."""

    def __init__(self, _cluster: Cluster) -> None:
        """There is nothing to look at."""

    def step(self, _now_ns: int, lively: list[Node]) -> None:
        """Leave each node as it is."""

    def busy(self, _node: Node) -> bool:
        """Nothing is ever begun."""
        return False

    def lost(self, node: Node) -> None:
        """Nothing is kept."""

    def back(self, node: Node, _now_ns: int) -> None:
        """Announce at once."""
        node.wanted = FULL_WEIGHT


class Naive:
    """Withdraw at the threshold, come back below it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def step(self, _now_ns: int, lively: list[Node]) -> None:
        """Judge each node for itself."""
        for node in lively:
            node.wanted = 0 if node.load >= _THRESHOLDS.hard else FULL_WEIGHT

    def busy(self, node: Node) -> bool:
        """While it is withdrawn."""
        return node.wanted != FULL_WEIGHT

    def lost(self, node: Node) -> None:
        """Nothing is kept."""

    def back(self, node: Node, _now_ns: int) -> None:
        """Announce at once."""
        node.wanted = FULL_WEIGHT


class Healthcheck(Naive):
    """The same by what a check command reads of HAProxy, as the lab plays it.

    That is its rate of full handshakes (SslFrontendKeyRate), not smoothed, and nothing else. A client
    that left after its hello costs the proxy its handshake and is not counted (measured with 2.6.12: 300
    such clients, 1.3 ms each, and a rate of 0), so a proxy that works for the dead looks calm.
    """

    def step(self, _now_ns: int, lively: list[Node]) -> None:
        """Judge each node for itself."""
        for node in lively:
            limit = _THRESHOLDS.hard * TLS_KNEE * node.server.capacity
            node.wanted = 0 if node.served_per_s >= limit else FULL_WEIGHT


@dataclass(slots=True)
class _Timed:
    over_ns: int | None = None
    under_ns: int | None = None


class Hysteresis:
    """Withdraw after some time above the threshold, come back after some time below a lower one."""

    rungs: tuple[int, ...] = (FULL_WEIGHT, 0)

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._timed: dict[int, _Timed] = {}

    def step(self, now_ns: int, lively: list[Node]) -> None:
        """Judge each node for itself."""
        for node in lively:
            self._step(node, self._timed.setdefault(node.place, _Timed()), now_ns)

    def _step(self, node: Node, timed: _Timed, now_ns: int) -> None:
        load = node.load
        timed.over_ns = None if load < _THRESHOLDS.hard else timed.over_ns or now_ns
        timed.under_ns = None if load >= _THRESHOLDS.recover else timed.under_ns or now_ns
        place = self.rungs.index(node.wanted)
        if timed.over_ns is not None and now_ns - timed.over_ns >= RISE_NS:
            timed.over_ns = None
            node.wanted = self.rungs[min(place + 1, len(self.rungs) - 1)]
        elif timed.under_ns is not None and now_ns - timed.under_ns >= HOLD_NS and place:
            timed.under_ns = None
            node.wanted = self.rungs[place - 1]

    def busy(self, node: Node) -> bool:
        """While it is not at its full weight."""
        return node.wanted != FULL_WEIGHT

    def lost(self, node: Node) -> None:
        """Its script ends with it."""
        self._timed.pop(node.place, None)

    def back(self, node: Node, _now_ns: int) -> None:
        """Announce at once."""
        node.wanted = FULL_WEIGHT


class WeightOnly(Hysteresis):
    """As hysteresis, but down the weights, and never to nothing."""

    rungs = WEIGHTS
