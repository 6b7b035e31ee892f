"""What must hold of permits, judged by what was said and heard and by what is true."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from haman.core.permits import Answer, Ask, End, Message, PermitId, VipMove
from haman.core.permits.granter import LEASE_NS, LIFE_NS
from haman.core.permits.messages import Revoke
from haman.core.permits.sheds import FOUND
from haman.core.words import Condition
from haman.sim.checkers import FULL, SETTLED_NS, Checker, Truth
from haman.sim.peers import NAMESAKE_NS
from haman.sim.plans import NS_PER_S

FRESH_SLACK_NS: Final = NS_PER_S // 2
CLOCK_SLACK_NS: Final = NS_PER_S
"""Clocks drift by up to 1 %, and processes wake late."""
DWELL_SLACK_NS: Final = 800_000_000


@dataclass(slots=True)
class _Outstanding:
    peer: str
    id: PermitId
    since_ns: int
    heard_ns: int


class OneGrant(Checker):
    """A node never has two grants outstanding, not even over a restart."""

    name = "one-grant"

    def __init__(self, world: Truth) -> None:
        super().__init__(world)
        self._grants: dict[str, _Outstanding] = {}
        self._asks: dict[tuple[str, PermitId], Ask] = {}

    def told(self, host: str, peer: str, message: Message) -> None:
        """A grant is given."""
        if not isinstance(message, Answer) or not message.granted:
            return
        now_ns = self.world.loop.now_ns
        before = self._grants.get(host)
        if before is not None and (before.peer, before.id) != (peer, message.id):
            left_ns = min(before.heard_ns + LEASE_NS, before.since_ns + LIFE_NS) - now_ns
            if left_ns > CLOCK_SLACK_NS and host not in self.world.leapt:
                self.fail(
                    f"{host} grants {peer} room, and {before.peer} has a grant of it for another"
                    f" {left_ns / 1e9:.1f} s"
                )
        if before is None or before.id != message.id:
            self._grants[host] = _Outstanding(peer, message.id, now_ns, now_ns)
            self._is_reserved(host, peer, message)

    def _is_reserved(self, host: str, peer: str, answer: Answer) -> None:
        ask, controller = self._asks.get((host, answer.id)), self.world.hosts[host].controller
        if ask is None or controller is None or ask.share < 0.01:
            return
        said = controller.permits.report
        used = self.world.hosts[peer].server.tls_used
        if said.granted_to != peer or (used > 0.05 and not any(said.reserved.values())):
            self.fail(f"{host} granted {peer} {ask.share:.0%} of its load and reserves nothing")

    def heard(self, host: str, peer: str, message: Message) -> None:
        """A grant is renewed, or over."""
        grant = self._grants.get(host)
        if isinstance(message, Ask):
            self._asks = {
                key: ask
                for key, ask in self._asks.items()
                if key[0] != host or key[1] == message.id
            }
            self._asks[host, message.id] = message
        if grant is None or grant.peer != peer:
            return
        match message:
            case Ask(id=permit) if permit == grant.id:
                grant.heard_ns = self.world.loop.now_ns
            case Ask(id=permit) if permit > grant.id:
                del self._grants[host]  # an asker has one ask: the one before is over
            case End(permit) if permit == grant.id:
                del self._grants[host]
            case Revoke() | Answer() | _:
                pass


class Unanimous(Checker):
    """Nothing moves by permit while a configured peer was not heard, or another node of this name is."""

    name = "unanimous"

    def __init__(self, world: Truth) -> None:
        super().__init__(world)
        self._heard_ns: dict[tuple[str, str], int] = {}
        self._doubled_ns: dict[str, int] = {}
        """Since when each has heard another one of its name without a pause."""
        self._ordered: dict[str, set[str]] = {}
        self._granted: dict[str, PermitId] = {}

    def reported(self, host: str, peer: str) -> None:
        """When each was heard last."""
        now_ns = self.world.loop.now_ns
        if host == peer and not self._was_heard(host, NAMESAKE_NS):
            self._doubled_ns[host] = now_ns
        self._heard_ns[host, peer] = now_ns

    def _was_heard(self, host: str, within_ns: int) -> bool:
        """Another one of its name."""
        return self.world.loop.now_ns - self._heard_ns.get((host, host), -LIFE_NS) <= within_ns

    def _is_doubled(self, host: str) -> bool:
        since_ns = self.world.loop.now_ns - self._doubled_ns.get(host, 0)
        lately = self._was_heard(host, NAMESAKE_NS - CLOCK_SLACK_NS)
        return lately and since_ns > FRESH_SLACK_NS and host not in self.world.leapt

    def told(self, host: str, peer: str, message: Message) -> None:
        """A grant is given."""
        if isinstance(message, Answer) and message.granted:
            before, self._granted[host] = self._granted.get(host), message.id
            if before != message.id and self._is_doubled(host):
                self.fail(f"{host} grants {peer} room, and has heard another node of its name")

    def moves(self, host: str, move: VipMove) -> None:
        """A VIP."""
        self._judge(host, move.vip)

    def look(self) -> None:
        """An anycast service that newly is ordered down."""
        for name, host in self.world.hosts.items():
            controller = host.controller
            if controller is None or not host.controller_process.running:
                continue
            said = controller.permits
            ordered = {s for s, shed in said.standing.sheds.items() if shed.ordered}
            for service in ordered - self._ordered.get(name, set()):
                if not any(
                    r.code == "permit-revoked" for r in said.standing.sheds[service].reasons
                ):
                    self._judge(name, service)
            self._ordered[name] = ordered

    def _judge(self, host: str, service: str) -> None:
        now_ns, plan = self.world.loop.now_ns, self.world.hosts[host].plan
        if self._is_doubled(host):
            self.fail(f"{host} moves {service}, and has heard another node of its name")
        for peer in self.world.hosts:
            age_ns = now_ns - self._heard_ns.get((host, peer), -LIFE_NS)
            if peer != host and age_ns > plan.fresh_ns + FRESH_SLACK_NS:
                self.fail(
                    f"{host} moves {service} though it has not heard {peer} for"
                    f" {age_ns / 1e9:.1f} s"
                )


class Ceiling(Checker):
    """No more nodes shed at once than may."""

    name = "max-shedding"

    def look(self) -> None:
        """Count them; what was found may have been on its way up after a fault."""
        shedding = [
            name
            for name, host in self.world.hosts.items()
            if host.controller is not None
            and any(
                all(reason.code != FOUND for reason in shed.reasons)
                for shed in host.controller.permits.standing.sheds.values()
            )
        ]
        most = max(host.plan.max_shedding for host in self.world.hosts.values())
        if len(shedding) > most:
            self.fail(f"{', '.join(shedding)} shed at once, and {most} may")


class FittingVip(Checker):
    """A VIP moves by permit only to a node that can take it."""

    name = "vip-fits"

    def moves(self, host: str, move: VipMove) -> None:
        """Is there room for its clients."""
        world = self.world
        if world.loop.now_ns - world.faults.changed_ns < SETTLED_NS:
            return
        target, clients = world.hosts[move.to], world.load.services[move.vip]
        capacity = target.server.capacity / target.server.slowness
        present = world.load.arriving.get(move.to, 0.0) / capacity + target.server.base
        wanted = present + clients.rate * clients.factor / capacity
        if wanted > FULL:
            self.fail(
                f"{host} moves {move.vip} to {move.to}, which gets to {wanted:.0%} of what it can"
                f" do, from {present:.0%}"
            )


class Dwelling(Checker):
    """A node is not saturated before it was busy for the dwell."""

    name = "dwell"

    def __init__(self, world: Truth) -> None:
        super().__init__(world)
        self._busy_ns: dict[str, deque[int]] = {name: deque(maxlen=600) for name in world.hosts}

    def look(self) -> None:
        """Remember who is busy."""
        for name, host in self.world.hosts.items():
            server = host.server
            load = max(server.busy, server.tls_used / 0.9, server.delay_s / server.timeout_s * 2)
            if load >= host.plan.gate.thresholds.hard * 0.99:
                self._busy_ns[name].append(self.world.loop.now_ns)

    def gate_changed(self, host: str) -> None:
        """Became saturated."""
        controller, plan = self.world.hosts[host].controller, self.world.hosts[host].plan
        if controller is None or controller.condition is not Condition.SATURATED:
            return
        first_ns = next(iter(self._busy_ns[host]), None)
        now_ns, dwell_ns = self.world.loop.now_ns, plan.gate.dwell_ns
        if host in self.world.leapt:
            return
        if first_ns is None or now_ns - first_ns < dwell_ns - DWELL_SLACK_NS:
            busy_s = 0.0 if first_ns is None else (now_ns - first_ns) / 1e9
            self.fail(
                f"{host} is saturated after {busy_s:.1f} s; the dwell is {dwell_ns / 1e9:g} s"
            )


PERMIT_CHECKERS: Final = (OneGrant, Unanimous, Ceiling, FittingVip, Dwelling)


def outstanding(world: Truth) -> str:
    """Who still holds room for whom; "" = nobody."""
    for name, host in world.hosts.items():
        if host.controller is not None:
            said = host.controller.permits.report
            if said.granted_to:
                return f"{name} still holds room for {said.granted_to}"
    return ""
