"""What headroom answers: a verdict for each loss, with the survivor, resource and phase that bind."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

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


@dataclass(frozen=True, slots=True)
class SurvivorLoad:
    """The worst resource of one survivor after a loss. `utilization` None = unknown.

    Attributes:
        phase: steady, step or storm.
        utilization: of the resource's ceiling; in the storm, drain time ÷ half the clients' timeout.
    """

    node: str
    resource: str
    phase: str
    utilization: float | None


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
