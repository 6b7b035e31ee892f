"""One node of a fleet."""

from haman.core.words import Utilization
from haman.sim.sensor import Sensor
from haman.sim.server import Server

FULL_WEIGHT = 100
BACKLOG_S = 1.0


class Node:
    """A proxy, what is announced of it, and what a policy wants.

    Attributes:
        skew: how many times its fair share routers send it.
        weight: announced; 0 = withdrawn. Of a VIP: 1 while it holds it.
        shut: announced, for others to be preferred.
        wanted: weight that the policy has chosen, and `wanted_shut`.
        share: of the clients of its cluster, 0 to 1.
        arriving: clients per second.
        served_per_s: handshakes per second that were finished, as a proxy counts them: what it did for
            clients that had left is not among them.
    """

    __slots__ = (
        "arriving",
        "name",
        "place",
        "sensor",
        "served_per_s",
        "server",
        "share",
        "shut",
        "skew",
        "up",
        "wanted",
        "wanted_shut",
        "weight",
    )

    def __init__(self, place: int, capacity: float, timeout_s: float, skew: float) -> None:
        self.place = place
        self.name = f"n{place}"
        self.server = Server(capacity, timeout_s, capacity * BACKLOG_S)
        self.sensor = Sensor(self.server)
        self.skew = skew
        self.up = True
        self.weight = self.wanted = FULL_WEIGHT
        self.shut = self.wanted_shut = False
        self.share = 0.0
        self.arriving = 0.0
        self.served_per_s = 0.0

    def sample(self, now_ns: int) -> tuple[Utilization, ...]:
        """What its senses read."""
        return self.sensor.read(now_ns)

    def now(self) -> tuple[Utilization, ...]:
        """What its senses would read, unsmoothed: of a node that is quiet."""
        return Sensor(self.server).read(0)

    def forget(self) -> None:
        """It lost power, or has been quiet: what was smoothed says nothing."""
        self.sensor = Sensor(self.server)

    @property
    def load(self) -> float:
        """The binding utilization, as read last; 0 before."""
        known = [u.utilization for u in self.sensor.utilizations]
        return max((u for u in known if u is not None), default=0.0)
