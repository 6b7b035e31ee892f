"""What headroom answers: a verdict for each loss, with the survivor, resource and phase that bind."""

import math
from dataclasses import field
from enum import StrEnum
from typing import Final

from haman.core.frozen import dataclass
from haman.core.words import Reason


class Verdict(StrEnum):
    """Would the survivors carry it."""

    OK = "ok"
    TIGHT = "tight"
    INSUFFICIENT = "insufficient"
    UNKNOWN = "unknown"


RANK: Final = (Verdict.OK, Verdict.TIGHT, Verdict.UNKNOWN, Verdict.INSUFFICIENT)
"""Best first. Unknown is worse than tight: nobody can rely on it."""

STEADY: Final = "steady"
STEP: Final = "step"
STORM: Final = "storm"


TIGHT = 0.75
INSUFFICIENT = 0.90
"""The default thresholds of the gate: at `tight` a survivor would alert, at `insufficient` it would
itself ask to shed, so a loss would only pass the overload on."""
FULL = 1.0
"""Where the limit is no knee but the end: an accept queue, and half of the clients' timeout."""
SURVIVABLE_MAX = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Figure:
    """One resource of one survivor in one phase, as fractions of its ceiling.

    Attributes:
        limit: from here on it is insufficient.
        per_client: what one more client of the lost nodes adds; 0 in the steady phase.
    """

    resource: str
    phase: str
    own: float
    added: float
    limit: float = INSUFFICIENT
    per_client: float = 0.0

    @property
    def total(self) -> float:
        """After the loss."""
        return self.own + self.added

    @property
    def verdict(self) -> Verdict:
        """By this figure alone."""
        if self.total >= self.limit:
            return Verdict.INSUFFICIENT
        return Verdict.TIGHT if self.total >= TIGHT else Verdict.OK

    @property
    def survivable(self) -> int:
        """The most clients of the lost nodes for which it stays below its limit."""
        room = self.limit - self.own
        if room <= 0:
            return 0
        return max(0, math.ceil(min(room / self.per_client, SURVIVABLE_MAX)) - 1)

    @property
    def badness(self) -> tuple[float, float]:
        """Sorts by how near the limit is."""
        return self.total / self.limit, self.total


@dataclass(frozen=True, slots=True)
class Gap:
    """What cannot be told, and why."""

    resource: str
    phase: str
    why: str


@dataclass(frozen=True, slots=True)
class SurvivorLoad:
    """The worst resource of one survivor after a loss. `utilization` None = unknown.

    Attributes:
        phase: steady, step or storm.
        utilization: of the resource's ceiling; in the storm, drain time ÷ half the clients' timeout.
        figures: every resource in every phase, before and after; kept only for a loss that was asked for.
        gaps: what cannot be told of it; kept likewise.
    """

    node: str
    resource: str
    phase: str
    utilization: float | None
    figures: tuple[Figure, ...] = ()
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class LossScenario:
    """One loss and what it would do; `survivors` worst first.

    Attributes:
        lost: the nodes that are lost together.
        survivable_connections: the most clients that the lost nodes may have together for step and
            storm still to pass; None = unknown, or nothing moves.
        drain_s: how long the slowest survivor needs for the handshakes of all lost clients; None =
            unknown.
    """

    lost: tuple[str, ...]
    verdict: Verdict
    survivors: tuple[SurvivorLoad, ...] = ()
    reasons: tuple[Reason, ...] = ()
    survivable_connections: int | None = None
    drain_s: float | None = None


@dataclass(frozen=True, slots=True)
class Headroom:
    """Every single loss and every site, and the verdict of the worst one; worst first."""

    verdict: Verdict = Verdict.UNKNOWN
    worst: LossScenario | None = None
    scenarios: tuple[LossScenario, ...] = field(default_factory=tuple)
