"""cpu: the hottest thread, the tightest quota, and the CPU that is busiest with interrupts.

A proxy's threads do not help each other out, so one that is full is full. Full is also one that is
runnable all the time and gets a part of a CPU, because others want it too: a thread that runs for
0.6 s and waits for 0.4 s cannot do more, whatever its CPU time says. A quota is another
ceiling of the same resource: a proxy that is stopped in every period looks idle to itself (HAProxy
said 60 % idle while all of its periods were cut short). Packets are taken in by soft interrupts,
which can fill a CPU on which no thread of the proxy is seen.
"""

from collections.abc import Iterator

from haman.core.frozen import dataclass
from haman.core.processes import ProcessId
from haman.core.resources.findings import NS_PER_S, Finding, measured
from haman.core.resources.readings import GroupsSampled, ProcessesSampled, SoftirqSampled
from haman.core.smoothing import Smoother
from haman.core.words import percent

WAITED_TOLD = 0.05
"""From this share of the time on, waiting for a CPU is part of the story."""


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
        hottest = max(spent)
        spent_ns = sum(each.ran_ns for each in spent)
        self.spent_ns += spent_ns
        self.total_cores = spent_ns / took_ns
        # A wait is booked when it ends, so that it may have begun before the last reading.
        used = self._smoother.add(min(1.0, hottest.wanted_ns / took_ns), now.at_ns)
        detail = f"thread {hottest.thread} of process {hottest.process.pid}"
        if hottest.waited_ns >= WAITED_TOLD * took_ns:
            share = min(1.0, hottest.waited_ns / took_ns)
            detail += f", {percent(share)} of the time without the CPU that it wanted"
        yield Finding(
            now.at_ns, "thread", measured("cpu", used, 1.0, detail=detail, origin="one core")
        )


@dataclass(frozen=True, slots=True, order=True)
class _Spent:
    """What one thread did in one interval; sorts by how much it wanted to run."""

    wanted_ns: int
    ran_ns: int
    waited_ns: int
    thread: int
    process: ProcessId


def _spent(before: ProcessesSampled, now: ProcessesSampled) -> list[_Spent]:
    known = {p.process: p for p in before.processes}
    found = []
    for sample in now.processes:
        was = known.get(sample.process)
        if was is None:
            continue
        for thread, cpu_ns in sample.cpu_ns.items():
            ran_ns = cpu_ns - was.cpu_ns.get(thread, cpu_ns + 1)
            if ran_ns < 0:
                continue
            waited_ns = sample.waited_ns.get(thread, 0)
            waited_ns = max(0, waited_ns - was.waited_ns.get(thread, waited_ns))
            found.append(_Spent(ran_ns + waited_ns, ran_ns, waited_ns, thread, sample.process))
    return found


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
