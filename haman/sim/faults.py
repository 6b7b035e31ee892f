"""What goes wrong: a schedule drawn from the seed, and how each fault begins and ends."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from haman.core.reports import NodeReport
from haman.sim.host import Host
from haman.sim.lies import LIES, lied
from haman.sim.load import Load
from haman.sim.network import BGP, MESH, NS_PER_MS, WIRE, Network, Quality
from haman.sim.options import NETWORK_FAULTS, Options
from haman.sim.peers import SCHEMA, Posted
from haman.sim.plans import NS_PER_S, varied

CHANNELS: Final = (WIRE, MESH, BGP)
EARLIEST_NS: Final = 4 * NS_PER_S
"""All hosts are up by then."""
TWIN_EVERY_NS: Final = 200 * NS_PER_MS
TWIN_LIFE: Final = 1_000_000
LOOK_NS: Final = NS_PER_S // 2
"""How often whoever restarts a drained node looks whether it may, and how long that takes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: see `options.KINDS`.
        node: that it happens to; "" = everybody.
        other: the far end of a path, the target of a failover, the channel of an isolation.
        amount: its size, by kind: of a surge, how many times the load; of a loss, the part.
    """

    at_ns: int
    for_ns: int
    kind: str
    node: str = ""
    other: str = ""
    amount: float = 0.0
    channel: str = ""

    def __str__(self) -> str:
        where = f" {self.node}" if self.node else ""
        where += f" → {self.other}" if self.other else ""
        where += f" on {self.channel}" if self.channel else ""
        size = f" {self.amount:g}" if self.amount else ""
        return (
            f"{self.at_ns / 1e9:8.3f} s  for {self.for_ns / 1e9:7.3f} s  {self.kind}{where}{size}"
        )


def draw(options: Options, random: Random) -> tuple[Fault, ...]:
    """The schedule of a seed, in order."""
    names = [node.name for node in options.nodes]
    found = []
    for _ in range(options.faults):
        kind = random.choice(options.kinds)
        at_ns = random.randrange(EARLIEST_NS, options.safety_ns)
        longest_s = random.choice((0.3, 2.0, 8.0, 20.0))
        for_ns = int(random.uniform(0.05, 1.0) * longest_s * NS_PER_S)
        node, other = random.sample(names, 2)
        amount, channel = 0.0, ""
        if kind in NETWORK_FAULTS:
            channel = random.choice(CHANNELS[: 3 if options.nodes[0].anycast else 2])
            amount = random.choice((0.05, 0.2, 0.3)) if kind == "lossy" else 0.0
            other = "" if kind == "isolate" or channel == BGP else other
        elif kind == "surge":
            node, other, amount = "", "", random.choice((1.3, 2.0, 4.0))
        elif kind == "storm":
            node = other = ""
        elif kind != "failover":
            other = ""
            amount = random.random() if kind not in ("twin", "drain", "pause") else 0.0
        found.append(Fault(at_ns, for_ns, kind, node, other, round(amount, 4), channel))
    return tuple(sorted(found, key=lambda f: f.at_ns))


class Faults:
    """Begins and ends faults in a world."""

    def __init__(self, hosts: dict[str, Host], network: Network, load: Load, most_ns: int) -> None:
        self._hosts = hosts
        self._network = network
        self._load = load
        self.most_ns = most_ns
        """By then each is over."""
        self.active: list[Fault] = []
        self.changed_ns = 0
        """When a fault last began or ended."""
        self.hits: dict[str, int] = {}
        """The same, by kind."""

    def schedule(self, faults: tuple[Fault, ...], note: Callable[[str], None]) -> None:
        """Have all of them happen; each has ended when the first phase ends."""
        loop = self._network.loop
        for fault in faults:
            loop.at(fault.at_ns, lambda fault=fault: self._begin(fault, note))  # type: ignore[misc]

    def _begin(self, fault: Fault, note: Callable[[str], None]) -> None:
        loop = self._network.loop
        note(f"fault: {str(fault)[12:]}")
        undo = getattr(self, f"_{fault.kind.replace('-', '_')}")(fault)
        self.changed_ns = self.hits[fault.kind] = loop.now_ns
        if undo is None:
            return
        self.active.append(fault)
        end_ns = min(fault.at_ns + fault.for_ns, self.most_ns)
        loop.at(end_ns, lambda: self._end(fault, undo, note))

    def _end(self, fault: Fault, undo: Callable[[], None], note: Callable[[str], None]) -> None:
        self.active.remove(fault)
        self.changed_ns = self.hits[fault.kind] = self._network.loop.now_ns
        note(f"over: {fault.kind} {fault.node}")
        undo()

    # ---- machines and processes ----------------------------------------------------------------

    def _power_off(self, fault: Fault) -> Callable[[], None]:
        host = self._hosts[fault.node]
        host.down += 1
        if host.powered:
            host.power_off()

        def undo() -> None:
            host.down -= 1
            host.boot()

        return undo

    def _pause_machine(self, fault: Fault) -> Callable[[], None]:
        host, since_ns = self._hosts[fault.node], self._network.loop.now_ns
        host.pause_machine()
        counted = fault.amount < 0.5
        return lambda: host.resume_machine(
            self._network.loop.now_ns - since_ns, counted=counted or host.paused > 1
        )

    def _stop_engine(self, fault: Fault) -> Callable[[], None]:
        process = self._hosts[fault.node].engine_process
        process.stop()
        return process.go_on

    def _stop_controller(self, fault: Fault) -> Callable[[], None]:
        process = self._hosts[fault.node].controller_process
        process.stop()
        return process.go_on

    def _kill_controller(self, fault: Fault) -> None:
        host = self._hosts[fault.node]
        if host.controller_process.alive:
            host.kill_controller()

    def _kill_engine(self, fault: Fault) -> None:
        self._hosts[fault.node].kill_engine()

    def _kill_relay(self, fault: Fault) -> None:
        host = self._hosts[fault.node]
        if host.relay_process.alive:
            host.relay.end()
            host.engine_process.soon(NS_PER_S, host.relay.start)

    def _late(self, fault: Fault) -> Callable[[], None]:
        troubles = self._hosts[fault.node].troubles
        more_ns = int(fault.amount * 150 * NS_PER_MS)
        troubles.late_ns += more_ns

        def undo() -> None:
            troubles.late_ns -= more_ns

        return undo

    # ---- proxies -------------------------------------------------------------------------------

    def _kill_proxy(self, fault: Fault) -> Callable[[], None]:
        host = self._hosts[fault.node]
        host.kill_proxy()
        return host.start_proxy

    def _deaf_proxy(self, fault: Fault) -> Callable[[], None]:
        troubles = self._hosts[fault.node].troubles
        troubles.deaf += 1

        def undo() -> None:
            troubles.deaf -= 1

        return undo

    def _slow_proxy(self, fault: Fault) -> Callable[[], None]:
        server = self._hosts[fault.node].server
        times = 1.0 + 3.0 * fault.amount
        server.slowness *= times

        def undo() -> None:
            server.slowness /= times

        return undo

    # ---- clocks --------------------------------------------------------------------------------

    def _wall_jump(self, fault: Fault) -> Callable[[], None]:
        clock = self._hosts[fault.node].clock
        by_ns = int((fault.amount - 0.5) * 10**9 * NS_PER_S)
        clock.wall_offset_ns += by_ns

        def undo() -> None:
            clock.wall_offset_ns -= by_ns

        return undo

    def _clock_leap(self, fault: Fault) -> None:
        self._hosts[fault.node].clock.leap(int(fault.amount * 20 * NS_PER_S))

    def _clock_drift(self, fault: Fault) -> Callable[[], None]:
        clock = self._hosts[fault.node].clock
        clock.drift(int((fault.amount - 0.5) * 20_000))
        return lambda: clock.drift(0)

    # ---- reports -------------------------------------------------------------------------------

    def _lie(self, fault: Fault) -> Callable[[], None]:
        troubles = self._hosts[fault.node].troubles
        told = LIES[int(fault.amount * len(LIES))]

        def lie(report: NodeReport) -> NodeReport:
            return lied(report, told)

        troubles.lies += (lie,)

        def undo() -> None:
            troubles.lies = tuple(each for each in troubles.lies if each is not lie)

        return undo

    def _other_schema(self, fault: Fault) -> Callable[[], None]:
        troubles = self._hosts[fault.node].troubles
        troubles.schema = SCHEMA + 1

        def undo() -> None:
            troubles.schema = SCHEMA

        return undo

    def _twin(self, fault: Fault) -> Callable[[], None]:
        """Another agent with this node's name, somewhere, that reports an idle node in service to all."""
        host, loop = self._hosts[fault.node], self._network.loop
        over = False

        def say(counter: int) -> None:
            if over:
                return
            if host.controller is not None:
                said = Posted(lied(host.controller.report(), "empty"), TWIN_LIFE, counter)
                for name in self._hosts:
                    host.post(name, said)
            loop.after(TWIN_EVERY_NS, lambda: say(counter + 1))

        say(loop.now_ns)

        def undo() -> None:
            nonlocal over
            over = True

        return undo

    # ---- operators -----------------------------------------------------------------------------

    def _drain(self, fault: Fault) -> Callable[[], None]:
        return self._intend(self._hosts[fault.node], drained=True)

    def _restart(self, fault: Fault) -> Callable[[], None]:
        """Drained, and restarted, agent and proxy, once its tail is over; if it is in time."""
        host, loop = self._hosts[fault.node], self._network.loop
        end_ns = min(loop.now_ns + fault.for_ns, self.most_ns)

        def look() -> None:
            if loop.now_ns >= end_ns:
                return
            if not _is_free(host):
                loop.after(LOOK_NS, look)
                return
            host.kill_engine()
            host.kill_proxy()
            loop.after(LOOK_NS, host.start_proxy)

        loop.after(LOOK_NS, look)
        return self._intend(host, drained=True)

    def _pause(self, fault: Fault) -> Callable[[], None]:
        return self._intend(self._hosts[fault.node], paused=True)

    @staticmethod
    def _intend(host: Host, **intent: bool) -> Callable[[], None]:
        host.intent = replace(host.intent, **intent)  # type: ignore[arg-type]

        def undo() -> None:
            host.intent = replace(host.intent, **dict.fromkeys(intent, False))  # type: ignore[arg-type]

        return undo

    def _failover(self, fault: Fault) -> None:
        host = self._hosts[fault.node]
        controller, vips = host.controller, host.plan.vips
        if vips and controller is not None and host.controller_process.running:
            controller.order_failover(vips[0].name, fault.other)

    def _reload(self, fault: Fault) -> Callable[[], None]:
        """Another configuration, and the old one back when it is over."""
        host = self._hosts[fault.node]
        before = host.plan
        host.reload(varied(before, fault.amount))
        return lambda: host.reload(before)

    # ---- kernel, network, load -----------------------------------------------------------------

    def _steal_address(self, fault: Fault) -> None:
        host = self._hosts[fault.node]
        for key in host.kernel.held():
            host.engine.address_removed(key)

    def _cut(self, fault: Fault) -> Callable[[], None]:
        other = fault.other or "router"
        return self._cut_all(
            [(fault.channel, fault.node, other), (fault.channel, other, fault.node)]
        )

    def _cut_one_way(self, fault: Fault) -> Callable[[], None]:
        return self._cut_all([(fault.channel, fault.node, fault.other or "router")])

    def _isolate(self, fault: Fault) -> Callable[[], None]:
        others = ["router"] if fault.channel == BGP else [n for n in self._hosts if n != fault.node]
        ways = [((fault.channel, fault.node, o), (fault.channel, o, fault.node)) for o in others]
        return self._cut_all([path for both in ways for path in both])

    def _cut_all(self, paths: list[tuple[str, str, str]]) -> Callable[[], None]:
        for path in paths:
            self._network.cut(path)
        self._look(paths)

        def undo() -> None:
            for path in paths:
                self._network.mend(path)
            self._look(paths)

        return undo

    def _look(self, paths: list[tuple[str, str, str]]) -> None:
        for channel, one, other in paths:
            if channel == BGP:
                host = self._hosts[one if one in self._hosts else other]
                host.look_at_session()

    def _lossy(self, fault: Fault) -> Callable[[], None]:
        if fault.channel == BGP:
            return lambda: None
        path = (fault.channel, fault.node, fault.other)
        normal = self._network.quality
        worse = Quality(
            normal.least_ns, normal.spread_ns * 3, fault.amount, normal.twice + 0.1, 0.1
        )
        self._network.spoil(path, worse)
        return lambda: self._network.spoil(path, None)

    def _surge(self, fault: Fault) -> Callable[[], None]:
        for clients in self._load.services.values():
            clients.factor *= fault.amount

        def undo() -> None:
            for clients in self._load.services.values():
                clients.factor /= fault.amount

        return undo

    def _hot(self, fault: Fault) -> Callable[[], None]:
        """Routers hash more clients to one node than its share."""
        skew, times = self._load.skew, 1.5 + 3.0 * fault.amount
        skew[fault.node] = skew.get(fault.node, 1.0) * times

        def undo() -> None:
            skew[fault.node] /= times

        return undo

    def _storm(self, _fault: Fault) -> None:
        for clients in self._load.services.values():
            clients.storm()


def _is_free(host: Host) -> bool:
    """Nothing is left on a drained node, and it steers for nobody."""
    controller = host.controller
    rests = controller is not None and controller.tails.idle and host.steering.idle
    return rests and host.announced() == () and not host.connections
