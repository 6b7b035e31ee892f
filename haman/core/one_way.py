"""Adverts that are lost in one direction: who is active and hears this node, by reports on the VIP's link.

A node that hears no adverts takes over. If they are only lost on their way to it, there are two holders
then, and VRRP has no word for it: the higher one ignores the lower, which does not hear the higher. The
higher one's report says it all: it is active, and hears this node. Its engine is given that word in the
place of the adverts that are lost (`vrrp.router`: a report ends the role of one that is outranked, and
holds it down until adverts arrive, or the report is too old).

A word is passed on only
    of a fresh peer that reports to be active,
    that was heard over the very address that its adverts come from, and not only over another network:
        what comes that way proves that the link carries what it sends, so that clients reach it;
    with the instant at which the peer's *engine* was heard of last: a controller that lives on beside a
        frozen engine reports as ever, and must hold nobody down;
    while this node is active, or held down by such a word.

Neither hears the other, a peer that is dead, and routers that are not haman's are left to VRRP.
Of two nodes one outranks the other, so that never both are held down by present words.
"""

from ipaddress import ip_address

from haman.core.facts import HolderWord, VipReport
from haman.core.reports import PeerView
from haman.core.vrrp.explain import ONE_WAY_LOSS
from haman.core.words import Role

_NS_PER_MS = 1_000_000


def holder_words(
    roles: tuple[VipReport, ...],
    sources: dict[str, tuple[str, ...]],
    peers: tuple[PeerView, ...],
    now_ns: int,
) -> tuple[HolderWord, ...]:
    """What to tell the engine of peers that are active for VIPs.

    Args:
        roles: what the engine last said of this node.
        sources: where this node's adverts for each VIP come from.
        peers: what the others last said.
        now_ns: monotonic.
    """
    fresh = [p for p in peers if p.fresh and p.report and p.report.engine_age_ms is not None]
    if not fresh:
        return ()
    found = []
    for role in roles:
        if role.role is Role.ACTIVE or is_held_down(role):
            words = (_word(role.vip, sources.get(role.vip, ()), peer, now_ns) for peer in fresh)
            found += [word for word in words if word is not None]
    return tuple(found)


def is_held_down(role: VipReport) -> bool:
    """A node that reports this would be active, were it not for the report of another one."""
    return role.role is Role.BACKUP and any(r.code == ONE_WAY_LOSS for r in role.reasons)


def _word(vip: str, own: tuple[str, ...], peer: PeerView, now_ns: int) -> HolderWord | None:
    report = peer.report
    said = report.vip(vip) if report is not None else None
    if report is None or report.engine_age_ms is None or said is None:
        return None
    sources = report.sources.get(vip, ())
    path_ms = _age_on_link(peer, sources)
    if said.role is not Role.ACTIVE or path_ms is None:
        return None
    age_ms = max(peer.age_ms, path_ms) + max(report.engine_age_ms, 0.0)
    said_ns = now_ns - round(age_ms * _NS_PER_MS)
    hears_us = said.active_router in own
    return HolderWord(vip, peer.name, sources, said.priority, hears_us, said_ns)


def _age_on_link(peer: PeerView, sources: tuple[str, ...]) -> float | None:
    """Since the peer was heard over the link of its adverts; None = never, or it has no path there."""
    ages = [p.age_ms for p in peer.paths if p.age_ms is not None and _host(p.address) in sources]
    return min(ages, default=None)


def _host(address: str) -> str:
    """Of "host:port" or "[host]:port"."""
    host = address.rpartition(":")[0].strip("[]")
    return str(ip_address(host)) if host else ""
