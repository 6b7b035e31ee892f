"""From readings to the utilization of every resource.

Every counter belongs to an epoch: the process it was read from. A new epoch, a counter that went
back, or too long a gap yields no rate for one interval, and never a spike. A resource may be seen
from several sources; the one nearest its ceiling is the resource, and tells where it was found.

Rates (cpu, tls, nic) are smoothed; counts and waits are exact and are not.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import field, replace
from typing import Any

from haman.core.calibration import Calibration
from haman.core.drift import Drift, Spent, advice
from haman.core.frozen import dataclass
from haman.core.resources import counts
from haman.core.resources.cpu import QuotaMeter, SoftirqMeter, ThreadMeter
from haman.core.resources.findings import NS_PER_S, UNITS, Finding
from haman.core.resources.growth import Growth
from haman.core.resources.memory import MemoryMeter
from haman.core.resources.nic import NicMeter
from haman.core.resources.readings import (
    ConntrackSampled,
    CountersSampled,
    GroupsSampled,
    InterfacesSampled,
    MemorySampled,
    PortsSampled,
    ProbeTimed,
    ProbeTimedOut,
    ProcessesSampled,
    QueuesSampled,
    Reading,
    SoftirqSampled,
    SourceFailed,
)
from haman.core.resources.tls import TlsMeter
from haman.core.resources.waiting import AcceptMeter, probed, queued
from haman.core.words import Confidence, Utilization

NS_PER_MS = 1_000_000
FULL_PER_S = "full/s"
SLOW_STALE_NS = 10 * NS_PER_S
SAME_TURN_NS = 20 * NS_PER_MS
GROWING = frozenset({"connections", "fds", "ports", "memory", "conntrack"})
_KEEPS = ("quota ", "group ")
"""Sources that come and go with the control groups that they are named for."""


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
        client_timeout_s: clients that waited this long have gone.
        probe_slo_s: the longest that the probe should wait; None = nothing says so.
        calibration: of this node; None = none was run.
    """

    stale_ns: int = 2 * NS_PER_S
    probe_stale_ns: int = 5 * NS_PER_S
    ceilings: dict[str, Ceiling] = field(default_factory=dict)
    client_timeout_s: float = 5.0
    probe_slo_s: float | None = None
    calibration: Calibration | None = None


class Meter:
    """Readings in, utilizations out; holds the last finding of every source."""

    def __init__(self, settings: MeterSettings) -> None:
        self._settings = settings
        slow_ns = settings.stale_ns + SLOW_STALE_NS
        self._threads = ThreadMeter(settings.stale_ns)
        self._quotas = QuotaMeter(settings.stale_ns)
        self._softirq = SoftirqMeter(slow_ns)
        self._tls = TlsMeter(settings.stale_ns, settings.calibration)
        self._calibration = settings.calibration
        self._drift = Drift()
        self._memory = MemoryMeter(slow_ns)
        self._nic = NicMeter(slow_ns)
        self._accepts = AcceptMeter(settings.stale_ns, settings.client_timeout_s)
        self._found: dict[str, dict[str, Finding]] = {}
        self._growth: dict[tuple[str, str], Growth] = {}
        self._failed: dict[str, str] = {}
        self._told: tuple[int, tuple[Utilization, ...]] = (0, ())
        self._takes: dict[type[Reading], Callable[[Any], Iterable[Finding]]] = {
            ProcessesSampled: self._sampled,
            CountersSampled: self._counted,
            ProbeTimed: self._probed,
            ProbeTimedOut: self._probed,
            GroupsSampled: self._limited,
            SoftirqSampled: self._softirq.step,
            MemorySampled: self._filled,
            QueuesSampled: self._accepts.step,
            PortsSampled: counts.ports,
            ConntrackSampled: counts.conntrack,
            InterfacesSampled: self._nic.step,
        }

    def step(self, reading: Reading, now_ns: int) -> tuple[Utilization, ...]:
        """Take in one reading; every resource known so far, with its age, comes out."""
        self.take(reading)
        return self.utilizations(now_ns)

    def take(self, reading: Reading) -> None:
        """Take in one reading."""
        self._told = (0, ())
        if isinstance(reading, SourceFailed):
            self._failed[reading.resource] = reading.why
            return
        for finding in self._takes[type(reading)](reading):
            self._put(finding)

    def _sampled(self, reading: ProcessesSampled) -> Iterator[Finding]:
        yield from self._threads.step(reading)
        yield from counts.fds(reading)

    def _probed(self, reading: ProbeTimed | ProbeTimedOut) -> Iterator[Finding]:
        yield probed(reading, self._settings.probe_slo_s)

    def _limited(self, reading: GroupsSampled) -> Iterator[Finding]:
        self._forget("cpu", {f"quota {g.group}" for g in reading.groups})
        yield from self._quotas.step(reading, self._threads.total_cores)

    def _filled(self, reading: MemorySampled) -> Iterator[Finding]:
        self._forget("memory", {f"group {g.group}" for g in reading.groups})
        yield from self._memory.step(reading)

    def _counted(self, reading: CountersSampled) -> Iterator[Finding]:
        self._accepts.counters(reading)
        self._memory.counters(reading)
        yield from self._tls.step(reading, self._quotas.quota_cores)
        self._compare(reading.at_ns)
        yield from counts.connections(reading)
        yield from queued(reading, self._tls, self._settings.client_timeout_s)

    def _compare(self, at_ns: int) -> None:
        """What handshakes cost with what was calibrated; a queue is full of half of them."""
        tls, threads = self._tls, self._threads
        if tls.done_per_s is None or threads.total_cores is None or tls.queued:
            self._drift.interrupt()
            return
        full, resumed = tls.handshakes
        expected_ns = (full * tls.full_s + resumed * tls.resumed_s) * NS_PER_S
        self._drift.step(Spent(at_ns, threads.spent_ns, full + resumed, expected_ns))

    def calibrate(self, calibration: Calibration | None) -> None:
        """Go by another calibration from now on."""
        self._calibration = calibration
        self._tls.calibrate(calibration)
        self._drift = Drift()

    @property
    def drift(self) -> str:
        """What is wrong with the calibration by what handshakes cost; "" if nothing is known to be.

        Where certificates cost differently, their mix is not told, and so nothing is.
        """
        ratio = self._drift.ratio
        if ratio is None or self._calibration is None or not self._calibration.uniform:
            return ""
        return advice(ratio, self._tls.full_s)

    def _forget(self, name: str, sources: set[str]) -> None:
        """Let go of sources that are no more: a group that was left limits nothing."""
        found = self._found.get(name, {})
        for source in [s for s in found if s.startswith(_KEEPS) and s not in sources]:
            del found[source]
            self._growth.pop((name, source), None)

    def _put(self, finding: Finding) -> None:
        utilization = finding.utilization
        name = utilization.name
        configured = self._settings.ceilings.get(name)
        if configured is not None and utilization.unit == UNITS[name]:
            value = configured.value
            if name == "tls" and configured.unit == FULL_PER_S:
                value *= self._tls.full_s
            utilization = replace(
                utilization,
                ceiling=value,
                confidence=Confidence.CONFIGURED,
                origin=f"saturation.resource.{name}.ceiling",
                problem="" if utilization.used is not None else utilization.problem,
            )
        if name in GROWING and utilization.used is not None and utilization.ceiling:
            growth = self._growth.setdefault((name, finding.source), Growth())
            growth.add(finding.at_ns, utilization.used)
            left_s = growth.exhausted_in_s(utilization.used, utilization.ceiling)
            if left_s is not None:
                utilization = replace(utilization, exhausted_in_s=left_s)
        if utilization is not finding.utilization:
            finding = replace(finding, utilization=utilization)
        self._found.setdefault(name, {})[finding.source] = finding
        if utilization.used is not None:
            self._failed.pop(name, None)

    def utilizations(self, now_ns: int) -> tuple[Utilization, ...]:
        """Every resource known so far; one whose readings are all too old is unknown.

        Ages are up to 20 ms behind: many ask within one turn of a loop.
        """
        at_ns, told = self._told
        if told and 0 <= now_ns - at_ns < SAME_TURN_NS:
            return told
        known = [self._aged(self._worst(found, now_ns), now_ns) for found in self._found.values()]
        failed = [
            Utilization(name, None, None, UNITS[name], problem=why)
            for name, why in self._failed.items()
            if name not in self._found
        ]
        told = (*known, *failed)
        self._told = (now_ns, told)
        return told

    def _worst(self, found: dict[str, Finding], now_ns: int) -> Finding:
        """The source nearest its ceiling; among those that say nothing, the latest."""
        if len(found) == 1:
            return next(iter(found.values()))
        worst, highest = None, -1.0
        for each in found.values():
            ratio = each.utilization.utilization
            if ratio is not None and ratio > highest and self._is_fresh(each, now_ns):
                worst, highest = each, ratio
        if worst is not None:
            return worst
        return max(found.values(), key=lambda each: (each.utilization.used is not None, each.at_ns))

    def _is_fresh(self, finding: Finding, now_ns: int) -> bool:
        if finding.source == "probe":
            stale_ns = self._settings.probe_stale_ns
        elif finding.slow:
            stale_ns = SLOW_STALE_NS
        else:
            stale_ns = self._settings.stale_ns
        return now_ns - finding.at_ns <= stale_ns

    def _aged(self, finding: Finding, now_ns: int) -> Utilization:
        found = finding.utilization
        age_ms = (now_ns - finding.at_ns) / NS_PER_MS
        fresh = self._is_fresh(finding, now_ns)
        problem = found.problem
        if not fresh:
            problem = self._failed.get(found.name, f"not read for {age_ms / 1000:.1f} s")
        return Utilization(  # `replace` takes five times as long, and this is done most of all
            found.name,
            found.used if fresh else None,
            found.ceiling,
            found.unit,
            found.confidence,
            age_ms,
            found.detail,
            found.origin,
            problem,
            found.exhausted_in_s if fresh else None,
        )

    def hard_facts(self, now_ns: int) -> dict[str, str]:
        """Resources that are used up by proof, and the proof: by what their last readings said.

        Only what is as new as the source that `utilizations` tells: else one probe without an answer
        would be proof again with every reading of another source.
        """
        return {
            name: finding.hard
            for name, found in self._found.items()
            if any(finding.hard for finding in found.values())
            for told_ns in [self._worst(found, now_ns).at_ns]
            for finding in found.values()
            if finding.hard and finding.at_ns >= told_ns and self._is_fresh(finding, now_ns)
        }

    @property
    def tls(self) -> TlsMeter:
        """What handshakes cost, and how many cores do them."""
        return self._tls

    @property
    def accepts(self) -> AcceptMeter:
        """How fast clients are accepted, how many of them fail, and how long they wait."""
        return self._accepts


def binding(utilizations: tuple[Utilization, ...]) -> Utilization | None:
    """The resource with the highest utilization; None if every one is unknown."""
    known = [u for u in utilizations if u.utilization is not None]
    return max(known, key=lambda u: u.utilization or 0.0, default=None)
