"""Where is the knee: steps of an open-loop load in, the highest rate that was still served well out.

Open loop: clients come by the clock, whether or not earlier ones were served, as real ones do. Past
the knee a closed loop just slows down with the server; an open one shows what clients would see.

    a step is past the knee when    served < SERVED_LEAST of what was offered, or
                                    failed > FAILED_MOST of what was offered, or
                                    p99 > LATENCY_TIMES the first step's median, and over LATENCY_LEAST_S
    a step is no evidence when      the generator itself was late: it is the bottleneck then
"""

from collections.abc import Sequence

from haman.core.frozen import dataclass

SERVED_LEAST = 0.95
FAILED_MOST = 0.01
LATENCY_TIMES = 10.0
LATENCY_LEAST_S = 0.05
LATE_MOST_S = 0.02
GROWTH = 1.25


@dataclass(frozen=True, slots=True)
class Step:
    """One rate, for a while.

    Attributes:
        offered_per_s: full handshakes that were begun.
        served_per_s: that succeeded.
        failed: share of those offered.
        p50_s: from when a client should have come to its answer.
        p99_s: likewise.
        late_s: p99 of how late the generator itself began.
    """

    offered_per_s: float
    served_per_s: float
    failed: float
    p50_s: float
    p99_s: float
    late_s: float


@dataclass(frozen=True, slots=True)
class Knee:
    """What a ramp found.

    Attributes:
        served_per_s: of the last step that was served well; None if not even the first was.
        reached: whether the step after it was past the knee; else the knee is higher.
        text: why the ramp ended.
    """

    served_per_s: float | None
    reached: bool
    text: str


def over(step: Step, first: Step) -> str:
    """Why a step is past the knee; "" if it is not."""
    if step.failed > FAILED_MOST:
        return f"{100 * step.failed:.0f} % failed"
    if step.served_per_s < SERVED_LEAST * step.offered_per_s:
        return f"{step.served_per_s:.0f} of {step.offered_per_s:.0f}/s were served"
    if step.p99_s > max(LATENCY_LEAST_S, LATENCY_TIMES * first.p50_s):
        return f"p99 rose to {1000 * step.p99_s:.0f} ms"
    return ""


def knee(steps: Sequence[Step]) -> Knee | None:
    """Judge a ramp so far; None = go on with a higher rate."""
    if not steps:
        return None
    last, good = steps[-1], steps[-2].served_per_s if len(steps) > 1 else None
    if last.late_s > LATE_MOST_S:
        text = f"this machine was {1000 * last.late_s:.0f} ms late at {last.offered_per_s:.0f}/s"
        return Knee(good, reached=False, text=f"{text}: it is the bottleneck, not the proxy")
    if why := over(last, steps[0]):
        return Knee(good, reached=True, text=f"at {last.offered_per_s:.0f}/s {why}")
    return None


def rates(start_per_s: float, most_per_s: float) -> list[float]:
    """The rates of a ramp: each GROWTH times the one before, up to `most_per_s`."""
    found = [start_per_s]
    while found[-1] < most_per_s:
        found.append(min(most_per_s, found[-1] * GROWTH))
    return found
