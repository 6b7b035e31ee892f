"""What must hold of the tails of anycast services, judged by what becomes of connections.

In a planned move - a drain, its end, another weight by permit, a node that was restarted while drained and
comes back - no established connection is lost. Losses are excused from the instant at which

- a fault of `EXCUSING` begins, lasts or ends, or the gate of a proxy comes to fault, or all have just
  booted: nobody planned that;
- a tail is refused, or is ended by its time: the node has said so, with the reason;

until the cluster has come to rest: all nodes are up, none is in fault, no tail is asked for or served, nothing
is steered, no route has changed for a while, and routers send every connection to the node that has it. A
connection whose proxy died is lost with it, and not judged. Nothing is judged where tails are not configured.
"""

from typing import Final

from haman.core.handover.pivot_facts import TailNote
from haman.core.words import Condition
from haman.sim.checkers import Checker, Truth
from haman.sim.connections import Connection
from haman.sim.plans import NS_PER_S

EXCUSING: Final = frozenset(
    {
        "power-off",
        "pause-machine",
        "stop-engine",
        "stop-controller",
        "kill-controller",
        "kill-engine",
        "kill-relay",
        "kill-proxy",
        "deaf-proxy",
        "clock-leap",
        "other-schema",
        "twin",
        "cut",
        "cut-one-way",
        "isolate",
        "lossy",
    }
)
"""All others move nothing but load, or are planned: surges, storms, slow proxies and hosts, lies about load,
wall clocks that jump, addresses that the engine repairs, reloads, drains, pauses, failovers of VIPs."""
SETTLED_NS: Final = 3 * NS_PER_S
AT_REST: Final = (Condition.IN_SERVICE, Condition.SATURATED, Condition.DRAINED)


class Kept(Checker):
    """No established connection is lost in a planned move."""

    name = "kept"

    def __init__(self, world: Truth) -> None:
        super().__init__(world)
        self._judges = any(a.tail_ns for h in world.hosts.values() for a in h.plan.anycast)
        self._excuse = "all have just booted"
        self._judged_ns = 0
        """When the last excuse ended."""
        self._hit_ns = 0

    def gate_changed(self, host: str) -> None:
        """A proxy that is in fault releases at once."""
        controller = self.world.hosts[host].controller
        if controller is not None and controller.condition is Condition.FAULT:
            self._excuse = f"{host} is in fault"

    def tail_noted(self, host: str, service: str, note: TailNote) -> None:
        """It was refused, or took too long."""
        if note.kind == "tail-refused" or note.reason.code == "tail-timeout":
            self._excuse = f"{service} on {host}: {note.reason.text}"

    def lost(self, connection: Connection, how: str) -> None:
        """One is lost that its node still has."""
        if self._judges and not self._excuse and not self._hit():
            self.fail(
                f"connection {connection.number} of {connection.service}, which {connection.home}"
                f" has, is lost: {how}"
            )

    def look(self) -> None:
        """See whether losses are excused, or not any more."""
        if not self._judges:
            return
        if hit := self._hit():
            self._excuse, self._hit_ns = hit, self.world.loop.now_ns
        elif self._excuse and self._rests():
            self._excuse, self._judged_ns = "", self.world.loop.now_ns
            self.world.note("", "connections are judged")

    def _hit(self) -> str:
        """The fault that excuses."""
        faults = self.world.faults
        active = next((f.kind for f in faults.active if f.kind in EXCUSING), "")
        began = (k for k, at in faults.hits.items() if k in EXCUSING and at >= self._judged_ns)
        return active or (next(began, "") if not self._excuse else "")

    def _rests(self) -> bool:
        world, now_ns = self.world, self.world.loop.now_ns
        hits = [at for kind, at in world.faults.hits.items() if kind in EXCUSING]
        if now_ns - max([world.connections.moved_ns, self._hit_ns, *hits]) < SETTLED_NS:
            return False
        for name, host in world.hosts.items():
            controller = host.controller
            if controller is None or not (host.serves and host.agent_runs):
                return False
            decision = controller.decision
            if decision is None or decision.condition not in AT_REST:
                return False
            if not (host.steering.idle and controller.tails.idle and world.routers.is_up(name)):
                return False
        return not world.connections.astray


TAIL_CHECKERS: Final = (Kept,)


def steered(world: Truth) -> str:
    """What is left of tails; "" = nothing. All faults are over."""
    for name, host in world.hosts.items():
        if not host.steering.idle:
            return f"{name} has orders or rules of a tail"
        if host.controller is not None and not host.controller.tails.idle:
            return f"{name} has a tail"
    return ""
