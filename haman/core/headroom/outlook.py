"""What a loss would do to one survivor: figures, what is missing among them, and what binds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from haman.core.headroom.sound import Node
from haman.core.headroom.verdicts import STEADY, Verdict

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


@dataclass(slots=True)
class Outlook:
    """What a loss would do to one survivor.

    Attributes:
        share: the largest that it takes of any lost node's load; 0 = nothing.
        limits: by resource, where it is not `INSUFFICIENT`; infinite = it does not count.
        clients: that come to it; None when unknown.
        cost_s: of one handshake on it, in CPU seconds; None when unknown.
        drain_s: how long it needs for the handshakes of all of them; None when unknown.
        worst: the figure nearest its limit; None if nothing is known.
        verdict: on this survivor.
    """

    survivor: Node
    share: float
    limits: Mapping[str, float] = field(default_factory=dict)
    clients: float | None = 0.0
    cost_s: float | None = None
    drain_s: float | None = 0.0
    figures: list[Figure] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    worst: Figure | None = None
    verdict: Verdict = Verdict.UNKNOWN

    def limit(self, resource: str) -> float:
        """From here on the resource is insufficient."""
        return self.limits.get(resource, INSUFFICIENT)

    def conclude(self) -> None:
        """Find what binds, once all is known: each survivor of each loss is asked for it often.

        A known overload outweighs what is unknown, and that outweighs everything else.
        """
        self.worst = max(self.figures, key=lambda f: f.badness, default=None)
        if self.worst is None:
            return
        verdict = self.worst.verdict
        if verdict is Verdict.INSUFFICIENT or not self.gaps:
            self.verdict = verdict

    @property
    def survivable(self) -> int | None:
        """The most clients of the lost nodes for which step and storm pass here."""
        if any(gap.phase != STEADY for gap in self.gaps):
            return None
        return min((f.survivable for f in self.figures if f.per_client > 0), default=None)
