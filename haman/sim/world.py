"""A run: the world is built, faults happen, faults end, what is left must heal; then planned moves, in some."""

from dataclasses import dataclass, replace
from typing import Final

from haman.core.handover.pivot_facts import TailNote
from haman.core.permits import Message, VipMove
from haman.sim import faults as schedule
from haman.sim import moves
from haman.sim import options as drawing
from haman.sim.bgp import ROUTER, Routers
from haman.sim.checkers import CHECKERS, LOOK_NS, Checker, Violated, overrides, pending
from haman.sim.connections import Connection, Connections
from haman.sim.faults import Fault, Faults
from haman.sim.host import Host
from haman.sim.load import STEP_NS, Clients, Load
from haman.sim.loop import Loop
from haman.sim.network import Network
from haman.sim.options import Options
from haman.sim.permit_checkers import PERMIT_CHECKERS, outstanding
from haman.sim.plans import NS_PER_S
from haman.sim.streams import Streams
from haman.sim.tail_checkers import TAIL_CHECKERS, steered
from haman.sim.transcript import Transcript

CALM_NS: Final = 5 * NS_PER_S
"""For so long all must be well before a run has healed."""
WARM_NS: Final = 2 * NS_PER_S
"""Hosts boot within this time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run.

    Attributes:
        violation: None = every invariant held, and all healed.
        ended_ns: virtual time.
        offered: clients that came for the first time.
        served: handshakes that were worth something.
        shaped: the shape was asked for, and not drawn.
    """

    options: Options
    faults: tuple[Fault, ...]
    violation: Violated | None
    transcript: Transcript
    ended_ns: int
    offered: float
    served: float
    shaped: bool = False


class World:
    """One cluster and everything around it, for one run."""

    def __init__(self, options: Options, faults: tuple[Fault, ...], streams: Streams) -> None:
        self.options = options
        self._planned = faults
        self._moves = moves.draw(options, streams.of("moves"))
        self.loop = Loop()
        self.transcript = Transcript()
        self.network = Network(self.loop, streams.of("network"), options.quality)
        self.routers = Routers(self.loop, streams.of("routers"), self.network)
        self.vips = options.nodes[0].vips
        self._keys = {v.name: tuple((v.name, f) for f in v.families) for v in self.vips}
        self.hosts: dict[str, Host] = {}
        for plan, drift_ppm in zip(options.nodes, options.drifts_ppm, strict=True):
            self.hosts[plan.name] = Host(self, plan, streams, options.late_ns, drift_ppm)
        self.load = Load(
            [Clients(name, rate, options.hold_s) for name, rate in options.rates.items()],
            dict(self.hosts),
            self.routers,
            self.holders,
        )
        self.connections = Connections(
            [each.name for each in options.nodes[0].anycast],
            dict(self.hosts),
            self.routers,
            self.network,
            random=streams.of("connections"),
            life_s=options.life_s,
            lost=self._lost,
        )
        self.faults = Faults(self.hosts, self.network, self.load, options.safety_ns)
        self.leapt: set[str] = set()
        self.checkers: list[Checker] = [
            make(self) for make in (*CHECKERS, *PERMIT_CHECKERS, *TAIL_CHECKERS)
        ]
        # Most said of all, and of interest to few.
        self._reported = [c.reported for c in self.checkers if overrides(c, "reported")]
        self.routers.attach(
            {name: host.relay for name, host in self.hosts.items()},
            lambda name: self.hosts[name].reachable,
        )
        self.routers.changed = self._route_changed
        self.routers.session_changed = lambda name: self.hosts[name].session_changed()
        boots = streams.of("boots")
        for host in self.hosts.values():
            self.loop.at(boots.randrange(WARM_NS), host.boot)

    def note(self, node: str, what: str, why: str = "") -> None:
        """Into the transcript."""
        self.transcript.note(self.loop.now_ns, node, what, why)

    def holders(self, vip: str) -> list[str]:
        """Those that answer for a VIP."""
        keys = self._keys.get(vip, ())
        return [name for name, host in self.hosts.items() if host.kernel.has_any(keys)]

    def _route_changed(self, service: str, host: str, before: object, after: object) -> None:
        self.note(ROUTER, f"{service} of {host}: {after or 'no route'}")
        for checker in self.checkers:
            checker.route_changed(service, host, before, after)  # type: ignore[arg-type]
        self.connections.rehashed(service, self.loop.now_ns)

    def _lost(self, connection: Connection, how: str) -> None:
        self.note(ROUTER, f"{connection.service}: a connection of {connection.home} is lost", how)
        for checker in self.checkers:
            checker.lost(connection, how)

    def tail_noted(self, host: str, service: str, note: TailNote) -> None:
        """For checkers."""
        for checker in self.checkers:
            checker.tail_noted(host, service, note)

    def gate_changed(self, host: str) -> None:
        """For checkers."""
        for checker in self.checkers:
            checker.gate_changed(host)

    def told(self, host: str, peer: str, message: Message) -> None:
        """For checkers: a word about permits was sent."""
        for checker in self.checkers:
            checker.told(host, peer, message)

    def heard(self, host: str, peer: str, message: Message) -> None:
        """For checkers: one has been read."""
        for checker in self.checkers:
            checker.heard(host, peer, message)

    def reported(self, host: str, peer: str) -> None:
        """For checkers: a report of a peer has been read."""
        for reported in self._reported:
            reported(host, peer)

    def moves(self, host: str, move: VipMove) -> None:
        """For checkers: a VIP is about to move by permit."""
        for checker in self.checkers:
            checker.moves(host, move)

    def run(self) -> Outcome:
        """All phases; whatever is violated ends the run."""
        violation = None
        try:
            self._look()
            self._serve()
            self.leapt = {f.node for f in self._planned if f.kind == "clock-leap"}
            self.faults.schedule(self._planned, lambda what: self.note("", what))
            self.loop.run_until(self.options.safety_ns)
            self._heal()
            if self._moves:
                self._move()
        except Violated as found:
            violation = found
            self.note("", f"VIOLATED {found.checker}", found.text)
        services = self.load.services.values()
        return Outcome(
            self.options,
            self._planned,
            violation,
            self.transcript,
            self.loop.now_ns,
            sum(s.offered for s in services),
            sum(s.served for s in services),
        )

    def _look(self) -> None:
        for checker in self.checkers:
            checker.look()
        self.loop.after(LOOK_NS, self._look)

    def _serve(self) -> None:
        self.load.step(self.loop.now_ns)
        self.connections.step(self.loop.now_ns)
        self.loop.after(STEP_NS, self._serve)

    def _move(self) -> None:
        """Planned moves, and nothing else."""
        self.note("", "planned moves")
        now_ns = self.loop.now_ns
        planned = tuple(replace(each, at_ns=now_ns + each.at_ns) for each in self._moves)
        self.faults.most_ns = max(each.at_ns + each.for_ns for each in planned)
        self.faults.schedule(planned, lambda what: self.note("", what))
        self.loop.run_until(self.faults.most_ns)
        self._heal()

    def _heal(self) -> None:
        """No fault is left."""
        self.note("", "all faults are over")
        began_ns = calm_from_ns = self.loop.now_ns
        while self.loop.now_ns - calm_from_ns < CALM_NS:
            self.loop.run_until(self.loop.now_ns + NS_PER_S // 2)
            why = pending(self) or outstanding(self) or steered(self)
            if why:
                calm_from_ns = self.loop.now_ns
                if self.loop.now_ns - began_ns > self.options.heal_ns:
                    raise Violated("heals", why, self.loop.now_ns)
        self.note("", f"healed within {(calm_from_ns - began_ns) / 1e9:.1f} s")


def run_seed(seed: int, shape: str = "") -> Outcome:
    """The run of a seed."""
    streams = Streams(seed)
    options = drawing.draw(seed, streams.of("options"), shape)
    faults = schedule.draw(options, streams.of("faults"))
    options = drawing.with_tails(options, streams.of("tails"))
    return replace(World(options, faults, streams).run(), shaped=bool(shape))


def run_again(outcome: Outcome, faults: tuple[Fault, ...]) -> Outcome:
    """The same run with another schedule of faults."""
    again = World(outcome.options, faults, Streams(outcome.options.seed)).run()
    return replace(again, shaped=outcome.shaped)
