"""One machine: power, clock, kernel, proxy, and the processes of the agent."""

from collections.abc import Callable
from typing import Final, Protocol

from haman.core.announcements import Announcement
from haman.core.facts import EngineReported, HoldersSaid
from haman.core.handover.pivot_facts import TailNote
from haman.core.permits import Message, VipMove
from haman.core.situation import OperatorIntent
from haman.core.vrrp.group import Key
from haman.core.vrrp.messages import AdvertisementReceived, SendAdvertisement
from haman.core.words import Reason
from haman.sim.around import Declared
from haman.sim.bgp import Relay
from haman.sim.clocks import Clock
from haman.sim.controller import LINK_NS, Controller
from haman.sim.engine import Engine
from haman.sim.kernel import Kernel
from haman.sim.network import MESH, NS_PER_MS, WIRE
from haman.sim.peers import SCHEMA, Posted
from haman.sim.plans import NS_PER_S, NodePlan
from haman.sim.process import Process
from haman.sim.server import Server
from haman.sim.steering import Steering
from haman.sim.streams import Streams
from haman.sim.surroundings import Surroundings, Troubles

BOOT_NS: Final = NS_PER_S
CONTROLLER_START_NS: Final = 400 * NS_PER_MS
RESTART_NS: Final = NS_PER_S
"""systemd's, and the engine's for a controller that ended."""
BACKLOG_S: Final = 2.0
"""Of work that an accept queue holds."""


class World(Surroundings, Protocol):
    """The surroundings, with all hosts in them."""

    hosts: "dict[str, Host]"


class Host:
    """A machine of the cluster."""

    def __init__(
        self, world: World, plan: NodePlan, streams: Streams, late_ns: int, drift_ppm: int
    ) -> None:
        self._world = world
        self._random = random = streams.of(f"host {plan.name}")
        self.plan = plan
        self.name = plan.name
        self.troubles = Troubles(late_ns=late_ns)
        self.clock = Clock(world.loop, drift_ppm, random.randrange(10**9, 10**14))
        self.kernel = Kernel(world.loop, random)
        self.server = Server(plan.capacity, plan.client_timeout_ns / 1e9, plan.capacity * BACKLOG_S)
        self.engine_process = self._process()
        self.controller_process = self._process()
        self.relay_process = self._process()
        self.keeper = self._process()
        self.relay = Relay(
            self.name,
            loop=world.loop,
            random=random,
            process=self.relay_process,
            routers=world.routers,
            changed=self.session_changed,
        )
        self.steering = Steering(
            self.clock,
            streams.of(f"steering {plan.name}"),
            engine=self.engine_process,
            child=self.keeper,
            count=lambda service: world.connections.at(plan.name, service),
            changed=lambda: self.engine_said(self.engine.report()),
        )
        self.engine = Engine(
            plan, self.clock, self.engine_process, self.kernel, self, steering=self.steering
        )
        self.controller: Controller | None = None
        self.intent = OperatorIntent()
        self.powered = False
        self.paused = 0
        self.down = 0
        """Faults that keep its power off."""
        self.lives = 0

    @property
    def _processes(self) -> tuple[Process, ...]:
        return (self.engine_process, self.controller_process, self.relay_process, self.keeper)

    def _process(self) -> Process:
        return Process(self._world.loop, self.clock, self._late_ns)

    def _late_ns(self) -> int:
        return int(self._random.random() * self.troubles.late_ns)

    # ---- life ----------------------------------------------------------------------------------

    def boot(self) -> None:
        """Power comes on."""
        if self.powered or self.down:
            return
        self.powered = True
        self.kernel.clear()
        self.server.alive = True
        self.note("boots")
        self._world.loop.after(BOOT_NS, self._start_engine)

    def power_off(self) -> None:
        """Everything is gone at once."""
        self.powered = False
        self.note("power is off")
        for process in (self.engine_process, self.controller_process):
            process.die()
        self.controller = None
        self.steering.clear()
        self.relay.end()
        self.kernel.clear()
        self.server.reset()

    def _start_engine(self) -> None:
        if not self.powered or self.engine_process.alive:
            return
        self.engine_process.start()
        self.engine.ending = False
        self.engine.start()
        self.relay.start()
        self.engine_process.soon(CONTROLLER_START_NS, self._start_controller)

    def _start_controller(self) -> None:
        if self.controller_process.alive:
            return
        self.lives += 1
        self.controller_process.start()
        names = tuple(name for name in self._world.hosts if name != self.name)
        self.controller = Controller(
            self.plan,
            names=names,
            life=self.lives,
            clock=self.clock,
            process=self.controller_process,
            server=self.server,
            around=self,
        )
        if self.server.alive:
            self.controller.proxy_found(self.server.serving)
        else:
            self.controller.proxy_died()
        self.controller.start()

    def kill_controller(self) -> None:
        """It ends; the engine keeps what it holds and starts another."""
        self.controller_process.die()
        self.controller = None
        self.note("controller killed")
        self.engine_process.soon(RESTART_NS, self._start_controller)

    def kill_engine(self) -> None:
        """It ends; its guard lets go of everything, and the service is started again."""
        if not self.engine_process.alive:
            return
        self.note("engine killed")
        self.engine_process.die()
        self.controller_process.die()
        self.controller = None
        self.steering.clear()
        self.engine.last_words()
        self.relay.end()
        self._world.loop.after(RESTART_NS, self._start_engine)

    def pause_machine(self) -> None:
        """The hypervisor stops everything."""
        self.paused += 1
        if self.paused == 1:
            self.kernel.stop()
            for process in self._processes:
                process.stop()
            self._world.routers.look(self.name)

    def resume_machine(self, paused_ns: int, *, counted: bool) -> None:
        """It goes on; `counted`: its monotonic clock ran meanwhile."""
        self.paused -= 1
        if self.paused:
            return
        if not counted:
            self.clock.leap(-paused_ns)
        self.kernel.go_on(counted=counted)
        for process in self._processes:
            process.go_on()
        self._world.routers.look(self.name)

    def kill_proxy(self) -> None:
        """Nothing serves any more."""
        (process,) = self.server.serving.processes
        self.server.alive = False
        self.server.reset()
        self.engine_process.post(0, lambda: self.engine.proxy_ended(process))
        self._tell_controller(lambda c: c.proxy_died())

    def start_proxy(self) -> None:
        """It serves again."""
        if self.powered:
            self.server.alive = True
            found = self.server.serving
            self._tell_controller(lambda c: c.proxy_found(found))

    def reload(self, plan: NodePlan) -> None:
        """Another configuration."""
        self.plan = plan
        if self.engine_process.alive:
            self.engine_process.post(LINK_NS, lambda: self.engine.reconfigure(plan))
        alive = self.server.alive
        self._tell_controller(lambda c: c.reconfigure(plan, proxy_alive=alive))

    @property
    def connections(self) -> int:
        """To its anycast services, of those that are known one by one."""
        return sum(self._world.connections.at(self.name, a.name) for a in self.plan.anycast)

    @property
    def reachable(self) -> bool:
        """Packets find somebody."""
        return self.powered and not self.paused

    @property
    def serves(self) -> bool:
        """Whoever reaches its proxy is served."""
        return self.reachable and self.server.alive and not self.troubles.deaf

    @property
    def agent_runs(self) -> bool:
        """All of it."""
        processes = (self.engine_process, self.controller_process)
        return self.reachable and all(process.running for process in processes)

    @property
    def well(self) -> bool:
        """It could carry services, and knows it, given time."""
        return self.serves and self.agent_runs and not self.intent.drained

    # ---- around the engine ---------------------------------------------------------------------

    def multicast(self, key: Key, advert: SendAdvertisement) -> None:
        """To everybody on the link."""
        received = AdvertisementReceived(
            advert.advertisement, advert.source, advert.destinations[0]
        )
        for other in self._world.hosts.values():
            if other is not self:
                self._world.network.send(
                    (WIRE, self.name, other.name),
                    lambda other=other: other.wire_received(key, received),  # type: ignore[misc]
                )

    def wire_received(self, key: Key, received: AdvertisementReceived) -> None:
        """An advert is here."""
        if self.reachable and self.engine_process.alive:
            self.engine.receive(key, received)

    def engine_said(self, report: EngineReported) -> None:
        """To the controller."""
        self._tell_controller(lambda c: c.engine_said(report))

    def vip_released(self, vip: str, reasons: tuple[Reason, ...]) -> None:
        """To the controller."""
        self._tell_controller(lambda c: c.vip_released(vip, reasons))

    def _tell_controller(self, tell: Callable[[Controller], None]) -> None:
        controller = self.controller
        if controller is not None:
            self.controller_process.post(LINK_NS, lambda: tell(controller))

    # ---- around the controller -----------------------------------------------------------------

    def declare(self, wanted: Declared) -> None:
        """To the engine."""
        self.engine_process.post(LINK_NS, lambda: self.engine.declare(wanted))

    def order(self, vip: str, reasons: tuple[Reason, ...]) -> None:
        """To the engine."""
        self.engine_process.post(LINK_NS, lambda: self.engine.order(vip, reasons))

    def holders_said(self, said: HoldersSaid) -> None:
        """To the engine."""
        self.engine_process.post(LINK_NS, lambda: self.engine.holders_said(said))

    def announce(self, wanted: tuple[Announcement, ...]) -> None:
        """To the relay."""
        self.relay.declare(wanted)

    def announced(self) -> tuple[Announcement, ...] | None:
        """What the relay holds."""
        return self.relay.announced if self.relay.alive else None

    def sessions_up(self) -> int:
        """Routers that hear this host."""
        return int(self._world.routers.is_up(self.name))

    def session_changed(self) -> None:
        """The relay has acknowledged something, or a session with the routers came or went."""
        self._tell_controller(lambda c: c.relay_said())

    def look_at_session(self) -> None:
        """The way to the routers is another one."""
        self._world.routers.look(self.name)

    def greet(self) -> None:
        """To every peer, which answers with a report."""
        for name, other in self._world.hosts.items():
            if name != self.name:
                path = (MESH, self.name, name)
                self._world.network.send(path, lambda other=other: other.greeted(self.name))  # type: ignore[misc]

    def greeted(self, peer: str) -> None:
        """A peer has started."""
        controller = self.controller
        if self.reachable and controller is not None:
            said = controller.posted().told(self.troubles.lies, self.troubles.schema)
            self.controller_process.post(0, lambda: self.post(peer, said))

    def publish(self, posted: Posted) -> None:
        """To every peer."""
        said = posted.told(self.troubles.lies, self.troubles.schema)
        for name in self._world.hosts:
            if name != self.name:
                self.post(name, said)

    def post(self, to: str, said: Posted) -> None:
        """To one peer, on the way that leads from here."""
        other = self._world.hosts[to]
        self._world.network.send((MESH, self.name, to), lambda: other.mesh_received(said))

    def mesh_received(self, posted: Posted) -> None:
        """A report is here."""
        controller = self.controller
        if self.reachable and controller is not None:
            self.controller_process.post(0, lambda: self._read(controller, posted))

    def _read(self, controller: Controller, posted: Posted) -> None:
        if posted.schema == SCHEMA:
            self._world.reported(self.name, posted.report.node)
        controller.heard(posted)

    def tell_released(self, heir: str, vip: str, reasons: tuple[Reason, ...]) -> None:
        """To the heir."""
        other = self._world.hosts[heir]
        self._world.network.send(
            (MESH, self.name, heir), lambda: other.released_received(self.name, vip, reasons)
        )

    def released_received(self, peer: str, vip: str, reasons: tuple[Reason, ...]) -> None:
        """A peer says that a VIP is free."""
        controller = self.controller
        if self.reachable and controller is not None:
            self.controller_process.post(0, lambda: controller.peer_released(peer, vip, reasons))

    def probe(self) -> bool:
        """Whether the proxy answers in time."""
        timeout_s = self.plan.probe_timeout_ns / 1e9
        return self.server.alive and not self.troubles.deaf and self.server.delay_s < timeout_s

    def served(self) -> int:
        """New clients served lately."""
        answers = self.server.alive and not self.troubles.deaf
        return round(self.server.handshakes_per_s) if answers else 0

    def tell(self, peer: str, message: Message) -> None:
        """To one peer."""
        other = self._world.hosts[peer]
        self._world.told(self.name, peer, message)
        self._world.network.send(
            (MESH, self.name, peer), lambda: other.permit_received(self.name, message)
        )

    def permit_received(self, peer: str, message: Message) -> None:
        """A peer's word about permits is here."""
        controller = self.controller
        if self.reachable and controller is not None:
            self.controller_process.post(0, lambda: self._pass_on(controller, peer, message))

    def _pass_on(self, controller: Controller, peer: str, message: Message) -> None:
        self._world.heard(self.name, peer, message)
        controller.told(peer, message)

    def moves(self, move: VipMove) -> None:
        """For checkers."""
        self._world.moves(self.name, move)

    def tail_noted(self, service: str, note: TailNote) -> None:
        """For checkers."""
        self._world.tail_noted(self.name, service, note)

    def gate_changed(self) -> None:
        """For checkers."""
        self._world.gate_changed(self.name)

    def note(self, what: str, why: str = "") -> None:
        """Into the transcript."""
        self._world.note(self.name, what, why)
