"""N whole node cores on a fake link that may lose, delay, repeat and reorder, under a fake load.

Load follows the announced weights of one anycast service, `edge`, and the holders of VIPs: `demand`
is cpu, in cores of one node. Each node's report is what its peers hear of it, `late_ns` old at most.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from haman.core.announcements import Announcement, AnycastReport, HeldAddresses
from haman.core.decide import Decider, FailoverOrdered
from haman.core.facts import VipReport
from haman.core.heirs import ConfiguredVip
from haman.core.ladder import ConfiguredAnycast, in_force
from haman.core.node import NodeCore, NodeStepped
from haman.core.permits import Heard, Message, Note, Permits, PermitSettings
from haman.core.reports import NodeReport, PeerView, StormReport
from haman.core.saturation import Thresholds
from haman.core.shares import ecmp
from haman.core.situation import OperatorIntent, Situation
from haman.core.words import Condition, Reason, Role, Utilization

MS = 1_000_000
S = 1000 * MS
EDGE = ConfiguredAnycast("edge", step_ns=S)
HARD = Thresholds().hard
RECOVER = Thresholds().recover

Link = Callable[[str, str, Message], tuple[int, ...]]
"""From, to, what → the delays after which it arrives; () = it is lost."""


def prompt(_: str, __: str, ___: Message) -> tuple[int, ...]:
    return (MS,)


@dataclass
class FakeNode:
    """One node: its core, its fake proxy, and what is announced and held."""

    name: str
    core: NodeCore
    permits: Permits
    decider: Decider
    anycast: tuple[ConfiguredAnycast, ...]
    capacity: float = 1.0
    own_load: float = 0.0
    up: bool = True
    paused: bool = False
    drained: bool = False
    broken: bool = False
    unknown: bool = False
    announced: tuple[Announcement, ...] = ()
    roles: dict[str, Role] = field(default_factory=dict)
    cpu: float = 0.0
    over: bool = False
    inbox: list[Heard] = field(default_factory=list)
    last: NodeStepped | None = None
    notes: list[Note] = field(default_factory=list)
    namesake: Reason | None = None
    silent_to: frozenset[str] = frozenset()
    overlay: dict[str, object] = field(default_factory=dict)

    @property
    def condition(self) -> Condition:
        if self.broken:
            return Condition.FAULT
        return Condition.SATURATED if self.over else Condition.IN_SERVICE

    @property
    def holding(self) -> Reason | None:
        return self.permits.snapshot().standing.holding

    @property
    def sheds(self) -> tuple[str, ...]:
        return self.permits.snapshot().report.sheds

    def rung(self) -> tuple[str, int]:
        rung = in_force(EDGE, self.announced)
        return rung.stance.value, rung.weight

    def noted(self, kind: str) -> list[Note]:
        return [n for n in self.notes if n.type == kind]


class Cluster:
    """The nodes, their load, and the time."""

    def __init__(
        self,
        names: tuple[str, ...] = ("lb1", "lb2", "lb3"),
        *,
        link: Link = prompt,
        demand: float = 0.0,
        anycast: tuple[ConfiguredAnycast, ...] = (EDGE,),
        vips: dict[str, dict[str, int]] | None = None,
        weighted: bool = True,
        max_shedding: int = 1,
        clients: int = 100,
    ) -> None:
        self.link = link
        self.demand = demand
        self.weighted = weighted
        self.clients = clients
        self.max_shedding = max_shedding
        self.vip_load: dict[str, float] = {}
        self.now_ns = 0
        self.reports: dict[str, NodeReport] = {}
        self.flying: list[tuple[int, int, str, Heard]] = []
        self.sent = 0
        self.shed_log: list[tuple[int, str, str]] = []
        self.checks: list[Callable[[], None]] = []
        self.nodes: dict[str, FakeNode] = {}
        self.vips = vips or {}
        self.configured = anycast
        for epoch, name in enumerate(names):
            self.nodes[name] = self.made(name, epoch)
        for vip, priorities in self.vips.items():
            best = max(priorities, key=lambda n: priorities[n])
            for name in priorities:
                self.nodes[name].roles[vip] = Role.ACTIVE if name == best else Role.BACKUP

    def settings(self, name: str) -> PermitSettings:
        vips = tuple(ConfiguredVip(v, p[name]) for v, p in self.vips.items() if name in p)
        return PermitSettings(vips, self.configured, max_shedding=self.max_shedding)

    def made(self, name: str, epoch: int) -> FakeNode:
        settings = self.settings(name)
        permits = Permits(settings, epoch, self.now_ns)
        decider = Decider(settings.vips, settings.anycast)
        announced = tuple(
            Announcement(s.name, ("192.0.2.1/32",), weight=s.weight) for s in self.configured
        )
        return FakeNode(
            name, NodeCore(decider, permits), permits, decider, self.configured, announced=announced
        )

    def restart(self, name: str, epoch: int) -> None:
        """Its controller: the kernel, the relay and the load stay."""
        old, new = self.nodes[name], self.made(name, epoch)
        new.announced, new.roles = old.announced, old.roles
        new.capacity, new.own_load, new.cpu, new.over = (
            old.capacity,
            old.own_load,
            old.cpu,
            old.over,
        )
        self.nodes[name] = new

    # ---- the world -------------------------------------------------------------------------

    def report(self, node: FakeNode) -> NodeReport:
        anycast = []
        for service in node.anycast:
            rung = in_force(service, node.announced)
            anycast.append(
                AnycastReport(
                    service.name,
                    rung.stance,
                    rung.weight,
                    service.weight,
                    0,
                    neighbors_up=1,
                    weighted=self.weighted,
                )
            )
        decided = node.last.decision if node.last is not None else None
        used = None if node.unknown else node.cpu
        report = NodeReport(
            node.name,
            "",
            "1",
            decided.condition if decided is not None else node.condition,
            decided.reasons if decided is not None else (),
            resources=(
                Utilization("cpu", used, node.capacity, "cores"),
                Utilization("connections", float(self.clients), 10_000.0, "count"),
                Utilization("fds", 2.0 * self.clients, 20_000.0, "count"),
                Utilization("tls", 0.0, 2.0, "core-s/s"),
            ),
            connections=self.clients,
            vips=tuple(
                VipReport(v, role, self.vips[v][node.name], 0) for v, role in node.roles.items()
            ),
            drained=node.drained,
            paused=node.paused,
            anycast=tuple(anycast),
            storm=StormReport(1.0, 433e-6, 201e-6, 5.0, backlog=4096),
            permits=node.permits.snapshot().report,
        )
        return replace(report, **node.overlay)

    def told(self, node: FakeNode) -> NodeReport:
        """What peers hear of a node in this step; made once."""
        if node.name not in self.reports:
            self.reports[node.name] = self.report(node)
        return self.reports[node.name]

    def views(self, of: str) -> tuple[PeerView, ...]:
        found = []
        for node in self.nodes.values():
            if node.name == of:
                continue
            heard = node.up and of not in node.silent_to
            age_ms = 10.0 if heard else 9_000.0
            found.append(PeerView(node.name, self.told(node), age_ms, heard))
        return tuple(found)

    def spread(self) -> None:
        """Every node's load, from what is announced and held."""
        reports = tuple(self.report(n) for n in self.nodes.values() if n.up and not n.broken)
        shares = ecmp("edge", reports)
        for node in self.nodes.values():
            node.cpu = node.own_load + shares.get(node.name, 0.0) * self.demand
            for vip, role in node.roles.items():
                node.cpu += self.vip_load.get(vip, 0.0) if role is Role.ACTIVE else 0.0
            load = node.cpu / node.capacity
            node.over = load >= HARD or (node.over and load >= RECOVER)

    def step(self, ms: int = 100) -> None:
        """Let time pass, deliver what has arrived, and step every node once."""
        self.now_ns += ms * MS
        self.reports = {}
        self.spread()
        self.flying.sort(key=lambda each: each[:2])
        while self.flying and self.flying[0][0] <= self.now_ns:
            _, _, to, heard = self.flying.pop(0)
            if self.nodes[to].up:
                self.nodes[to].inbox.append(heard)
        for node in self.nodes.values():
            if node.up:
                self.step_node(node)
        for check in self.checks:
            check()

    def step_node(self, node: FakeNode) -> None:
        views = self.views(node.name)
        own = self.report(node)
        resource = own.resources[0]
        load = resource.utilization or 1.0
        cause = Reason(
            "saturated",
            f"cpu at {load:.2f}, threshold {HARD:.2f}",
            {"resource": "cpu", "utilization": load, "threshold": HARD},
        )
        situation = Situation(
            condition=node.condition,
            reasons=(cause,) if node.over else (),
            serviceable=not node.broken,
            intent=OperatorIntent(node.drained, node.paused),
            peers=views,
            namesake=node.namesake,
            isolated=bool(views) and not any(v.fresh for v in views),
            resources=(resource,),
            roles=tuple(VipReport(v, role, 1, 0) for v, role in node.roles.items()),
            held=tuple(HeldAddresses(s.name, (), complete=True) for s in node.anycast),
            announced=node.announced,
        )
        heard, node.inbox = tuple(node.inbox), []
        before = in_force(EDGE, node.announced)
        node.last = node.core.step(situation, own, self.now_ns, heard)
        for move in node.last.moves:
            node.decider.order(FailoverOrdered(move.vip, move.to), self.now_ns)
        self.obey(node)
        after = in_force(EDGE, node.announced)
        if after != before:
            self.shed_log.append((self.now_ns, node.name, f"{after.stance} {after.weight}"))
        node.notes += node.last.notes
        for tell in node.last.tells:
            for delay_ns in self.link(node.name, tell.peer, tell.message):
                self.sent += 1
                heard_then = Heard(node.name, tell.message)
                self.flying.append((self.now_ns + delay_ns, self.sent, tell.peer, heard_then))

    def obey(self, node: FakeNode) -> None:
        """The relay and the engine, at once."""
        assert node.last is not None
        announced = []
        for stance in node.last.decision.anycast:
            if stance.stance != "withdrawn":
                shut = stance.stance == "shut"
                announced.append(
                    Announcement(stance.service, ("192.0.2.1/32",), shut, stance.weight)
                )
        if node.last.decision.announces:
            node.announced = tuple(announced)
        for wanted in node.last.decision.stances:
            if not wanted.contend and node.roles[wanted.vip] is not Role.RELEASED:
                was = node.roles[wanted.vip]
                node.roles[wanted.vip] = Role.RELEASED
                if was is Role.ACTIVE:
                    heir = node.decider.heir(wanted.vip, self.views(node.name))
                    if heir is not None:
                        self.nodes[heir].roles[wanted.vip] = Role.ACTIVE
            elif wanted.contend and node.roles[wanted.vip] is Role.RELEASED:
                node.roles[wanted.vip] = Role.BACKUP

    def run(self, seconds: float, ms: int = 0) -> None:
        ms = ms or (100 if seconds <= 5 else 250)
        for _ in range(int(seconds * 1000 / ms)):
            self.step(ms)

    def until(self, true: Callable[[], bool], seconds: float = 60, ms: int = 0) -> None:
        ms = ms or (100 if seconds <= 5 else 250)
        for _ in range(int(seconds * 1000 / ms)):
            if true():
                return
            self.step(ms)
        told = {n.name: (n.rung(), n.cpu, n.holding) for n in self.nodes.values()}
        raise AssertionError(f"not within {seconds} s: {told}")
