"""Headroom and alerts, kept up to date once a second so that an alert knows since when."""

from collections.abc import Iterable
from dataclasses import replace

from haman.config.lease import shortest_interval_ms
from haman.config.model import Config
from haman.controller.engine_side import EngineSide
from haman.core.alerts import Picture, derive
from haman.core.anycast_alerts import BgpPicture
from haman.core.contradictions import TWO_ACTIVE, Contradiction, Contradictions
from haman.core.facts import VipReport
from haman.core.headroom import Headroom, assess
from haman.core.readback import WEIGHT_IGNORED, ReadBack
from haman.core.reports import NodeReport, PeerView
from haman.core.words import Alert, Event, Reason, Role

INTERVAL_NS = 1_000_000_000
PAIR_NS = 2_000_000
"""Headroom is reckoned anew after so long for each pair of nodes while only loads have changed. It takes
some 60 µs a pair, so that it never takes more than 3 % of a core: with 32 nodes, every two seconds."""
MOVED = 0.01
STILL_NS = 5 * INTERVAL_NS
"""Unless a load has moved by so much of its ceiling: then only after so long."""
COMPARE_NS = 390_000_000
"""Ten ms less than two reports of the default interval."""
CONFLICT_NS = 65_000_000_000
"""How long a conflict that the engine saw stays an alert: it reports a lasting one each minute."""
DOUBLY_NS = 1_000_000_000
"""The engine's word of a conflict may come after the reports in which it was seen, not later than this."""
REJECTED_NS = 5_000_000_000
"""How long a datagram that was dropped stays an alert; a peer with another key sends five a second."""
_NOT_AUTHENTIC = ("unknown-key", "bad-tag", "unknown-peer")


class Lookout:
    """What an operator should know now."""

    def __init__(self, config: Config) -> None:
        self._alerts: tuple[Alert, ...] = ()
        self._looked_ns: int | None = None
        self._compared_ns = 0
        self._conflicts: dict[str, tuple[int, str]] = {}
        self._rejected: dict[str, tuple[int, int]] = {}
        self._readback = ReadBack()
        self._assessed: tuple[int, tuple[object, ...], list[float], Headroom] | None = None
        self._contradictions = Contradictions()
        self._contradicted: dict[str, Contradiction] = {}
        self._doubly_ns: dict[str, int] = {}
        """When two nodes last reported at once to hold a VIP."""
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        """Take over other services and thresholds."""
        self._node = config.node.name
        self._vips = tuple(vip.name for vip in config.vip)
        self._intervals_ns = {v.name: v.advert_interval_ms * 1_000_000 for v in config.vip}
        self._anycast = tuple(service.name for service in config.anycast)
        own = {
            name: each.soft
            for name, each in config.saturation.resource.items()
            if each.soft is not None
        }
        self._soft = {"": config.saturation.soft} | own
        self._shortest_interval_ms = shortest_interval_ms(config)

    @property
    def unweighted(self) -> frozenset[str]:
        """Anycast services of which routers were found to ignore the weights."""
        findings = self._readback.snapshot().findings
        return frozenset(f.service for f in findings if f.code == WEIGHT_IGNORED)

    def is_due(self, now_ns: int) -> bool:
        """Nobody looked for a second."""
        return self._looked_ns is None or now_ns - self._looked_ns >= INTERVAL_NS

    def owes_comparison(self, now_ns: int) -> bool:
        """`compare` was not called for `COMPARE_NS`."""
        return now_ns - self._compared_ns >= COMPARE_NS

    def remember(self, events: Iterable[Event], now_ns: int) -> None:
        """Conflicts come as events, and are true for a while."""
        for event in events:
            if event.type == "conflict-detected":
                self._conflicts[event.service] = (now_ns, event.text)

    def compare(
        self, roles: tuple[VipReport, ...], peers: tuple[PeerView, ...], now_ns: int, at_ns: int
    ) -> tuple[Event, ...]:
        """Hold what nodes report against each other and the wire; what began to be wrong, or ended."""
        self._compared_ns = now_ns
        found = self._contradictions.step(self._node, self._intervals_ns, roles, peers, now_ns)
        before, self._contradicted = self._contradicted, {each.vip: each for each in found}
        events = []
        for vip, each in self._contradicted.items():
            if vip not in before or before[vip].reason.code != each.reason.code:
                why = each.reason
                events.append(Event("conflict-detected", at_ns, why.text, vip, (why,)))
        for vip in before.keys() - self._contradicted.keys():
            text = f"{vip}: over: {before[vip].reason.text}"
            events.append(Event("conflict-ended", at_ns, text, vip))
        return (*events, *self._settled(roles, peers, now_ns, at_ns))

    def _settled(
        self, roles: tuple[VipReport, ...], peers: tuple[PeerView, ...], now_ns: int, at_ns: int
    ) -> list[Event]:
        """Conflicts that the engine told of, between nodes that said so too, of which one is left."""
        events = []
        reports = [p.report for p in peers if p.fresh and p.report is not None]
        for role in roles:
            said = [role, *(v for r in reports if (v := r.vip(role.vip)) is not None)]
            active = sum(each.role is Role.ACTIVE for each in said)
            if active > 1:
                self._doubly_ns[role.vip] = now_ns
            lately = now_ns - self._doubly_ns.get(role.vip, now_ns - DOUBLY_NS) < DOUBLY_NS
            if active == 1 and lately and role.vip not in self._contradicted:
                seen = self._conflicts.pop(role.vip, None)
                if seen is not None:
                    text = f"{role.vip}: over, one node alone is active: {seen[1]}"
                    events.append(Event("conflict-ended", at_ns, text, role.vip))
        return events

    def look(
        self,
        own: NodeReport,
        peers: tuple[PeerView, ...],
        engine: EngineSide,
        bgp: BgpPicture | None,
        *,
        isolated: bool,
        rejected: dict[str, int],
        namesake: Reason | None,
        unreadable: tuple[str, ...],
        not_durable: str,
        senses: tuple[Alert, ...],
        now_ns: int,
        at_ns: int,
    ) -> tuple[Headroom, tuple[Alert, ...]]:
        """Headroom and alerts now."""
        self._looked_ns = now_ns
        recent = {
            vip: seen for vip, seen in self._conflicts.items() if now_ns - seen[0] < CONFLICT_NS
        }
        self._conflicts = recent
        headroom = self._headroom(own, peers, now_ns)
        if bgp is not None:
            heard = (p.report for p in peers if p.fresh and p.report is not None)
            bgp = replace(bgp, findings=self._readback.step((own, *heard), now_ns))
        picture = Picture(
            own=own,
            peers=peers,
            headroom=headroom,
            vips=self._vips,
            soft=self._soft,
            isolated=isolated,
            shortest_interval_ms=self._shortest_interval_ms,
            engine=engine.reported,
            engine_age_ms=engine.age_ms(now_ns),
            rejected=self._lately(rejected, now_ns),
            namesake=namesake,
            unreadable=unreadable,
            conflicts={vip: text for vip, (_, text) in recent.items()} | self._said(),
            not_durable=not_durable,
            senses=senses,
            anycast=self._anycast,
            bgp=bgp,
        )
        self._alerts = derive(picture, self._alerts, at_ns)
        return headroom, self._alerts

    def _headroom(self, own: NodeReport, peers: tuple[PeerView, ...], now_ns: int) -> Headroom:
        """Reckoned at once where somebody came, went or serves something else: drains rely on it."""
        reports = (own, *(p.report if p.fresh else None for p in peers))
        standing = tuple(None if r is None else _standing(r) for r in reports)
        loads = [load for r in reports if r is not None for load in _loads(r)]
        if self._assessed is not None:
            at_ns, before, were, headroom = self._assessed
            rest_ns = len(reports) ** 2 * PAIR_NS if _moved(were, loads) else STILL_NS
            if before == standing and now_ns - at_ns < rest_ns:
                return headroom
        headroom = assess(own, peers)
        self._assessed = (now_ns, standing, loads, headroom)
        return headroom

    def _said(self) -> dict[str, str]:
        """Contradictions, per VIP; two nodes that report to hold it are an alert without this."""
        found = self._contradicted.items()
        return {vip: c.reason.text for vip, c in found if c.reason.code != TWO_ACTIVE}

    def _lately(self, rejected: dict[str, int], now_ns: int) -> dict[str, int]:
        """Counts that grew a short time ago, and that say that a key or a name is wrong."""
        for reason in _NOT_AUTHENTIC:
            count = rejected.get(reason, 0)
            if count > self._rejected.get(reason, (0, 0))[0]:
                self._rejected[reason] = (count, now_ns)
        seen = self._rejected.items()
        return {reason: count for reason, (count, at) in seen if now_ns - at < REJECTED_NS}


def _loads(report: NodeReport) -> list[float]:
    """How full each resource is that headroom is made of, which waiting is not; -1 = unknown."""
    ratios = (each.utilization for each in report.resources if each.name != "hol")
    return [-1.0 if ratio is None else ratio for ratio in ratios]


def _moved(before: list[float], now: list[float]) -> bool:
    if len(before) != len(now):
        return True
    return any(abs(a - b) >= MOVED for a, b in zip(before, now, strict=True))


def _standing(report: NodeReport) -> tuple[object, ...]:
    """What decides who takes over from whom, and what room is promised already."""
    vips = tuple((v.vip, v.role, v.priority) for v in report.vips)
    announced = tuple((a.service, a.stance, a.weight, a.neighbors_up) for a in report.anycast)
    return (report.node, report.site, report.condition, vips, announced, report.permits)
