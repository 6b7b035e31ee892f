"""The VIPs of this node: whether each may contend, and what it is.

A VIP contends when the controller has declared that it shall, the proxy has not died since, its
interfaces are up, there is an address to send from, and its addresses could lately be installed. All
else is for the virtual routers to decide (`groups`).
"""

from ipaddress import IPv4Address, ip_address
from typing import Final

from haman.core.facts import (
    HoldersSaid,
    StancesDeclared,
    TakeoverOrdered,
    VipReport,
    VipStance,
)
from haman.core.frozen import dataclass
from haman.core.handover.messages import HandoverReport
from haman.core.vrrp.group import Key
from haman.core.vrrp.messages import (
    HolderReported,
    PeerReleased,
    Reconfigured,
    Released,
    RoleChanged,
    RouterSnapshot,
    Shutdown,
    Started,
    VirtualRouterConfig,
)
from haman.core.words import Reason, Role
from haman.engine.gateways import Gateways
from haman.engine.groups import NS_PER_S, Groups
from haman.engine.handovers import Handovers
from haman.engine.holdings import Holdings
from haman.engine.interfaces import Interfaces
from haman.engine.members import Member
from haman.engine.proxy import ProxyWatch
from haman.engine.reporter import Reporter
from haman.engine.wires import Wires
from haman.system import clock

HOLD_OFF_FIRST_NS: Final = 10 * NS_PER_S
HOLD_OFF_MAX_NS: Final = 300 * NS_PER_S
_LINK_TROUBLES: Final = ("interface-down", "interface-absent", "no-source-address")
_LEAST_FIRST: Final = (Role.RELEASED, Role.INITIALIZE, Role.BACKUP, Role.TAIL, Role.ACTIVE)


@dataclass(slots=True)
class _Vip:
    """One VIP.

    Attributes:
        told: why its virtual routers were told to let go; () = told to contend, None = nothing yet.
        hold_off_until_ns: 0 = none.
        failure: why the last hold-off.
    """

    name: str
    keys: tuple[Key, ...]
    since_wall_ns: int
    stance: VipStance | None = None
    trouble: Reason | None = None
    told: tuple[Reason, ...] | None = None
    role: Role = Role.INITIALIZE
    hold_off_until_ns: int = 0
    failures: int = 0
    failure: Reason | None = None


class Vips:
    """All of them. Nothing here waits."""

    def __init__(
        self, interfaces: Interfaces, reporter: Reporter, wires: Wires, proxy: ProxyWatch
    ) -> None:
        self._interfaces = interfaces
        self._reporter = reporter
        self._wires = wires
        self._proxy = proxy
        self._groups: Groups
        self._holdings: Holdings
        self._handovers: Handovers
        self._vips: dict[str, _Vip] = {}
        self._configs: dict[Key, VirtualRouterConfig] = {}
        self._gateways = Gateways(wires, reporter)
        wires.seen = self._gateways.answered
        self._held_off: set[str] = set()
        self._host_known = False
        self._stopping = False

    def attach(self, groups: Groups, holdings: Holdings, handovers: Handovers) -> None:
        """What is driven; once, before anything else."""
        self._groups, self._holdings, self._handovers = groups, holdings, handovers

    # ---- inputs --------------------------------------------------------------------------------

    def configure(self, members: dict[Key, Member], now_ns: int) -> None:
        """Have exactly these VIPs; those that stay keep their role and addresses."""
        keys: dict[str, list[Key]] = {}
        for key in members:
            keys.setdefault(key[0], []).append(key)
        old, wall_ns = self._vips, clock.wall_ns()
        self._vips = {name: old.get(name) or _Vip(name, (), wall_ns) for name in keys}
        self._held_off &= self._vips.keys()
        for name, vip in self._vips.items():
            vip.keys = tuple(keys[name])
        # The old sources serve no virtual router that begins on another interface.
        known = self._groups.members
        self._configs = {
            key: config
            for key, config in self._configs.items()
            if key in members and known[key].identity == members[key].identity
        }
        anew, were_active = self._groups.configure(
            members, lambda key: self._router_config(members[key]), now_ns
        )
        for key in anew:
            self._configs[key] = self._router_config(members[key])
            self._vips[key[0]].told = None
        asked = {m.vip.name: m.vip for m in members.values() if m.vip.gateway}
        places = {name: (v.interface, IPv4Address(v.gateway)) for name, v in asked.items()}
        self._gateways.configure(places, now_ns)
        every = (a.ip for member in members.values() for a in member.addresses)
        own = {a for a in every if isinstance(a, IPv4Address)}
        self._wires.listen(own | self._gateways.addresses)
        self.evaluate(now_ns)  # also opens and closes sockets: farewells were said on the old ones
        # A group that serves goes on serving when members join or leave: nobody else knows of any
        # change, and an election would be an outage.
        reason = Reason("reconfigured", "was active before the configuration changed")
        serving = {members[key].group for key in were_active}
        for key in sorted(anew):
            if members[key].group in serving and self._vips[key[0]].told == ():
                self._groups.step(key, PeerReleased((reason,)), now_ns)
        self._groups.settle(now_ns)

    def declare(self, stances: StancesDeclared, now_ns: int) -> None:
        """The controller's wish; VIPs that it does not name keep theirs."""
        before = [self._proxy.dead, *(vip.stance for vip in self._vips.values())]
        self._proxy.declare(stances.serving)
        for stance in stances.vips:
            vip = self._vips.get(stance.vip)
            if vip is None:
                text = f"the controller declares a VIP that is not configured: {stance.vip}"
                self._reporter.noise("stance-ignored", text, about=stance.vip)
            elif not 1 <= stance.priority <= 254:  # RFC 9568 section 5.2.4
                text = f"the controller declares priority {stance.priority}, which is not in 1-254"
                self._reporter.noise("stance-ignored", text, service=stance.vip)
            else:
                vip.stance = stance
        # Most declarations only say that the controller lives, and set the pace of another try.
        changed = before != [self._proxy.dead, *(vip.stance for vip in self._vips.values())]
        if changed or any(v.trouble and v.trouble.code == "no-socket" for v in self._vips.values()):
            self.evaluate(now_ns)

    def order(self, order: TakeoverOrdered, now_ns: int) -> None:
        """The former holder has let go: take over without skew time."""
        vip = self._vips.get(order.vip)
        if vip is None:
            text = f"the controller orders a take-over of {order.vip}, which is not configured"
            self._reporter.noise("stance-ignored", text, about=order.vip)
            return
        for key in vip.keys:
            self._groups.step(key, PeerReleased(order.reasons), now_ns)

    def holders_said(self, said: HoldersSaid, now_ns: int) -> None:
        """What peers that are active say of themselves, where their adverts may not arrive."""
        for word in said.words:
            vip = self._vips.get(word.vip)
            for source in map(ip_address, word.sources):
                if vip is not None and (vip.name, source.version) in vip.keys:
                    key = (vip.name, source.version)
                    self._groups.step(key, HolderReported(source, word), now_ns)

    def host_known(self, now_ns: int) -> None:
        """Interfaces are known and leftovers gone: contending may begin."""
        self._host_known = True
        self.evaluate(now_ns)

    def failed(self, key: Key, reason: Reason, now_ns: int) -> None:
        """The addresses cannot be had: let a peer serve, and try again after a growing while."""
        vip = self._vips.get(key[0])
        if vip is None:
            return
        hold_off_ns = min(HOLD_OFF_FIRST_NS << min(vip.failures, 8), HOLD_OFF_MAX_NS)
        vip.failures += 1
        vip.hold_off_until_ns = now_ns + hold_off_ns
        self._held_off.add(vip.name)
        text = f"{reason.text}; tries again in {hold_off_ns // NS_PER_S} s"
        vip.failure = Reason(reason.code, text, {"retry_s": hold_off_ns // NS_PER_S})
        self._reporter.event("address-failed", text, service=vip.name, reasons=(vip.failure,))
        self._evaluate(vip, now_ns)

    def acquired(self, key: Key, now_ns: int) -> None:
        """The kernel has confirmed all addresses of a member."""
        self._vips[key[0]].failures = 0
        self._groups.announce(key, now_ns)

    def stop(self, reasons: tuple[Reason, ...], now_ns: int) -> None:
        """Let go of everything for good."""
        self._stopping = True
        for key in self._groups.members:
            self._groups.step(key, Shutdown(reasons), now_ns)

    # ---- contending or not ---------------------------------------------------------------------

    @property
    def deadline_ns(self) -> int | None:
        """When `turn` is due at the latest."""
        until = [self._vips[name].hold_off_until_ns for name in self._held_off]
        asking = self._gateways.deadline_ns
        return min(until if asking is None else [*until, asking], default=None)

    def turn(self, now_ns: int) -> None:
        """End hold-offs, and ask the gateways."""
        self._gateways.turn(now_ns)
        for vip in [self._vips[name] for name in sorted(self._held_off)]:
            if now_ns >= vip.hold_off_until_ns:
                vip.hold_off_until_ns = 0
                self._held_off.discard(vip.name)
                self._evaluate(vip, now_ns)

    def evaluate_one(self, name: str, now_ns: int) -> None:
        """Follow what a handover demands of one VIP."""
        vip = self._vips.get(name)
        if vip is not None and vip.keys:
            self._evaluate(vip, now_ns)

    def role(self, name: str) -> Role:
        """What this node is to a VIP in the election."""
        vip = self._vips.get(name)
        return vip.role if vip is not None else Role.INITIALIZE

    @property
    def active(self) -> frozenset[str]:
        """VIPs that this node holds."""
        return frozenset(name for name, vip in self._vips.items() if vip.role is Role.ACTIVE)

    def evaluate(self, now_ns: int) -> None:
        """Follow stances, interfaces and source addresses."""
        self._wires.sync({member.wire for member in self._groups.members.values()})
        for vip in self._vips.values():
            self._evaluate(vip, now_ns)

    def _evaluate(self, vip: _Vip, now_ns: int) -> None:
        if self._stopping:
            return
        trouble = self._trouble(vip)
        self._tell_trouble(vip, trouble)
        for key in vip.keys:
            config = self._router_config(self._groups.members[key])
            if config != self._configs[key]:
                self._configs[key] = config
                self._groups.step(key, Reconfigured(config), now_ns)
        stance = self._stance(vip)
        if stance is None:
            return  # role `initialize` until the controller says otherwise
        why: tuple[Reason, ...]
        if trouble is not None:
            why = (trouble,)
        elif not stance.contend:
            why = stance.reasons or (Reason("released", "the controller released it"),)
        elif self._proxy.dead:
            why = self._proxy.dead  # what was declared, was before it died
        else:
            why = ()
        if why == vip.told:
            return
        vip.told = why
        self._reporter.changed = True
        for key in vip.keys:
            self._groups.step(key, Released(why) if why else Started(), now_ns)

    def _stance(self, vip: _Vip) -> VipStance | None:
        """The one declared; one new in its group follows the group until then, and holds nobody up."""
        if vip.stance is not None:
            return vip.stance
        group = self._groups.members[vip.keys[0]].group
        mates = {k[0] for k, m in self._groups.members.items() if m.group == group}
        declared = (self._vips[name].stance for name in sorted(mates))
        return next((stance for stance in declared if stance is not None), None)

    def _router_config(self, member: Member) -> VirtualRouterConfig:
        source = self._interfaces.source(member.vip.interface, member.family, member.peers)
        old = self._configs.get(member.key)
        if source is None and old is not None:
            source = old.source  # a farewell may still have to be said from it
        config = member.router(source, self._vips[member.vip.name].stance)
        return self._handovers.adjusted(member.key, config)

    def _trouble(self, vip: _Vip) -> Reason | None:
        if not self._host_known:
            return Reason("starting", "the host's addresses have not been read yet")
        if vip.hold_off_until_ns:
            return vip.failure
        for key in vip.keys:
            member = self._groups.members[key]
            name = member.vip.interface
            trouble = self._interfaces.trouble(name, member.vip.track_interfaces)
            if trouble is not None:
                return trouble
            if self._interfaces.source(name, member.family, member.peers) is None:
                text = f"interface {name} has no IPv{member.family} address to send adverts from"
                return Reason("no-source-address", text)
            if not self._wires.ready(member.wire):
                return Reason("no-socket", f"no VRRP socket on {name}; see the agent's events")
        return None

    def _tell_trouble(self, vip: _Vip, trouble: Reason | None) -> None:
        old, vip.trouble = vip.trouble, trouble
        if (old and old.code) == (trouble and trouble.code):
            return
        if trouble is not None and trouble.code in _LINK_TROUBLES:
            kind, text = "interface-down", trouble.text
        elif trouble is None and old is not None and old.code in _LINK_TROUBLES:
            kind, text = "interface-up", "the interface is usable again"
        else:
            return
        reasons = (trouble,) if trouble else ()
        self._reporter.event(kind, text, service=vip.name, reasons=reasons)

    # ---- what it is ----------------------------------------------------------------------------

    def role_changed(self, name: str, change: RoleChanged) -> None:
        """A virtual router of this VIP changed its role; both families of one move together."""
        vip = self._vips.get(name)
        if vip is None or not vip.keys:
            return
        snapshots = self._groups.snapshot(self._groups.members[vip.keys[0]].group)
        role = _least([snapshots[key] for key in vip.keys])
        if role is vip.role:
            return
        old, vip.role, vip.since_wall_ns = vip.role, role, clock.wall_ns()
        text = f"{old} → {role}" + (f": {change.reasons[0].text}" if change.reasons else "")
        data: dict[str, int | float | str] = {"old": old.value, "new": role.value}
        self._reporter.event("role-changed", text, service=name, reasons=change.reasons, data=data)

    def reports(self) -> tuple[VipReport, ...]:
        """What this node is to each VIP."""
        every = self._groups.snapshot()
        return tuple(self._report(v, [every[k] for k in v.keys]) for v in self._vips.values())

    def _report(self, vip: _Vip, snapshots: list[RouterSnapshot]) -> VipReport:
        first = snapshots[0]
        reasons: tuple[Reason, ...]
        if vip.stance is None:
            reasons = (Reason("no-stance", "the controller has not declared what it shall be"),)
        elif vip.told:
            reasons = vip.told
        else:
            reasons = (*first.reasons, *vip.stance.reasons)
        heard = next((s for s in snapshots if s.active_router is not None), first)
        role, left = _least(snapshots), None
        if (tail := self._handovers.tail(vip.name)) is not None and role is not Role.ACTIVE:
            role, left = Role.TAIL, tail.connections
            reasons = (_serves_on(tail), *reasons)
        return VipReport(
            vip.name,
            role,
            first.priority,
            vip.since_wall_ns,
            reasons,
            self._holdings.held(vip.name),
            str(heard.active_router or ""),
            heard.active_priority,
            left,
            self._gateways.lost(vip.name),
        )


def _serves_on(tail: HandoverReport) -> Reason:
    """Why a node is in its tail."""
    left, order = tail.connections, tail.order
    what = "connections" if left is None else f"{left} connection{'' if left == 1 else 's'}"
    wait_s = (order.until_ns - clock.monotonic_ns()) // NS_PER_S
    text = f"serves {what} to the end, for {max(wait_s, 0)} s at most; new ones go to {order.peer}"
    return Reason("tail", text, {"connections": -1 if left is None else left, "peer": order.peer})


def _least(snapshots: list[RouterSnapshot]) -> Role:
    return min((s.role for s in snapshots), key=_LEAST_FIRST.index)
