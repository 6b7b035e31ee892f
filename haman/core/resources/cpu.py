"""cpu: the hottest thread, the tightest quota, and the CPU that is busiest with interrupts.

A proxy's threads do not help each other out, so one that is full is full. A quota is another
ceiling of the same resource: a proxy that is stopped in every period looks idle to itself (HAProxy
said 60 % idle while all of its periods were cut short). Packets are taken in by soft interrupts,
which can fill a CPU on which no thread of the proxy is seen.
"""

from collections.abc import Iterator

from haman.core.processes import ProcessId
from haman.core.resources.findings import NS_PER_S, Finding, measured
from haman.core.resources.readings import GroupsSampled, ProcessesSampled, SoftirqSampled
from haman.core.smoothing import Smoother


class ThreadMeter:
    """The hottest thread of all processes, and what all of them use together."""

    def __init__(self, stale_ns: int) -> None:
        self._stale_ns = stale_ns
        self._before: ProcessesSampled | None = None
        self._smoother = Smoother()
        self.total_cores: float | None = None
        """Of all threads in the last interval."""
        self.spent_ns = 0
        """By all threads, in all intervals that were seen."""

    def step(self, now: ProcessesSampled) -> Iterator[Finding]:
        """A new process, a new thread or a gap says nothing for one interval."""
        before = self._before
        if before is not None and now.at_ns <= before.at_ns:
            return
        self._before = now
        if before is None or now.at_ns - before.at_ns > self._stale_ns:
            self._smoother = Smoother()
            self.total_cores = None
            yield Finding(now.at_ns, "thread", measured("cpu", None, 1.0, problem="first reading"))
            return
        spent = _spent(before, now)
        if not spent:
            return
        took_ns = now.at_ns - before.at_ns
        hottest_ns, thread, process = max(spent)
        spent_ns = sum(each for each, _, _ in spent)
        self.spent_ns += spent_ns
        self.total_cores = spent_ns / took_ns
        used = self._smoother.add(hottest_ns / took_ns, now.at_ns)
        detail = f"thread {thread} of process {process.pid}"
        yield Finding(
            now.at_ns, "thread", measured("cpu", used, 1.0, detail=detail, origin="one core")
        )


def _spent(before: ProcessesSampled, now: ProcessesSampled) -> list[tuple[int, int, ProcessId]]:
    known = {p.process: p.cpu_ns for p in before.processes}
    return [
        (cpu_ns - known[p.process][thread], thread, p.process)
        for p in now.processes
        if p.process in known
        for thread, cpu_ns in p.cpu_ns.items()
        if cpu_ns >= known[p.process].get(thread, cpu_ns + 1)
    ]


class QuotaMeter:
    """The control group nearest to its CPU quota."""

    def __init__(self, stale_ns: int) -> None:
        self._stale_ns = stale_ns
        self._before: GroupsSampled | None = None
        self._smoothers: dict[str, Smoother] = {}
        self._hard: dict[str, str] = {}
        self.quota_cores: float | None = None
        """The tightest of all; None = there is none."""

    def step(self, now: GroupsSampled, threads_cores: float | None) -> Iterator[Finding]:
        """Where the kernel tells no use of a group, the proxy's own threads stand in for it."""
        before, self._before = self._before, now
        self.quota_cores = min((g.quota_cores for g in now.groups), default=None)
        self._smoothers = {g.group: self._smoothers.get(g.group, Smoother()) for g in now.groups}
        if before is None or not 0 < now.at_ns - before.at_ns <= self._stale_ns:
            self._hard.clear()
            return
        self._hard = {g.group: self._hard.get(g.group, "") for g in now.groups}
        known = {g.group: g for g in before.groups}
        took_ns = now.at_ns - before.at_ns
        for group in now.groups:
            was = known.get(group.group)
            if was is None or group.periods < was.periods or group.throttled < was.throttled:
                continue
            used = threads_cores
            if group.used_ns is not None and was.used_ns is not None:
                used = max(0, group.used_ns - was.used_ns) / took_ns
            if used is None:
                continue
            periods, throttled = group.periods - was.periods, group.throttled - was.throttled
            cut_short = f"throttled in {throttled} of {periods} periods"
            if periods:  # in between, what the last one showed stays true
                name = f"control group {group.group} was {cut_short}"
                self._hard[group.group] = name if throttled >= periods else ""
            detail = f"control group {group.group}" + (f", {cut_short}" if throttled else "")
            yield Finding(
                now.at_ns,
                f"quota {group.group}",
                measured(
                    "cpu",
                    self._smoothers[group.group].add(used, now.at_ns),
                    group.quota_cores,
                    detail=detail,
                    origin="CPU quota of its control group",
                ),
                hard=self._hard.get(group.group, ""),
            )


class SoftirqMeter:
    """The CPU that is busiest with interrupts."""

    def __init__(self, stale_ns: int) -> None:
        self._stale_ns = stale_ns
        self._before: SoftirqSampled | None = None
        self._smoother = Smoother()

    def step(self, now: SoftirqSampled) -> Iterator[Finding]:
        """Time in interrupts ÷ time; the kernel counts it in ticks of 10 ms."""
        before, self._before = self._before, now
        if before is None or not 0 < now.at_ns - before.at_ns <= self._stale_ns:
            return
        busy = [
            (spent - before.busy_ns[cpu], cpu)
            for cpu, spent in now.busy_ns.items()
            if spent >= before.busy_ns.get(cpu, spent + 1)
        ]
        if not busy:
            return
        busiest_ns, cpu = max(busy)
        used = self._smoother.add(min(1.0, busiest_ns / (now.at_ns - before.at_ns)), now.at_ns)
        dropped = now.dropped - before.dropped
        detail = f"interrupts on CPU {cpu}"
        if dropped > 0:
            per_s = dropped * NS_PER_S / (now.at_ns - before.at_ns)
            detail += f", which drops {per_s:.0f} packets/s"
        yield Finding(
            now.at_ns,
            "softirq",
            measured("cpu", used, 1.0, detail=detail, origin="one core"),
            slow=True,
        )
