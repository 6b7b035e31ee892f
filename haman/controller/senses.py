"""The controller's senses: everything known of the local proxy, and the gate that judges it.

    processes (pidfd, looks) ── died, found ───────────────┐
    /proc     (interval_ms)  ─┐                            ├─► gate ─► condition ─► on_change
    counters  (interval_ms)  ─┼─► meter ── utilizations ───┤
    probe     (its interval) ─┴──────────── well or not ───┘

A death goes from the event loop's callback through the gate to `on_change` without an await. The
proxy is asked for its counters in a task of its own, so that a socket that hangs delays nothing
else: tls and connections become unknown, an alert says so, and the condition is held (law 6).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from os import sched_getaffinity
from typing import Protocol

from haman.config.model import Config
from haman.controller.probe import Answered, Prober
from haman.controller.settings import gate_settings, meter_settings
from haman.controller.ticker import Ticker
from haman.controller.watch import ProcessWatch
from haman.core.arrivals import Accepted, Arrivals
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
from haman.core.processes import ProcessGone, ProcessId
from haman.core.resources import (
    CountersSampled,
    Meter,
    ProbeTimed,
    ProcessesSampled,
    ProcessSample,
)
from haman.core.words import Alert, Condition, Reason, Severity, Utilization
from haman.proxies.adapter import HANDSHAKE_CALLS, Adapter, Surroundings, sensed_by
from haman.proxies.answers import Answer, Unavailable
from haman.proxies.process import ProcessSet
from haman.system.procfs import ProcessReader, ProcFs
from haman.system.uprobe import CallCounter

NS_PER_S = 1_000_000_000
SILENT_ANSWERS = 3
"""Questions without an answer before the operator is told: one can be lost to a busy moment."""


class Clock(Protocol):
    """Two clocks: one to measure with, one to show."""

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC."""

    def wall_ns(self) -> int:
        """CLOCK_REALTIME, ns since the epoch."""


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
        settings = meter_settings(config)
        self._meter = Meter(settings)
        self._arrivals = Arrivals(settings.stale_ns)
        self._own_connections = 0
        self._procfs = ProcFs()
        proxy = config.proxy
        name = proxy.process or ("" if proxy.kind == "process" else proxy.kind)
        self._processes = ProcessSet(self._procfs, pidfile=proxy.pidfile, name=name)
        self._watch = ProcessWatch(self._processes, self._procfs, self._died, self._found)
        self._readers: dict[ProcessId, ProcessReader] = {}
        around = Surroundings(self._processes, self._procfs, CallCounter(HANDSHAKE_CALLS))
        sensed = sensed_by(proxy, around)
        self._adapter = sensed.adapter
        self._problem = sensed.problem
        self._missing: dict[str, str] = {}
        self._told_fds: tuple[int | None, int | None] = (None, None)
        self._prober = Prober(proxy.probe) if proxy.probe else None
        self._version = ""
        self._answered_by: ProcessId | None = None
        self._unanswered = 0
        self._unavailable: Unavailable | None = None
        self._counters: Counter[str] = Counter()
        self._since_ns = clock.wall_ns()
        self._alert_since_ns: dict[str, int] = {}
        self._wake: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Sense until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch.run())
                tasks.create_task(self._sample())
                if self._adapter is not None:
                    tasks.create_task(self._ask(self._adapter))
                if self._prober is not None:
                    tasks.create_task(self._probe(self._prober))
        finally:
            if self._wake is not None:
                self._wake.cancel()
            for reader in self._readers.values():
                reader.close()
            self._readers.clear()
            if self._adapter is not None:
                await self._adapter.close()

    def _feed(self, observed: Observation) -> None:
        """Into the gate, and out to the controller if the condition changed. Never awaits."""
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

    async def _sample(self) -> None:
        ticker = Ticker(self._interval_s)
        while True:
            self._read_processes()
            now_ns = self._clock.monotonic_ns()
            self._counters["samples"] += 1
            self._feed(UtilizationSampled(self._meter.utilizations(now_ns), self._meter.exhausted))
            if await ticker.tick() > self._interval_s / 2:
                self._counters["samples_late"] += 1

    def _read_processes(self) -> None:
        members = self._processes.members
        for process in self._readers.keys() - set(members):
            self._readers.pop(process).close()
        samples = []
        for process in members:
            reader = self._readers.get(process) or self._procfs.open(process)
            if isinstance(reader, ProcessGone):
                continue
            self._readers[process] = reader
            sample = reader.sample()
            if not isinstance(sample, ProcessGone):
                samples.append(self._with_fds(sample))
        if samples:
            now_ns = self._clock.monotonic_ns()
            self._meter.step(ProcessesSampled(now_ns, tuple(samples)), now_ns)

    def _with_fds(self, sample: ProcessSample) -> ProcessSample:
        """With what a single process says of its descriptors itself, where they are not told."""
        if sample.fds is not None or self._unanswered or len(self._processes.members) > 1:
            return sample
        fds, limit = self._told_fds
        return replace(sample, fds=fds, fd_limit=limit)

    async def _ask(self, adapter: Adapter) -> None:
        ticker = Ticker(max(self._interval_s, adapter.interval_s))
        while True:
            answer = await adapter.ask()
            if isinstance(answer, Answer):
                answer = self._accept(answer, adapter)
            if isinstance(answer, Unavailable):
                self._counters[f"stats_unavailable:{answer.code}"] += 1
                self._unanswered += 1
                self._unavailable = answer
            await ticker.tick()

    def _accept(self, answer: Answer, adapter: Adapter) -> Answer | Unavailable:
        """Believe an answer only from a process of this proxy; a new one may not be known yet."""
        epoch = self._epoch(answer)
        if epoch is None:
            who = "somebody" if answer.pid is None else f"process {answer.pid}"
            text = f"{adapter.source}: {who} answered, which is not of this proxy"
            return Unavailable("stranger", f"{text} ({self._processes.source})")
        if self._answered_by not in (None, epoch) and self._answered_by in self._processes.members:
            self._counters["proxy_reloads"] += 1
        self._answered_by = epoch
        self._counters["stats_answers"] += 1
        self._unanswered = 0
        self._version = answer.version
        self._missing = answer.missing
        self._told_fds = answer.fds, answer.fd_limit
        now_ns = self._clock.monotonic_ns()
        if answer.accepted is not None:
            self._own_connections += answer.own_accepted
            self._arrivals.add(Accepted(now_ns, epoch, answer.accepted, self._own_connections))
        self._meter.step(
            CountersSampled(
                at_ns=now_ns,
                epoch=epoch,
                full=answer.full,
                resumed=answer.resumed,
                threads=_usable(answer.threads, epoch.pid),
                connections=answer.connections,
                connections_limit=answer.connections_limit,
            ),
            now_ns,
        )
        return answer

    def _epoch(self, answer: Answer) -> ProcessId | None:
        """The process whose counters these are; None if it is not of this proxy."""
        if answer.pid is None:
            return self._processes.eldest
        if not answer.stopping and not self._processes.confirm(answer.pid):
            self._watch.look(wide=True)
            self._processes.confirm(answer.pid)
        return next((p for p in self._processes.members if p.pid == answer.pid), None)

    async def _probe(self, prober: Prober) -> None:
        try:
            await self._probe_for_ever(prober)
        finally:
            await prober.close()

    async def _probe_for_ever(self, prober: Prober) -> None:
        ticker = Ticker(prober.interval_s)
        while True:
            result = await prober.probe()
            self._own_connections += 1
            if isinstance(result, Answered):
                now_ns = self._clock.monotonic_ns()
                self._meter.step(ProbeTimed(now_ns, result.latency_s), now_ns)
                self._counters["probe_successes"] += 1
                self._feed(ProbeSucceeded())
            else:
                self._counters["probe_failures"] += 1
                self._feed(ProbeFailed(result.text))
            await ticker.tick()

    def snapshot(self) -> SensesSnapshot:
        """What is known now; cheap."""
        gate = self._gate.snapshot()
        now_ns = self._clock.monotonic_ns()
        resources = self._meter.utilizations(now_ns)
        used = next((r.used for r in resources if r.name == "connections"), None)
        return SensesSnapshot(
            condition=gate.condition,
            reasons=gate.reasons,
            since_ns=self._since_ns,
            serviceable=gate.health is Health.UP,
            proxy_kind=self._config.proxy.kind,
            proxy_version=self._version,
            proxy_up=gate.proxy_alive,
            proxy_pids=tuple(process.pid for process in self._processes.serving),
            resources=resources,
            connections=None if used is None else int(used),
            alerts=self._alerts(gate),
            counters={**self._counters, "proxy_deaths": self._watch.deaths},
            new_connections_per_s=self._arrivals.per_s(now_ns),
        )

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
        partly = "; ".join((*filter(None, [self._problem]), *self._missing.values()))
        if partly:
            yield "proxy-partly-sensed", Severity.WARNING, partly
        if self._watch.problem:
            yield "proxy-not-watched", Severity.WARNING, self._watch.problem
        silent = self._unanswered >= SILENT_ANSWERS and self._watch.alive  # the dead say nothing
        if self._unavailable is not None and silent:
            text = f"{self._unavailable.text} ({self._unanswered} times in a row)"
            text += f": tls and connections are unknown, {gate.condition} is held"
            yield "stats-unavailable", Severity.WARNING, text
        if gate.warnings:
            yield (
                "soft-threshold",
                Severity.INFO,
                "; ".join(warning.text for warning in gate.warnings),
            )


def _usable(threads: int | None, pid: int) -> int | None:
    """Threads cannot do more than the CPUs that they may run on."""
    if threads is None:
        return None
    try:
        return min(threads, len(sched_getaffinity(pid)))
    except ProcessLookupError:
        return threads
