"""Who takes over what a lost node carries, and how much of it.

A VIP goes wholly to its next holder. An anycast service goes to those that announce it, in
proportion to the weights that they announce: the routers' hash spreads the lost node's buckets over
them. They share equally where one of them sends no weight, for a router then ignores all weights
(FRR's default, measured). If none is left that serves, routers use the nodes that are shut, and
drained nodes announce as a last resort.

What part of a node's load belongs to which service is not known. So a survivor that takes several
is counted with the largest of its shares: whatever the parts are, it is not more than that.
"""

from haman.core.announcements import AnycastReport
from haman.core.frozen import dataclass
from haman.core.reports import NodeReport
from haman.core.serving import SERVING
from haman.core.words import Condition, Role, Stance


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the load of a lost node.

    Attributes:
        taken: by each survivor that takes any, up to 1.
        orphans: services that nobody could take.
    """

    taken: dict[str, float]
    orphans: tuple[str, ...] = ()


def shares(lost: NodeReport, able: tuple[NodeReport, ...]) -> Shares:
    """How the load of `lost` is spread over `able`: the others that could serve."""
    taken: dict[str, float] = {}
    orphans: list[str] = []
    parts = [(vip.vip, _next_holder(vip.vip, able)) for vip in lost.vips if _holds(vip.role)]
    parts += [
        (said.service, ecmp(said.service, able))
        for said in lost.anycast
        if _carries(said, lost, able)
    ]
    for service, spread in parts:
        if not spread:
            orphans.append(service)
        for node, share in spread.items():
            taken[node] = max(share, taken.get(node, 0.0))
    return Shares(taken, tuple(orphans))


def carries(report: NodeReport) -> tuple[str, ...]:
    """The anycast services that routers send to this node now."""
    return tuple(a.service for a in report.anycast if a.stance in SERVING and a.carried)


def _holds(role: Role) -> bool:
    return role in (Role.ACTIVE, Role.TAIL)


def _next_holder(vip: str, able: tuple[NodeReport, ...]) -> dict[str, float]:
    candidates = [
        (report.condition is not Condition.DRAINED, said.priority, report.node)
        for report in able
        if (said := report.vip(vip)) is not None
    ]
    return {max(candidates)[2]: 1.0} if candidates else {}


def _carries(said: AnycastReport, lost: NodeReport, able: tuple[NodeReport, ...]) -> bool:
    """Routers send to a node that is shut if they have nothing better."""
    if not said.neighbors_up or said.stance is Stance.WITHDRAWN:
        return False
    others = (r for r in able if r.node != lost.node)
    return said.stance in SERVING or not any(said.service in carries(r) for r in others)


def ecmp(service: str, able: tuple[NodeReport, ...], *, weighted: bool = True) -> dict[str, float]:
    """How routers spread an anycast service over those of `able` that announce it, by node.

    Args:
        service: its name.
        able: nodes that may announce it.
        weighted: False = routers were found to ignore the weights.
    """
    said = {r.node: a for r in able if (a := r.service(service)) is not None}
    heard = {node: a for node, a in said.items() if a.neighbors_up}
    serving = {node: a for node, a in heard.items() if a.stance in SERVING}
    shut = {node: a for node, a in heard.items() if a.stance is Stance.SHUT}
    takers = serving or shut or said
    weighted = weighted and all(a.weighted for a in takers.values())
    weights = {n: (a.weight or a.full_weight) if weighted else 1 for n, a in takers.items()}
    total = sum(weights.values())
    if takers and not total:
        return dict.fromkeys(takers, 1.0)  # who gets what is not told: each could get all of it
    return {node: weight / total for node, weight in weights.items()}
