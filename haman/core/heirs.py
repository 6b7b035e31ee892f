"""Who should take a VIP that is let go."""

from haman.core.facts import VipReport
from haman.core.frozen import dataclass
from haman.core.reports import NodeReport, PeerView
from haman.core.words import Condition, Role

_CAN_SERVE = (Condition.IN_SERVICE, Condition.SATURATED, Condition.ISOLATED)
CONTENDS = (Role.BACKUP, Role.ACTIVE)


@dataclass(frozen=True, slots=True)
class ConfiguredVip:
    """What the configuration says of a VIP, as far as decisions go."""

    name: str
    priority: int
    preempt: bool = True
    group: str = ""
    preempt_delay_ns: int = 0
    handover_timeout_ns: int = 60_000_000_000


def best_peer(
    group: tuple[ConfiguredVip, ...], peers: tuple[PeerView, ...], *, prefer: str = ""
) -> str | None:
    """Who should take the VIPs of `group`: None if nobody can.

    A peer that is fresh, in-service (else saturated), and contends for all of them: the preferred
    one, else the highest priority, else the first by name.
    """
    candidates = [
        peer.report
        for peer in peers
        if peer.fresh and peer.report is not None and can_serve(group, peer.report)
    ]
    if not candidates or not group:
        return None
    first = group[0].name

    def rank(report: NodeReport) -> tuple[bool, bool, int, str]:
        return (report.node != prefer, *_standing(report, first), report.node)

    return min(candidates, key=rank).node


def comes_next(
    group: tuple[ConfiguredVip, ...], condition: Condition, peers: tuple[PeerView, ...]
) -> bool:
    """Whether this node, in `condition` and contending, is who should take what a peer holds.

    So if a fresh peer is active for all of `group`, and this node ranks before every other one that
    could take it. On a tie nobody comes next, and the skew decides: the nodes must not both think
    so of themselves.
    """
    reports = [p.report for p in peers if p.fresh and p.report is not None]
    held = [r for r in reports if all(_is_active(r, vip.name) for vip in group)]
    if not group or len(held) != 1 or condition not in _CAN_SERVE:
        return False
    own = (condition is not Condition.IN_SERVICE, -min(vip.priority for vip in group))
    rivals = (r for r in reports if r is not held[0] and can_serve(group, r))
    return all(own < _standing(r, group[0].name) for r in rivals)


def _is_active(report: NodeReport, name: str) -> bool:
    vip = report.vip(name)
    return vip is not None and vip.role is Role.ACTIVE


def _standing(report: NodeReport, name: str) -> tuple[bool, int]:
    vip = report.vip(name)
    priority = vip.priority if vip is not None else 0
    return report.condition is not Condition.IN_SERVICE, -priority


def can_serve(group: tuple[ConfiguredVip, ...], report: NodeReport) -> bool:
    """Whether a node that reports this contends for every VIP of `group`, and clients reach it."""
    if report.condition not in _CAN_SERVE:
        return False
    return all(contends(report.vip(vip.name)) for vip in group)


def contends(said: VipReport | None) -> bool:
    """Whether a node that reports this takes part in the election; in its tail it still may."""
    if said is None or said.cut_off is not None:
        return False
    return said.role in CONTENDS or (said.role is Role.TAIL and said.priority > 0)


def groups_of(vips: tuple[ConfiguredVip, ...]) -> dict[str, tuple[ConfiguredVip, ...]]:
    """The VIPs that move together with each, itself first; a VIP without a group moves alone."""
    together: dict[str, list[ConfiguredVip]] = {}
    for vip in vips:
        together.setdefault(vip.group, []).append(vip)
    return {
        vip.name: (vip, *(v for v in together[vip.group] if v is not vip)) if vip.group else (vip,)
        for vip in vips
    }
