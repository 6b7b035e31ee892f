"""The gate: from what is sensed of the local proxy to the condition of the node.

`drained`, `isolated` and `stale` are the controller's to say; the gate knows the four conditions
that follow from the proxy alone. Whether the proxy is *busy* is `saturation`'s to say; this
machine knows whether it is *broken*, and how fast a condition may come back.

States
    starting    nothing is known of the proxy yet
    in-service  the proxy lives, answers its probe, and is not saturated
    saturated   as in-service, but over a hard threshold
    fault       the proxy is dead or deaf, or was and is held down

    from                    observed                                          to
    starting                a serving process, and one probe success          in-service
    starting                a probe timed out while others were served        in-service
    starting                no serving process, or `fall` probe failures      fault
    in-service, saturated   ProxyDied                                         fault, at once
    in-service, saturated   `fall` probe failures in a row                    fault
    in-service              a cause of saturation                             saturated
    saturated               no cause left, and hold over                      in-service
    fault                   ProxyFound, `rise` probe successes, hold over     in-service

A probe that times out while the proxy serves others is neither a success nor a failure, and ends a
row of either; in `starting` it proves that the proxy serves, or a node whose controller was restarted
while it is overloaded would never ask to shed. Without a probe a serving process is proof enough. The first success is enough in
`starting`, because no failure speaks against it; `rise` is the proof after a fault.

Timers
    hold    runs from the start of `saturated` or `fault` and bounds how soon it ends. Each start is
            a flap: the nth doubles the hold, up to MAX_HOLDS times the first; one flap is forgiven
            every MAX_HOLDS * hold_ns. The first fault is not held: a restart is no flapping.
    forget  see `saturation`

Invariants
    Never in-service or saturated while no serving process is known.
    Saturation alone never ends in fault; a fault never waits for a timer.
    No observation, late or missing data leave the condition as it is, or lead towards serving.
    At most one change per step; any window of hold_ns sees at most 6.
"""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from haman.core.frozen import dataclass
from haman.core.saturation import Saturation, Thresholds
from haman.core.words import Condition, Reason, Utilization

__all__ = [
    "ConditionChanged",
    "Gate",
    "GateSettings",
    "GateSnapshot",
    "Health",
    "Observation",
    "ProbeFailed",
    "ProbeSucceeded",
    "ProxyDied",
    "ProxyFound",
    "Thresholds",
    "TimePassed",
    "UtilizationSampled",
]

NS_PER_S = 1_000_000_000
MAX_HOLDS = 10


@dataclass(frozen=True, slots=True)
class GateSettings:
    """How the gate judges.

    Attributes:
        probe: a self-probe is configured; without one a living process is a healthy one.
        rise: successes in a row that end a fault.
        fall: failures in a row that make one.
        thresholds: of every resource that `resources` does not name.
        resources: thresholds by resource.
        dwell_ns: above `hard` for this long before the node is saturated.
        hold_ns: the first hold after a change; doubles with each flap; 0 = no holds at all.
        stale_ns: two samples further apart than this do not prove what was between them.
        forget_ns: saturated without a usable sample for this long decays to in-service.
    """

    probe: bool = False
    rise: int = 3
    fall: int = 3
    thresholds: Thresholds = field(default_factory=Thresholds)
    resources: dict[str, Thresholds] = field(default_factory=dict)
    dwell_ns: int = 2 * NS_PER_S
    hold_ns: int = 30 * NS_PER_S
    stale_ns: int = 2 * NS_PER_S
    forget_ns: int = 60 * NS_PER_S


@dataclass(frozen=True, slots=True)
class ProxyDied:
    """Nothing is left alive that serves (or nothing was ever found)."""

    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class ProxyFound:
    """A process that serves is alive."""


@dataclass(frozen=True, slots=True)
class ProbeSucceeded:
    """The proxy answered the self-probe."""


@dataclass(frozen=True, slots=True)
class ProbeFailed:
    """The proxy did not answer the self-probe.

    Attributes:
        text: how.
        served: new clients that it served while the probe waited in vain. One that serves others
            is busy and not broken (law 3), whatever the probe says.
    """

    text: str
    served: int = 0


@dataclass(frozen=True, slots=True)
class UtilizationSampled:
    """A round of samples, smoothed.

    Attributes:
        hard_facts: by resource, what in this very sample proves that it is used up; three in a row
            need no dwell.
    """

    utilizations: tuple[Utilization, ...]
    hard_facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing but the clock moved; due at `deadline_ns`."""


Observation = (
    ProxyDied | ProxyFound | ProbeSucceeded | ProbeFailed | UtilizationSampled | TimePassed
)


@dataclass(frozen=True, slots=True)
class ConditionChanged:
    """The one output: the node's condition is another than before."""

    old: Condition
    new: Condition
    reasons: tuple[Reason, ...]


class Health(StrEnum):
    """What is known of the proxy itself, load aside."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class GateSnapshot:
    """The gate now.

    Attributes:
        condition: starting, in-service, saturated or fault.
        reasons: why; empty in service.
        since_ns: monotonic instant of the last change of condition.
        proxy_alive: a process that serves exists.
        health: of the proxy, holds aside. `up` in condition `fault` means that the proxy is fine
            again and only held down after flapping: it may serve as a last resort.
        held_until_ns: end of the present hold; None when nothing is held.
        flaps: the present count, which decays.
        warnings: resources over their soft threshold.
    """

    condition: Condition
    reasons: tuple[Reason, ...]
    since_ns: int
    proxy_alive: bool
    health: Health
    held_until_ns: int | None
    flaps: int
    warnings: tuple[Reason, ...]


class Gate:
    """The engine of this module; see its head for states, timers and transitions."""

    def __init__(self, settings: GateSettings, now_ns: int) -> None:
        self._settings = settings
        self._condition = Condition.STARTING
        self._since_ns = now_ns
        self._alive = False
        self._health = Health.UNKNOWN
        self._broken: tuple[Reason, ...] = ()
        self._successes = 0
        self._failures = 0
        self._held_until_ns = now_ns
        self._flaps = 0
        self._forgiven_ns = now_ns
        self._saturation = Saturation(
            settings.thresholds,
            settings.resources,
            settings.dwell_ns,
            settings.stale_ns,
            settings.forget_ns,
        )

    def step(self, observed: Observation, now_ns: int) -> tuple[ConditionChanged, ...]:
        """Take in one observation; at most one change comes out."""
        match observed:
            case ProxyDied(reasons):
                self._died(reasons)
            case ProxyFound():
                self._found()
            case ProbeSucceeded():
                self._succeeded()
            case ProbeFailed(_, served) if served:
                self._served_others()
            case ProbeFailed(text):
                self._failed(text)
            case UtilizationSampled(utilizations, hard_facts):
                if self._condition in (Condition.IN_SERVICE, Condition.SATURATED):
                    self._saturation.sampled(utilizations, hard_facts, now_ns)
            case TimePassed():
                self._saturation.forget(now_ns)
        return self._conclude(now_ns)

    def _died(self, reasons: tuple[Reason, ...]) -> None:
        self._alive = False
        self._health = Health.DOWN
        self._broken = reasons
        self._successes = self._failures = 0

    def _found(self) -> None:
        if self._alive:
            return
        self._alive = True
        self._successes = self._failures = 0
        if not self._settings.probe:
            self._health = Health.UP

    def _succeeded(self) -> None:
        if not self._alive:  # somebody else answers on the proxy's address
            return
        self._failures = 0
        self._successes += 1
        if self._health is Health.UNKNOWN or self._successes >= self._settings.rise:
            self._health = Health.UP

    def _served_others(self) -> None:
        self._failures = self._successes = 0
        if self._alive and self._health is Health.UNKNOWN:
            self._health = Health.UP

    def _failed(self, text: str) -> None:
        if not self._alive:  # the death says more than the probe
            return
        self._successes = 0
        self._failures += 1
        if self._failures >= self._settings.fall:
            self._health = Health.DOWN
            self._broken = (
                Reason(
                    "probe-failed",
                    f"probe failed {self._failures} times in a row: {text}",
                    {"failures": self._failures, "fall": self._settings.fall},
                ),
            )

    def _conclude(self, now_ns: int) -> tuple[ConditionChanged, ...]:
        old, new = self._condition, self._judge(now_ns)
        if new is old:
            return ()
        self._condition = new
        self._since_ns = now_ns
        if new in (Condition.FAULT, Condition.SATURATED):
            self._hold(old, new, now_ns)
        if new is Condition.FAULT:
            self._saturation.reset()
        return (ConditionChanged(old, new, self._reasons()),)

    def _judge(self, now_ns: int) -> Condition:
        if self._health is Health.UNKNOWN:
            return Condition.STARTING
        held = now_ns < self._held_until_ns
        if self._health is Health.DOWN or (self._condition is Condition.FAULT and held):
            return Condition.FAULT
        if self._saturation.is_busy or (self._condition is Condition.SATURATED and held):
            return Condition.SATURATED
        return Condition.IN_SERVICE

    def _hold(self, old: Condition, new: Condition, now_ns: int) -> None:
        first_ns = self._settings.hold_ns
        if first_ns == 0:
            return
        forgiven = (now_ns - self._forgiven_ns) // (MAX_HOLDS * first_ns)
        self._flaps = max(0, self._flaps - forgiven)
        self._forgiven_ns = now_ns
        if old is Condition.STARTING:
            return
        self._flaps += 1
        doublings = self._flaps - (2 if new is Condition.FAULT else 1)
        if doublings >= 0:
            hold_ns = min(first_ns << min(doublings, MAX_HOLDS), MAX_HOLDS * first_ns)
            self._held_until_ns = now_ns + hold_ns

    def _reasons(self) -> tuple[Reason, ...]:
        if self._condition is Condition.STARTING:
            text = "the proxy has not answered its probe yet" if self._alive else "not yet sensed"
            return (Reason("starting", text),)
        if self._condition is Condition.IN_SERVICE:
            return ()
        causes = self._saturation.causes
        if self._condition is Condition.SATURATED:
            return causes or (self._held("load is below its thresholds again"),)
        if self._health is Health.UP:
            return (self._held("the proxy is well again"), *self._broken)
        return self._broken

    def _held(self, text: str) -> Reason:
        hold_s = (self._held_until_ns - self._since_ns) / NS_PER_S
        return Reason(
            "held-after-flap",
            f"{text}, {self._condition} is held for {hold_s:g} s after {self._flaps} flaps",
            {"hold_s": hold_s, "flaps": self._flaps},
        )

    @property
    def deadline_ns(self) -> int | None:
        """When `TimePassed` is due, or None."""
        if self._condition is Condition.FAULT and self._health is Health.UP:
            return self._held_until_ns
        if self._condition is Condition.SATURATED:
            return self._saturation.forget_at_ns or self._held_until_ns
        return None

    def snapshot(self) -> GateSnapshot:
        """The gate now."""
        busy_or_broken = self._condition in (Condition.FAULT, Condition.SATURATED)
        return GateSnapshot(
            condition=self._condition,
            reasons=self._reasons(),
            since_ns=self._since_ns,
            proxy_alive=self._alive,
            health=self._health,
            held_until_ns=self._held_until_ns if busy_or_broken else None,
            flaps=self._flaps,
            warnings=self._saturation.warnings,
        )
