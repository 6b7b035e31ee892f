"""A cluster of a pair that does as the test says: what the API, the CLI and the TUI are tested on.

    agent = FakeAgent()                     # lb1 serves "web", lb2 stands by
    agent.kill_proxy("lb1")                 # lb2 takes over, events are emitted
    agent.set_utilization("lb2", "tls", 0.93)
    agent.lose("lb2")                       # no reports from it any more
    agent.refusal = Refused("unsafe", "…")  # the next wishes are refused with this

Time stands still (`agent.now_ns`) until the test moves it. `tests.api.fake_anycast` makes anycast
clusters of it.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from haman.config.model import Api, Cluster, Config, Node, Peer, Proxy, Vip
from haman.controller.surface import Accepted, ClusterSnapshot, JournalEntry, Outcome, Refused
from haman.core.announcements import AnycastReport, BfdReport, ExabgpReport, NeighborReport
from haman.core.facts import EngineReported, LatenessReport, VipReport
from haman.core.headroom import Headroom, LossScenario, SurvivorLoad, Verdict
from haman.core.reports import NodeReport, PeerView
from haman.core.words import (
    Alert,
    Condition,
    Confidence,
    Event,
    Reason,
    Role,
    Severity,
    Stance,
    Utilization,
)

START_NS = 1_795_176_150_000_000_000
"""2026-11-20T12:02:30Z."""
SECOND_NS = 1_000_000_000
FOLLOW_MAX = 64

WEB = Vip(name="web", interface="eth0", vrid=51, priority=150, addresses=("10.77.0.100/24",))


@dataclass
class FakeNode:
    """What the test may change of one node."""

    name: str
    priority: int
    role: Role | None  # None = the node has no VIP
    condition: Condition = Condition.IN_SERVICE
    reasons: tuple[Reason, ...] = ()
    role_reasons: tuple[Reason, ...] = ()
    since_ns: int = START_NS
    connections: int = 0
    drained: bool = False
    proxy_up: bool = True
    heard: bool = True
    age_ms: float = 120.0
    fresh: bool = True
    anycast: AnycastReport | None = None
    neighbors: tuple[NeighborReport, ...] = ()
    used: dict[str, float] = field(default_factory=lambda: {"cpu": 0.41, "fds": 900, "tls": 0.2})

    CEILINGS = {"cpu": (1.0, "cores"), "fds": (20_000.0, "count"), "tls": (0.9, "core-s/s")}  # noqa: RUF012 - a constant

    def report(self, *, paused: bool) -> NodeReport:
        """What the node says of itself."""
        held = WEB.addresses if self.role is Role.ACTIVE else ()
        return NodeReport(
            node=self.name,
            site="ams1" if self.name == "lb1" else "ams2",
            version="0.1.0",
            condition=self.condition,
            reasons=self.reasons,
            proxy_kind="haproxy",
            proxy_version="2.6.12",
            proxy_up=self.proxy_up,
            resources=tuple(
                Utilization(name, used, *self.CEILINGS[name], Confidence.MEASURED, 120.0)
                for name, used in self.used.items()
            ),
            connections=self.connections,
            vips=self._vips(self.role, held) if self.role else (),
            drained=self.drained,
            paused=paused,
            lateness_p99_ms=0.3,
            realtime=True,
            addresses={"web": WEB.addresses} if self.role else {},
            anycast=(self.anycast,) if self.anycast else (),
            neighbors=self.neighbors,
        )

    def _vips(self, role: Role, held: tuple[str, ...]) -> tuple[VipReport, ...]:
        priority = self.priority if role is not Role.RELEASED else 0
        return (VipReport("web", role, priority, self.since_ns, self.role_reasons, held),)


class FakeAgent:
    """Stands in for the controller of lb1; see the module's text."""

    def __init__(
        self,
        *,
        socket: str = "/run/haman/haman.sock",
        metrics: str = "",
        group: str = "",
        readers: str = "",
    ) -> None:
        self.config = Config(
            node=Node("lb1", "ams1"),
            cluster=Cluster("edge", peer=(Peer("lb2", ("10.77.0.12:4710",)),)),
            proxy=Proxy("haproxy", socket="/run/haproxy/admin.sock"),
            vip=(WEB,),
            api=Api(socket, group, metrics, readers),
        )
        self.now_ns = START_NS + 41 * SECOND_NS
        self.paused = False
        self.nodes = {
            "lb1": FakeNode("lb1", 150, Role.ACTIVE, connections=812),
            "lb2": FakeNode("lb2", 100, Role.BACKUP),
        }
        self.alerts: tuple[Alert, ...] = ()
        self.verdict = Verdict.OK
        self.engine_alive = True
        self.bfd: tuple[BfdReport, ...] = ()
        self.exabgp: ExabgpReport | None = None
        self.refusal: Refused | None = None
        self.wishes: list[tuple[str, ...]] = []
        self._journal: list[JournalEntry] = []
        self._followers: set[asyncio.Queue[JournalEntry]] = set()

    # What the API uses.

    def snapshot(self) -> ClusterSnapshot:
        """As lb1 knows it."""
        peers = tuple(
            PeerView(n.name, n.report(paused=self.paused) if n.heard else None, n.age_ms, n.fresh)
            for n in self.nodes.values()
            if n.name != "lb1"
        )
        own = self.nodes["lb1"].report(paused=self.paused)
        engine = EngineReported(
            generation=1,
            vips=own.vips,
            lateness=LatenessReport(0.1, 0.3, 0.9, ((0.001, 90), (0.01, 100)), 0.05, 100),
            counters={
                "advertisements_sent": 41,
                "advertisements_received": 7,
                "error:checksum": 2,
                "netlink_overruns": 1,
            },
            realtime=True,
            bfd=self.bfd,
            exabgp=self.exabgp,
        )
        return ClusterSnapshot(
            cluster="edge",
            node="lb1",
            at_ns=self.now_ns,
            paused=self.paused,
            own=own,
            peers=peers,
            alerts=self.alerts,
            headroom=self._headroom(),
            engine=engine if self.engine_alive else None,
        )

    async def drain(self, node: str, *, force: bool, plain: bool = False) -> Outcome:
        """Drain, unless `refusal` is set (and, as unsafe, not forced)."""
        name = node or "lb1"
        if refused := self._refused("drain", name, _flags(force=force, plain=plain)):
            return refused
        reason = Reason("drained", "drained by the operator")
        self.nodes[name].drained = True
        self.nodes[name].condition = Condition.DRAINED
        self.nodes[name].reasons = (reason,)
        self._move_away(name, reason)
        self.announce(name, Stance.SHUT, reason)
        self.emit("operator-drained", f"{name} was drained by the operator", service="")
        return Accepted(f"{name} is drained", (reason,))

    async def undrain(self, node: str) -> Outcome:
        """Back into service, as a backup."""
        name = node or "lb1"
        if refused := self._refused("undrain", name):
            return refused
        found = self.nodes[name]
        found.drained, found.condition, found.reasons = False, Condition.IN_SERVICE, ()
        if found.role:
            found.role, found.role_reasons, found.since_ns = Role.BACKUP, (), self.now_ns
        self.announce(name, Stance.FULL)
        return Accepted(f"{name} is back in service")

    async def failover(self, vip: str, to: str, *, force: bool, plain: bool = False) -> Outcome:
        """Swap the roles."""
        if vip != "web":
            return Refused("unknown-vip", f'there is no VIP "{vip}"; known: web')
        if refused := self._refused("failover", vip, to, _flags(force=force, plain=plain)):
            return refused
        holder = next((n for n in self.nodes.values() if n.role is Role.ACTIVE), None)
        if holder is None:
            return Refused("not-held", "web has no holder")
        self._move_away(holder.name, Reason("failover", "failover by the operator"))
        holder.role = Role.BACKUP
        return Accepted(f"web moves from {holder.name}")

    async def pause(self) -> Outcome:
        """Hold."""
        if refused := self._refused("pause"):
            return refused
        self.paused = True
        return Accepted("automatic moves are held")

    async def resume(self) -> Outcome:
        """Go on."""
        if refused := self._refused("resume"):
            return refused
        self.paused = False
        return Accepted("automatic moves go on")

    def events(self, since: int, limit: int) -> tuple[JournalEntry, ...]:
        """Journal entries after `since`; a negative one counts from the end."""
        newer = [e for e in self._journal if e.seq > since] if since >= 0 else self._journal[since:]
        return tuple(newer[:limit])

    async def follow(self) -> AsyncIterator[JournalEntry]:
        """Live, bounded: a slow reader loses the oldest."""
        queue: asyncio.Queue[JournalEntry] = asyncio.Queue(FOLLOW_MAX)
        self._followers.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._followers.discard(queue)

    # What the test uses.

    @property
    def followers(self) -> int:
        """How many read the journal live."""
        return len(self._followers)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += int(seconds * SECOND_NS)

    def emit(
        self,
        kind: str,
        text: str,
        *,
        service: str = "web",
        node: str = "lb1",
        reasons: tuple[Reason, ...] = (),
        data: dict[str, int | float | str] | None = None,
    ) -> JournalEntry:
        """Write an event to the journal and to whoever follows it."""
        event = Event(kind, self.now_ns, text, service, reasons, data or {})
        entry = JournalEntry(len(self._journal) + 1, node, event)
        self._journal.append(entry)
        for queue in self._followers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(entry)
        return entry

    def kill_proxy(self, name: str) -> None:
        """The proxy of a node dies; the other node takes over."""
        reason = Reason("proxy-died", "proxy haproxy (pid 812) died", {"pid": 812})
        node = self.nodes[name]
        node.proxy_up, node.condition, node.reasons = False, Condition.FAULT, (reason,)
        node.connections = 0
        self._move_away(name, reason)
        self.announce(name, Stance.WITHDRAWN, reason)

    def announce(
        self, name: str, stance: Stance, *reasons: Reason, weight: int | None = None
    ) -> None:
        """A node's stance to its anycast service becomes another; without one, nothing happens."""
        node = self.nodes[name]
        was = node.anycast
        if was is None:
            return
        if weight is None:
            weight = 0 if stance is Stance.WITHDRAWN else was.full_weight
        held = was.prefixes if stance is not Stance.WITHDRAWN else ()
        node.anycast = replace(
            was, stance=stance, weight=weight, since_ns=self.now_ns, reasons=reasons, held=held
        )
        self.emit(
            "stance-changed",
            f"{was.service} is {stance} on {name}, weight {weight}",
            service=was.service,
            node=name,
            reasons=reasons,
            data={"stance": stance.value, "weight": weight},
        )

    def set_utilization(self, name: str, resource: str, utilization: float) -> None:
        """Load a node."""
        self.nodes[name].used[resource] = utilization * FakeNode.CEILINGS[resource][0]

    def saturate(self, name: str) -> None:
        """A node is busy and says so."""
        self.set_utilization(name, "tls", 0.94)
        self.nodes[name].condition = Condition.SATURATED
        self.nodes[name].reasons = (
            Reason("saturated-holding", "tls at 94 % of its ceiling; no permit to shed"),
        )
        self.alerts = (
            Alert("saturated", Severity.WARNING, f"{name}: tls at 94 %", self.now_ns, name),
        )

    def lose(self, name: str, *, age_s: float = 12) -> None:
        """No reports from a peer any more."""
        self.nodes[name].fresh, self.nodes[name].age_ms = False, age_s * 1000

    def never_heard(self, name: str) -> None:
        """A peer that is configured and never reported."""
        self.nodes[name].heard, self.nodes[name].fresh = False, False

    def conflict(self) -> None:
        """Both nodes hold the VIP."""
        for node in self.nodes.values():
            node.role = Role.ACTIVE

    def _refused(self, *wish: str) -> Refused | None:
        self.wishes.append(tuple(part for part in wish if part))
        if self.refusal and not (self.refusal.code == "unsafe" and "force" in wish):
            return self.refusal
        return None

    def _move_away(self, name: str, reason: Reason) -> None:
        giver = self.nodes[name]
        if giver.role is None:
            return
        taker = self.nodes["lb2" if name == "lb1" else "lb1"]
        held = giver.role is Role.ACTIVE
        giver.role, giver.role_reasons, giver.since_ns = Role.RELEASED, (reason,), self.now_ns
        self.emit("vip-released", f"{name} released web", node=name, reasons=(reason,))
        if held and taker.role is Role.BACKUP:
            taken = replace(reason, code="peer-released", text=f"{name} released it: {reason.text}")
            taker.role, taker.role_reasons, taker.since_ns = Role.ACTIVE, (taken,), self.now_ns
            taker.connections, giver.connections = giver.connections or taker.connections, 0
            self.emit(
                "vip-acquired", f"{taker.name} acquired web", node=taker.name, reasons=(taken,)
            )

    def _headroom(self) -> Headroom:
        scenarios = []
        for lost in self.nodes:
            stays = next(name for name in self.nodes if name != lost)
            used = {n: u / FakeNode.CEILINGS[n][0] for n, u in self.nodes[stays].used.items()}
            other = {n: u / FakeNode.CEILINGS[n][0] for n, u in self.nodes[lost].used.items()}
            after = {name: used[name] + other.get(name, 0.0) for name in used}
            worst = max(after, key=lambda n: after[n])
            load = SurvivorLoad(stays, worst, "steady", after[worst])
            scenarios.append(LossScenario((lost,), self.verdict, (load,)))
        worst_one = max(scenarios, key=lambda s: s.survivors[0].utilization or 0.0)
        return Headroom(self.verdict, worst_one, tuple(scenarios))


def _flags(**given: bool) -> str:
    return " ".join(name for name, is_set in given.items() if is_set)
