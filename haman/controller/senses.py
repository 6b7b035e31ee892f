"""The controller's senses: everything known of the local proxy, and the gate that judges it.

    processes (pidfd, looks) ── died, found ────────────────┐
    kernel    (interval_ms)  ─┐                             ├─► gate ─► condition ─► on_change
    counters  (interval_ms)  ─┤                             │
    ports     (1 s)          ─┼─► meter ── utilizations ────┤
    probe     (its interval) ─┴───────────── well or not ───┘

A death goes from the event loop's callback through the gate to `on_change` without an await. What
reads the kernel is in `sampler` and `portwalk`, what asks the proxy in `asking` and `probe`; one of
them that fails or hangs makes its resources unknown, and the condition is held (law 6).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

from haman.config.forms import split_host_port
from haman.config.model import Config
from haman.controller.asking import Asking
from haman.controller.kept import Kept
from haman.controller.ports import Clock
from haman.controller.portwalk import PortWalk
from haman.controller.probe import Answered, Prober
from haman.controller.sampler import Sampler
from haman.controller.settings import (
    gate_settings,
    meter_settings,
)
from haman.controller.storm import storm_report
from haman.controller.ticker import Ticker
from haman.controller.watch import ProcessWatch
from haman.core.arrivals import Arrivals
from haman.core.baseline import Baseline
from haman.core.facts import ServingProxy
from haman.core.frozen import dataclass
from haman.core.gate import (
    Gate,
    GateSnapshot,
    Health,
    Observation,
    ProbeFailed,
    ProbeSucceeded,
    ProxyDied,
    ProxyFound,
    TimePassed,
    UtilizationSampled,
)
from haman.core.reports import StormReport
from haman.core.resources import Meter, ProbeTimed, ProbeTimedOut
from haman.core.trap import Signs, Trap
from haman.core.words import Alert, Condition, Reason, Severity, Utilization
from haman.proxies.adapter import HANDSHAKE_CALLS, Surroundings, sensed_by
from haman.proxies.process import ProcessSet
from haman.system.procfs import ProcFs
from haman.system.uprobe import CallCounter

NS_PER_S = 1_000_000_000
AFTER_ASKING_S = 0.0001
"""The proxy makes its answer up while this process reads what the kernel tells."""
NEAR = 0.5
"""Resources beyond this share of their ceiling are read in every round."""


@dataclass(frozen=True, slots=True)
class SensesSnapshot:
    """What is known of the local proxy now.

    Attributes:
        condition: starting, in-service, saturated or fault; the controller adds drained and such.
        reasons: why; empty in service.
        since_ns: wall clock of the last change of condition.
        serviceable: the proxy lives and answers its probe, whatever the condition says: in `fault`
            it is True while the node is only held down after flapping (a last resort then).
        proxy_pids: the processes that serve.
        resources: every resource sensed, with its age; unknown ones included.
        connections: clients connected now; None when unknown.
        new_connections_per_s: that clients opened, over the last 10 s; None when unknown.
        alerts: of this node's senses; `node` is filled in.
        counters: cumulative: `samples`, `samples_late`, `stats_answers`, `stats_unavailable:<code>`,
            `probe_successes`, `probe_failures`, `proxy_deaths`, `proxy_reloads`.
        storm: what peers must know for the arithmetic of reconnect storms.
        serving: whose end the engine may see for itself; None = nobody serves, or on no known port.
    """

    condition: Condition
    reasons: tuple[Reason, ...]
    since_ns: int
    serviceable: bool
    proxy_kind: str
    proxy_version: str
    proxy_up: bool
    proxy_pids: tuple[int, ...]
    resources: tuple[Utilization, ...]
    connections: int | None
    alerts: tuple[Alert, ...]
    counters: dict[str, int]
    new_connections_per_s: float | None = None
    storm: StormReport | None = None
    serving: ServingProxy | None = None


class Senses:
    """Samples, watches and probes the local proxy.

    Args:
        on_change: called synchronously, from inside the loop, the instant the condition changes;
            `snapshot()` already tells the new one. It must not block.
    """

    def __init__(self, config: Config, clock: Clock, on_change: Callable[[], None]) -> None:
        self._config = config
        self._clock = clock
        self._on_change = on_change
        self._interval_s = config.saturation.interval_ms / 1000
        self._gate = Gate(gate_settings(config), clock.monotonic_ns())
        self._kept = Kept(config)
        self._baseline = Baseline()
        settings = meter_settings(config, self._kept.calibration)
        self._meter = Meter(settings)
        self._arrivals = Arrivals(settings.stale_ns)
        self._trap = Trap(settings.client_timeout_s)
        self._counters: Counter[str] = Counter()
        procfs = ProcFs()
        proxy = config.proxy
        name = proxy.process or ("" if proxy.kind == "process" else proxy.kind)
        self._processes = ProcessSet(procfs, pidfile=proxy.pidfile, name=name)
        self._watch = ProcessWatch(self._processes, procfs, self._died, self._found)
        self._port = split_host_port(proxy.probe.address)[1] if proxy.probe else None
        self._sampler = Sampler(procfs, self._meter.take, self._port, self._told_fds)
        self._ports = PortWalk(clock, self._meter.take)
        around = Surroundings(self._processes, procfs, CallCounter(HANDSHAKE_CALLS))
        sensed = sensed_by(proxy, around)
        self._problem = sensed.problem
        self._asking: Asking | None = None
        if sensed.adapter is not None:
            self._asking = Asking(
                sensed.adapter,
                processes=self._processes,
                watch=self._watch,
                clock=clock,
                take=self._meter.take,
                own_connections=lambda: self._probes,
                asked=self._judge,
                counters=self._counters,
                arrivals=self._arrivals,
            )
        self._prober = Prober(proxy.probe) if proxy.probe else None
        self._probes = 0
        self._near: set[str] = set()
        self._unjudged = False
        self._since_ns = clock.wall_ns()
        self._alert_since_ns: dict[str, int] = {}
        self._wake: asyncio.TimerHandle | None = None
        self._told: SensesSnapshot | None = None

    async def run(self) -> None:
        """Sense until cancelled."""
        ticker = Ticker(self._interval_s, AFTER_ASKING_S)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch.run())
                asyncio.get_running_loop().call_soon(self._sample)
                ticker.call(self._sample)
                tasks.create_task(self._ports.run(lambda: self._processes.members))
                if self._asking is not None:
                    tasks.create_task(self._asking.run(self._interval_s))
                if self._prober is not None:
                    tasks.create_task(self._probe(self._prober))
        finally:
            ticker.cancel()
            if self._wake is not None:
                self._wake.cancel()
            self._sampler.close()
            if self._asking is not None:
                await self._asking.close()

    def _feed(self, observed: Observation) -> None:
        """Into the gate, and out to the controller if the condition changed. Never awaits."""
        self._told = None
        changes = self._gate.step(observed, self._clock.monotonic_ns())
        if changes:
            self._since_ns = self._clock.wall_ns()
            self._on_change()
        self._arm()

    def _arm(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if (deadline_ns := self._gate.deadline_ns) is not None:
            delay_s = max(0, deadline_ns - self._clock.monotonic_ns()) / NS_PER_S
            self._wake = asyncio.get_running_loop().call_later(delay_s, self._feed, TimePassed())

    def _died(self, reasons: tuple[Reason, ...]) -> None:
        self._feed(ProxyDied(reasons))

    def _found(self) -> None:
        self._feed(ProxyFound())

    def _told_fds(self) -> tuple[int | None, int | None]:
        """What a single process says of its descriptors itself, where they cannot be counted."""
        if self._asking is None or len(self._processes.members) > 1:
            return None, None
        return self._asking.fds

    def _sample(self, late_s: float = 0.0) -> None:
        if late_s > self._interval_s / 2:
            self._counters["samples_late"] += 1
        self._judge()  # unless an answer has come since the last round
        now_ns = self._clock.monotonic_ns()
        if self._kept.look(now_ns):
            self._meter.calibrate(self._kept.calibration)
        serving = self._processes.serving
        others = tuple(p for p in self._processes.members if p not in serving)
        self._sampler.sample(serving, others, self._near, now_ns)
        self._counters["samples"] += 1
        self._unjudged = True
        if self._asking is None:
            self._judge()

    def _judge(self) -> None:
        """Judge a round of readings, once: when the proxy has answered, or when it did not in time."""
        if not self._unjudged:
            return
        self._unjudged = False
        now_ns = self._clock.monotonic_ns()
        utilizations = self._meter.utilizations(now_ns)
        self._baseline.add(utilizations, _clients(utilizations), now_ns)
        ratios = {each.name: each.utilization for each in utilizations}
        self._near = {name for name, ratio in ratios.items() if ratio is not None and ratio >= NEAR}
        self._trap.step(Signs(ratios.get("cpu"), *self._meter.accepts.now(now_ns)), now_ns)
        self._feed(UtilizationSampled(utilizations, self._meter.hard_facts(now_ns)))

    async def _probe(self, prober: Prober) -> None:
        try:
            await self._probe_for_ever(prober)
        finally:
            prober.close()

    async def _probe_for_ever(self, prober: Prober) -> None:
        ticker = Ticker(prober.interval_s)
        while True:
            latest = self._asking.latest if self._asking is not None else None
            result = await prober.probe()
            self._probes += 1
            now_ns = self._clock.monotonic_ns()
            if isinstance(result, Answered):
                self._meter.take(ProbeTimed(now_ns, result.latency_s))
                self._counters["probe_successes"] += 1
                self._feed(ProbeSucceeded())
            else:
                self._counters["probe_failures"] += 1
                served = 0
                if result.waited_s is not None:
                    self._meter.take(ProbeTimedOut(now_ns, result.waited_s))
                    if self._asking is not None and not prober.path:
                        served = self._asking.served_since(latest, tls=prober.tls)
                self._feed(ProbeFailed(result.text, served))
            await ticker.tick()

    def snapshot(self) -> SensesSnapshot:
        """What is known now; the same one while nothing came in and no age has changed."""
        now_ns = self._clock.monotonic_ns()
        resources = self._meter.utilizations(now_ns)
        if self._told is None or not resources or self._told.resources is not resources:
            self._told = self._snapshot(resources, now_ns)
        return self._told

    def _snapshot(self, resources: tuple[Utilization, ...], now_ns: int) -> SensesSnapshot:
        gate = self._gate.snapshot()
        used = _clients(resources)
        return SensesSnapshot(
            condition=gate.condition,
            reasons=gate.reasons,
            since_ns=self._since_ns,
            serviceable=gate.health is Health.UP,
            proxy_kind=self._config.proxy.kind,
            proxy_version=self._asking.version if self._asking else "",
            proxy_up=gate.proxy_alive,
            proxy_pids=tuple(process.pid for process in self._processes.serving),
            serving=self._serving(),
            resources=resources,
            connections=None if used is None else int(used),
            alerts=self._alerts(gate),
            counters={**self._counters, "proxy_deaths": self._watch.deaths},
            new_connections_per_s=self._arrivals.per_s(now_ns),
            storm=storm_report(
                self._meter,
                self._baseline.known,
                self._config.saturation.client_timeout_ms / 1000,
                tickets_shared=self._kept.tickets_shared,
                now_ns=now_ns,
            ),
        )

    def _serving(self) -> ServingProxy | None:
        processes = self._processes.serving
        if self._port is None or not processes or not self._watch.alive:
            return None
        return ServingProxy(tuple(sorted(processes)), self._port)

    def _alerts(self, gate: GateSnapshot) -> tuple[Alert, ...]:
        """What is true now; `since` is when it was first seen."""
        found = list(self._found_alerts(gate))
        now_ns = self._clock.wall_ns()
        self._alert_since_ns = {
            code: self._alert_since_ns.get(code, now_ns) for code, _, _ in found
        }
        node = self._config.node.name
        return tuple(
            Alert(code, severity, text, self._alert_since_ns[code], node)
            for code, severity, text in found
        )

    def _found_alerts(self, gate: GateSnapshot) -> Iterator[tuple[str, Severity, str]]:
        missing = self._asking.missing.values() if self._asking is not None else ()
        if partly := "; ".join((*filter(None, [self._problem]), *missing)):
            yield "proxy-partly-sensed", Severity.WARNING, partly
        if self._watch.problem:
            yield "proxy-not-watched", Severity.WARNING, self._watch.problem
        if self._kept.calibration_problem:
            text = f"the calibration is not used: {self._kept.calibration_problem}"
            yield "calibration-unusable", Severity.WARNING, text
        if text := self._meter.drift:
            yield "calibration-drift", Severity.WARNING, text
        if self._kept.tickets_problem:
            yield "tickets-not-shared", Severity.WARNING, self._kept.tickets_problem
        if self._asking is not None and self._watch.alive and (why := self._asking.silence):
            # The dead say nothing, and that is no news.
            text = f"{why}: tls and connections are unknown, {gate.condition} is held"
            yield "stats-unavailable", Severity.WARNING, text
        if text := self._trap.text:
            yield "metastable", Severity.CRITICAL, text
        if gate.warnings:
            yield (
                "soft-threshold",
                Severity.INFO,
                "; ".join(warning.text for warning in gate.warnings),
            )


def _clients(resources: tuple[Utilization, ...]) -> float | None:
    return next((each.used for each in resources if each.name == "connections"), None)
