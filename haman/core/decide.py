"""Condition, operator and peers → the stance of every service, with its reasons.

An anycast service has a ladder (`ladder`). For a VIP the first row that applies gives the stance.
"Others can serve" means: one fresh peer, in-service or saturated, is active or backup for every VIP
of the group (a VIP without a group is its own).

    when                                  stance    priority    preempt     reason
    ------------------------------------  --------  ----------  ----------  ------------------
    the agent ends, and it is not on its
    way by a handover                     released  –           –           ending
    fault, proxy dead or deaf             released  –           –           the proxy's own
    starting, not in the election yet     released  –           –           the proxy's own
    fault, but only held down: as drained
    drained, others can serve             released  –           –           drained
    drained, nobody else can              contend   1           no          last-resort
    failover pending                      released  –           –           failover
    its gateway is silent here, and another
    can serve for 1.5 s, or nobody is
    heard                                 released  –           –           cut-off
    saturated, no permit to move it       contend   configured  no          saturated-holding
    starting, but in the election         contend   configured  no          the proxy's own
    data is late                          contend   configured  no          stale
    paused                                contend   configured  no          paused
    the agent ends, after a handover      contend   configured  no          ending
    its holder can hand it over           contend   configured  no          preempts-by-handover
    yielded                               contend   configured  no          yielded
    a fresh peer lets go by failover, or
    yielded; not active here              contend   configured  no          placed
    isolated                              contend   configured  configured  isolated
    in service                            contend   configured  configured  –

A node that is starting while its engine contends is one whose controller was restarted or
reconfigured: what it was is kept until the proxy is known to be broken.

Failover of a VIP: `none ─ordered─► pending ─peer seen active─► yielded ─own role active─► none`. A
pending one that sees no active peer for 5 s goes back to `none`, so that someone always serves; one
that meets a fault or a drain does too, since those release the VIP anyway.

Invariants: a dead proxy never contends. Pause and late data never release, saturation not without
a permit, whose failover is ordered like the operator's. A node that
is drained, or held down after flapping, is the last to serve, at priority 1, and yet serves.
"""

from dataclasses import replace
from operator import attrgetter

from haman.core import because
from haman.core.announcements import AnycastStance
from haman.core.because import LAST_RESORT_PRIORITY
from haman.core.facts import VipStance
from haman.core.frozen import dataclass
from haman.core.heirs import CONTENDS, ConfiguredVip, best_peer, comes_next, groups_of
from haman.core.ladder import ConfiguredAnycast
from haman.core.ladders import Ladders
from haman.core.reports import PeerView
from haman.core.situation import OperatorIntent, Situation, judge
from haman.core.words import Condition, Reason, Role

FAILOVER_NS = 5_000_000_000
PEERS_NOTICE_NS = 1_500_000_000
"""A gateway is asked once a second, at any phase of it; then a report must arrive."""
_OUT_OF_SERVICE = (Condition.STARTING, Condition.FAULT, Condition.DRAINED)


@dataclass(frozen=True, slots=True)
class FailoverOrdered:
    """A VIP shall move away from this node.

    Attributes:
        to: "" = to whoever takes it.
    """

    vip: str
    to: str = ""


@dataclass(frozen=True, slots=True)
class FailoverEnded:
    """A failover is over.

    Attributes:
        taker: who has the VIP; "" = nobody took it in time, or a release met it.
        reason: why nobody did, where it is known.
        stays: the VIP is not to be preempted back.
    """

    vip: str
    taker: str
    reason: Reason | None = None
    stays: bool = True


@dataclass(frozen=True, slots=True)
class YieldEnded:
    """A VIP that was yielded came back to this node."""

    vip: str


Transition = FailoverEnded | YieldEnded


@dataclass(frozen=True, slots=True)
class Decision:
    """What to be, and what became of failovers.

    Attributes:
        stances: one for each configured VIP, in their order.
        condition: of the node, with operator and network taken in.
        anycast: one for each configured anycast service, in their order.
        announces: the relay may be told. Not before it was heard: what it holds is to be kept.
    """

    stances: tuple[VipStance, ...]
    condition: Condition
    reasons: tuple[Reason, ...]
    transitions: tuple[Transition, ...] = ()
    anycast: tuple[AnycastStance, ...] = ()
    announces: bool = False


@dataclass(frozen=True, slots=True)
class _Pending:
    to: str
    deadline_ns: int

    def reason(self, vip: str) -> Reason:
        return because.failover(vip, self.to)


class Decider:
    """The decisions of one node. Time comes in as `now_ns`; the same inputs decide the same."""

    def __init__(
        self, vips: tuple[ConfiguredVip, ...], anycast: tuple[ConfiguredAnycast, ...] = ()
    ) -> None:
        self._vips, self._groups = vips, groups_of(vips)
        self._ladders = Ladders(anycast)
        self._pending: dict[str, _Pending] = {}
        self._cut_ns: dict[str, int] = {}
        self._stepped_ns = 0

    def reconfigure(
        self, vips: tuple[ConfiguredVip, ...], anycast: tuple[ConfiguredAnycast, ...] = ()
    ) -> None:
        """Take over a new set of services; what is pending for one that is gone is forgotten."""
        self._vips, self._groups = vips, groups_of(vips)
        self._ladders.reconfigure(anycast)
        names = {vip.name for vip in vips}
        self._pending = {name: p for name, p in self._pending.items() if name in names}
        self._cut_ns = {name: at for name, at in self._cut_ns.items() if name in names}

    @property
    def vips(self) -> tuple[ConfiguredVip, ...]:
        """Those configured."""
        return self._vips

    @property
    def deadline_ns(self) -> int | None:
        """When the first failover gives up or ladder moves by time; None if neither is due."""
        pending = [p.deadline_ns for p in self._pending.values()]
        pending += [at_ns for at_ns in self._cut_ns.values() if at_ns > self._stepped_ns]
        ladders = self._ladders.deadline_ns
        return min(pending if ladders is None else [*pending, ladders], default=None)

    @property
    def pending(self) -> frozenset[str]:
        """VIPs with a failover under way."""
        return frozenset(self._pending)

    def order(self, failover: FailoverOrdered, now_ns: int) -> None:
        """Begin a failover; the next `step` releases the VIP, and the others of its group."""
        for vip in self.group(failover.vip):
            deadline_ns = now_ns + FAILOVER_NS
            self._pending[vip.name] = _Pending(failover.to, deadline_ns)

    def step(self, situation: Situation, now_ns: int) -> Decision:
        """Decide for every service."""
        self._stepped_ns = now_ns
        condition, reasons = judge(situation)
        transitions: list[Transition] = []
        stances = []
        for vip in self._vips:
            transitions += self._advance(vip.name, condition, situation, now_ns)
            kept = _is_kept(vip.name, situation) and not situation.intent.drained
            if situation.ending and vip.name not in situation.parting:
                stances.append(_released(vip, (because.LEAVING,)))
            elif condition in _OUT_OF_SERVICE and not kept:
                taker = self.heir(vip.name, situation.peers)
                stances.append(_out_of_service(vip, condition, reasons, situation, taker))
            elif vip.name in self._pending:
                stances.append(_released(vip, (self._pending[vip.name].reason(vip.name),)))
            elif (cut := self._cut_off(vip.name, situation, now_ns)) is not None:
                stances.append(_released(vip, (cut,)))
            else:
                yields = _is_yielded(vip.name, situation.intent, transitions)
                stance = _contending(vip, reasons, situation, yields=yields)
                heir = comes_next(self.group(vip.name), condition, situation.peers)
                stances.append(replace(stance, heir=heir))
        anycast = self._ladders.step(situation, reasons, now_ns)
        return Decision(
            tuple(stances), condition, reasons, tuple(transitions), anycast, self._ladders.known
        )

    def _cut_off(self, vip: str, situation: Situation, now_ns: int) -> Reason | None:
        """Why this node, which does not reach the gateway, lets go; None = nothing proves that it should.

        A peer that reaches it proves that the fault is here, once it has had the time to notice its own
        silence: a gateway that dies is silent for each node at another instant, and answers each at
        another one when it comes back. Where no peer is heard on any path and no gateway, nothing else is
        left to be cut off. Peers that do not reach it either prove that it is the gateway that is down,
        and then to move would help nobody.
        """
        lost = _lost_gateway(self.group(vip), situation)
        heir = self.heir(vip, situation.peers) if lost is not None else None
        if lost is None or heir is None:
            self._cut_ns.pop(vip, None)
            return because.cut_off(lost, None) if lost is not None and situation.isolated else None
        if now_ns < self._cut_ns.setdefault(vip, now_ns + PEERS_NOTICE_NS):
            return None
        return because.cut_off(lost, heir)

    def group(self, vip: str) -> tuple[ConfiguredVip, ...]:
        """The VIPs that move together with `vip`, itself first; () = not configured."""
        return self._groups.get(vip, ())

    def heir(self, vip: str, peers: tuple[PeerView, ...]) -> str | None:
        """The peer to tell when `vip` is let go; None = nobody can take it."""
        return best_peer(self.group(vip), peers, prefer=self._preferred(vip))

    def _preferred(self, vip: str) -> str:
        pending = self._pending.get(vip)
        return pending.to if pending is not None else ""

    def _advance(
        self, vip: str, condition: Condition, situation: Situation, now_ns: int
    ) -> list[Transition]:
        pending = self._pending.get(vip)
        active = _is_active(vip, situation)
        if pending is None:
            return [YieldEnded(vip)] if active and vip in situation.intent.yielded else []
        # While this node's own release is not done, an active peer is a conflict, not a taker.
        taker = "" if active else _active_peer(vip, situation.peers)
        if taker or condition in _OUT_OF_SERVICE or now_ns >= pending.deadline_ns:
            del self._pending[vip]
            return [FailoverEnded(vip, taker)]
        return []


def _is_kept(vip: str, situation: Situation) -> bool:
    """Starting, and in the election since before."""
    if situation.condition is not Condition.STARTING:
        return False
    own = situation.vip(vip)
    return own is not None and own.role in CONTENDS


def _is_active(vip: str, situation: Situation) -> bool:
    own = situation.vip(vip)
    return own is not None and own.role is Role.ACTIVE


def _out_of_service(
    vip: ConfiguredVip,
    condition: Condition,
    reasons: tuple[Reason, ...],
    situation: Situation,
    heir: str | None,
) -> VipStance:
    may_serve = (
        condition is Condition.DRAINED
        or (condition is Condition.FAULT and situation.serviceable)
        or _is_kept(vip.name, situation)
    )
    if heir is not None or not may_serve:
        return _released(vip, reasons)
    last_resort = because.last_resort(vip.name, condition)
    return VipStance(vip.name, True, LAST_RESORT_PRIORITY, False, (last_resort, *reasons))


def _contending(
    vip: ConfiguredVip, reasons: tuple[Reason, ...], situation: Situation, *, yields: bool
) -> VipStance:
    holds: list[Reason] = []
    if situation.condition is Condition.SATURATED:
        own, holding = situation.vip(vip.name), situation.permits.holding
        role = own.role if own is not None else None
        holds.append(because.saturated_holding(vip.name, situation.resources, role, holding))
    if situation.is_late:
        holds.append(because.STALE)
    if situation.intent.paused:
        holds.append(because.PAUSED)
    if lost := _lost_gateway((vip,), situation):
        holds.append(because.gateway_down(vip.name, lost))
    if situation.ending:
        holds.append(because.LEAVING)
    if vip.name in situation.asks:
        holds.append(situation.asks[vip.name])
    if yields:
        holds.append(because.yielded(vip.name))
    elif peer := _moved_from(vip.name, situation):
        holds.append(because.placed(vip.name, peer))
    said = {r.code for r in holds}
    rest = [r for r in reasons if r.code not in said]
    preempt = vip.preempt and not holds and situation.condition is not Condition.STARTING
    return VipStance(vip.name, True, vip.priority, preempt, (*holds, *rest))


def _lost_gateway(group: tuple[ConfiguredVip, ...], situation: Situation) -> Reason | None:
    own = (situation.vip(vip.name) for vip in group)
    return next((r.cut_off for r in own if r is not None and r.cut_off), None)


def _moved_from(vip: str, situation: Situation) -> str:
    """The peer that the operator moved a VIP away from, for another than this node; "" = none.

    Without it the best of the others would preempt whom the operator has chosen.
    """
    if _is_active(vip, situation):
        return ""
    for peer in sorted(situation.peers, key=attrgetter("name")):
        seen = peer.report.vip(vip) if peer.fresh and peer.report is not None else None
        codes = {reason.code for reason in seen.reasons} if seen is not None else set()
        letting_go = seen is not None and seen.role is Role.RELEASED and "failover" in codes
        if letting_go or "yielded" in codes:
            return peer.name
    return ""


def _active_peer(vip: str, peers: tuple[PeerView, ...]) -> str:
    for peer in sorted(peers, key=attrgetter("name")):
        if not peer.fresh or peer.report is None:
            continue
        seen = peer.report.vip(vip)
        if seen is not None and seen.role is Role.ACTIVE:
            return peer.name
    return ""


def _is_yielded(vip: str, intent: OperatorIntent, transitions: list[Transition]) -> bool:
    if any(isinstance(t, YieldEnded) and t.vip == vip for t in transitions):
        return False
    taken = any(isinstance(t, FailoverEnded) and t.vip == vip and t.taker for t in transitions)
    return taken or vip in intent.yielded


def _released(vip: ConfiguredVip, reasons: tuple[Reason, ...]) -> VipStance:
    return VipStance(vip.name, False, vip.priority, False, reasons)
