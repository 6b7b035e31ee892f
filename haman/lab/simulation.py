"""The runtime `sim`: a drill in the world of `haman.sim`, judged as on any other runtime.

The cores are the real ones; network, kernel, proxy, routers and clients are modelled. A drill that
the model cannot show is refused with the reason. Of what nodes say of themselves the model knows
addresses, stances, conditions, and which peers are heard: other expectations are left unjudged.
"""

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from haman.config.lease import controller_patience_s
from haman.core.words import Condition
from haman.lab.drill import Drill, Expect, Step
from haman.lab.model import keys_of, options_of
from haman.lab.model_clients import Led, Probe
from haman.lab.model_faults import DrillFaults, faults_of
from haman.lab.paths import RouteChanged, spans
from haman.lab.probe import Order, Result
from haman.lab.runtime import LabError, UnshownError
from haman.lab.services import Services, configurations, services_of
from haman.lab.tenure import AddressChanged, Tenure, tenures
from haman.lab.topology import Topology
from haman.lab.verdict import Record, StepDone, judge
from haman.sim.clocks import EPOCH_NS
from haman.sim.faults import Fault
from haman.sim.load import STEP_NS
from haman.sim.network import NS_PER_MS
from haman.sim.plans import NS_PER_S
from haman.sim.streams import Streams
from haman.sim.world import World

LOOK_NS: Final = NS_PER_MS
REST_MOST_NS: Final = 60 * NS_PER_S
LATE_NS: Final = 10 * NS_PER_S
"""As in namespaces: what shall come of a drill may come later."""
POLL_NS: Final = 100 * NS_PER_MS
MANY: Final = 1 << 30
TYPES: Final = {"vip-acquired", "vip-released", "peer-lost", "peer-found"}
CODES: Final = {"peer-lost"}
"""Of events and alerts, those that can be told from outside."""


def simulate(topology: Topology, drill: Drill, *, seed: int = 1) -> Record:
    """Do a drill in the model; the same seed gives the same record.

    The record's drill expects what can be judged; see `unjudged` for the rest.

    Raises:
        UnshownError: the model cannot show it.
        LabError: the model does not come to rest before the drill, or a configuration cannot be used.
    """
    planned = faults_of(drill)
    options = options_of(topology, seed, drill.load.new_per_s)
    drains = any(step.fault == "drain" for step in drill.step)
    if drains and options.nodes[0].anycast and drill.load.connections:
        raise UnshownError("drain: the model steers no connections to a drained announcer")
    streams = Streams(seed)
    scene = _Scene(World(options, (), streams), topology, drill)
    scene.rest()
    return scene.play(planned, streams)


def unjudged(expect: Expect) -> tuple[str, ...]:
    """What a drill expects and the model cannot say, in words."""
    words = [f"why says “{text}”" for text in expect.why_contains]
    words += [f"{node} writes {t}" for node, ts in _beyond(expect.events, TYPES) for t in ts]
    words += [f"{node} writes no {t}" for node, ts in _beyond(expect.no_events, TYPES) for t in ts]
    words += [f"{node} alerts {c}" for node, cs in _beyond(expect.alerts, CODES) for c in cs]
    return tuple(words)


def judged(expect: Expect) -> Expect:
    """What is left of it."""
    return replace(
        expect,
        asked="",
        why_contains=(),
        events=_within(expect.events, TYPES),
        no_events=_within(expect.no_events, TYPES),
        alerts=_within(expect.alerts, CODES),
    )


def _beyond(
    table: Mapping[str, tuple[str, ...]], known: set[str]
) -> list[tuple[str, tuple[str, ...]]]:
    return [(node, tuple(w for w in words if w not in known)) for node, words in table.items()]


def _within(table: Mapping[str, tuple[str, ...]], known: set[str]) -> dict[str, tuple[str, ...]]:
    kept = {node: tuple(w for w in words if w in known) for node, words in table.items()}
    return {node: words for node, words in kept.items() if words}


class _Scene:
    """One drill in one world: what is watched, and when it ends."""

    def __init__(self, world: World, topology: Topology, drill: Drill) -> None:
        self.world = world
        self.drill = replace(drill, expect=judged(drill.expect))
        self.services: Services = services_of(topology)
        self.keys = keys_of(topology)
        self.patience_ns = {
            known.node: round(controller_patience_s(known.config) * NS_PER_S)
            for known in configurations(topology)
        }
        self.led = {
            name: Led(world, name)
            for name in [
                *(v.name for v in self.services.vips),
                *(a.name for a in self.services.anycasts),
            ]
        }
        self.asked = drill.load.service or next(
            (n for n in (*drill.expect.holder, *drill.expect.announcers) if n in self.led),
            next(iter(self.led)),
        )
        if self.asked not in self.led:
            raise LabError(f"lab {topology.name} has no service {self.asked!r}; see load.service")
        self.changes: list[AddressChanged] = []
        self.sent: list[RouteChanged] = []
        self.probe: Probe | None = None
        self._had: set[tuple[str, str]] = set()
        self._routes: dict[str, object] = {}
        self._look()
        self._serve()

    # ---- what is seen --------------------------------------------------------------------------

    def _look(self) -> None:
        now_ns = self.world.loop.now_ns
        for led in self.led.values():
            led.look()
        has = {
            (name, address)
            for name, host in self.world.hosts.items()
            for key, addresses in self.keys.items()
            if host.kernel.has(key)
            for address in addresses
        }
        for node, address in sorted(has ^ self._had):
            present = (node, address) in has
            self.changes.append(AddressChanged(now_ns, node, address, present))
        self._had = has
        for service in self.services.anycasts:
            route = self.led[service.name].route()
            if self._routes.get(service.name) != route:
                self._routes[service.name] = route
                self.sent += [RouteChanged(now_ns, prefix, route) for prefix in service.prefixes]
        if self.probe is not None:
            self.probe.look()
        self.world.loop.after(LOOK_NS, self._look)

    def _serve(self) -> None:
        self.world.load.step(self.world.loop.now_ns)
        self.world.loop.after(STEP_NS, self._serve)

    # ---- from beginning to end -----------------------------------------------------------------

    def rest(self) -> None:
        """Let the world run until a fault would be the only thing that is wrong."""
        calm = 0
        while calm < 2 * NS_PER_S // POLL_NS:
            if self.world.loop.now_ns > REST_MOST_NS:
                raise LabError("the model does not come to rest; see its settings in the topology")
            self.world.loop.run_until(self.world.loop.now_ns + POLL_NS)
            calm = calm + 1 if self._at_rest() else 0

    def _at_rest(self) -> bool:
        conditions = self._conditions()
        return (
            all(conditions.get(name) == Condition.IN_SERVICE for name in self.world.hosts)
            and all(self.world.holders(v.name) == [v.nodes[0]] for v in self.services.vips)
            and all(set(self._announcers(a.name)) == set(a.nodes) for a in self.services.anycasts)
        )

    def play(self, planned: tuple[tuple[Step, tuple[Fault, ...]], ...], streams: Streams) -> Record:
        """Have the faults happen, and write down what came of them."""
        loop, world = self.world.loop, self.world
        start_ns, began = loop.now_ns, world.transcript.count
        self.probe = Probe(world, self.led[self.asked], self.drill.load, streams.of("probe"))
        self.probe.start()
        hands = DrillFaults(
            world.hosts, world.network, world.load, MANY * NS_PER_S, self.patience_ns
        )
        moved = tuple(
            dataclasses.replace(fault, at_ns=fault.at_ns + start_ns)
            for _, faults in planned
            for fault in faults
        )
        hands.schedule(moved, lambda what: world.note("", what))
        loop.run_until(start_ns + round(self.drill.length_s * NS_PER_S))
        patient_ns = loop.now_ns + LATE_NS
        record = self._record(planned, start_ns, began)
        while loop.now_ns < patient_ns and not self._ended_well(record):
            loop.run_until(loop.now_ns + POLL_NS)
            record = self._record(planned, start_ns, began)
        return record

    def _ended_well(self, record: Record) -> bool:
        """Whether everybody is what the drill expects in the end: more time changes the rest only."""
        expect = record.drill.expect
        ends = replace(
            Expect(), holder=expect.holder, announcers=expect.announcers, stances=expect.stances
        )
        return all(v.ok for v in judge(replace(record, drill=replace(record.drill, expect=ends))))

    # ---- the record ----------------------------------------------------------------------------

    def _record(
        self, planned: tuple[tuple[Step, tuple[Fault, ...]], ...], start_ns: int, began: int
    ) -> Record:
        assert self.probe is not None
        end_ns, world, drill = self.world.loop.now_ns, self.world, self.drill
        held = {
            address: tenures(self.changes, address, start_ns, end_ns)
            for vip in self.services.vips
            for address in vip.addresses
        }
        vips = {vip.name: vip.addresses for vip in self.services.vips}
        return Record(
            drill=drill,
            at=datetime.fromtimestamp((EPOCH_NS + start_ns) // NS_PER_S, UTC).isoformat(),
            steps=tuple(_done(step, start_ns) for step, _ in planned),
            probe=Result(
                order=Order(self.asked, drill.length_s),
                started_ns=start_ns,
                ended_ns=end_ns,
                attempts=tuple(self.probe.attempts),
                lost=tuple(self.probe.lost),
                established=self.probe.established,
                exchanges=0,
                late_ms_max=0.0,
                skipped=0,
            ),
            addresses=vips,
            tenures=held,
            prefixes={each.name: each.prefixes for each in self.services.anycasts},
            routes={
                prefix: spans(self.sent, prefix, start_ns, end_ns)
                for each in self.services.anycasts
                for prefix in each.prefixes
            },
            stances={each.name: self._stances(each.name) for each in self.services.anycasts},
            events={
                name: (*self._moved(name, held, start_ns), *self._peers(name, began))
                for name in world.hosts
            },
            alerts={name: self._unheard(name) for name in world.hosts},
            conditions=self._conditions(),
        )

    def _announcers(self, service: str) -> tuple[str, ...]:
        return tuple(hop.node for hop in self.led[service].route().by_bgp)

    def _conditions(self) -> dict[str, str]:
        running = {n: h.controller for n, h in self.world.hosts.items() if h.controller is not None}
        return {
            name: controller.decision.condition
            for name, controller in running.items()
            if controller.decision is not None and self.world.hosts[name].controller_process.running
        }

    def _stances(self, service: str) -> dict[str, str]:
        return {
            name: stance.stance
            for name, host in self.world.hosts.items()
            if host.controller is not None and host.controller.decision is not None
            for stance in host.controller.decision.anycast
            if stance.service == service
        }

    def _moved(self, node: str, held: Mapping[str, tuple[Tenure, ...]], start_ns: int) -> list[str]:
        own = [span for found in held.values() for span in found if span.node == node]
        end_ns = self.world.loop.now_ns
        taken = ["vip-acquired" for span in own if span.start_ns > start_ns]
        return taken + ["vip-released" for span in own if span.end_ns < end_ns]

    def _peers(self, node: str, since: int) -> list[str]:
        transcript = self.world.transcript
        new = list(transcript.lines)[-(transcript.count - since) :] if since else []
        words = {LOST: "peer-lost", FOUND: "peer-found"}
        said = [line.what.partition(" ")[2] for line in new if line.node == node]
        return [words[what] for what in said if what in words]

    def _unheard(self, node: str) -> tuple[str, ...]:
        last = {
            line.what.partition(" ")[0]: line.what.partition(" ")[2]
            for line in self.world.transcript.lines
            if line.node == node and line.what.partition(" ")[2] in {LOST, FOUND}
        }
        return ("peer-lost",) if LOST in last.values() else ()


LOST, FOUND = "is not heard any more", "is heard"
"""As the model's controllers note it."""


def _done(step: Step, start_ns: int) -> StepDone:
    at_ns = start_ns + round(step.at_s * NS_PER_S)
    what = " ".join(filter(None, (step.fault, step.process, step.node, step.peer)))
    return StepDone(at_ns, at_ns, what)
