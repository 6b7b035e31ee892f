"""A whole node but for its kernel: a controller with a fake engine, fake senses and real UDP."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from haman.bgp.surface import AnnouncerSnapshot
from haman.cluster.channel import RandomBytes
from haman.cluster.mesh import Mesh
from haman.cluster.transport import UdpTransport
from haman.config.model import (
    Anycast,
    Bgp,
    Cluster,
    Config,
    Hooks,
    Neighbor,
    Node,
    Peer,
    State,
    Vip,
)
from haman.controller.controller import Controller
from haman.controller.engine_side import EngineSide
from haman.controller.intent import IntentKeeper, IntentStore
from haman.controller.journal import Journal
from haman.controller.parts import Parts
from haman.controller.senses import SensesSnapshot
from haman.core.announcements import (
    Announcement,
    BfdReport,
    ExabgpReport,
    HeldAddresses,
    NeighborReport,
)
from haman.core.facts import (
    EngineReported,
    HoldersSaid,
    HolderWord,
    StancesDeclared,
    TakeoverOrdered,
    VipReport,
)
from haman.core.handover.messages import HandoverOrder, HandoverReport, Side, Step, VipPlace
from haman.core.handover.steering import LinkPlace, SteerOrder, SteerReport
from haman.core.words import Condition, Event, Reason, Role, Utilization
from haman.system.link import EngineEnd, pair
from tests.cluster.pair import KEY, counting_bytes, free_port, until

DIED = Reason("proxy-died", "proxy haproxy pid 123 died")


class SteppingClock:
    """The real clocks, which a test may set."""

    def __init__(self) -> None:
        self.wall_offset_ns = 0
        self.monotonic_offset_ns = 0

    def monotonic_ns(self) -> int:
        return time.monotonic_ns() + self.monotonic_offset_ns

    def wall_ns(self) -> int:
        return time.time_ns() + self.wall_offset_ns


class FakeSenses:
    """Says what the test says."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self.now = SensesSnapshot(
            condition=Condition.STARTING,
            reasons=(Reason("starting", "the first probe is under way"),),
            since_ns=0,
            serviceable=False,
            proxy_kind="haproxy",
            proxy_version="2.6.12",
            proxy_up=False,
            proxy_pids=(),
            resources=(),
            connections=None,
            alerts=(),
            counters={},
        )

    async def run(self) -> None:
        await asyncio.Event().wait()

    def snapshot(self) -> SensesSnapshot:
        return self.now

    def change(self, condition: Condition, *reasons: Reason, **more) -> None:
        up = condition in {Condition.IN_SERVICE, Condition.SATURATED}
        self.now = replace(
            self.now,
            condition=condition,
            reasons=reasons,
            proxy_up=up,
            serviceable=up,
            **more,
        )
        self._on_change()

    def load(self, cpu: float) -> None:
        self.now = replace(self.now, resources=(Utilization("cpu", cpu, 1.0, "cores"),))


class FakeEngine:
    """As much of the engine as the controller can see: roles follow stances and orders.

    Election among fakes is the test's business: a backup becomes active by `become` or by order.
    Handovers are carried out as ordered; `link` are the engines that hear this one's adverts.
    """

    def __init__(self, end: EngineEnd, vips: tuple[str, ...]) -> None:
        self._end = end
        self.roles = dict.fromkeys(vips, Role.INITIALIZE)
        self.reasons: dict[str, tuple[Reason, ...]] = {}
        self.stances: list[StancesDeclared] = []
        self.orders: list[TakeoverOrdered] = []
        self.words: list[HolderWord] = []
        self.rivals: dict[str, str] = {}
        self.source = "10.77.0.1"
        self.frozen = False
        self.obeys = True
        self.link: list[FakeEngine] = []
        self.hands_over = True
        self.problem: Reason | None = None
        self.stuck_at: Step | None = None
        self.connections = 0
        self.slow_addresses = False
        self.ending = False
        self.exabgp = ""
        self.bfd: tuple[BfdReport, ...] = ()
        self.links: tuple[LinkPlace, ...] = ()

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._end.fileno(), self.read)
        self.report()

    def stop(self) -> None:
        """As if the engine ended."""
        if self._end.fileno() < 0:
            return
        asyncio.get_running_loop().remove_reader(self._end.fileno())
        self._end.close()

    def read(self) -> None:
        if self.frozen:
            return
        received = self._end.receive()
        if received.closed:
            self.stop()
            return
        for message in received.messages:
            if isinstance(message, StancesDeclared):
                self.stances.append(message)
                if self.obeys:
                    self._obey(message)
            elif isinstance(message, HoldersSaid):
                self.words += message.words
            elif isinstance(message, TakeoverOrdered):
                self.orders.append(message)
                if self.obeys and self.roles[message.vip] is Role.BACKUP:
                    self.become(message.vip, Role.ACTIVE, *message.reasons)

    def _obey(self, declared: StancesDeclared) -> None:
        self.exabgp = declared.exabgp
        if declared.anycast:
            self.report()
        for stance in declared.vips:
            role = self.roles[stance.vip]
            if stance.contend and role not in {Role.BACKUP, Role.ACTIVE}:
                self.become(stance.vip, Role.BACKUP)
            elif not stance.contend and role is not Role.RELEASED:
                self.become(stance.vip, Role.RELEASED, *stance.reasons)
        before = self.stances[-2].handovers if len(self.stances) > 1 else ()
        if declared.handovers != before:
            self._take(declared)
            self.report()

    def _take(self, declared: StancesDeclared) -> None:
        for order in declared.handovers:
            take = order.side is Side.TAKING and order.step is Step.TAKE
            if take and self.stuck_at is not Step.TAKE and self.roles[order.vip] is Role.BACKUP:
                reason = Reason("handed-over", f"{order.peer} hands {order.vip} over")
                self.become(order.vip, Role.ACTIVE, reason)
                for other in self.link:
                    other.hear_taker(order.vip)

    def hear_taker(self, vip: str) -> None:
        """The taker's first advert came in."""
        giving = [o for o in self.handovers if o.vip == vip and o.side is Side.GIVING]
        if giving and giving[0].step is Step.TAKE and self.roles[vip] is Role.ACTIVE:
            self.become(vip, Role.BACKUP, Reason("handed-over", "the taker has taken over"))

    @property
    def handovers(self) -> tuple[HandoverOrder, ...]:
        return self.stances[-1].handovers if self.stances else ()

    def _handover(self, order: HandoverOrder) -> HandoverReport:
        reached: Step | None = order.step
        if self.problem is not None or self.stuck_at is order.step:
            reached = None if order.step is Step.READY else Step.READY
        if order.side is Side.TAKING and self.roles[order.vip] is not Role.ACTIVE:
            reached = Step.READY if reached is not None else None
        return HandoverReport(order, reached, self.problem, self.connections)

    def _steer(self, order: SteerOrder) -> SteerReport:
        count = self.connections if order.side is Side.GIVING else None
        return SteerReport(order, self.problem is None, self.problem, count)

    def _in_tail(self, vip: str) -> bool:
        giving = (o for o in self.handovers if o.vip == vip and o.side is Side.GIVING)
        return any(o.step is Step.TAIL for o in giving) and self.roles[vip] is Role.BACKUP

    def become(self, vip: str, role: Role, *reasons: Reason) -> None:
        was, self.roles[vip] = self.roles[vip], role
        self.reasons[vip] = reasons
        self.tell("role-changed", f"{vip}: {role}, was {was}", vip, reasons)
        if was is Role.ACTIVE:
            self.tell("vip-released", f"{vip} is off", vip)
        if role is Role.ACTIVE:
            self.tell("vip-acquired", f"{vip} is on", vip)
        self.report()

    def tell(self, kind: str, text: str, vip: str = "", reasons: tuple[Reason, ...] = ()) -> None:
        self._end.tell(Event(kind, time.time_ns(), text, vip, reasons))
        self._end.flush()

    def report(self) -> None:
        declared = self.stances[-1] if self.stances else StancesDeclared(0, ())
        priorities = {s.vip: s.priority for s in declared.vips}
        vips = tuple(
            VipReport(
                vip,
                Role.TAIL if self._in_tail(vip) else role,
                priorities.get(vip, 0) if role in {Role.BACKUP, Role.ACTIVE} else 0,
                1,
                self.reasons.get(vip, ()),
                ("10.77.0.100/24",) if role is Role.ACTIVE else (),
                self.rivals.get(vip, ""),
            )
            for vip, role in self.roles.items()
        )
        held = []
        for stance in declared.anycast:
            up = stance.held and not self.slow_addresses
            addresses = ("192.0.2.100/32",) if up else ()
            held.append(HeldAddresses(stance.service, addresses, up))
        exabgp = ExabgpReport(True, self.exabgp, 4711, 1) if self.exabgp else None
        self._end.report(
            EngineReported(
                declared.generation,
                vips,
                realtime=True,
                anycast=tuple(held),
                bfd=self.bfd,
                exabgp=exabgp,
                ending=self.ending,
                handovers=tuple(map(self._handover, declared.handovers)),
                steers=tuple(map(self._steer, declared.steers)),
                links=self.links,
                places=tuple(
                    VipPlace(vip, "02:00:00:00:00:01", (self.source,))
                    for vip in self.roles
                    if self.hands_over
                ),
            )
        )

    def anycast(self, service: str = "edge"):
        declared = self.stances[-1] if self.stances else StancesDeclared(0, ())
        return next((s for s in declared.anycast if s.service == service), None)

    def stance(self, vip: str = "web"):
        declared = self.stances[-1] if self.stances else StancesDeclared(0, ())
        return next((s for s in declared.vips if s.vip == vip), None)


class FakeAnnouncer:
    """As much of the BGP driver as the controller can see: a relay that obeys at once, or not."""

    def __init__(self, config: Config, on_change, tell) -> None:
        self._on_change = on_change
        self.config = config
        self.tell = tell
        self.declared: list[tuple[Announcement, ...]] = []
        self.now = AnnouncerSnapshot()
        self.obeys = True
        self.running = False
        self.end = asyncio.Event()

    def declare(self, announcements: tuple[Announcement, ...]) -> None:
        self.declared.append(announcements)
        if self.obeys and self.now.relay:
            asyncio.get_running_loop().call_soon(self.acknowledge)

    def acknowledge(self) -> None:
        if self.now.relay and self.declared:
            self.show(announced=self.declared[-1])

    def reconfigure(self, config: Config) -> None:
        self.config = config

    def snapshot(self) -> AnnouncerSnapshot:
        return self.now

    async def run(self) -> None:
        self.running = True
        try:
            await self.end.wait()
        finally:
            self.running = False

    def show(self, **more) -> None:
        self.now = replace(self.now, **more)
        self._on_change()

    def connect(self, *held: Announcement, session: str = "up") -> None:
        """The relay is reached, and says what it holds."""
        neighbors = tuple(
            NeighborReport(n.name, n.address, session, 1) for n in self.config.bgp.neighbor
        )
        self.show(relay=True, announced=held, neighbors=neighbors, digest="d1", problem="")

    def lose(self) -> None:
        neighbors = tuple(replace(n, session="unknown") for n in self.now.neighbors)
        # What it held stays on the picture: nobody may take that for what it holds.
        self.show(relay=False, neighbors=neighbors, problem="no such socket")


@dataclass
class RigNode:
    """One node."""

    controller: Controller
    engine: FakeEngine
    senses: FakeSenses
    journal: Journal
    clock: SteppingClock
    mesh: Mesh | None
    task: asyncio.Task[None] | None = None
    made: list[FakeSenses] = field(default_factory=list)
    announcers: list[FakeAnnouncer] = field(default_factory=list)

    @property
    def announcer(self) -> FakeAnnouncer:
        return self.announcers[-1]

    def service(self, name: str = "edge"):
        """This node's own word on an anycast service."""
        return self.controller.snapshot().own.service(name)

    def events(self, kind: str = "") -> list[Event]:
        return [e.event for e in self.controller.events(0, 10_000) if kind in {"", e.event.type}]

    def role(self, vip: str = "web") -> Role:
        return self.engine.roles[vip]

    def alert_codes(self) -> set[str]:
        return {a.code for a in self.controller.snapshot().alerts}


EDGE = Anycast("edge", ("192.0.2.100/32",), step_s=0.2, drain_s=0.1)
BGP = Bgp(
    65001,
    "10.0.1.2",
    neighbor=(
        Neighbor("tor1", "10.0.1.1", "10.0.1.2", 65000),
        Neighbor("tor2", "10.0.2.1", "10.0.2.2", 65000),
    ),
)


def config(  # noqa: PLR0917 - what tests vary
    directory: Path,
    name: str,
    port: int = 0,
    peers: dict[str, int] | None = None,
    priority: int = 100,
    on_event: str = "",
    vips: tuple[str, ...] = ("web",),
    interval_ms: int = 50,
    anycast: tuple[Anycast, ...] = (),
) -> Config:
    return Config(
        node=Node(name=name),
        cluster=Cluster(
            name="edge",
            listen=f"127.0.0.1:{port}",
            report_interval_ms=interval_ms,
            peer=tuple(Peer(n, (f"127.0.0.1:{p}",)) for n, p in (peers or {}).items()),
        ),
        vip=tuple(
            Vip(v, "lo", 51 + n, (f"10.77.0.{100 + n}/24",), priority) for n, v in enumerate(vips)
        ),
        bgp=BGP if anycast else None,
        anycast=anycast,
        state=State(directory=str(directory / name)),
        hooks=Hooks(on_event=on_event),
    )


@asynccontextmanager
async def node(
    settings: Config,
    seed: int = 0,
    *,
    alone: bool = False,
    roles: dict[str, Role] | None = None,
    random_bytes: RandomBytes | None = None,
    journal_connect=None,
    intent_connect=None,
) -> AsyncIterator[RigNode]:
    """A running node."""
    clock = SteppingClock()
    directory = Path(settings.state.directory)
    directory.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - once, in a test
    engine_socket, controller_socket = pair()
    from haman.system.link import ControllerEnd

    engine = FakeEngine(EngineEnd(engine_socket), tuple(v.name for v in settings.vip))
    engine.roles |= roles or {}
    transport = UdpTransport()
    mesh = None
    if not alone:
        draw = random_bytes or counting_bytes(1 + sum(settings.node.name.encode()) * 10**6 + seed)
        mesh = Mesh(
            settings.node.name,
            settings.cluster,
            (KEY,),
            random_bytes=draw,
            sink=transport,
            now_ns=clock.monotonic_ns(),
        )
    made: list[FakeSenses] = []

    def make_senses(_: Config, on_change: Callable[[], None]) -> FakeSenses:
        made.append(FakeSenses(on_change))
        return made[-1]

    announcers: list[FakeAnnouncer] = []

    def make_announcer(*arguments) -> FakeAnnouncer:
        announcers.append(FakeAnnouncer(*arguments))
        return announcers[-1]

    journal_arguments = (journal_connect,) if journal_connect else ()
    journal = Journal(directory / "journal.db", settings.node.name, *journal_arguments)
    intent_arguments = (intent_connect,) if intent_connect else ()
    parts = Parts(
        clock=clock,
        engine=EngineSide(ControllerEnd(controller_socket), clock),
        senses=make_senses,
        journal=journal,
        intent=IntentKeeper(IntentStore(directory / "intent.db", *intent_arguments)),
        mesh=mesh,
        announcer=make_announcer,
    )
    controller = Controller(settings, parts)
    if mesh is not None:
        await transport.bind(settings.cluster.listen, controller.datagram_received)
    engine.start()
    task = asyncio.get_running_loop().create_task(controller.run())
    running = RigNode(controller, engine, made[0], journal, clock, mesh, task, made, announcers)
    try:
        yield running
    finally:
        controller.stop()
        await asyncio.wait({task})
        transport.close()
        engine.stop()
        parts.engine.close()
        journal.close()
        await asyncio.sleep(0)  # the transport closes its socket in the loop's next turn
        task.result()


@asynccontextmanager
async def duo(directory: Path, **more) -> AsyncIterator[tuple[RigNode, RigNode]]:
    """lb1 (150, active) and lb2 (100, backup), both in service and fresh to each other."""
    ports = {"lb1": free_port(), "lb2": free_port()}
    one = config(directory, "lb1", ports["lb1"], {"lb2": ports["lb2"]}, 150, **more)
    two = config(directory, "lb2", ports["lb2"], {"lb1": ports["lb1"]}, 100, **more)
    async with node(one) as lb1, node(two) as lb2:
        lb1.engine.link, lb2.engine.link = [lb2.engine], [lb1.engine]
        await settle(lb1, lb2)
        yield lb1, lb2


async def settle(lb1: RigNode, lb2: RigNode) -> None:
    """Bring both into service, lb1 active on every VIP."""
    for each in (lb1, lb2):
        await until(each.engine.stance, "the first stances")
        each.senses.load(0.2)
        each.senses.change(Condition.IN_SERVICE)
    for vip in lb1.engine.roles:
        await until(partial(_is, lb1, vip, Role.BACKUP), "lb1 contends")
        await until(partial(_is, lb2, vip, Role.BACKUP), "lb2 contends")
        lb1.engine.become(vip, Role.ACTIVE, Reason("no-active-router", "no advert for 3.6 s"))
    for one, other, role in ((lb1, lb2, Role.BACKUP), (lb2, lb1, Role.ACTIVE)):
        await until(partial(sees, one, other, role), "a fresh peer")


def _is(one: RigNode, vip: str, role: Role) -> bool:
    return one.role(vip) is role


def sees(one: RigNode, other: RigNode, role: Role) -> bool:
    """Whether `one` has a fresh report in which `other` is in that role everywhere."""
    name = other.controller.config.node.name
    for peer in one.controller.snapshot().peers:
        if peer.name == name and peer.fresh and peer.report is not None:
            return all(vip.role is role for vip in peer.report.vips)
    return False
