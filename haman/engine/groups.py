"""The virtual routers of this node, running: what they are given, and their outputs carried out.

Outputs are carried out at once and in order: an advert is on the wire before the worker is even
asked for an address. After a stall see `haman.core.vrrp.stall`.

A node may have hundreds of groups, and each advert that comes in is a turn: what is due is found in a
queue. Most deadlines move on with the next advert, and the queue is told when the group is its first.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from heapq import heappop, heappush
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from haman.core.frozen import dataclass
from haman.core.vrrp import explain
from haman.core.vrrp.group import Group, Key
from haman.core.vrrp.messages import (
    AdvertisementReceived,
    AnnounceAddresses,
    Discarded,
    HandOverAddresses,
    Input,
    InstallAddresses,
    Observed,
    Output,
    RemoveAddresses,
    RoleChanged,
    RouterSnapshot,
    SendAdvertisement,
    TimePassed,
    VirtualRouterConfig,
)
from haman.core.vrrp.stall import begin_again, lost_by_stall
from haman.core.words import Reason, Role
from haman.engine.announce import Announcer
from haman.engine.holdings import Holdings
from haman.engine.members import HEIR_WAIT_NS, GroupKey, Member
from haman.engine.reporter import Reporter
from haman.engine.wires import Wire, Wires
from haman.system.sockets import Claimed

NS_PER_S: Final = 1_000_000_000
_INBOX_MAX: Final = 1024
_SILENT_ADVERTS: Final = 3  # RFC 9568 section 6.1: Active_Down_Interval, without the skew
_EVENT_OF: Final = {
    "conflict": "conflict-detected",
    "one-way-loss": "conflict-detected",
    "adverts-heard": "adverts-heard",
    "late": "engine-late",
}


@dataclass(slots=True)
class _Running:
    """A group and the silence after which it may have been replaced, or has lost its lease."""

    core: Group
    keys: tuple[Key, ...]
    silent_ns: int
    lease_ns: int
    last_sent_ns: int = 0
    queued_ns: int | None = None
    rivalled: set[Key] = field(default_factory=set)


class Groups:
    """All groups of the configuration.

    Args:
        role_changed: called after each step in which a member's role changed.
        handed_over: called when a member has yielded to its taker; its addresses stay for now.
    """

    def __init__(
        self,
        reporter: Reporter,
        announcer: Announcer,
        wires: Wires,
        holdings: Holdings,
        *,
        role_changed: Callable[[str, RoleChanged], None],
        handed_over: Callable[[Key, int], None],
    ) -> None:
        self._reporter = reporter
        self._announcer = announcer
        self._wires = wires
        self._holdings = holdings
        self._told_role_changed = role_changed
        self._handed_over = handed_over
        self.members: dict[Key, Member] = {}
        self._groups: dict[GroupKey, _Running] = {}
        self._routes: dict[tuple[Wire, int], Key] = {}
        self._inbox: list[tuple[Key, AdvertisementReceived]] = []
        self._claims: list[Claimed] = []
        self._told_own: dict[Key, int] = {}
        self._owners: dict[tuple[str, IPv4Address | IPv6Address], Key] = {}
        self._queue: list[tuple[int, int, _Running]] = []
        self._queued = itertools.count()  # of two that are due at once, the one queued first

    # ---- configuration -------------------------------------------------------------------------

    def configure(
        self,
        members: dict[Key, Member],
        router_config: Callable[[Key], VirtualRouterConfig],
        now_ns: int,
    ) -> tuple[set[Key], set[Key]]:
        """Have exactly these members. Groups with the same ones go on, the others begin anew.

        Returns:
            The members that began anew, and those of them that were active before: their addresses
            stay until `settle`.
        """
        old_members, old = self.members, self._groups
        self.members, self._groups = members, {}
        self._routes = {member.identity: key for key, member in members.items()}
        self._owners = {(m.interface, a.ip): k for k, m in members.items() for a in m.addresses}
        grouped: dict[GroupKey, list[Key]] = {}
        for key, member in members.items():
            grouped.setdefault(member.group, []).append(key)
        anew: set[Key] = set()
        for name, keys in grouped.items():
            before = old.get(name)
            if before is not None and _same(before.keys, keys, old_members, members):
                del old[name]
                self._groups[name] = self._running(before.core, keys, before.last_sent_ns)
            else:
                configs = {key: router_config(key) for key in keys}
                self._groups[name] = self._running(Group(name[1], configs, now_ns), keys)
                anew |= set(keys)
        self._queue = []
        for group in self._groups.values():
            self._wait(group)
        return anew, self._retire(old.values(), old_members, now_ns)

    def _running(self, core: Group, keys: Iterable[Key], last_sent_ns: int = 0) -> _Running:
        members = [self.members[key] for key in keys]
        interval_ns = min(m.vip.advert_interval_ms for m in members) * 1_000_000
        lease_ns = min(m.lease_s for m in members) * NS_PER_S
        return _Running(core, tuple(keys), _SILENT_ADVERTS * interval_ns, lease_ns, last_sent_ns)

    def _retire(
        self, groups: Iterable[_Running], old_members: dict[Key, Member], now_ns: int
    ) -> set[Key]:
        """Say farewell for virtual routers that are no more; returns the active ones that go on."""
        going_on = set()
        for group in groups:
            farewells = group.core.farewells()
            for key in _active(group):
                new = self.members.get(key)
                if new is not None and new.identity == old_members[key].identity:
                    going_on.add(key)
                    continue
                self._wires.send(old_members[key].wire, farewells[key])
                self._announcer.stop(key)
                self._holdings.drop(key, now_ns)
        return going_on

    def settle(self, now_ns: int) -> None:
        """After a new configuration: hold what active members have, and nothing else."""
        for group in self._groups.values():
            active = _active(group)
            for key in group.keys:
                if key in active:
                    self._holdings.hold(self.members[key], now_ns)
                else:
                    self._announcer.stop(key)
                    self._holdings.drop(key, now_ns)

    # ---- inputs --------------------------------------------------------------------------------

    def received(self, wire: Wire, advert: AdvertisementReceived) -> None:
        """An advert came in; it is looked at in the next `turn`, beside all that waited with it."""
        key = self._routes.get((wire, advert.advertisement.vrid))
        if key is None:
            # Other virtual routers on the same link are none of our business, and no error.
            self._reporter.counters["advertisements_foreign"] += 1
        elif len(self._inbox) < _INBOX_MAX:
            self._inbox.append((key, advert))
        else:
            self._reporter.counters["error:inbox-full"] += 1

    def claimed(self, claim: Claimed) -> None:
        """Somebody else says that it has an address; looked at after the adverts that came with it."""
        if len(self._claims) < _INBOX_MAX:
            self._claims.append(claim)

    def _contest(self, claim: Claimed, now_ns: int) -> None:
        """A second holder, if this node is the active one: tell of it, and tell the link who is."""
        if (key := self._owners.get((claim.interface, claim.address))) is None:
            return
        group = self._groups[self.members[key].group]
        now = (states := group.core.snapshot())[key]
        if now.role is not Role.ACTIVE or now.config.yields_to or now.config.takes_from:
            return
        preempted = any(r.code == explain.PREEMPTING for s in states.values() for r in s.reasons)
        mac = claim.mac.hex(":")
        text = f"{mac} on {claim.interface} says that it has {claim.address}, which is held here"
        # Who was preempted may announce its addresses until it hears of this one: the protocol at work.
        if not preempted or now_ns - now.since_ns >= group.silent_ns:
            self._reporter.noise("conflict-detected", text, about=mac, service=key[0])
        if now_ns - self._told_own.get(key, 0) >= NS_PER_S:
            self._told_own[key] = now_ns
            self.announce_once(key)

    def step(self, key: Key, event: Input, now_ns: int) -> bool:
        """Give an input to one member, and carry out what comes of it; as `turn`."""
        group = self._groups[self.members[key].group]
        outputs = group.core.step(key, event, now_ns)
        self._wait(group)
        return self._carry_out(group, outputs, now_ns)

    def _wait(self, group: _Running) -> None:
        """Have the group found when it is due."""
        due_ns = group.core.deadline_ns
        if due_ns is not None and (group.queued_ns is None or due_ns < group.queued_ns):
            group.queued_ns = due_ns
            heappush(self._queue, (due_ns, next(self._queued), group))

    def _due(self, now_ns: int) -> list[_Running]:
        """The groups that are due; they wait no more."""
        due = []
        while (at_ns := self.deadline_ns) is not None and at_ns <= now_ns:
            group = heappop(self._queue)[2]
            group.queued_ns = None
            due.append(group)
        return due

    @property
    def deadline_ns(self) -> int | None:
        """When `turn` is due."""
        while self._queue:
            at_ns, _, group = self._queue[0]
            if at_ns == group.queued_ns == group.core.deadline_ns:
                return at_ns
            heappop(self._queue)
            if at_ns == group.queued_ns:  # else it waits for an earlier instant, or is done with
                group.queued_ns = None
                self._wait(group)
        return None

    def turn(self, now_ns: int) -> bool:
        """Look at what was received, then at the time.

        Returns:
            Whether no more came of it than adverts that were sent.
        """
        adverts_alone = not self._claims
        inbox, self._inbox = self._inbox, []
        # Who was silent for too long has been due for longer.
        overdue = self._queue and now_ns >= self._queue[0][0]
        for group in self._groups.values() if overdue else ():
            silence_ns = now_ns - group.last_sent_ns
            if group.last_sent_ns and silence_ns > group.silent_ns:
                adverts_alone = False
                self._after_silence(group, silence_ns, inbox, now_ns)
        for key, advert in inbox:
            if key in self.members:
                adverts_alone &= self._hear(key, advert, now_ns)
        claims, self._claims = self._claims, []
        for claim in claims:
            self._contest(claim, now_ns)
        for group in self._due(now_ns):
            outputs = group.core.step(None, TimePassed(), now_ns)
            self._wait(group)
            self._look_for_rival(group)
            adverts_alone &= self._carry_out(group, outputs, now_ns)
        return adverts_alone

    def _hear(self, key: Key, advert: AdvertisementReceived, now_ns: int) -> bool:
        """Give a member an advert; as `step`. A second holder that turns up is told at once.

        Of two that are active one may not hear the other, and knows of it from this node's report alone.
        """
        group = self._groups[self.members[key].group]
        if not group.last_sent_ns:
            return self.step(key, advert, now_ns)  # not active, as most are that hear adverts
        before = group.core.rival(key)
        adverts_alone = self.step(key, advert, now_ns)
        if group.core.rival(key) in (None, before):
            return adverts_alone
        group.rivalled.add(key)
        self._reporter.changed = True
        return False

    def _look_for_rival(self, group: _Running) -> None:
        """One that is heard no more is told at once, too."""
        if gone := {key for key in group.rivalled if group.core.rival(key) is None}:
            group.rivalled -= gone
            self._reporter.changed = True

    def _after_silence(
        self,
        group: _Running,
        silence_ns: int,
        inbox: list[tuple[Key, AdvertisementReceived]],
        now_ns: int,
    ) -> None:
        if not _active(group):
            group.last_sent_ns = 0
            return
        heard = (a.source for k, a in inbox if k in group.keys and a.advertisement.priority > 0)
        why = lost_by_stall(silence_ns, group.lease_ns, next(heard, None))
        if why is not None:
            group.last_sent_ns = 0
            outputs = begin_again(group.core, why, now_ns)
            self._wait(group)
            self._carry_out(group, outputs, now_ns)

    # ---- outputs -------------------------------------------------------------------------------

    def _carry_out(
        self, group: _Running, outputs: Iterable[tuple[Key, Output]], now_ns: int
    ) -> bool:
        adverts_alone = True
        for key, output in outputs:
            if isinstance(output, SendAdvertisement):
                self._wires.send(self.members[key].wire, output)
                if output.advertisement.priority:
                    group.last_sent_ns = now_ns
            else:
                adverts_alone = False
                self._carry_out_one(key, output, now_ns)
        return adverts_alone

    def _carry_out_one(self, key: Key, output: Output, now_ns: int) -> None:
        member = self.members[key]
        match output:
            case InstallAddresses():
                self._holdings.hold(member, now_ns)
            case RemoveAddresses(gone) if not {a.ip for a in member.addresses} & set(gone):
                self._holdings.hold(member, now_ns)  # only those that it had before a reload
            case RemoveAddresses():
                self._announcer.stop(key)
                self._holdings.drop(key, now_ns)
            case HandOverAddresses():
                self._announcer.stop(key)
                self._handed_over(key, now_ns)
            case AnnounceAddresses():
                # Addresses that the kernel has yet to confirm are announced when it has.
                if self._holdings.confirmed(key):
                    self.announce(key, now_ns)
            case RoleChanged():
                self._told_role_changed(key[0], output)
            case Discarded(reason):
                self._wires.discarded(reason, f"{member.vip.interface}: {key[0]}: {reason}")
            case Observed(code, text, data):
                kind, why = _EVENT_OF.get(code, "mismatch-detected"), Reason(code, text, data)
                self._reporter.event(kind, text, service=key[0], reasons=(why,))

    def announce(self, key: Key, now_ns: int) -> None:
        """Begin a burst of GARP or NA for a member's addresses."""
        vip = self.members[key].vip
        self._announcer.announce(
            key, count=vip.garp_count, refresh_s=vip.garp_refresh_s, now_ns=now_ns
        )

    def depart(self, key: Key, took_ns: int) -> None:
        """A member's addresses are off: say so, unless whoever comes next has not waited for it."""
        if (member := self.members.get(key)) is None or took_ns >= HEIR_WAIT_NS:
            return
        if (said := self._groups[member.group].core.departed(key)) is not None:
            self._wires.send(member.wire, said)

    def announce_once(self, key: Key) -> None:
        """Send one frame for each address of a member; for the announcer."""
        member = self.members[key]
        for address in member.addresses:
            self._wires.announce(member.vip.interface, address.ip)

    # ---- state ---------------------------------------------------------------------------------

    def snapshot(self, group: GroupKey | None = None) -> dict[Key, RouterSnapshot]:
        """The present state of every member, or of those of one group."""
        groups = self._groups.values() if group is None else (self._groups[group],)
        return {k: s for g in groups for k, s in g.core.snapshot().items()}

    def farewells(self) -> Iterator[tuple[Member, SendAdvertisement]]:
        """The last words of every active member."""
        for group in self._groups.values():
            farewells = group.core.farewells()
            for key in _active(group):
                yield self.members[key], farewells[key]


def _active(group: _Running) -> set[Key]:
    return {key for key, s in group.core.snapshot().items() if s.role is Role.ACTIVE}


def _same(
    old_keys: Iterable[Key],
    keys: Iterable[Key],
    old_members: dict[Key, Member],
    members: dict[Key, Member],
) -> bool:
    same = (old_members[key].identity == members[key].identity for key in keys)
    return set(old_keys) == set(keys) and all(same)
