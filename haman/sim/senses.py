"""The senses of a controller, modelled: the real gate over a sampled and probed simulated proxy."""

from collections.abc import Callable
from typing import Protocol

from haman.core.gate import (
    Gate,
    GateSnapshot,
    Observation,
    ProbeFailed,
    ProbeSucceeded,
    ProxyDied,
    ProxyFound,
    TimePassed,
    UtilizationSampled,
)
from haman.core.words import Reason
from haman.sim.clocks import Clock
from haman.sim.plans import NodePlan
from haman.sim.process import Process
from haman.sim.sensor import Sensor
from haman.sim.server import Server
from haman.sim.transcript import first


class Proxy(Protocol):
    """The proxy, as far as probes and watchers see it."""

    def probe(self) -> bool:
        """Whether it answers a probe."""

    def served(self) -> int:
        """New clients served lately."""

    def gate_changed(self) -> None:
        """The condition of the proxy is another one."""

    def note(self, what: str, why: str = "") -> None:
        """Into the transcript."""


class Senses:
    """Samples and probes; `changed` is called in the instant of a change."""

    def __init__(
        self,
        plan: NodePlan,
        *,
        clock: Clock,
        process: Process,
        server: Server,
        proxy: Proxy,
        changed: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._process = process
        self._proxy = proxy
        self._changed = changed
        self._gate = Gate(plan.gate, clock.now_ns)
        self._armed_ns: int | None = None
        self.sensor = Sensor(server)

    def start(self) -> None:
        """Sample and probe from now on."""
        self._sample()
        if self._plan.gate.probe:
            self._probe()

    def died(self) -> None:
        """Its pidfd said so."""
        self._feed(ProxyDied((Reason("proxy-dead", "the proxy has ended"),)))

    def found(self) -> None:
        """A process that serves was found."""
        self._feed(ProxyFound())

    def reconfigure(self, plan: NodePlan, *, alive: bool) -> None:
        """Take over another configuration; a gate with other settings begins anew."""
        before, self._plan = self._plan, plan
        if plan.gate != before.gate:
            self._gate = Gate(plan.gate, self._clock.now_ns)
            self._armed_ns = None
            if alive:
                self.found()

    def snapshot(self) -> GateSnapshot:
        """What the gate says."""
        return self._gate.snapshot()

    def _sample(self) -> None:
        now_ns = self._clock.now_ns
        self._feed(UtilizationSampled(self.sensor.read(now_ns)))
        self._process.at(now_ns + self._plan.sample_ns, self._sample)

    def _probe(self) -> None:
        if self._proxy.probe():
            self._feed(ProbeSucceeded())
        else:
            self._feed(ProbeFailed("timed out", self._proxy.served()))
        self._process.at(self._clock.now_ns + self._plan.probe_ns, self._probe)

    def _feed(self, observed: Observation) -> None:
        for change in self._gate.step(observed, self._clock.now_ns):
            self._proxy.note(f"proxy: {change.old} → {change.new}", first(change.reasons))
            self._proxy.gate_changed()
            self._changed()
        due_ns = self._gate.deadline_ns
        if due_ns is not None and due_ns != self._armed_ns:
            self._armed_ns = due_ns
            self._process.at(due_ns, lambda: self._time_passed(due_ns))

    def _time_passed(self, due_ns: int) -> None:
        if self._armed_ns == due_ns:
            self._armed_ns = None
            self._feed(TimePassed())
