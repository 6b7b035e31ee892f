"""Clients: they go where addresses and routes lead, hold connections, fail, and try again.

Work is done in steps of 200 ms. What a node loses of its share, its clients lose as connections, and
each of those comes back with a full handshake.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from haman.sim.bgp import Routers
from haman.sim.network import NS_PER_MS
from haman.sim.server import Server

STEP_NS: Final = 200 * NS_PER_MS
STEP_S: Final = STEP_NS / 1e9
RETRY_STEPS: Final = 10
"""Clients that failed try again within 2 s."""
RECONNECT_STEPS: Final = 5
"""Clients that were cut off come back within 1 s."""
PERSISTENT: Final = 0.9
"""Of the clients that failed, those that try again."""


class Target(Protocol):
    """A node, as clients see it."""

    name: str
    server: Server

    @property
    def serves(self) -> bool:
        """Whoever reaches it is served."""


class Clients:
    """The clients of one service.

    Args:
        rate: that come for the first time, per second.
        hold_s: how long they stay.
    """

    def __init__(self, service: str, rate: float, hold_s: float) -> None:
        self.service = service
        self.rate = rate
        self.factor = 1.0
        self.hold_s = hold_s
        self.connected: dict[str, float] = {}
        self.offered = 0.0
        self.served = 0.0
        self._shares: dict[str, float] = {}
        self._returning: deque[float] = deque([0.0] * RETRY_STEPS)

    def come_back(self, count: float, steps: int) -> None:
        """Let clients try again, spread over the next steps."""
        for place in range(steps):
            self._returning[place] += count / steps

    def storm(self) -> None:
        """Let every connection be lost at once."""
        for name, count in self.connected.items():
            self.come_back(count, RECONNECT_STEPS)
            self.connected[name] = 0.0

    def arrive(self, shares: dict[str, float]) -> dict[str, float]:
        """Who comes in this step, by node; `shares` say where clients are led now."""
        for name, count in self.connected.items():
            before, after = self._shares.get(name, 0.0), shares.get(name, 0.0)
            if after < before:
                lost = count * (1.0 - after / before)
                self.connected[name] = count - lost
                self.come_back(lost, RECONNECT_STEPS)
            self.connected[name] *= 1.0 - min(1.0, STEP_S / self.hold_s)
        self._shares = dict(shares)
        fresh = self.rate * self.factor * STEP_S
        self.offered += fresh
        coming = fresh + self._returning.popleft()
        self._returning.append(0.0)
        if not shares:
            self.fail(coming)
        return {name: coming * share for name, share in shares.items()}

    def fail(self, count: float) -> None:
        """Clients were not served."""
        self.come_back(count * PERSISTENT, RETRY_STEPS)

    def connect(self, name: str, count: float) -> None:
        """Clients were served."""
        self.served += count
        self.connected[name] = self.connected.get(name, 0.0) + count


class Load:
    """All clients, and what they do to all nodes.

    Args:
        holders: of a VIP, those that answer for it.
    """

    def __init__(
        self,
        services: Iterable[Clients],
        targets: dict[str, Target],
        routers: Routers,
        holders: Callable[[str], list[str]],
    ) -> None:
        self.services = {clients.service: clients for clients in services}
        self._targets = targets
        self._routers = routers
        self._holders = holders
        self.skew: dict[str, float] = {}
        """How many times its share routers send to a node."""
        self.arriving: dict[str, float] = {}
        """Clients per second that came to each node in the last step."""

    def shares(self, service: str) -> dict[str, float]:
        """Where clients of a service are led now."""
        holders = self._holders(service)
        if holders:
            return dict.fromkeys(holders, 1.0 / len(holders))
        shares = self._routers.shares(service)
        if not self.skew:
            return shares
        skewed = {name: share * self.skew.get(name, 1.0) for name, share in shares.items()}
        whole = sum(skewed.values())
        return {name: share / whole for name, share in skewed.items()}

    def step(self, now_ns: int) -> None:
        """Let one step pass."""
        coming: dict[str, dict[str, float]] = {}
        for service, clients in self.services.items():
            for name, count in clients.arrive(self.shares(service)).items():
                coming.setdefault(name, {})[service] = count
        for name, target in self._targets.items():
            self._serve(target, coming.get(name, {}), now_ns / 1e9)

    def _serve(self, target: Target, coming: dict[str, float], now_s: float) -> None:
        server, name = target.server, target.name
        total = sum(coming.values())
        self.arriving[name] = total / STEP_S
        if not target.serves:
            for service, clients in self.services.items():
                if lost := clients.connected.pop(name, 0.0):
                    clients.come_back(lost, RECONNECT_STEPS)
                clients.fail(coming.get(service, 0.0))
            if not server.alive:
                server.reset()
            return
        served, gone = server.step(now_s, STEP_S, total)
        parts = coming if total else dict.fromkeys(self.services, 1.0)
        whole = sum(parts.values())
        for service, part in parts.items():
            clients = self.services[service]
            clients.connect(name, served * part / whole)
            clients.fail(gone * part / whole)
        server.connections = sum(c.connected.get(name, 0.0) for c in self.services.values())
