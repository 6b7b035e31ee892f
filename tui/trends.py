"""How utilizations went lately, from the statuses that came: for sparklines."""

from dataclasses import dataclass, field

from haman.api.schema import Status

SAMPLES_MAX = 60
SAMPLE_S = 1.0

Trend = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Trends:
    """One sample each SAMPLE_S at most, SAMPLES_MAX of them, by node and resource.

    Attributes:
        at_s: of the newest sample.
    """

    kept: dict[tuple[str, str], Trend] = field(default_factory=dict)
    at_s: float = float("-inf")

    def of(self, node: str, resource: str) -> Trend:
        """Oldest first; () when there is none."""
        return self.kept.get((node, resource), ())


def sampled(trends: Trends, status: Status, at_s: float) -> Trends:
    """With the figures of `status`; what it does not mention is forgotten.

    A node that is not heard has no figures now, whatever it said last.
    """
    if at_s - trends.at_s < SAMPLE_S:
        return trends
    kept = {}
    for node in status.nodes:
        for resource in node.resources:
            key = (node.name, resource.name)
            now = None if node.condition == "stale" else resource.utilization
            kept[key] = (*trends.kept.get(key, ())[-SAMPLES_MAX + 1 :], now)
    return Trends(kept, at_s)
