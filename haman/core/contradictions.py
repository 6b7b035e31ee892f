"""Who says to hold a VIP, against what is heard on the wire: two holders, by name.

VRRP settles most of what it hears by itself: the lower of two active routers yields to the first advert
of the higher one. What it cannot settle shows when the nodes' signed reports, which may come over other
paths, are held against each other and against the adverts that arrive here.

    code                 true while
    -------------------  --------------------------------------------------------------------
    two-active           two nodes report to be active, for `APART_NS`
    adverts-contradict   adverts come from a peer that, in a report made after them, is not active
    stranger             adverts come from nobody of the cluster, and every node's report says whence its
                         own come

A report that is older than the adverts contradicts nothing: who becomes active says so within
`REPORT_WITHIN_NS`. One that stopped is heard of until its last advert is too old: `linger`.
"""

from haman.core.facts import VipReport
from haman.core.frozen import dataclass
from haman.core.reports import NodeReport, PeerView
from haman.core.words import Reason, Role

NS_PER_MS = 1_000_000
APART_NS = 200 * NS_PER_MS
"""In a move both may be active until the old holder's next report; a change is reported at once."""
REPORT_WITHIN_NS = 100 * NS_PER_MS
TWO_ACTIVE = "two-active"
LINGER_INTERVALS = 4
"""Of adverts: Active_Down_Interval, after which a router that fell silent is not heard any more."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two holders of one VIP, or adverts that somebody's report denies."""

    vip: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class _Router:
    """Who is heard to be active for a VIP, and since when."""

    source: str
    since_ns: int


class Contradictions:
    """All of one node. Time comes in as `now_ns`, of the monotonic clock."""

    def __init__(self) -> None:
        self._routers: dict[str, _Router] = {}
        self._active_ns: dict[tuple[str, str], int] = {}
        self._since_ns: dict[tuple[str, str], int] = {}

    def step(
        self,
        node: str,
        intervals_ns: dict[str, int],
        roles: tuple[VipReport, ...],
        peers: tuple[PeerView, ...],
        now_ns: int,
    ) -> tuple[Contradiction, ...]:
        """What is contradictory now; at most one for each VIP.

        Args:
            node: this one.
            intervals_ns: of adverts, for each configured VIP.
            roles: what the engine last said.
            peers: what the others last said.
            now_ns: monotonic.
        """
        found = {}
        for role in roles:
            if role.vip in intervals_ns:
                why = self._of(node, role, intervals_ns[role.vip], peers, now_ns)
                if why is not None:
                    found[role.vip] = Contradiction(role.vip, why)
        self._since_ns = {key: at for key, at in self._since_ns.items() if key[0] in intervals_ns}
        return tuple(found.values())

    def _of(
        self,
        node: str,
        role: VipReport,
        interval_ns: int,
        peers: tuple[PeerView, ...],
        now_ns: int,
    ) -> Reason | None:
        vip, fresh = role.vip, [p for p in peers if p.fresh and p.report is not None]
        for peer in fresh:
            if _is_active(peer.report, vip):
                self._active_ns[vip, peer.name] = now_ns
        holders = [node] if role.role is Role.ACTIVE else []
        holders += [p.name for p in fresh if _is_active(p.report, vip)]
        if self._lasts((vip, TWO_ACTIVE), len(holders) > 1, now_ns) >= APART_NS:
            holders.sort()
            names = " and ".join(holders)
            text = f"{names} report at the same time that they hold {vip}"
            return Reason(TWO_ACTIVE, text, {"nodes": ", ".join(holders)})
        return self._heard(role, interval_ns, peers, now_ns)

    def _lasts(self, key: tuple[str, str], true: bool, now_ns: int) -> int:
        """For how long this is true; -1 = it is not."""
        if not true:
            self._since_ns.pop(key, None)
            return -1
        return now_ns - self._since_ns.setdefault(key, now_ns)

    def _heard(
        self, role: VipReport, interval_ns: int, peers: tuple[PeerView, ...], now_ns: int
    ) -> Reason | None:
        vip, source = role.vip, role.active_router
        if not source:
            self._routers.pop(vip, None)
            return None
        router = self._routers.get(vip)
        if router is None or router.source != source:
            router = self._routers[vip] = _Router(source, now_ns)
        sender = next((p for p in peers if p.report and source in _sources(p.report, vip)), None)
        advert = f"adverts for {vip} of priority {role.active_priority} come from"
        if sender is None:
            return _from_a_stranger(vip, router, advert, peers, now_ns)
        said = sender.report.vip(vip) if sender.fresh and sender.report is not None else None
        if said is None or said.role is Role.ACTIVE:
            return None
        made_ns = now_ns - round(sender.age_ms * NS_PER_MS)
        was_active_ns = self._active_ns.get((vip, sender.name))
        lingers_ns = LINGER_INTERVALS * interval_ns + APART_NS
        lingers = was_active_ns is not None and now_ns - was_active_ns < lingers_ns
        if lingers or made_ns < router.since_ns + REPORT_WITHIN_NS:
            return None
        text = f"{advert} {sender.name} ({source}), whose own report says that it is {said.role}"
        return Reason("adverts-contradict", text, {"node": sender.name, "source": source})


def _from_a_stranger(
    vip: str, router: _Router, advert: str, peers: tuple[PeerView, ...], now_ns: int
) -> Reason | None:
    known = all(p.fresh and p.report and _sources(p.report, vip) for p in peers)
    if not peers or not known or now_ns - router.since_ns < APART_NS:
        return None
    text = f"{advert} {router.source}, which is no node of this cluster"
    return Reason("stranger", text, {"source": router.source})


def _is_active(report: NodeReport | None, vip: str) -> bool:
    said = report.vip(vip) if report is not None else None
    return said is not None and said.role is Role.ACTIVE


def _sources(report: NodeReport, vip: str) -> tuple[str, ...]:
    return report.sources.get(vip, ())
