"""The words of haman, as types: one concept, one word, everywhere.

The same spelling appears in code, API, CLI, TUI, journal and documentation.
"""

from dataclasses import field
from enum import StrEnum

from haman.core.frozen import dataclass


class Condition(StrEnum):
    """What a node is."""

    STARTING = "starting"
    IN_SERVICE = "in-service"
    SATURATED = "saturated"
    DRAINED = "drained"
    FAULT = "fault"
    ISOLATED = "isolated"
    STALE = "stale"

    @property
    def predicate(self) -> str:
        """What a sentence says after "is"."""
        return "in fault" if self is Condition.FAULT else self.value


class Role(StrEnum):
    """What a node is to one VIP: RFC 9568 section 6.4, plus `released` and `tail`."""

    INITIALIZE = "initialize"
    BACKUP = "backup"
    ACTIVE = "active"
    RELEASED = "released"
    TAIL = "tail"


class Stance(StrEnum):
    """What a node is to one anycast service: the ladder, top first."""

    FULL = "full"
    REDUCED = "reduced"
    SHUT = "shut"
    WITHDRAWN = "withdrawn"


class Confidence(StrEnum):
    """How well a ceiling is known, best first."""

    MEASURED = "measured"
    CALIBRATED = "calibrated"
    CONFIGURED = "configured"
    DEFAULT = "default"


class Severity(StrEnum):
    """How much an alert matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


def percent(fraction: float) -> str:
    """A utilization as people read it, wherever haman says one: "41 %"."""
    return f"{100 * fraction:.0f} %"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a decision is what it is.

    Attributes:
        code: short, hyphenated, stable; what tests, metrics and scripts match on.
        text: one line for people, with the numbers in it.
        data: the numbers behind it, names ending in their unit.
    """

    code: str
    text: str
    data: dict[str, int | float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Utilization:
    """One resource of one node at one instant.

    Attributes:
        name: the resource: cpu, tls, connections, fds, …
        used: in `unit`; None when it could not be read.
        ceiling: in `unit`, at the knee and not at the limit; None when unknown.
        unit: the native unit: cores, core-s/s, count, bytes, s.
        confidence: where the ceiling comes from.
        age_ms: of the sample behind `used`.
        detail: where it was found: a thread, a process, a destination; "" for the proxy as a whole.
        origin: what the ceiling is, in words: "RLIMIT_NOFILE", "half of the port range"; "" = its
            name says it all, or there is none.
        problem: why it is unknown; "" while it is known.
        exhausted_in_s: if it goes on growing as it has for the last minute, it is all used up then;
            None when it does not grow, or not steadily.
    """

    name: str
    used: float | None
    ceiling: float | None
    unit: str
    confidence: Confidence = Confidence.DEFAULT
    age_ms: float = 0.0
    detail: str = ""
    origin: str = ""
    problem: str = ""
    exhausted_in_s: float | None = None

    @property
    def utilization(self) -> float | None:
        """Used ÷ ceiling, or None: an unknown ceiling is unknown, never 0."""
        if self.used is None or not self.ceiling:
            return None
        return self.used / self.ceiling


@dataclass(frozen=True, slots=True)
class Alert:
    """Something an operator should know about, for as long as it stays true.

    Attributes:
        code: stable, hyphenated: `n-minus-1`, `saturated`, `conflict`, …
        since_ns: wall clock, ns since the epoch.
    """

    code: str
    severity: Severity
    text: str
    since_ns: int
    node: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """A past-tense fact that somebody may want to read later.

    Attributes:
        type: past-tense, hyphenated: `vip-acquired`, `role-changed`, `condition-changed`, …
        at_ns: wall clock, ns since the epoch.
        service: the VIP or anycast service it is about; "" for the node.
    """

    type: str
    at_ns: int
    text: str
    service: str = ""
    reasons: tuple[Reason, ...] = ()
    data: dict[str, int | float | str] = field(default_factory=dict)
