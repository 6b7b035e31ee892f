"""Is the proxy busy: two thresholds, a lower one to recover, dwell, and hard facts, per resource.

States of one resource
    calm    below `hard`, or over it for less than the dwell
    cause   it makes the node saturated

    from    observed                                          to
    calm    >= hard on every sample for dwell_ns              cause
    calm    a hard fact in HARD_FACT_SAMPLES in a row         cause
    cause   < recover                                         calm
    cause   no usable sample for forget_ns                    calm
    any     unknown, too old, or the same reading again       unchanged; a gap restarts the dwell

Timers: dwell runs between readings and never by the clock alone, so neither missing data nor one
reading told twice complete it (law 6); forget is the only one that the clock ends, and it ends
towards serving.

A hard fact proves by itself that a resource is used up (all connections taken, connections dropped,
throttled in every period, a probe without an answer); it needs no dwell, and no known ceiling.

Invariants: a resource that does not `act` is never a cause; warnings are independent of causes.
Bounds: state is kept for resources seen in the last sample or not yet forgotten.
"""

from collections.abc import Mapping
from dataclasses import field

from haman.core.frozen import dataclass
from haman.core.words import Reason, Utilization

NS_PER_MS = 1_000_000
HARD_FACT_SAMPLES = 3
SAME_READING_NS = NS_PER_MS  # ages are floats in ms; samplers tick in tens of ms


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Of one resource, as fractions of its ceiling: recover < soft <= hard.

    Attributes:
        act: whether going over `hard` makes the node saturated; False = alert only.
    """

    soft: float = 0.75
    hard: float = 0.90
    recover: float = 0.65
    act: bool = True


@dataclass(slots=True)
class _Pressure:
    """What is remembered of one resource.

    Attributes:
        last: the reading that `warned` and `cause` are from, and its ratio; words are made of it when
            somebody asks.
        warned: the soft threshold, while it is over it.
        cause: code, threshold and hard fact, while it is one.
    """

    seen_ns: int = 0
    over_ns: int | None = None
    at_limit: int = 0
    last: tuple[Utilization, float] | None = None
    warned: float | None = None
    cause: tuple[str, float, str] | None = None


@dataclass(slots=True)
class Saturation:
    """The pressure on each resource; `causes` says which of them make the node saturated."""

    thresholds: Thresholds
    resources: dict[str, Thresholds]
    dwell_ns: int
    stale_ns: int
    forget_ns: int
    _pressures: dict[str, _Pressure] = field(default_factory=dict)

    def sampled(
        self, utilizations: tuple[Utilization, ...], hard_facts: Mapping[str, str], now_ns: int
    ) -> None:
        """Take in one round of samples.

        Args:
            utilizations: every resource, smoothed.
            hard_facts: by resource, what proves that it is used up.
            now_ns: the round's instant.
        """
        for utilization in utilizations:
            ratio = utilization.utilization
            hard = hard_facts.get(utilization.name, "")
            if ratio is None and hard:
                ratio = 1.0
            age_ns = round(utilization.age_ms * NS_PER_MS)
            if ratio is not None and age_ns <= self.stale_ns:
                self._judge(utilization, ratio, hard, now_ns - age_ns)
        self.forget(now_ns)

    def _judge(self, utilization: Utilization, ratio: float, hard: str, at_ns: int) -> None:
        name = utilization.name
        limits = self.resources.get(name, self.thresholds)
        pressure = self._pressures.setdefault(name, _Pressure())
        gap_ns = at_ns - pressure.seen_ns
        if pressure.seen_ns and gap_ns < SAME_READING_NS:
            return
        if gap_ns > self.stale_ns:
            pressure.over_ns = None
            pressure.at_limit = 0
        pressure.seen_ns = at_ns
        pressure.at_limit = pressure.at_limit + 1 if hard else 0
        if ratio < limits.hard:
            pressure.over_ns = None
        elif pressure.over_ns is None:
            pressure.over_ns = at_ns
        pressure.last = (utilization, ratio)
        warns = ratio >= limits.soft or (pressure.warned is not None and ratio >= limits.recover)
        pressure.warned = limits.soft if warns else None
        if not limits.act or (ratio < limits.recover and not hard):
            pressure.cause = None
        elif pressure.at_limit >= HARD_FACT_SAMPLES:
            pressure.cause = ("exhausted", 1.0, hard)
        elif pressure.cause or (
            pressure.over_ns is not None and at_ns - pressure.over_ns >= self.dwell_ns
        ):
            pressure.cause = ("saturated", limits.hard, "")

    def forget(self, now_ns: int) -> None:
        """Let go of resources without a usable sample for `forget_ns`."""
        for name, pressure in list(self._pressures.items()):
            if now_ns - pressure.seen_ns >= self.forget_ns:
                del self._pressures[name]

    def reset(self) -> None:
        """Forget everything: the proxy that was measured is gone."""
        self._pressures.clear()

    @property
    def is_busy(self) -> bool:
        """Whether there is any cause."""
        return any(p.cause for p in self._pressures.values())

    @property
    def causes(self) -> tuple[Reason, ...]:
        """Why the node is saturated, worst first; empty = it is not."""
        causes = [_reason(p.last, *p.cause) for p in self._pressures.values() if p.cause and p.last]
        return tuple(sorted(causes, key=_worst_first))

    @property
    def warnings(self) -> tuple[Reason, ...]:
        """Resources over their soft threshold, worst first."""
        warned = [
            _reason(p.last, "soft-threshold", p.warned)
            for p in self._pressures.values()
            if p.warned is not None and p.last
        ]
        return tuple(sorted(warned, key=_worst_first))

    @property
    def forget_at_ns(self) -> int | None:
        """When the next cause will be forgotten, if no sample comes; None without causes."""
        return min(
            (p.seen_ns + self.forget_ns for p in self._pressures.values() if p.cause), default=None
        )


def _worst_first(reason: Reason) -> float:
    return -float(reason.data["utilization"])


def _reason(last: tuple[Utilization, float], code: str, threshold: float, hard: str = "") -> Reason:
    utilization, ratio = last
    at = utilization.name
    if utilization.utilization is not None:
        used = f"{utilization.used:.4g} of {utilization.ceiling:.4g} {utilization.unit}"
        where = f", {utilization.detail}" if utilization.detail else ""
        at += f" at {ratio:.2f} ({used}{where})"
    text = f"{at}: {hard}" if hard else f"{at}, threshold {threshold:.2f}"
    return Reason(
        code,
        text,
        {"resource": utilization.name, "utilization": round(ratio, 4), "threshold": threshold},
    )
