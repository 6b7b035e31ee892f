"""What makes an operator's act unsafe: nobody to serve, or no room; told with the numbers."""

from haman.controller.surface import ClusterSnapshot, Refused
from haman.core.announcements import AnycastReport
from haman.core.headroom import Verdict
from haman.core.heirs import ConfiguredVip, can_serve
from haman.core.reports import NodeReport, PeerView
from haman.core.words import Reason, Stance


def nobody_serves(now: ClusterSnapshot, what: str, stranded: tuple[str, ...]) -> Refused:
    """Refuse what would leave VIPs without a node that is fit to serve them."""
    reasons = tuple(_why_not(peer, ()) for peer in now.peers)
    text = f"{what} is unsafe: no other node can serve {', '.join(stranded)}"
    return Refused("unsafe", text, reasons or (Reason("single-node", "there is no other node"),))


def stays_last_resort(now: ClusterSnapshot, stranded: tuple[str, ...]) -> tuple[Reason, ...]:
    """Say that a forced drain does not stop the serving."""
    if not stranded:
        return ()
    names = ", ".join(stranded)
    text = f"no other node can serve {names}: {now.node} goes on as the last resort"
    return (Reason("last-resort", text),)


def no_room(now: ClusterSnapshot, what: str) -> Refused | None:
    """Refuse what would move this node's load onto peers that cannot carry it."""
    scenario = next((s for s in now.headroom.scenarios if s.lost == (now.node,)), None)
    if scenario is None or scenario.verdict is not Verdict.INSUFFICIENT:
        return None
    because = scenario.reasons[0].text if scenario.reasons else "headroom is insufficient"
    return Refused("unsafe", f"{what} is unsafe: {because}", scenario.reasons)


def no_target(now: ClusterSnapshot, vip: str, to: str, group: tuple[ConfiguredVip, ...]) -> Refused:
    """Refuse a failover that nobody would take; force does not help, there is nowhere to go."""
    peers = [p for p in now.peers if to in {"", p.name}]
    text = f"no other node can take {vip}" if not to else f"{to} cannot take {vip}"
    return Refused("no-target", text, tuple(_why_not(peer, group) for peer in peers))


def no_holder(service: str, reports: tuple[NodeReport, ...]) -> Refused:
    """Refuse to move what no single node holds."""
    if any(report.service(service) for report in reports):
        text = f"{service} is an anycast service: every node that announces it serves it, there is "
        text += "no holder to move; take a node out of it with `haman drain NODE`"
        return Refused("not-a-vip", text)
    if not any(report.vip(service) for report in reports):
        return Refused("unknown-vip", f"no node that is heard is configured for {service}")
    return Refused("no-holder", f"no node that is heard holds {service}")


def _announced(said: AnycastReport) -> str:
    if said.stance is Stance.WITHDRAWN or said.carried:
        return str(said.stance)
    unheard = f"{', '.join(said.unheard)} " if said.neighbors_up else ""
    return f"{said.stance}, {unheard}heard by no router"


def _why_not(peer: PeerView, group: tuple[ConfiguredVip, ...]) -> Reason:
    if peer.report is None:
        text = f"{peer.name} was not heard yet"
    elif not peer.fresh:
        text = f"{peer.name} was last heard {peer.age_ms / 1000:.1f} s ago and counts as full"
    elif group and can_serve(group, peer.report):
        text = f"{peer.name} could, but is not the one that was asked for"
    else:
        roles = [f"{vip.vip}: {vip.role}" for vip in peer.report.vips]
        roles += [f"{each.service}: {_announced(each)}" for each in peer.report.anycast]
        said = ", ".join(roles) or "no VIP"
        text = f"{peer.name} is {peer.report.condition.predicate} ({said})"
    return Reason("cannot-take-over", text, {"node": peer.name})
