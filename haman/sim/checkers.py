"""What must hold, judged from outside: checkers know what is true, and no node's opinion.

Each looks at the world every 200 ms, or is told of one kind of change, and raises `Violated`. Bounds
are those of the protocols: a conflict may last as long as the lease of a stopped engine's addresses,
an absence as long as a failover that nobody takes.
"""

from collections import deque
from typing import Final, Protocol

from haman.core.decide import FAILOVER_NS
from haman.core.handover.pivot_facts import TailNote
from haman.core.permits import Message, VipMove
from haman.core.words import Condition, Role, Stance
from haman.sim.bgp import Route, Routers
from haman.sim.connections import Connection, Connections
from haman.sim.faults import Faults
from haman.sim.host import Host
from haman.sim.load import Load
from haman.sim.loop import Loop
from haman.sim.network import MESH, WIRE, Network
from haman.sim.peers import SCHEMA
from haman.sim.plans import NS_PER_S, VipPlan

LOOK_NS: Final = 200_000_000
ADVERTS: Final = 12
"""With up to 30 % of packets lost, 12 adverts in a row are lost once in two million."""
SLACK_NS: Final = 3 * NS_PER_S
GATE_CHANGES_MAX: Final = 6
"""In a window of one hold: the gate's own promise."""
SETTLED_NS: Final = 4 * NS_PER_S
"""What happened within this time, a decision could not know of yet."""
FULL: Final = 1.05
"""Of all that a node can do, with 5 % for what changes between sample and act."""
CONTENDING: Final = (
    Condition.IN_SERVICE,
    Condition.SATURATED,
    Condition.ISOLATED,
    Condition.STALE,
)

BROKEN: Final = frozenset({"addresses-missing", "ending", "engine-silent", "drained"})
"""Reasons to go that are no matter of load."""


class Violated(Exception):  # noqa: N818 - a finding, not an error of the program
    """An invariant does not hold."""

    def __init__(self, checker: str, text: str, at_ns: int) -> None:
        super().__init__(text)
        self.checker = checker
        self.text = text
        self.at_ns = at_ns


class Truth(Protocol):
    """What checkers look at."""

    loop: Loop
    network: Network
    routers: Routers
    load: Load
    faults: Faults
    hosts: dict[str, Host]
    connections: Connections
    vips: tuple[VipPlan, ...]
    leapt: set[str]
    """Hosts whose monotonic clock has leapt, which none may: their leases ended early."""

    def holders(self, vip: str) -> list[str]:
        """Those that answer for a VIP."""

    def note(self, node: str, what: str, why: str = "") -> None:
        """Into the transcript."""


class Checker:
    """One invariant; `name` is how it is told."""

    name = ""

    def __init__(self, world: Truth) -> None:
        self.world = world

    def look(self) -> None:
        """See whether all is well; called every `LOOK_NS`."""

    def route_changed(
        self, service: str, host: str, before: Route | None, after: Route | None
    ) -> None:
        """See whether a router's change was right."""

    def gate_changed(self, host: str) -> None:
        """A gate changed its condition."""

    def told(self, host: str, peer: str, message: Message) -> None:
        """A node sent a word about permits."""

    def heard(self, host: str, peer: str, message: Message) -> None:
        """A node has read one."""

    def reported(self, host: str, peer: str) -> None:
        """A node has read a peer's report."""

    def tail_noted(self, host: str, service: str, note: TailNote) -> None:
        """A node's tail began, is over, or is not to be had."""

    def lost(self, connection: Connection, how: str) -> None:
        """A client has lost a connection that its node still has."""

    def moves(self, host: str, move: VipMove) -> None:
        """A node is about to move a VIP by permit."""

    def fail(self, text: str) -> None:
        """Say what is wrong."""
        raise Violated(self.name, text, self.world.loop.now_ns)


def overrides(checker: Checker, name: str) -> bool:
    """Whether a checker cares for what this method is told."""
    return getattr(type(checker), name) is not getattr(Checker, name)


class Lasting(Checker):
    """Something that may be so for a while, and no longer."""

    def __init__(self, world: Truth) -> None:
        super().__init__(world)
        self._since: dict[tuple[str, ...], int] = {}

    def lasts_ns(self, key: tuple[str, ...], *, so: bool) -> int:
        """For how long it has been so."""
        if not so:
            self._since.pop(key, None)
            return 0
        return self.world.loop.now_ns - self._since.setdefault(key, self.world.loop.now_ns)


class TwoHolders(Lasting):
    """At most one holder among nodes that hear each other, or of which one says that it hears the other."""

    name = "one-holder"

    def look(self) -> None:
        """Two of them, for longer than a lease and some adverts."""
        names = list(self.world.hosts)
        for vip in self.world.vips:
            holders = self.world.holders(vip.name)
            if len(holders) < 2 and not self._since:
                continue
            most_ns = vip.lease_ns + ADVERTS * vip.advert_ns + SLACK_NS
            for place, one in enumerate(names):
                for other in names[place + 1 :]:
                    both = one in holders and other in holders
                    both = both and self._know(one, other)
                    lasted_ns = self.lasts_ns((vip.name, one, other), so=both)
                    if lasted_ns > most_ns:
                        self.fail(
                            f"{one} and {other} hear each other and both have {vip.name} for"
                            f" {lasted_ns / 1e9:.1f} s"
                        )

    def _know(self, one: str, other: str) -> bool:
        """Whether the lesser of two gets to know that the other is active, whichever that is.

        Adverts that pass one way do, with reports: either the lesser hears the other's adverts, or the
        other hears its, and says so.
        """
        network = self.world.network
        if network.joined(WIRE, one, other):
            return True
        hosts = (self.world.hosts[one], self.world.hosts[other])
        speak = all(h.agent_runs and h.troubles.schema == SCHEMA for h in hosts)
        heard = network.is_open((WIRE, one, other)) or network.is_open((WIRE, other, one))
        return speak and heard and network.joined(MESH, one, other)


class NoHolder(Lasting):
    """Never none while a node is eligible."""

    name = "some-holder"

    def __init__(self, world: Truth) -> None:
        super().__init__(world)
        self._one_way: set[tuple[str, str, str]] = set()
        """VIP, holder, and a node that did not hear it, and was heard by it."""

    def look(self) -> None:
        """A node contends and is well, and neither has the VIP nor knows of anybody who has."""
        for vip in self.world.vips:
            holders = self.world.holders(vip.name)
            most_ns = FAILOVER_NS + vip.lease_ns + ADVERTS * vip.advert_ns + SLACK_NS
            most_ns += vip.preempt_delay_ns
            for name, host in self.world.hosts.items():
                none = self._is_eligible(host) and name not in holders
                none = none and not any(self._knows(vip.name, h, name) for h in holders)
                self._one_way -= {
                    (vip.name, h, name)
                    for h in self.world.hosts
                    if name in holders or h not in holders
                }
                if self.lasts_ns((vip.name, name), so=none) > most_ns:
                    self.fail(
                        f"{name} is well and contends, and for {most_ns / 1e9:.1f} s nobody that"
                        f" it hears has {vip.name}"
                    )

    def _knows(self, vip: str, holder: str, name: str) -> bool:
        """By adverts, or by reports of one that has heard it and goes on to say that it is active."""
        network = self.world.network
        if network.is_open((WIRE, holder, name)):
            self._one_way.discard((vip, holder, name))
            return True
        if network.is_open((WIRE, name, holder)):
            self._one_way.add((vip, holder, name))
        return (vip, holder, name) in self._one_way and network.is_open((MESH, holder, name))

    @staticmethod
    def _is_eligible(host: Host) -> bool:
        decision = host.controller.decision if host.controller is not None else None
        return host.well and decision is not None and decision.condition in CONTENDING


class LastAnnouncer(Checker):
    """Saturation never withdraws, and never takes the last one out of service."""

    name = "last-announcer"

    def __init__(self, world: Truth) -> None:
        super().__init__(world)
        self._stances: dict[tuple[str, str], tuple[int, Stance]] = {}
        self._faults: set[str] = set()
        """Nodes whose proxy was in fault since the last look; it may be well again."""

    def gate_changed(self, host: str) -> None:
        """A proxy in fault takes its node out, whoever else serves."""
        controller = self.world.hosts[host].controller
        if controller is not None and controller.condition is Condition.FAULT:
            self._faults.add(host)

    def look(self) -> None:
        """What each node has decided, against what it was."""
        faults, self._faults = self._faults, set()
        for name, host in self.world.hosts.items():
            decision = host.controller.decision if host.controller is not None else None
            if decision is None or not host.controller_process.running:
                continue
            for stance in decision.anycast:
                key = (name, stance.service)
                life, before = self._stances.get(key, (0, Stance.WITHDRAWN))
                self._stances[key] = (host.lives, stance.stance)
                if life != host.lives:
                    continue
                serving = stance.stance in (Stance.FULL, Stance.REDUCED)
                if serving or before not in (Stance.FULL, Stance.REDUCED):
                    continue
                excused = name in faults or any(r.code in BROKEN for r in stance.reasons)
                if decision.condition not in CONTENDING or host.intent.drained or excused:
                    continue
                others = [h for h in self.world.routers.shares(stance.service) if h != name]
                if stance.stance is Stance.WITHDRAWN or not others:
                    self.fail(
                        f"{name} is {decision.condition} and went from {before} to"
                        f" {stance.stance} for {stance.service}; others: {others}"
                    )


class Overloading(Checker):
    """A node's own decision never moves load onto one that cannot take it."""

    name = "fits"

    def route_changed(
        self, service: str, host: str, before: Route | None, after: Route | None
    ) -> None:
        """A node that only is saturated asks routers for less: is there room for it?"""
        world = self.world
        shedder = world.hosts[host]
        decision = shedder.controller.decision if shedder.controller is not None else None
        was, now = _weight(before), _weight(after)
        if now >= was or decision is None or decision.condition is not Condition.SATURATED:
            return
        if shedder.intent.drained or not shedder.serves or not world.routers.is_up(host):
            return
        stance = next((s for s in decision.anycast if s.service == service), None)
        if stance is None or any(r.code in BROKEN for r in stance.reasons):
            return
        if not shedder.relay.alive or (stance.weight != now and stance.stance is Stance.FULL):
            return  # it fell silent, and did not decide that
        if world.loop.now_ns - world.faults.changed_ns < SETTLED_NS:
            return
        routes = world.routers.routes[service]
        old = {h: _weight(r) for h, r in routes.items()} | {host: was}
        new = {h: _weight(r) for h, r in routes.items()} | {host: now}
        clients = world.load.services[service]
        for name, target in world.hosts.items():
            if name == host or not target.serves or not new.get(name):
                continue
            gained = new[name] / sum(new.values()) - old.get(name, 0) / sum(old.values())
            capacity = target.server.capacity / target.server.slowness
            present = world.load.arriving.get(name, 0.0) / capacity
            present += target.server.base + target.server.request * target.server.connections
            wanted = present + clients.rate * clients.factor * gained / capacity
            if gained > 0 and wanted > FULL:
                self.fail(
                    f"{host} reduced {service} from weight {was} to {now}: {name} gets to"
                    f" {wanted:.0%} of what it can do, from {present:.0%}"
                )


class Bounded(Checker):
    """A gate changes no more often than it promises."""

    name = "bounded"

    def __init__(self, world: Truth) -> None:
        super().__init__(world)
        self._changes: dict[tuple[str, int], deque[int]] = {}

    def gate_changed(self, host: str) -> None:
        """Count within one hold."""
        plan, life = self.world.hosts[host].plan, self.world.hosts[host].lives
        changes = self._changes.setdefault((host, life), deque(maxlen=GATE_CHANGES_MAX + 1))
        changes.append(self.world.loop.now_ns)
        window_ns = changes[-1] - changes[0]
        if len(changes) > GATE_CHANGES_MAX and window_ns < plan.gate.hold_ns:
            self.fail(f"the condition of {host} changed {len(changes)} times in one hold")


CHECKERS: Final = (TwoHolders, NoHolder, LastAnnouncer, Overloading, Bounded)


def _weight(route: Route | None) -> int:
    return route.weight if route is not None and route.stance is not Stance.SHUT else 0


def pending(world: Truth) -> str:
    """Why the cluster has not healed; "" = it has. All faults are over."""
    for name, host in world.hosts.items():
        if not host.well:
            return f"{name} is not well"
        decision = host.controller.decision if host.controller is not None else None
        if decision is None:
            return f"{name} has not decided anything"
        if decision.condition not in CONTENDING[:2]:
            why = decision.reasons[0].text if decision.reasons else ""
            return f"{name} is {decision.condition}: {why}"
        for stance in decision.anycast:
            stays = stance.stance is not Stance.FULL and _would_be_busy(world, host)
            if (
                stance.stance is not Stance.FULL
                and not stays
                and decision.condition is Condition.IN_SERVICE
            ):
                why = stance.reasons[0].text if stance.reasons else ""
                return f"{name} is {stance.stance} for {stance.service}: {why}"
            if not stays and name not in world.routers.shares(stance.service):
                return f"routers send nothing of {stance.service} to {name}"
    return _pending_vips(world)


def _would_be_busy(world: Truth, host: Host) -> bool:
    """Back at its full weight it might not be below the threshold of recovery.

    As permits judge it: of which service a load is nobody knows, so all of it grows with the share.
    """
    arriving = world.load.arriving.get(host.name, 0.0)
    for each in host.plan.anycast:
        routes = world.routers.routes.get(each.name, {})
        mine = _weight(routes.get(host.name))
        others = sum(_weight(r) for name, r in routes.items() if name != host.name)
        if mine:
            arriving *= (each.weight / (each.weight + others)) / (mine / (mine + others))
        else:
            arriving += max(world.load.arriving.values())
    return host.server.demand(arriving) >= host.plan.gate.thresholds.recover * 0.9


def _pending_vips(world: Truth) -> str:
    for vip in world.vips:
        holders = world.holders(vip.name)
        if len(holders) != 1:
            return f"{vip.name} is held by {', '.join(holders) or 'nobody'}"
        for name, host in world.hosts.items():
            role = host.engine.role(vip.name)
            expected = Role.ACTIVE if name in holders else Role.BACKUP
            if role is not expected:
                return f"{name} is {role} for {vip.name}, and {', '.join(holders)} has it"
            has = [f for f in vip.families if host.kernel.has((vip.name, f))]
            if len(has) not in (0, len(vip.families)):
                return f"{name} has {vip.name} in one family alone"
    return ""
