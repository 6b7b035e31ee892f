"""N−1: what the loss of a node would do to the ones that stay."""

from dataclasses import dataclass, field
from enum import StrEnum

from haman.core.reports import NodeReport, PeerView
from haman.core.shares import shares
from haman.core.words import Condition, Reason, Utilization, percent


class Verdict(StrEnum):
    """Would the survivors carry it."""

    OK = "ok"
    TIGHT = "tight"
    INSUFFICIENT = "insufficient"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SurvivorLoad:
    """The worst resource of one survivor after a loss. `utilization` None = unknown."""

    node: str
    resource: str
    phase: str
    utilization: float | None


@dataclass(frozen=True, slots=True)
class LossScenario:
    """One loss and what it would do; `survivors` worst first."""

    lost: tuple[str, ...]
    verdict: Verdict
    survivors: tuple[SurvivorLoad, ...] = ()
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Headroom:
    """Every single loss, and the verdict of the worst one."""

    verdict: Verdict = Verdict.UNKNOWN
    worst: LossScenario | None = None
    scenarios: tuple[LossScenario, ...] = field(default_factory=tuple)


# The default thresholds of the gate: at `tight` a survivor would alert, at `insufficient` it would
# itself ask to shed, so a loss would only pass the overload on.
TIGHT = 0.75
INSUFFICIENT = 0.90

STEADY = "steady"

# What adds up when load moves. Latencies (hol, accept_queue) do not, nor does memory: most of what a
# host uses of it, it uses without a single client.
ADDITIVE = ("cpu", "tls", "connections", "fds", "ports", "conntrack", "nic")

# Without these nothing can be said of a survivor. The others are told where they can be: a virtual
# interface, for one, never says how fast it is.
MUST_KNOW = ("cpu", "tls", "connections", "fds")

_RANK = (Verdict.OK, Verdict.TIGHT, Verdict.UNKNOWN, Verdict.INSUFFICIENT)


def assess(own: NodeReport, peers: tuple[PeerView, ...]) -> Headroom:
    """What every single loss would do to the survivors in the steady phase.

    The lost node's load goes to those that take over its services (`shares`), in native units. A
    peer without a fresh report carries nothing (it counts as full), and what it carries itself is unknown. A resource that is
    unknown on either side stays unknown, which is worse than `tight`: nobody can rely on it.

    Args:
        own: this node's report; fresh by definition.
        peers: every other node of the cluster's configuration.
    """
    nodes = (PeerView(own.node, own, 0.0, fresh=True), *peers)
    scenarios = tuple(_loss(lost, tuple(n for n in nodes if n.name != lost.name)) for lost in nodes)
    worst = max(scenarios, key=_severity)
    return Headroom(worst.verdict, worst, tuple(sorted(scenarios, key=_severity, reverse=True)))


def _severity(scenario: LossScenario) -> tuple[int, float]:
    loads = [s.utilization for s in scenario.survivors if s.utilization is not None]
    return _RANK.index(scenario.verdict), max(loads, default=0.0)


def _loss(lost: PeerView, others: tuple[PeerView, ...]) -> LossScenario:
    if not others:
        reason = Reason("no-other-node", f"if {lost.name} is lost, no other node is left")
        return LossScenario((lost.name,), Verdict.INSUFFICIENT, reasons=(reason,))
    if lost.report is None or not lost.fresh:
        text = f"what {lost.name} carries is unknown: {_silence(lost)}"
        reason = Reason("no-fresh-report", text, {"node": lost.name})
        return LossScenario((lost.name,), Verdict.UNKNOWN, reasons=(reason,))
    spread = shares(lost.report, _able(others))
    if spread.orphans:
        return _nobody(lost.name, spread.orphans, others)
    # The step phase (connections, fds and memory at once) and the storm phase (all of them
    # reconnect) add their own rows here.
    rows = sorted(
        (_steady(lost.report, s, spread.taken.get(s.node, 0.0)) for s in _able(others)),
        key=_Row.badness,
        reverse=True,
    )
    if not rows:
        return _nobody(lost.name, (), others)
    return LossScenario(
        (lost.name,),
        rows[0].verdict,
        tuple(row.load for row in rows),
        tuple(row.reason for row in rows),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """One survivor after the loss: its worst resource, or the one that is unknown."""

    verdict: Verdict
    load: SurvivorLoad
    reason: Reason

    def badness(self) -> tuple[int, float]:
        return _RANK.index(self.verdict), self.load.utilization or 0.0


def _able(nodes: tuple[PeerView, ...]) -> tuple[NodeReport, ...]:
    """Nodes that could serve, drained ones as a last resort; a silent node counts as full."""
    able = (Condition.IN_SERVICE, Condition.SATURATED, Condition.DRAINED)
    return tuple(
        n.report for n in nodes if n.fresh and n.report is not None and n.report.condition in able
    )


def _nobody(lost: str, orphans: tuple[str, ...], others: tuple[PeerView, ...]) -> LossScenario:
    what = ", ".join(orphans) if orphans else "anything"
    silent = tuple(n for n in others if n.report is None or not n.fresh)
    reasons = [Reason("no-survivor", f"if {lost} is lost, no other node can serve {what}")]
    for node in others:
        if node.report is None or not node.fresh:
            why = f"counted as full: {_silence(node)}"
        elif _able((node,)):
            why = "not configured for it"
        else:
            why = node.report.condition.predicate
        reasons.append(Reason("cannot-take-over", f"{node.name} is {why}", {"node": node.name}))
    return LossScenario(
        (lost,),
        Verdict.INSUFFICIENT,
        tuple(SurvivorLoad(n.name, "", STEADY, 1.0) for n in silent),
        tuple(reasons),
    )


def _silence(node: PeerView) -> str:
    if node.report is None:
        return "no report from it yet"
    return f"its last report is {node.age_ms / 1000:.1f} s old"


def _steady(lost: NodeReport, survivor: NodeReport, share: float) -> _Row:
    """Own load plus this share of the lost node's."""
    mine = {r.name: r for r in survivor.resources if _is_sensed(r)}
    theirs = {r.name: r for r in lost.resources if _is_sensed(r)} if share else {}
    known: list[tuple[float, str, float, float]] = []
    unknown: list[str] = []
    for name in sorted(mine.keys() | theirs.keys()):
        parts = _parts(mine.get(name), theirs.get(name), share)
        if parts is None:
            unknown += [name] if name in MUST_KNOW else []
        else:
            known.append((sum(parts), name, *parts))
    total, name, own, added = max(known, default=(0.0, "", 0.0, 0.0))
    data: dict[str, int | float | str] = {
        "survivor": survivor.node,
        "resource": name,
        "utilization": round(total, 4),
        "own": round(own, 4),
        "added": round(added, 4),
        "share": round(share, 4),
    }
    if total < INSUFFICIENT and (unknown or not known):
        names = ", ".join(unknown) or "every resource"
        rest = f"; of the known ones, {name} is the highest at {percent(total)}" if known else ""
        text = f"if {lost.node} is lost, {names} of {survivor.node} cannot be told{rest}"
        load = SurvivorLoad(survivor.node, unknown[0] if unknown else "", STEADY, None)
        return _Row(Verdict.UNKNOWN, load, Reason("unknown-load", text, data))
    if share:
        part = "" if share == 1 else f", its share of {percent(share)}"
        text = f"reaches {percent(total)} of {name}: {percent(own)} of its own, "
        text += f"{percent(added)} taken over{part}"
    else:
        text = f"stays at {percent(total)} of {name}: it takes nothing over"
    text = f"if {lost.node} is lost, {survivor.node} {text}"
    load = SurvivorLoad(survivor.node, name, STEADY, total)
    return _Row(_verdict(total), load, Reason("steady-load", text, data))


def _is_sensed(resource: Utilization) -> bool:
    """What a kind of proxy never tells at all, its other resources must make up for."""
    told = resource.used is not None or resource.ceiling is not None
    return told and resource.name in ADDITIVE


def _verdict(utilization: float) -> Verdict:
    if utilization >= INSUFFICIENT:
        return Verdict.INSUFFICIENT
    return Verdict.TIGHT if utilization >= TIGHT else Verdict.OK


def _parts(
    mine: Utilization | None, theirs: Utilization | None, share: float
) -> tuple[float, float] | None:
    """Own and added load as fractions of the survivor's ceiling; None when it cannot be told."""
    if mine is None or mine.utilization is None or not mine.ceiling:
        return None
    if not share:
        return mine.utilization, 0.0
    if theirs is None or theirs.used is None or theirs.unit != mine.unit:
        return None
    return mine.utilization, share * theirs.used / mine.ceiling
