"""From cumulative counters of the proxy to the utilization of its resources.

Every counter belongs to an epoch: the process it was read from. A new epoch, a counter that went
back, or too long a gap yields no rate for one interval, and never a spike.

Costs of handshakes and their knee were measured with HAProxy 2.6 on one core, RSA-2048 and TLS 1.3:
433 µs full and 201 µs resumed, each with a small request; p99 is 10 ms at 0.90 of the core and
125 ms at 0.95. They stand in, with confidence `default`, until the operator configures a ceiling.

Rates (cpu, tls) are smoothed; counts (fds, connections) are exact and are not.
"""

from dataclasses import dataclass, field, replace

from haman.core.processes import ProcessId
from haman.core.smoothing import Smoother
from haman.core.words import Confidence, Utilization

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

COST_FULL_S = 433e-6
COST_RESUMED_S = 201e-6
TLS_KNEE = 0.9

COUNT = "count"
CORES = "cores"
CORE_SECONDS = "core-s/s"
SECONDS = "s"
FULL_PER_S = "full/s"


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """One process of the proxy.

    Attributes:
        cpu_ns: time on a CPU since its start, by thread id.
        fds: open file descriptors; None when they could not be counted.
        fd_limit: soft RLIMIT_NOFILE; None when unlimited or unknown.
    """

    process: ProcessId
    cpu_ns: dict[int, int]
    fds: int | None = None
    fd_limit: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessesSampled:
    """Every process of the proxy, those that only finish old connections included."""

    at_ns: int
    processes: tuple[ProcessSample, ...]


@dataclass(frozen=True, slots=True)
class CountersSampled:
    """What the proxy says of itself; None = it does not say.

    Attributes:
        epoch: of the process that answered.
        full: TLS handshakes with a key operation, cumulative.
        resumed: TLS handshakes without one, cumulative.
        threads: that do handshakes, no more than the CPUs that the proxy may run on.
        connections: clients connected now.
        connections_limit: the most that the proxy accepts.
    """

    at_ns: int
    epoch: ProcessId
    full: int | None = None
    resumed: int | None = None
    threads: int | None = None
    connections: int | None = None
    connections_limit: int | None = None


@dataclass(frozen=True, slots=True)
class ProbeTimed:
    """How long a new client waited for the proxy: the head-of-line latency."""

    at_ns: int
    latency_s: float


Reading = ProcessesSampled | CountersSampled | ProbeTimed


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What the operator says of one resource. `unit` "" = the native one; tls also `full/s`."""

    value: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class MeterSettings:
    """How readings are judged.

    Attributes:
        stale_ns: a reading older than this says nothing any more, and is too far from the next
            one for a rate.
        probe_stale_ns: the same for the readings of the probe, which come more slowly.
        ceilings: configured ones, by resource.
    """

    stale_ns: int = 2 * NS_PER_S
    probe_stale_ns: int = 5 * NS_PER_S
    ceilings: dict[str, Ceiling] = field(default_factory=dict)


class Meter:
    """Readings in, utilizations out; holds the last reading and the last value of each resource."""

    def __init__(self, settings: MeterSettings) -> None:
        self._settings = settings
        self._cpu_before: ProcessesSampled | None = None
        self._tls_before: CountersSampled | None = None
        self._cpu = Smoother()
        self._tls = Smoother()
        self._values: dict[str, tuple[int, Utilization]] = {}
        self._exhausted: dict[str, bool] = {}

    def step(self, reading: Reading, now_ns: int) -> tuple[Utilization, ...]:
        """Take in one reading; every resource known so far, with its age, comes out."""
        match reading:
            case ProcessesSampled():
                self._take_cpu(reading)
                self._take_fds(reading)
            case CountersSampled():
                self._take_tls(reading)
                self._take_connections(reading)
            case ProbeTimed(at_ns, latency_s):
                self._put(at_ns, Utilization("hol", latency_s, None, SECONDS))
        return self.utilizations(now_ns)

    def _take_cpu(self, now: ProcessesSampled) -> None:
        before = self._cpu_before
        if before is not None and now.at_ns <= before.at_ns:
            return
        self._cpu_before = now
        if before is None or now.at_ns - before.at_ns > self._settings.stale_ns:
            self._cpu = Smoother()
            self._unknown(now.at_ns, "cpu", 1.0, CORES, Confidence.MEASURED)
            return
        known = {p.process: p.cpu_ns for p in before.processes}
        spent = [
            (cpu_ns - known[p.process][thread], thread, p.process.pid)
            for p in now.processes
            if p.process in known
            for thread, cpu_ns in p.cpu_ns.items()
            if cpu_ns >= known[p.process].get(thread, cpu_ns + 1)
        ]
        if not spent:
            return
        hottest_ns, thread, pid = max(spent)
        used = self._cpu.add(hottest_ns / (now.at_ns - before.at_ns), now.at_ns)
        self._put(
            now.at_ns,
            Utilization(
                "cpu",
                used,
                1.0,
                CORES,
                Confidence.MEASURED,
                detail=f"thread {thread} of process {pid}",
            ),
        )

    def _take_fds(self, now: ProcessesSampled) -> None:
        counted = [(p.fds, p.fd_limit, p.process.pid) for p in now.processes if p.fds is not None]
        if not counted:
            return
        fds, limit, pid = max(counted, key=lambda c: (c[0] / c[1] if c[1] else 0.0, c[0]))
        self._put(
            now.at_ns,
            Utilization("fds", fds, limit, COUNT, Confidence.MEASURED, detail=f"process {pid}"),
        )
        self._exhausted["fds"] = limit is not None and fds >= limit

    def _take_tls(self, now: CountersSampled) -> None:
        before = self._tls_before
        if now.full is None or now.resumed is None:
            return
        if before is not None and now.at_ns <= before.at_ns:
            return
        self._tls_before = now
        ceiling = now.threads * TLS_KNEE if now.threads else None
        if before is None or now.at_ns - before.at_ns > self._settings.stale_ns:
            self._tls = Smoother()
            self._unknown(now.at_ns, "tls", ceiling, CORE_SECONDS, Confidence.DEFAULT)
            return
        full = now.full - (before.full or 0)
        resumed = now.resumed - (before.resumed or 0)
        if now.epoch != before.epoch or full < 0 or resumed < 0:
            return
        cost_s = full * COST_FULL_S + resumed * COST_RESUMED_S
        used = self._tls.add(cost_s * NS_PER_S / (now.at_ns - before.at_ns), now.at_ns)
        self._put(now.at_ns, Utilization("tls", used, ceiling, CORE_SECONDS))

    def _take_connections(self, now: CountersSampled) -> None:
        if now.connections is None:
            return
        limit = now.connections_limit or None
        self._put(
            now.at_ns,
            Utilization("connections", now.connections, limit, COUNT, Confidence.MEASURED),
        )
        self._exhausted["connections"] = limit is not None and now.connections >= limit

    def _unknown(
        self, at_ns: int, name: str, ceiling: float | None, unit: str, confidence: Confidence
    ) -> None:
        self._put(at_ns, Utilization(name, None, ceiling, unit, confidence))

    def _put(self, at_ns: int, utilization: Utilization) -> None:
        configured = self._settings.ceilings.get(utilization.name)
        if configured is not None:
            value = configured.value
            if utilization.name == "tls" and configured.unit == FULL_PER_S:
                value *= COST_FULL_S
            utilization = replace(utilization, ceiling=value, confidence=Confidence.CONFIGURED)
        self._values[utilization.name] = (at_ns, utilization)

    def utilizations(self, now_ns: int) -> tuple[Utilization, ...]:
        """Every resource known so far; one whose reading is too old is unknown."""
        return tuple(self._aged(*value, now_ns) for value in self._values.values())

    def _aged(self, at_ns: int, utilization: Utilization, now_ns: int) -> Utilization:
        probed = utilization.name == "hol"
        stale_ns = self._settings.probe_stale_ns if probed else self._settings.stale_ns
        age_ns = now_ns - at_ns
        return Utilization(  # `replace` takes five times as long, and this is done most of all
            utilization.name,
            None if age_ns > stale_ns else utilization.used,
            utilization.ceiling,
            utilization.unit,
            utilization.confidence,
            age_ns / NS_PER_MS,
            utilization.detail,
        )

    @property
    def exhausted(self) -> tuple[str, ...]:
        """Resources whose raw count stood at its limit in their last reading."""
        return tuple(name for name, at_limit in self._exhausted.items() if at_limit)


def binding(utilizations: tuple[Utilization, ...]) -> Utilization | None:
    """The resource with the highest utilization; None if every one is unknown."""
    known = [u for u in utilizations if u.utilization is not None]
    return max(known, key=lambda u: u.utilization or 0.0, default=None)
