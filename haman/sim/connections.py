"""Long-lived connections to anycast services, each with an identity: where its segments go, and who knows it.

A router hashes a connection to a point, and sends it to the node whose range that is in; ranges follow the
weights (hash-threshold: when they change, connections move between nodes that stay, too). A segment passes
the rules of the nodes that it comes by (the table at the head of `haman.engine.anycast_rules`), to the node
that has the connection, or to one that answers with a reset. One that is answered by nobody is sent again,
for a while. Every connection says something in each step, and at once when routes change.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from haman.sim.bgp import Routers
from haman.sim.kernel import Kernel
from haman.sim.network import WIRE, Network
from haman.sim.plans import NS_PER_S, NodePlan
from haman.sim.server import Server
from haman.sim.steering import Steering

COUNT: Final = 36
"""To each service."""
PATIENCE_NS: Final = 8 * NS_PER_S
"""A client whose segments are not answered for so long gives up."""
HOPS_MAX: Final = 64


class Node(Protocol):
    """A node, as segments see it."""

    name: str
    plan: NodePlan
    server: Server
    kernel: Kernel
    steering: Steering

    @property
    def reachable(self) -> bool:
        """Packets find somebody."""

    @property
    def serves(self) -> bool:
        """Whoever reaches its proxy is served."""


@dataclass(slots=True)
class Connection:
    """One of them.

    Attributes:
        point: what the router's hash makes of it, 0 to 1.
        home: the node that knows it; "" = it is not established.
        life: of the home's proxy: one that was started anew knows nothing.
        ends_ns: when the client closes it.
        silent_ns: since when nobody answers; None = somebody does.
    """

    number: int
    service: str
    point: float = 0.0
    home: str = ""
    life: int = 0
    ends_ns: int = 0
    silent_ns: int | None = None


Lost = Callable[[Connection, str], None]
"""Told of each established connection that a client lost though its node still knew it, and how."""


class Connections:
    """All of them.

    Args:
        services: their names.
        life_s: how long one lasts, on average.
        lost: told of each that is lost.
    """

    def __init__(
        self,
        services: Iterable[str],
        nodes: dict[str, Node],
        routers: Routers,
        network: Network,
        *,
        random: Random,
        life_s: float,
        lost: Lost,
    ) -> None:
        self._nodes = nodes
        self._routers = routers
        self._network = network
        self._random = random
        self._life_s = life_s
        self._lost = lost
        self._of = {
            service: [Connection(place, service) for place in range(COUNT)] for service in services
        }
        self.moved_ns = 0
        """When a route last changed."""
        self._macs = {name: node.plan.links[0].mac for name, node in nodes.items()}
        self._names = {mac: name for name, mac in self._macs.items()}

    def at(self, name: str, service: str) -> int:
        """How many a node has."""
        life = self._nodes[name].server.life
        return sum(c.home == name and c.life == life for c in self._of.get(service, ()))

    @property
    def astray(self) -> bool:
        """A router sends one to another node than the one that knows it."""
        hop = self._routers.next_hop
        return any(
            c.home and hop(s, c.point) != c.home for s, each in self._of.items() for c in each
        )

    def step(self, now_ns: int) -> None:
        """Let each say something, end or begin."""
        for service, connections in self._of.items():
            sound = self._sound(service)
            hop = self._routers.next_hop
            for each in connections:
                if each.home and now_ns >= each.ends_ns:
                    each.home = ""
                if not each.home:
                    self._open(each, now_ns, sound)
                elif sound.get(each.home) != each.life or hop(service, each.point) != each.home:
                    self._say(each, now_ns)
                elif each.silent_ns is not None:
                    each.silent_ns = None

    def rehashed(self, service: str, now_ns: int) -> None:
        """Routes have changed: segments are on their way at this very moment."""
        self.moved_ns = now_ns
        hop = self._routers.next_hop
        for each in self._of.get(service, ()):
            if each.home and hop(service, each.point) != each.home:
                self._say(each, now_ns)

    def _sound(self, service: str) -> dict[str, int]:
        """Nodes that answer for what they know, each with the life of its proxy."""
        return {
            name: node.server.life
            for name, node in self._nodes.items()
            if node.reachable and node.kernel.has((service, 4))
        }

    def _open(self, each: Connection, now_ns: int, sound: dict[str, int]) -> None:
        """A SYN is answered by the first node that it comes to."""
        point = self._random.random()
        at = self._routers.next_hop(each.service, point)
        if at in sound and self._nodes[at].serves:
            each.point, each.home, each.life = point, at, sound[at]
            each.ends_ns = now_ns + int(self._random.expovariate(1 / self._life_s) * NS_PER_S)
            each.silent_ns = None

    def _say(self, each: Connection, now_ns: int) -> None:
        if self._nodes[each.home].server.life != each.life:
            each.home = ""  # with its proxy, which no rule could help
            return
        answered = self._walk(each)
        if answered == each.home:
            each.silent_ns = None
        elif answered:
            self._lose(each, f"{answered}, which does not know it, has reset it")
        elif each.silent_ns is None:
            each.silent_ns = now_ns
        elif now_ns - each.silent_ns >= PATIENCE_NS:
            self._lose(each, f"nobody has answered for {PATIENCE_NS / 1e9:g} s")

    def _lose(self, each: Connection, how: str) -> None:
        home, each.home = each.home, ""
        self._lost(Connection(each.number, each.service, each.point, home), how)

    def _walk(self, each: Connection) -> str:
        """Who answers a segment; "" = nobody."""
        at, came = self._routers.next_hop(each.service, each.point), ""
        for _ in range(HOPS_MAX):
            node = self._nodes.get(at)
            if node is None or not node.reachable:
                return ""
            rules = node.steering.rules.get(each.service)
            is_home = at == each.home
            to = self._names.get(rules.to(came), "") if rules is not None and not is_home else ""
            if rules is not None and rules.counts(came, known=is_home):
                node.steering.hand_on(each.service, each.number)
            if not to:
                return at if node.kernel.has((each.service, 4)) else ""
            if not self._network.is_open((WIRE, at, to)):
                return ""
            at, came = to, self._macs[at]
        return ""
