"""One cluster of a fleet: who gets how much of its clients, and who is lively."""

from typing import Final, Protocol

from haman.sim.fleet.node import FULL_WEIGHT, Node

LIVELY: Final = 0.80
"""From this part of its capacity on a node is sampled and judged. Below, nothing can follow: at 0.84 its
handshakes are at 90 % of their ceiling."""

PRIORITY: Final = 200
PRIORITY_STEP: Final = 10
"""Nodes of a VIP are apart by so much; a policy's lower weight is a greater step."""


class Policy(Protocol):
    """What decides what a cluster's nodes announce; one for each cluster."""

    def step(self, now_ns: int, lively: list[Node]) -> None:
        """Judge the lively nodes, and set what is `wanted` of any node."""

    def busy(self, node: Node) -> bool:
        """Something about a node is not over yet: it has to stay lively."""

    def lost(self, node: Node) -> None:
        """It has lost power."""

    def back(self, node: Node, now_ns: int) -> None:
        """It runs again, and announces nothing yet."""


class Cluster:
    """Nodes that share their clients by weight.

    Attributes:
        lively: by place.
        moves: changes of what is announced by a decision.
        connections: established, of all nodes.
        broken: of those, what changes of shares and storms have broken.
    """

    def __init__(self, nodes: list[Node], hold_s: float) -> None:
        self.nodes = nodes
        self.policy: Policy
        self.lively: dict[int, Node] = {}
        self.moves = 0
        self.connections = 0.0
        self.broken = 0.0
        self.hold_s = hold_s
        self._order: list[Node] = []
        self._rate = 0.0
        self._share()

    @property
    def announces(self) -> bool:
        """Somebody takes clients."""
        return bool(self._order)

    def _share(self) -> None:
        """Spread clients by weights; shut nodes count where nobody serves."""
        up = [n for n in self.nodes if n.up and n.weight]
        takers = [n for n in up if not n.shut] or up
        total = sum(n.weight * n.skew for n in takers)
        for node in self.nodes:
            node.share = 0.0
        for node in takers:
            node.share = node.weight * node.skew / total
        self._order = sorted(takers, key=lambda n: -n.share / n.server.capacity * n.server.slowness)

    def reshare(self, *, breaks: bool = True) -> float:
        """Take over what changed; the connections that broke by it.

        Args:
            breaks: False: only new clients go elsewhere.
        """
        before = {node.place: node.share for node in self.nodes}
        self._share()
        broken = sum(
            (old - node.share) * self.connections
            for node in self.nodes
            if breaks and (old := before[node.place]) > node.share
        )
        return self.cut(broken)

    def cut(self, count: float) -> float:
        """Connections break."""
        self.connections -= count
        self.broken += count
        return count

    def follow(self) -> float:
        """Have announced what is wanted; the connections that broke by it."""
        changed = [
            n for n in self.nodes if n.up and (n.weight, n.shut) != (n.wanted, n.wanted_shut)
        ]
        if not changed:
            return 0.0
        for node in changed:
            node.weight, node.shut = node.wanted, node.wanted_shut
        self.moves += len(changed)
        return self.reshare()

    def serve(self, now_s: float, span_s: float, arrived: float) -> tuple[float, float]:
        """Let clients come; those that were served, and those that gave up."""
        self._rate = rate = arrived / span_s
        for node in self._order:
            server = node.server
            if rate * node.share / server.capacity * server.slowness + server.base < LIVELY:
                break
            self.lively[node.place] = node
        quiet, served, gone = 1.0, 0.0, 0.0
        for node in self.lively.values():
            coming = arrived * node.share
            quiet -= node.share
            node.arriving = coming / span_s
            if not node.up:
                gone += coming
                continue
            node.server.connections = self.connections * node.share
            ok, lost = node.server.step(now_s, span_s, coming)
            node.served_per_s = ok / span_s
            served += ok
            gone += lost
        if quiet > 1e-9:
            served += arrived * quiet
        self.connections += served - self.connections * min(1.0, span_s / self.hold_s)
        return served, gone

    def quiet(self, node: Node) -> float:
        """Clients per second of a node that is not lively."""
        return self._rate * node.share

    def judge(self, now_ns: int) -> None:
        """Sample who is lively, and let the policy decide."""
        if not self.lively:
            return
        lively = [node for node in self.lively.values() if node.up]
        for node in lively:
            node.sample(now_ns)
        self.policy.step(now_ns, lively)
        for node in lively:
            calm = node.load < LIVELY and not node.server.waiting
            if calm and not self.policy.busy(node):
                node.forget()
                del self.lively[node.place]


class VipCluster(Cluster):
    """Nodes of which one holds a VIP: `wanted` lowers its priority, as a check script's weight does.

    Attributes:
        preempts: whether a node takes over from one of lower priority, by place.
    """

    def __init__(self, nodes: list[Node], hold_s: float) -> None:
        self.preempts: dict[int, bool] = {node.place: True for node in nodes}
        for node in nodes:
            node.weight = 0
        nodes[0].weight = 1
        super().__init__(nodes, hold_s)

    def follow(self) -> float:
        """Elect, and move the VIP if another node wins."""
        up = [node for node in self.nodes if node.up and node.wanted and not node.wanted_shut]
        holder = next((node for node in self.nodes if node.weight), None)
        best = max(up, key=lambda n: (self._priority(n), -n.place), default=None)
        stays = holder in up and best is not None and not self.preempts[best.place]
        if best is holder or stays:
            return 0.0
        if holder is not None:
            holder.weight = 0
        if best is not None:
            best.weight = 1
        self.moves += 1
        return self.reshare()

    @staticmethod
    def _priority(node: Node) -> int:
        return PRIORITY - PRIORITY_STEP * node.place + node.wanted - FULL_WEIGHT
