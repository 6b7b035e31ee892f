"""Clients of a drill in the model: whom they reach, what they meet, which connections they lose.

They follow the address as a switch and neighbour caches lead them: to the node that took it last and
is heard. Routers share new connections out by weight; where none announces, the static floor carries.
"""

from collections.abc import Mapping
from random import Random
from typing import Final

from haman.lab.drill import Load
from haman.lab.model_faults import CLIENTS
from haman.lab.paths import Hop, Route
from haman.lab.probe import OK, Attempt, Lost
from haman.sim.network import NS_PER_MS
from haman.sim.world import World

ANSWER_NS: Final = NS_PER_MS // 2
ATTEMPT_NS: Final = 500 * NS_PER_MS


class Led:
    """Where a VIP or an anycast service leads clients."""

    def __init__(self, world: World, service: str) -> None:
        self._world = world
        self.service = service
        self.vip = service in {vip.name for vip in world.vips}
        self._holders: list[str] = []

    def look(self) -> None:
        """See who has come and gone; the last who came and is heard leads."""
        if not self.vip:
            return
        now = self._world.holders(self.service)
        kept = [name for name in self._holders if name in now]
        come = [name for name in now if name not in kept]
        self._holders = [n for n in come if not self._heard(n)] + kept
        self._holders += [n for n in come if self._heard(n)]

    def _heard(self, name: str) -> bool:
        return self._world.network.is_open((CLIENTS, name, ""))

    def route(self) -> Route:
        """What the routers do with an anycast service now."""
        weights = self._world.routers.shares(self.service)
        if weights:
            return Route(tuple(sorted(Hop(n, round(100 * w)) for n, w in weights.items() if w)))
        return Route(tuple(Hop(name) for name in sorted(self._world.hosts)), floor=True)

    def nodes(self) -> Mapping[str, float]:
        """Those that new connections go to, and their weights."""
        if self.vip:
            return {self._holders[-1]: 1.0} if self._holders else {}
        return {hop.node: float(hop.weight) for hop in self.route().hops}

    def answer(self, node: str) -> str:
        """What a connection to a node meets there."""
        host = self._world.hosts[node]
        if not host.reachable or not self._world.network.joined(CLIENTS, node, ""):
            return "timeout"
        if not host.server.alive:
            return "refused"
        return "timeout" if host.troubles.deaf else OK


class Probe:
    """New connections one after the other, and some that last."""

    def __init__(self, world: World, led: Led, load: Load, random: Random) -> None:
        self._world = world
        self._led = led
        self._load = load
        self._random = random
        self._silent: dict[int, int] = {}
        self._lasting: dict[int, str] = {}
        self.attempts: list[Attempt] = []
        self.lost: list[Lost] = []
        self.established = 0

    def start(self) -> None:
        """Make the connections that last, then new ones."""
        for number in range(self._load.connections):
            node = self._choose()
            if node and self._led.answer(node) == OK:
                self._lasting[number] = node
        self.established = len(self._lasting)
        self._attempt()

    def _choose(self) -> str:
        nodes = self._led.nodes()
        return self._random.choices(list(nodes), list(nodes.values()))[0] if nodes else ""

    def _attempt(self) -> None:
        now_ns, node = self._world.loop.now_ns, self._choose()
        outcome = self._led.answer(node) if node else "timeout"
        took_ns = ATTEMPT_NS if outcome == "timeout" else ANSWER_NS
        self.attempts.append(Attempt(now_ns, now_ns + took_ns, outcome, node))
        self._world.loop.after(10**9 // self._load.new_per_s, self._attempt)

    def look(self) -> None:
        """See which connections are lost by now."""
        nodes = self._led.nodes()
        met = {node: self._led.answer(node) for node in set(self._lasting.values())}
        if not self._silent and all(o == OK and node in nodes for node, o in met.items()):
            return
        now_ns = self._world.loop.now_ns
        for number, node in list(self._lasting.items()):
            if met[node] == "timeout" or not nodes:
                since_ns = self._silent.setdefault(number, now_ns)
                late = now_ns - since_ns >= self._load.echo_timeout_ms * NS_PER_MS
                cause = "timeout" if late else ""
            else:
                self._silent.pop(number, None)
                # Another node knows nothing of the connection, and says so.
                cause = "reset" if met[node] == "refused" or node not in nodes else ""
            if cause:
                del self._lasting[number]
                self._silent.pop(number, None)
                self.lost.append(Lost(now_ns, cause))
