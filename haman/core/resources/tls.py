"""tls: what the handshakes that clients ask for cost, against what the threads can do.

Full and resumed handshakes cost differently, so neither has a ceiling of its own: both are counted
in CPU time. Costs come from a calibration of this node; until there is one, these stand in, measured
with HAProxy 2.6 on one core, RSA-2048 and TLS 1.3, each with a small request: 433 µs full, 201 µs
resumed. (RSA-4096 costs 3166 µs, P-256 246 µs.) The knee is at 0.90 of the cores: p99 is 10 ms there,
and 125 ms at 0.95.

Demand is what came in, and not only what was done. A proxy that works on thousands at once completes
few: offered twice its ceiling, HAProxy completed 200 to 700 of the 1,000 handshakes per second that it
can do, for most of the first second (2.6, RSA-2048, one thread). So while tasks queue up, what counts is the TLS connections that
were begun, where the proxy tells them; and else the growth of the queue, while handshakes are most of
what is done. The queue is the guard: bare connections that never shake hands wait for nobody.

Half as much again as the ceiling, asked for while a queue stands, is a hard fact: what is left over in
every second waits for ever, and no smoothing makes it less.
"""

from collections.abc import Iterator
from dataclasses import replace

from haman.core.calibration import Calibration
from haman.core.resources.findings import CORE_SECONDS, NS_PER_S, Finding
from haman.core.resources.readings import CountersSampled
from haman.core.smoothing import RISE_S, Smoother
from haman.core.words import Confidence, Utilization

COST_FULL_S = 433e-6
COST_RESUMED_S = 201e-6
TLS_KNEE = 0.9
MOSTLY = 0.5
SHARE_HANDSHAKES_MIN = 1000
"""Fewer say little of how many clients resume; probes and a handful of early clients are among them."""
QUEUED_PER_THREAD = 10
"""Runnable tasks for each thread beyond which it does not keep up: at 70 % of the knee there were 4 at
the median and 19 at most, in the third round of a storm 300. A guard against bare connections alone:
what is begun at 70 % of the knee is no more than that."""
OVERLOAD = 1.5
"""Times the ceiling: at 70 % of it, no three intervals in a row came near it."""
RISE_QUEUED_S = 0.05
"""How fast a rise is followed that such a queue confirms."""


class TlsMeter:
    """Cost-weighted demand for handshakes."""

    def __init__(self, stale_ns: int, calibration: Calibration | None) -> None:
        self._stale_ns = stale_ns
        self._before: CountersSampled | None = None
        self._smoother = Smoother()
        self.calibrate(calibration)
        self.done_per_s: float | None = None
        """Handshakes completed in the last interval; None when unknown."""
        self.cores: float | None = None
        """That do handshakes: threads, or the quota if that is less; None when unknown."""
        self._full = self._resumed = 0
        self.queued = False
        """More tasks waited for a thread, at the last reading, than the threads keep up with."""

    def calibrate(self, calibration: Calibration | None) -> None:
        """Go by other costs from now on."""
        self._calibration = calibration
        self.full_s = calibration.costliest.full_s if calibration else COST_FULL_S
        self.resumed_s = calibration.costliest.resumed_s if calibration else COST_RESUMED_S

    def step(self, now: CountersSampled, quota_cores: float | None) -> Iterator[Finding]:
        """A reset or a gap says nothing for one interval."""
        before = self._before
        usable: float | None = now.threads
        if usable is not None and quota_cores is not None:
            usable = min(usable, quota_cores)
        self.cores = usable
        if now.full is None or now.resumed is None:
            return
        if before is not None and now.at_ns <= before.at_ns:
            return
        self._before = now
        if before is None or now.at_ns - before.at_ns > self._stale_ns:
            self._smoother = Smoother()
            self.done_per_s = None
            yield self._found(now.at_ns, None, usable, "first reading")
            return
        full = now.full - (before.full or 0)
        resumed = now.resumed - (before.resumed or 0)
        if now.epoch != before.epoch or full < 0 or resumed < 0:
            self.done_per_s = None
            return
        self._full, self._resumed = self._full + full, self._resumed + resumed
        took_s = (now.at_ns - before.at_ns) / NS_PER_S
        self.done_per_s = (full + resumed) / took_s
        cost_s = full * self.full_s + resumed * self.resumed_s
        self.queued = queued = _queued(now)
        if queued and now.begun is not None and before.begun is not None:
            cost_s = max(cost_s, (now.begun - before.begun) * self._mean_s(full, resumed))
        elif now.queue is not None and before.queue is not None and usable:
            mostly_tls = cost_s >= MOSTLY * usable * took_s
            cost_s += (now.queue - before.queue) * self.full_s if mostly_tls else 0.0
        rise_s = RISE_QUEUED_S if queued else RISE_S
        demand = max(0.0, cost_s / took_s)
        used = self._smoother.add(demand, now.at_ns, rise_s)
        finding = self._found(now.at_ns, used, usable)
        ceiling = finding.utilization.ceiling
        if queued and ceiling and demand >= OVERLOAD * ceiling:
            text = (
                f"clients ask for {demand / ceiling:.1f} times what can be done, {now.queue} wait"
            )
            finding = replace(finding, hard=text)
        yield finding

    @property
    def handshakes(self) -> tuple[int, int]:
        """Full and resumed ones that were seen to complete."""
        return self._full, self._resumed

    @property
    def resumed_share(self) -> float:
        """Of all handshakes so far; 0 while there were too few to say."""
        every = self._full + self._resumed
        return self._resumed / every if every >= SHARE_HANDSHAKES_MIN else 0.0

    @property
    def confidence(self) -> Confidence:
        """Where the costs come from."""
        return Confidence.DEFAULT if self._calibration is None else Confidence.CALIBRATED

    def _mean_s(self, full: int, resumed: int) -> float:
        """What those that wait will cost, if they are like those that were done."""
        if not full + resumed:
            return self.full_s
        return (full * self.full_s + resumed * self.resumed_s) / (full + resumed)

    def _found(
        self, at_ns: int, used: float | None, cores: float | None, problem: str = ""
    ) -> Finding:
        ceiling = cores * TLS_KNEE if cores else None
        confidence, origin = Confidence.DEFAULT, f"{TLS_KNEE:g} of {cores:g} cores" if cores else ""
        detail = f"{self.full_s * 1e6:.0f} µs a full handshake, {self.resumed_s * 1e6:.0f} resumed"
        if self._calibration is not None:
            confidence = Confidence.CALIBRATED
            detail += f", {self._calibration.costliest.certificate}"
            if self._calibration.knee_full_per_s is not None:
                ceiling = self._calibration.knee_full_per_s * self.full_s
                origin = f"knee at {self._calibration.knee_full_per_s:.0f} full handshakes/s"
        if ceiling is None:
            problem = problem or "the proxy does not tell how many threads it has"
        return Finding(
            at_ns,
            "handshakes",
            Utilization(
                "tls",
                used,
                ceiling,
                CORE_SECONDS,
                confidence,
                detail=detail,
                origin=origin,
                problem=problem,
            ),
        )


def _queued(now: CountersSampled) -> bool:
    """More waits than the threads keep up with."""
    return now.queue is not None and now.queue >= QUEUED_PER_THREAD * (now.threads or 1)
