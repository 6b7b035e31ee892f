"""Coming back without cutting anybody: the better node asks, the holder hands over.

A backup that would preempt a node which can hand over does not: it says so in its report (reason
`preempts-by-handover`), and the holder, who sees it, starts a handover to it. What the configuration
says stays true all the same: after ASK_NS of asking it preempts as plain VRRP does.

    this node is backup, may preempt, and hears a holder
    of lower priority that can hand over                  idle → waiting (its preempt_delay) → asking
    asking for ASK_NS                                     → plain, until it is no backup any more
    any of it is no longer so                             → idle
"""

from haman.core.facts import VipReport
from haman.core.frozen import dataclass
from haman.core.heirs import ConfiguredVip, can_serve, groups_of
from haman.core.reports import NodeReport, PeerView
from haman.core.words import Reason, Role

NS_PER_S = 1_000_000_000
ASK_NS = 15 * NS_PER_S
ASKS = "preempts-by-handover"


def asks(vip: str, holder: str) -> Reason:
    """Say that this node waits to be given `vip`."""
    text = f"{vip} comes back by a handover: {holder} is asked for it, and nothing is cut"
    return Reason(ASKS, text, {"node": holder})


def delayed(vip: str, holder: str, delay_ns: int) -> Reason:
    """Say that this node will ask for `vip`."""
    text = (
        f"{holder} keeps {vip} for preempt_delay_s = {delay_ns / NS_PER_S:g}, then it is asked for"
    )
    return Reason("preempt-delay", text, {"node": holder})


@dataclass(frozen=True, slots=True)
class _Wish:
    holder: str
    since_ns: int


class Preemption:
    """Which VIPs this node leaves to a handover, and since when."""

    def __init__(self) -> None:
        self._wishes: dict[str, _Wish] = {}

    def step(
        self,
        vips: tuple[ConfiguredVip, ...],
        roles: tuple[VipReport, ...],
        peers: tuple[PeerView, ...],
        now_ns: int,
    ) -> dict[str, Reason]:
        """VIPs that are not to be preempted plainly now, and why not."""
        own = {r.vip: r.role for r in roles}
        groups, able = groups_of(vips), _able(peers)
        wishes, reasons = {}, {}
        for vip in vips:
            holder = _holder(vip.name, able)
            waits = own.get(vip.name) in (Role.BACKUP, Role.TAIL)
            if holder is None or not waits or not _outranks(groups[vip.name], holder):
                continue
            wish = self._wishes.get(vip.name)
            if wish is None or wish.holder != holder.node:
                wish = _Wish(holder.node, now_ns)
            wishes[vip.name] = wish
            waited_ns = now_ns - wish.since_ns
            if waited_ns < vip.preempt_delay_ns:
                reasons[vip.name] = delayed(vip.name, holder.node, vip.preempt_delay_ns)
            elif waited_ns < vip.preempt_delay_ns + ASK_NS:
                reasons[vip.name] = asks(vip.name, holder.node)
        self._wishes = wishes
        return reasons


def asked_for(
    vips: tuple[ConfiguredVip, ...], roles: tuple[VipReport, ...], peers: tuple[PeerView, ...]
) -> dict[str, str]:
    """The VIPs held here that a better node asks for, and that node: who holds is asked."""
    held = {r.vip for r in roles if r.role is Role.ACTIVE}
    groups, able = groups_of(vips), _able(peers)
    found = {}
    for vip in vips:
        for report in able:
            said = report.vip(vip.name)
            wishes = said is not None and any(r.code == ASKS for r in said.reasons)
            if vip.name in held and wishes and can_serve(groups[vip.name], report):
                found[vip.name] = report.node
    return found


def _able(peers: tuple[PeerView, ...]) -> list[NodeReport]:
    reports = [p.report for p in peers if p.fresh and p.report is not None]
    return sorted((r for r in reports if r.handover), key=lambda r: r.node)


def _holder(vip: str, able: list[NodeReport]) -> NodeReport | None:
    for report in able:
        said = report.vip(vip)
        if said is not None and said.role is Role.ACTIVE:
            return report
    return None


def _outranks(group: tuple[ConfiguredVip, ...], holder: NodeReport) -> bool:
    """Whether VRRP would preempt: by the least priority of the group, and only if all may."""
    said = holder.vip(group[0].name)
    theirs = said.priority if said is not None else 0
    return all(v.preempt for v in group) and min(v.priority for v in group) > theirs
