"""What all nodes together say: who sheds, and whether they are busy for one cause.

If most nodes are saturated, or rise together, the load has grown everywhere: shedding would only pass
it round, and break connections on the way. Then nobody sheds.
"""

from collections import deque

from haman.core.because import listed
from haman.core.permits.scene import VOTERS, Scene
from haman.core.permits.standing import NS_PER_S, PermitSettings
from haman.core.reports import NodeReport
from haman.core.words import Condition, Reason

SAMPLE_NS = 5 * NS_PER_S
SAMPLES = 6
RISE = 0.15
"""Of its ceiling within the window, by which a node rises."""
UTILIZATION_MAX = 1e6


class Crowd:
    """What was seen of each node's binding utilization in the last 30 s; bounded by the peers."""

    def __init__(self, settings: PermitSettings) -> None:
        self._settings = settings
        self._sampled_ns: int | None = None
        self._samples: dict[str, deque[float]] = {}

    def reconfigure(self, settings: PermitSettings) -> None:
        """Take over other thresholds and another ceiling."""
        self._settings = settings

    def observe(self, scene: Scene, now_ns: int) -> None:
        """Sample every node, when it is time."""
        if self._sampled_ns is not None and now_ns - self._sampled_ns < SAMPLE_NS:
            return
        self._sampled_ns = now_ns
        nodes = (scene.own, *scene.reports.values())
        before, self._samples = self._samples, {}
        for report in nodes:
            load = busiest(report, self._settings)
            seen = before.get(report.node, deque(maxlen=SAMPLES))
            if load is not None:
                seen.append(load)
            self._samples[report.node] = seen

    def shared_cause(self, scene: Scene) -> Reason | None:
        """Most of the nodes in service are hot."""
        nodes = [r for r in (scene.own, *scene.reports.values()) if r.condition in VOTERS]
        hot = [r.node for r in nodes if self._is_hot(r)]
        if len(nodes) < 2 or 2 * len(hot) <= len(nodes):
            return None
        text = (
            f"{len(hot)} of {len(nodes)} nodes are saturated or rise together ({listed(hot)}): one"
            " cause, and shedding would only pass the load round"
        )
        return Reason("shared-cause", text, {"hot": len(hot), "nodes": len(nodes)})

    def _is_hot(self, report: NodeReport) -> bool:
        if report.condition is Condition.SATURATED:
            return True
        load, seen = busiest(report, self._settings), self._samples.get(report.node)
        if load is None or not seen:
            return False
        return load >= self._settings.thresholds.recover and load - min(seen) >= RISE

    def ceiling(self, scene: Scene, besides: str, own_sheds: tuple[str, ...]) -> Reason | None:
        """As many nodes shed as may; `besides` = the one that would like to, which does not count."""
        most = self._settings.max_shedding
        shedding = [r.node for r in scene.reports.values() if r.permits and r.permits.sheds]
        shedding += [scene.own.node] if own_sheds else []
        shedding = sorted(set(shedding) - {besides})
        if len(shedding) < most:
            return None
        if not most:
            return Reason("max-shedding", "max_shedding is 0: no node may shed", {"most": 0})
        verb = "sheds" if len(shedding) == 1 else "shed"
        text = f"{listed(shedding)} {verb} already, and max_shedding is {most}"
        return Reason("max-shedding", text, {"most": most, "shedding": len(shedding)})


def busiest(report: NodeReport, settings: PermitSettings) -> float | None:
    """The highest utilization of what acts; None = all is unknown."""
    known = [
        u
        for each in report.resources
        if (u := each.utilization) is not None
        and 0 <= u <= UTILIZATION_MAX
        and settings.of(each.name).act
    ]
    return max(known, default=None)
