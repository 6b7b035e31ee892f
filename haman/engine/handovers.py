"""The engine's part in planned moves of VIPs: what the controller's orders mean here.

    order          rules (`steering`)  on lo  virtual router                    on the interface
    -------------  ------------------  -----  --------------------------------  ----------------
    giving ready   giving              yes    –                                 as active
    giving take    giving              yes    yields to the taker's adverts,    as active, and until
                                              does not preempt                  `tail` or HOLD_ON_NS
    giving tail    giving              yes    does not preempt                  as active
    taking ready   taking              as is  –                                 as active
    taking take    taking              as is  active; the giver's adverts do    as active
                                              not make it yield
    taking tail    taking              no     –                                 as active
    none           –                   no     –                                 as active

An order is carried out only as far as all before it is done: a VIP never yields before its rules are
in force and `lo` has its addresses. One that is active again after it had yielded is over at once,
whatever is ordered: clients shall reach it. So is one past its `until_ns`.

The rules of a giver stay until the kernel has confirmed that its addresses are off `lo`: without them
this node would answer for the addresses.
"""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import Final, Protocol

from haman.core.facts import TakeoverOrdered
from haman.core.frozen import dataclass
from haman.core.handover.messages import (
    HandoverOrder,
    HandoverReport,
    Side,
    Step,
    VipPlace,
)
from haman.core.vrrp.group import Key
from haman.core.vrrp.messages import VirtualRouterConfig
from haman.core.words import Reason, Role
from haman.engine.claims import Claim
from haman.engine.holdings import Holdings
from haman.engine.interfaces import Interfaces
from haman.engine.members import Member
from haman.engine.reporter import Reporter
from haman.engine.steering import SteeringChild
from haman.engine.steering_rules import Steering

HOLD_ON_NS: Final = 1_000_000_000
"""Longer than a taker needs to have the addresses on its interface, and its word to arrive here."""
_LO: Final = "lo"


@dataclass(slots=True)
class _Move:
    """One order under way.

    Attributes:
        yielded: giving: it was ready, and is not active any more.
        told: taking: the virtual router was told to take over.
        over: nothing is wanted any more, whatever is ordered.
        refused: why the kernel does not give it the addresses on `lo`.
    """

    order: HandoverOrder
    yielded: bool = False
    told: bool = False
    over: bool = False
    refused: Reason | None = None
    problem: Reason | None = None
    reached: Step | None = None


class Election(Protocol):
    """What is needed of `Vips`."""

    def role(self, name: str) -> Role:
        """What this node is to a VIP."""

    def evaluate_one(self, name: str, now_ns: int) -> None:
        """Have the virtual routers of a VIP follow `Handovers.adjusted`."""

    def order(self, order: TakeoverOrdered, now_ns: int) -> None:
        """Make a backup active at once."""


class Handovers:
    """All of them, at most one for each VIP."""

    def __init__(
        self,
        interfaces: Interfaces,
        holdings: Holdings,
        child: SteeringChild,
        reporter: Reporter,
        election: Election,
    ) -> None:
        self._interfaces = interfaces
        self._holdings = holdings
        self._child = child
        self._reporter = reporter
        self._election = election
        self._members: dict[str, tuple[Member, ...]] = {}
        self._moves: dict[str, _Move] = {}
        self._steerings: dict[Key, Steering] = {}
        self._off_at_ns: dict[Key, int] = {}

    # ---- inputs --------------------------------------------------------------------------------

    def configure(self, members: Iterable[Member], now_ns: int) -> None:
        """Have these VIPs; what moves one that is gone ends."""
        found: dict[str, tuple[Member, ...]] = {}
        for member in members:
            found[member.service] = (*found.get(member.service, ()), member)
        self._members = found
        for name in self._moves.keys() - found.keys():
            del self._moves[name]
        self._carry_out(now_ns)
        self._follow(now_ns)

    def declare(self, orders: tuple[HandoverOrder, ...], now_ns: int) -> None:
        """The controller's wish: every handover that there shall be."""
        wanted = {order.vip: order for order in orders if order.vip in self._members}
        ended = [name for name in self._moves if name not in wanted]
        for name in ended:
            del self._moves[name]
        for name, order in wanted.items():
            move = self._moves.get(name)
            if move is None or (move.order.id, move.order.side) != (order.id, order.side):
                self._moves[name] = _Move(order)
            else:
                move.order = order
        for name in (*ended, *wanted):
            self._election.evaluate_one(name, now_ns)
        if ended or wanted:  # else most declarations only say that the controller lives
            self._carry_out(now_ns)
        self._follow(now_ns)

    def handed_over(self, key: Key, now_ns: int) -> None:
        """A virtual router has yielded to its taker."""
        self._off_at_ns[key] = now_ns + HOLD_ON_NS
        self._reporter.changed = True

    def concerns(self, key: Key) -> bool:
        """Whether a holding is one of a tail, on `lo`."""
        return key[0].endswith(_TAIL)

    def failed(self, key: Key, reason: Reason) -> None:
        """The kernel does not give this node the addresses on `lo`."""
        move = self._moves.get(key[0].removesuffix(_TAIL))
        if move is not None:
            move.refused = reason
            self._reporter.changed = True

    def stop(self, now_ns: int) -> None:
        """The engine ends: nothing moves any more."""
        self._moves.clear()
        self._off_at_ns = dict.fromkeys(self._off_at_ns, now_ns)
        self._carry_out(now_ns)
        self._follow(now_ns)

    def close(self) -> None:
        """End the process that keeps the rules."""
        self._child.stop()

    # ---- time ----------------------------------------------------------------------------------

    @property
    def deadline_ns(self) -> int | None:
        """When `turn` is due at the latest."""
        ends = [move.order.until_ns for move in self._moves.values() if not move.over]
        times = [*ends, *self._off_at_ns.values(), self._child.deadline_ns]
        return min((t for t in times if t is not None), default=None)

    def turn(self, now_ns: int) -> None:
        """Go as far as the orders and the kernel let it."""
        if self._moves or self._steerings or self._off_at_ns:
            self._carry_out(now_ns)
        self._follow(now_ns)

    def _follow(self, now_ns: int) -> None:
        wanted = tuple(self._steerings.values())
        self._child.want(wanted, now_ns, warm=bool(self._moves))
        self._child.turn(now_ns)

    def _carry_out(self, now_ns: int) -> None:
        for name, move in self._moves.items():
            self._advance(name, move, now_ns)
        for key, off_ns in list(self._off_at_ns.items()):
            self._take_off(key, off_ns, now_ns)
        wanted: dict[Key, Steering] = {}
        for name, members in self._members.items():
            for member in members:
                self._steer(member, self._moves.get(name), wanted, now_ns)
        for key in self._steerings.keys() - wanted.keys():
            tail = _tail_key(key)
            if key[0] not in self._members:
                self._holdings.drop(tail, now_ns)
            if self._holdings.has(tail) and self._election.role(key[0]) is not Role.ACTIVE:
                wanted[key] = self._steerings[key]
        self._steerings = wanted

    def _advance(self, name: str, move: _Move, now_ns: int) -> None:
        order, active = move.order, self._election.role(name) is Role.ACTIVE
        # However it came about: also by the taker's priority, before it was told to yield.
        began = move.reached is not None or order.step is Step.TAIL
        move.yielded |= order.side is Side.GIVING and began and not active
        back = order.side is Side.GIVING and move.yielded and active
        if not move.over and (back or now_ns >= order.until_ns):
            move.over = True
            self._election.evaluate_one(name, now_ns)
        reached = None if move.over else self._reached(name, move, now_ns)
        if reached is not move.reached:
            move.reached = reached
            self._reporter.changed = True
            self._election.evaluate_one(name, now_ns)
            if reached is Step.READY:
                self._advance(name, move, now_ns)

    def _reached(self, name: str, move: _Move, now_ns: int) -> Step | None:
        order, members = move.order, self._members[name]
        if not self._ready(members, move):
            return None if order.step is Step.READY else move.reached
        if order.step is Step.READY:
            return Step.READY
        if order.side is Side.GIVING:
            if move.reached is None:
                return Step.READY
            off = not any(self._holdings.has(m.key) for m in members)
            done = order.step is Step.TAIL and move.yielded and off
            return Step.TAIL if done else Step.TAKE
        if not move.told and move.reached is not None:
            move.told = True
            if self._election.role(name) is not Role.ACTIVE:
                text = f"{order.peer} hands {name} over"
                reason = Reason("handed-over", text, {"peer": order.peer})
                self._election.order(TakeoverOrdered(name, (reason,)), now_ns)
        if not all(self._holdings.confirmed(m.key) for m in members):
            return Step.READY
        return order.step if move.told else Step.READY

    def _ready(self, members: tuple[Member, ...], move: _Move) -> bool:
        problems, ready = [], bool(move.order.place.mac)
        for member in members if ready else ():
            steering = self._steering(member, move.order)
            if isinstance(steering, Reason):
                problems.append(steering)
                continue
            state = self._child.state(steering)
            if state is not None and state.problem:
                problems.append(Reason("no-rules", state.problem))
            ready &= state is not None and not state.problem
            if move.order.side is Side.GIVING:
                ready &= self._holdings.confirmed(_tail_key(member.key))
        found = move.refused or (problems[0] if problems else None)
        if found != move.problem:
            move.problem = found
            self._reporter.changed = True
        return ready and found is None

    def _take_off(self, key: Key, off_ns: int, now_ns: int) -> None:
        """Take a VIP that the taker has off the interface, when it is time; it may be back."""
        move = self._moves.get(key[0])
        if self._election.role(key[0]) is Role.ACTIVE:
            del self._off_at_ns[key]
        elif move is None or move.order.step is Step.TAIL or now_ns >= off_ns:
            del self._off_at_ns[key]
            self._holdings.drop(key, now_ns)

    def _steer(
        self, member: Member, move: _Move | None, wanted: dict[Key, Steering], now_ns: int
    ) -> None:
        """What one member needs of the rules and of `lo`."""
        tail = _tail_key(member.key)
        if move is None or move.over:
            self._holdings.drop(tail, now_ns)
            return
        steering = self._steering(member, move.order) if move.order.place.mac else None
        if isinstance(steering, Steering):
            wanted[member.key] = steering
        if move.order.side is Side.TAKING:
            if self._holdings.confirmed(member.key):
                self._holdings.drop(tail, now_ns)
        elif member.key in wanted and not self._holdings.wants(tail) and not move.refused:
            self._holdings.hold(_tail_claim(member), now_ns)

    def _steering(self, member: Member, order: HandoverOrder) -> Steering | Reason:
        source = self._interfaces.source(member.interface, member.family, member.peers)
        theirs = _source_of(order.place, member.family)
        if source is None or theirs is None:
            who = "this node" if source is None else order.peer
            text = f"{who} has no IPv{member.family} address on the link of {order.vip}"
            return Reason("no-source-address", text)
        if not self._interfaces.on_link(member.interface, ip_address(theirs)):
            text = f"{order.peer} ({theirs}) is not on the link of {order.vip}, {member.interface}"
            return Reason("not-on-link", text)
        return Steering(
            vip=order.vip,
            family=member.family,
            interface=member.interface,
            side=order.side,
            addresses=tuple(str(a.ip) for a in member.addresses),
            own=str(source),
            peer=theirs,
            peer_mac=order.place.mac,
            moved=order.step is Step.TAIL,
        )

    # ---- what others need to know --------------------------------------------------------------

    def adjusted(self, key: Key, config: VirtualRouterConfig) -> VirtualRouterConfig:
        """The configuration of a virtual router, with what a move demands of it."""
        move = self._moves.get(key[0])
        if move is None or move.over or move.reached is None:
            return config
        theirs = _source_of(move.order.place, key[1])
        peer = ip_address(theirs) if theirs else None
        take = move.order.step is Step.TAKE
        if move.order.side is Side.TAKING:
            return replace(config, takes_from=peer) if take else config
        preempt = config.preempt and move.order.step is Step.READY
        return replace(config, preempt=preempt, yields_to=peer if take else None)

    @property
    def given(self) -> frozenset[str]:
        """VIPs that this node gives away, or has given and serves the tail of."""
        moves = self._moves.items()
        return frozenset(n for n, m in moves if m.order.side is Side.GIVING and not m.over)

    def tail(self, vip: str) -> HandoverReport | None:
        """The tail that is served here."""
        move = self._moves.get(vip)
        if move is None or move.over or not move.yielded or move.order.side is not Side.GIVING:
            return None
        return self._report(move)

    def reports(self) -> tuple[HandoverReport, ...]:
        """How far each is."""
        return tuple(map(self._report, self._moves.values()))

    def places(self) -> tuple[VipPlace, ...]:
        """Of every VIP whose interface is there."""
        found = []
        for name, members in self._members.items():
            link = self._interfaces.link(members[0].interface)
            if link is None:
                continue
            sources = (self._interfaces.source(m.interface, m.family, m.peers) for m in members)
            texts = tuple(str(source) for source in sources if source is not None)
            found.append(VipPlace(name, link.mac.hex(":"), texts))
        return tuple(found)

    def _report(self, move: _Move) -> HandoverReport:
        counts = []
        for member in self._members[move.order.vip]:
            steering = self._steering(member, move.order)
            state = self._child.state(steering) if isinstance(steering, Steering) else None
            counts.append(state.connections if state is not None else None)
        known = [count for count in counts if count is not None]
        total = sum(known) if len(known) == len(counts) else None
        return HandoverReport(move.order, move.reached, move.problem, total)


_TAIL: Final = " (tail)"


def _tail_key(key: Key) -> Key:
    return (key[0] + _TAIL, key[1])


def _tail_claim(member: Member) -> Claim:
    return Claim(
        service=member.service + _TAIL,
        family=member.family,
        interface=_LO,
        addresses=tuple(ip_interface(a.ip) for a in member.addresses),
        lease_s=member.lease_s,
        kind="tail",
    )


def _source_of(place: VipPlace, family: int) -> str | None:
    return next((s for s in place.sources if ip_address(s).version == family), None)
