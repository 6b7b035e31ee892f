"""What a loss would do to one survivor, while it is worked out: figures, gaps, and what binds."""

from collections.abc import Mapping
from dataclasses import field

from haman.core.frozen import dataclass
from haman.core.headroom.sound import Node
from haman.core.headroom.verdicts import INSUFFICIENT, STEADY, Figure, Gap, Verdict


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
