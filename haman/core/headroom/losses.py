"""Every loss worth asking about: each node, each site, and any nodes on request.

What a lost node carries goes to those that take over its services (`haman.core.shares`): wholly to a
VIP's next holder, by weights to those that announce an anycast service. Of several that are lost
together, none takes over from another.

A peer without a fresh report, or with one that makes no sense, carries nothing (it counts as full),
and what it carries itself is unknown. What is unknown on either side stays unknown, and that is
worse than `tight`.
"""

from haman.core.headroom.outlook import Outlook
from haman.core.headroom.phases import outlook
from haman.core.headroom.sound import Node, sound
from haman.core.headroom.telling import are_lost, no_survivor, reason
from haman.core.headroom.verdicts import (
    RANK,
    STEADY,
    Headroom,
    LossScenario,
    SurvivorLoad,
    Verdict,
)
from haman.core.reports import NodeReport, PeerView
from haman.core.shares import shares
from haman.core.words import Reason

TOLD_MAX = 8
"""Survivors of one loss that are told in words, worst first; all of them have their figures."""


def assess(own: NodeReport, peers: tuple[PeerView, ...]) -> Headroom:
    """What every single loss, and the loss of every site, would do to the survivors.

    A site that has all nodes is left out: nobody is there to ask about.

    Args:
        own: this node's report; fresh by definition.
        peers: every other node of the cluster's configuration.
    """
    nodes = _nodes(own, peers)
    losses: list[tuple[Node, ...]] = [(node,) for node in nodes]
    for site in sorted({node.site for node in nodes} - {""}):
        inside = tuple(node for node in nodes if node.site == site)
        if 1 < len(inside) < len(nodes):
            losses.append(inside)
    scenarios = sorted((_loss(lost, nodes) for lost in losses), key=_severity, reverse=True)
    return Headroom(scenarios[0].verdict, scenarios[0], tuple(scenarios))


def assess_loss(
    own: NodeReport, peers: tuple[PeerView, ...], lost: tuple[str, ...]
) -> LossScenario:
    """What the loss of these nodes together would do, with every figure of every survivor.

    Args:
        own: this node's report; fresh by definition.
        peers: every other node of the cluster's configuration.
        lost: names, at least one; each of a node.

    Raises:
        ValueError: one of them is no node, or there is none.
    """
    nodes = _nodes(own, peers)
    strangers = sorted(set(lost) - {node.name for node in nodes})
    if strangers or not lost:
        raise ValueError(f"no node of this cluster: {', '.join(strangers) or 'none is named'}")
    return _loss(tuple(node for node in nodes if node.name in lost), nodes, in_full=True)


def _nodes(own: NodeReport, peers: tuple[PeerView, ...]) -> tuple[Node, ...]:
    """Each name once: two nodes of one name cannot be told apart, and the first may be this one."""
    views = (PeerView(own.node, own, 0.0, fresh=True), *peers)
    return tuple({view.name: sound(view) for view in reversed(views)}.values())[::-1]


def _severity(scenario: LossScenario) -> tuple[int, float]:
    loads = [s.utilization for s in scenario.survivors if s.utilization is not None]
    return RANK.index(scenario.verdict), max(loads, default=0.0)


def _loss(
    lost: tuple[Node, ...], nodes: tuple[Node, ...], *, in_full: bool = False
) -> LossScenario:
    names = tuple(node.name for node in lost)
    others = tuple(node for node in nodes if node.name not in names)
    if not others:
        text = f"{are_lost(names)}, no other node is left"
        return LossScenario(names, Verdict.INSUFFICIENT, reasons=(Reason("no-other-node", text),))
    able = tuple(node for node in others if node.able)
    heard = [node.report for node in lost if node.report is not None]
    reports = tuple(node.report for node in able if node.report is not None)
    spreads = {report.node: shares(report, reports) for report in heard}
    orphans = tuple(dict.fromkeys(o for spread in spreads.values() for o in spread.orphans))
    silent = tuple(
        Reason(
            "no-fresh-report", f"what {n.name} carries is unknown: {n.silence}", {"node": n.name}
        )
        for n in lost
        if n.report is None
    )
    if orphans or (heard and not able):
        told = no_survivor(names, orphans, others)
        full = tuple(SurvivorLoad(n.name, "", STEADY, 1.0) for n in others if n.report is None)
        return LossScenario(names, Verdict.INSUFFICIENT, full, told)
    if not heard:
        return LossScenario(names, Verdict.UNKNOWN, reasons=silent)
    known = tuple(node for node in lost if node.report is not None)
    found = sorted(
        (
            outlook(
                known,
                node,
                {name: spread.taken.get(node.name, 0.0) for name, spread in spreads.items()},
            )
            for node in able
        ),
        key=_badness,
        reverse=True,
    )
    verdict = max(found[0].verdict, Verdict.UNKNOWN if silent else Verdict.OK, key=RANK.index)
    takers = [each for each in found if each.share]
    return LossScenario(
        names,
        verdict,
        tuple(_load(each, in_full=in_full) for each in found),
        (*silent, *(reason(are_lost(names), each) for each in found[:TOLD_MAX])),
        None if silent else _least([each.survivable for each in takers]),
        None if silent else _most([each.drain_s for each in takers]),
    )


def _badness(found: Outlook) -> tuple[int, float, float]:
    near, total = found.worst.badness if found.worst is not None else (0.0, 0.0)
    return RANK.index(found.verdict), near, total


def _load(found: Outlook, *, in_full: bool) -> SurvivorLoad:
    name, worst = found.survivor.name, found.worst
    figures, gaps = (tuple(found.figures), tuple(found.gaps)) if in_full else ((), ())
    if found.verdict is Verdict.UNKNOWN or worst is None:
        gap = found.gaps[0] if found.gaps else None
        resource, phase = (gap.resource, gap.phase) if gap else ("", STEADY)
        return SurvivorLoad(name, resource, phase, None, figures, gaps)
    return SurvivorLoad(name, worst.resource, worst.phase, worst.total, figures, gaps)


def _least(found: list[int | None]) -> int | None:
    """None if one of them is, or there is none."""
    known = [each for each in found if each is not None]
    return min(known) if known and len(known) == len(found) else None


def _most(found: list[float | None]) -> float | None:
    """None if one of them is; 0 if nothing moves."""
    known = [each for each in found if each is not None]
    return max(known, default=0.0) if len(known) == len(found) else None
