"""Read back: do new connections arrive as the announced weights say they should?

A router acknowledges an UPDATE and may still send nothing: the prefix is filtered, the kernel under
it lost the route, or it gives every node the same. Only the connections tell. Each node reports how
many clients opened lately (its own probes left out) and which weight it announces; from these every
node draws the same conclusions.

States
    silent   nothing is judged: for SETTLE after any change of who announces what to how many
             routers, and while fewer than SAMPLES_MIN samples are there
    judging  once per INTERVAL a sample is taken: the new connections of every node that serves.
             The samples of the last WINDOW are judged together

    finding               true while, with 99.9 % confidence
    --------------------  ---------------------------------------------------------------------
    announced-but-silent  a node gets less than a tenth of what its weight promises, by what the
                          others get
    weight-ignored        the weights differ, and the connections fit an equal split, not them

Nothing is judged where it could not be told: with a single node that serves, with a rate that is
unknown, with a VIP on one of the nodes (its clients are in the same count), with nodes that are
heard by different numbers of routers, or with several services whose weights disagree.

Connections of clients arrive in bursts, so the bounds are wide: rates are Poisson with a tenth as
the threshold, and the fit to an equal split must be some e^20 times the likelier one and four times
the nearer one. Bounds after Wilson and Hilferty (1931), exact within 3 % for these.
"""

from collections import deque
from math import log, sqrt

from haman.core.announcements import AnycastReport
from haman.core.frozen import dataclass
from haman.core.ladder import NS_PER_S
from haman.core.reports import NodeReport
from haman.core.serving import SERVING
from haman.core.words import Role, percent

INTERVAL_NS = 10 * NS_PER_S
"""Rates are means over 10 s: samples so far apart share no connection."""
SETTLE_NS = 15 * NS_PER_S
"""The first rate after a change covers nothing from before it, and every peer has heard of it."""
SAMPLES = 6
SAMPLES_MIN = 3
WINDOW_NS = SAMPLES * INTERVAL_NS
SILENT_SHARE = 0.1
EVIDENCE = 20.0
FIT = 0.25
DISTINCT = 0.05
"""Weights that differ from an equal split by less cannot be told from it."""
_Z = 3.09
"""One-sided 99.9 % of the normal distribution."""

WEIGHT_IGNORED = "weight-ignored"
SILENT_CAUSES = (
    "does the router accept the prefix (filter, maximum-prefix), use several paths (maximum-paths, "
    "multipath-relax) and reach the next hop? After a link flap FRR's kernel may lack the route that "
    "its RIB has: another weight or a cleared session brings it back"
)
EQUAL_CAUSES = (
    "do all nodes send a weight, and does the router use link bandwidth (FRR: no `bgp bestpath "
    "bandwidth ignore`; IOS-XR: `ebgp-recv-extcommunity-dmz`)?"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What does not fit; `node` "" = the service as a whole."""

    code: str
    service: str
    node: str
    text: str
    data: dict[str, int | float | str]


@dataclass(frozen=True, slots=True)
class ReadBackSnapshot:
    """The read back now; `arrivals` in the window, by node, as far as they were sampled."""

    findings: tuple[Finding, ...] = ()
    samples: int = 0
    arrivals: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class _Sample:
    at_ns: int
    arrivals: dict[str, float]


class ReadBack:
    """The engine of this module; see its head."""

    def __init__(self) -> None:
        self._shape: object = None
        self._next_ns = 0
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES)
        self._findings: tuple[Finding, ...] = ()

    @property
    def deadline_ns(self) -> int:
        """When the next sample is due."""
        return self._next_ns

    def snapshot(self) -> ReadBackSnapshot:
        """The read back now."""
        arrivals = tuple(sorted(self._arrivals().items()))
        return ReadBackSnapshot(self._findings, len(self._samples), arrivals)

    def step(self, reports: tuple[NodeReport, ...], now_ns: int) -> tuple[Finding, ...]:
        """What does not fit now; `reports` = this node's own and those of fresh peers."""
        serving = tuple(sorted((r for r in reports if _served(r)), key=lambda r: r.node))
        shape = tuple(_shape(report) for report in serving)
        if shape != self._shape:
            self._shape = shape
            self._samples.clear()
            self._findings = ()
            self._next_ns = now_ns + SETTLE_NS
        elif now_ns >= self._next_ns:
            self._next_ns = now_ns + INTERVAL_NS
            self._sample(serving, now_ns)
            self._findings = self._judge(serving)
        return self._findings

    def _sample(self, serving: tuple[NodeReport, ...], now_ns: int) -> None:
        while self._samples and now_ns - self._samples[0].at_ns >= WINDOW_NS:
            self._samples.popleft()
        arrivals = {}
        for report in serving:
            if report.new_connections_per_s is None:
                return
            arrivals[report.node] = report.new_connections_per_s * INTERVAL_NS / NS_PER_S
        self._samples.append(_Sample(now_ns, arrivals))

    def _arrivals(self) -> dict[str, float]:
        total: dict[str, float] = {}
        for sample in self._samples:
            for node, count in sample.arrivals.items():
                total[node] = total.get(node, 0.0) + count
        return total

    def _judge(self, serving: tuple[NodeReport, ...]) -> tuple[Finding, ...]:
        if len(self._samples) < SAMPLES_MIN or not _can_be_told(serving):
            return ()
        arrivals = self._arrivals()
        window_s = len(self._samples) * INTERVAL_NS // NS_PER_S
        findings: list[Finding] = []
        for service in sorted(_served(serving[0])):
            case = _Case(service, serving, arrivals, window_s)
            silent = case.silent()
            findings += silent or case.equal()
        return tuple(findings)


def _served(report: NodeReport) -> dict[str, AnycastReport]:
    return {a.service: a for a in report.anycast if a.stance in SERVING and a.carried}


def _shape(report: NodeReport) -> object:
    """What must stay the same for connections to be comparable."""
    services = sorted(_served(report).items())
    said = tuple((name, a.weight, a.weighted, a.neighbors_up) for name, a in services)
    return report.node, said, _has_vip(report)


def _has_vip(report: NodeReport) -> bool:
    return any(vip.role in (Role.ACTIVE, Role.TAIL) for vip in report.vips)


def _can_be_told(serving: tuple[NodeReport, ...]) -> bool:
    if len(serving) < 2 or any(_has_vip(report) for report in serving):
        return False
    rows = [_served(report) for report in serving]
    if any(row.keys() != rows[0].keys() for row in rows):
        return False
    if len({a.neighbors_up for row in rows for a in row.values()}) > 1:
        return False
    first, *others = ([row[name].weight for row in rows] for name in sorted(rows[0]))
    return all(
        a * other[0] == b * first[0]  # the same proportions
        for other in others
        for a, b in zip(first, other, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """One service, the nodes that serve it, and the new connections of the window."""

    service: str
    serving: tuple[NodeReport, ...]
    arrivals: dict[str, float]
    window_s: int

    @property
    def weights(self) -> dict[str, float]:
        """Fractions, as announced."""
        said = {r.node: _served(r)[self.service].weight for r in self.serving}
        total = sum(said.values())
        return {node: weight / total for node, weight in said.items()}

    @property
    def unweighted(self) -> tuple[str, ...]:
        return tuple(r.node for r in self.serving if not _served(r)[self.service].weighted)

    def silent(self) -> list[Finding]:
        total = sum(self.arrivals.values())
        findings = []
        for node, by_weight in self.weights.items():
            got = self.arrivals[node]
            # The smaller of the two, in case the router ignores weights.
            share = min(by_weight, 1 / len(self.serving))
            expected = _at_least(total - got) * share / (1 - share)
            if _at_most(got) >= SILENT_SHARE * expected:
                continue
            text = f"{node} announces {self.service}, and {_count(got)} new connections came in "
            text += f"{self.window_s} s; what the others get promises at least {expected:.0f}: "
            text += SILENT_CAUSES
            data = {"arrived": round(got), "expected": round(expected), "window_s": self.window_s}
            findings.append(
                Finding("announced-but-silent", self.service, node, text, {**data, "node": node})
            )
        return findings

    def equal(self) -> list[Finding]:
        total, weights = sum(self.arrivals.values()), self.weights
        even = 1 / len(weights)
        apart = _distance(weights, dict.fromkeys(weights, even))
        if total == 0 or apart < DISTINCT or len(self.unweighted) == len(self.serving):
            return []
        got = {node: count / total for node, count in self.arrivals.items()}
        evidence = sum(n * log(even / weights[node]) for node, n in self.arrivals.items())
        if evidence < EVIDENCE or _distance(got, dict.fromkeys(got, even)) > FIT * apart:
            return []
        seen = ", ".join(f"{node} {percent(got[node])}" for node in sorted(got))
        wanted = ", ".join(f"{node} {percent(weights[node])}" for node in sorted(weights))
        cause = EQUAL_CAUSES
        if self.unweighted:
            cause = (
                f"{', '.join(self.unweighted)} sends no weight (weighted = false), so that routers "
            )
            cause += "share equally"
        text = f"new connections of {self.service} are spread evenly ({seen} of {total:.0f} in "
        text += f"{self.window_s} s) and not by weight ({wanted}): {cause}"
        data: dict[str, int | float | str] = {"arrived": round(total), "window_s": self.window_s}
        return [Finding(WEIGHT_IGNORED, self.service, "", text, data)]


def _distance(one: dict[str, float], other: dict[str, float]) -> float:
    """Total variation: the part of all connections that would have to move."""
    return sum(abs(one[node] - other[node]) for node in one) / 2


def _at_most(count: float) -> float:
    """The highest mean that makes a Poisson count as low as this not too unlikely."""
    n = count + 1
    return float(n * (1 - 1 / (9 * n) + _Z / (3 * sqrt(n))) ** 3)


def _at_least(count: float) -> float:
    """The lowest mean that makes a Poisson count as high as this not too unlikely."""
    if count < 1:
        return 0.0
    return float(count * max(0.0, 1 - 1 / (9 * count) - _Z / (3 * sqrt(count))) ** 3)


def _count(value: float) -> str:
    return f"{value:.0f}" if value >= 1 else "no"
