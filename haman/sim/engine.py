"""The engine of a host, modelled: virtual routers that are the real ones, over a modelled kernel.

It does what `haman.engine` does around them: receives before it looks at the time, installs and
removes addresses and renews their leases from its own loop, tells the controller what it holds, and
keeps what it holds while there is no controller.
"""

from ipaddress import ip_address
from typing import Final

from haman.core.announcements import AnycastStance, HeldAddresses
from haman.core.facts import EngineReported, HoldersSaid, VipReport
from haman.core.lifeline import Lifeline
from haman.core.processes import ProcessId
from haman.core.vrrp.group import Group, Key
from haman.core.vrrp.messages import (
    AdvertisementReceived,
    HolderReported,
    Input,
    InstallAddresses,
    Observed,
    Output,
    PeerReleased,
    Reconfigured,
    Released,
    RemoveAddresses,
    RoleChanged,
    SendAdvertisement,
    Started,
    TimePassed,
    VirtualRouterConfig,
)
from haman.core.vrrp.stall import begin_again, lost_by_stall
from haman.core.words import Reason, Role
from haman.sim.around import AroundEngine, Declared
from haman.sim.clocks import Clock
from haman.sim.kernel import Kernel
from haman.sim.plans import NS_PER_S, NodePlan
from haman.sim.process import Process
from haman.sim.running import RunningGroup, RunningVip
from haman.sim.steering import Steering
from haman.sim.transcript import first

INBOX_MAX: Final = 1024
HEIR_WAIT_NS: Final = 5_000_000
RENEWALS_PER_LEASE: Final = 3
REPORT_NS: Final = NS_PER_S
ANYCAST_LEASE_NS: Final = 15 * NS_PER_S
REPAIR_NS: Final = 2_000_000
"""From an address that somebody removed until it is there again (measured: some ms)."""
_NOTED: Final = ("conflict", "one-way-loss", "adverts-heard", "late")
_LEAST_FIRST: Final = (Role.RELEASED, Role.INITIALIZE, Role.BACKUP, Role.TAIL, Role.ACTIVE)


class Engine:
    """All virtual routers and addresses of one host."""

    def __init__(
        self,
        plan: NodePlan,
        clock: Clock,
        process: Process,
        kernel: Kernel,
        around: AroundEngine,
        *,
        steering: Steering,
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._process = process
        self._kernel = kernel
        self._steering = steering
        self._around = around
        self._vips: dict[str, RunningVip] = {}
        self._groups: list[RunningGroup] = []
        self._of: dict[Key, RunningGroup] = {}
        self._inbox: list[tuple[Key, AdvertisementReceived]] = []
        self._wanted: dict[Key, int] = {}
        self._anycast: dict[str, AnycastStance] = {}
        self._lifeline = Lifeline()
        self._generation = 0
        self._woken_ns: int | None = None
        self._changed = False
        self._waking = False
        self.ending = False

    # ---- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin anew: leftovers are gone, every role is `initialize`."""
        now_ns = self._clock.now_ns
        for key in self._kernel.held():
            self._kernel.remove(key)
        self._vips = {v.name: RunningVip(v, self._clock.wall_ns) for v in self._plan.vips}
        self._lifeline = Lifeline()
        self._inbox.clear()
        self._wanted.clear()
        self._anycast.clear()
        self._steering.clear()
        self._groups, self._of = [], {}
        self._generation, self._woken_ns, self._waking = 0, None, False
        grouped: dict[str, list[Key]] = {}
        for vip in self._plan.vips:
            grouped.setdefault(vip.group or f"vip {vip.name}", []).extend(
                (vip.name, family) for family in vip.families
            )
        for name, keys in grouped.items():
            configs = {key: self._config(key) for key in keys}
            for (vip_name, family), config in configs.items():
                self._vips[vip_name].configs[family] = config
            plans = [self._vips[key[0]].plan for key in keys]
            running = RunningGroup(
                Group(name, configs, now_ns),
                tuple(keys),
                3 * min(p.advert_ns for p in plans),
                min(p.lease_ns for p in plans),
            )
            self._groups.append(running)
            self._of |= dict.fromkeys(keys, running)
        self._process.soon(0, self._renew)
        self._process.soon(0, self._report_regularly)

    def last_words(self) -> None:
        """What the guard does for an engine that died: priority 0, addresses off."""
        for group in self._groups:
            snapshot = group.core.snapshot()
            for key, farewell in group.core.farewells().items():
                if snapshot[key].role is Role.ACTIVE:
                    self._around.multicast(key, farewell)
        for key in self._kernel.held():
            self._kernel.remove(key)

    def reconfigure(self, plan: NodePlan) -> None:
        """Take over priorities and preemption of another configuration."""
        self._plan = plan
        for vip in self._vips.values():
            self._follow(vip)
        self._after()

    # ---- the controller's word -----------------------------------------------------------------

    def declare(self, wanted: Declared) -> None:
        """Have these stances, and steer so."""
        stances, anycast, steers, serving = wanted
        self._generation += 1
        revived = self._lifeline.declare(serving)
        for stance in stances:
            vip = self._vips[stance.vip]
            if vip.stance != stance or revived:
                vip.stance = stance
                self._follow(vip)
        for each in anycast:
            before = self._anycast.get(each.service)
            self._anycast[each.service] = each
            if before is None or before.held != each.held:
                self._hold((each.service, 4), ANYCAST_LEASE_NS if each.held else None)
        self._steering.declare(steers)
        self._after()

    def proxy_ended(self, process: ProcessId) -> None:
        """Its pidfd said so, and nobody listens any more."""
        if process in self._lifeline.alive and self._lifeline.ended(process, listens=False):
            for vip in self._vips.values():
                self._follow(vip)
            self._after()

    def order(self, vip: str, reasons: tuple[Reason, ...]) -> None:
        """Take over what its holder let go."""
        for family in self._vips[vip].plan.families:
            self._step((vip, family), PeerReleased(reasons))
        self._after()

    def holders_said(self, said: HoldersSaid) -> None:
        """What peers that are active say of themselves."""
        for word in said.words:
            for source in map(ip_address, word.sources):
                self._step((word.vip, source.version), HolderReported(source, word))
        self._after()

    def _config(self, key: Key) -> VirtualRouterConfig:
        vip = self._vips[key[0]]
        stance = vip.stance
        return VirtualRouterConfig(
            vrid=vip.plan.vrid,
            priority=stance.priority if stance else self._plan.priorities[key[0]],
            advert_interval_ns=vip.plan.advert_ns,
            preempt=self._plan.preempt and (stance is None or stance.preempt),
            preempt_delay_ns=vip.plan.preempt_delay_ns,
            heir_wait_ns=HEIR_WAIT_NS if stance and stance.heir else None,
            addresses=vip.plan.addresses(key[1]),
            source=self._plan.source(key[1]),
        )

    def _follow(self, vip: RunningVip) -> None:
        name, stance = vip.plan.name, vip.stance
        for family in vip.plan.families:
            config = self._config((name, family))
            if config != vip.configs[family]:
                vip.configs[family] = config
                self._step((name, family), Reconfigured(config))
        if stance is None:
            return
        why = self._lifeline.dead
        if not stance.contend:
            why = stance.reasons or (Reason("released", "told to"),)
        if why == vip.told:
            return
        vip.told = why
        for family in vip.plan.families:
            self._step((name, family), Released(why) if why else Started())

    # ---- the wire, and time --------------------------------------------------------------------

    def receive(self, key: Key, received: AdvertisementReceived) -> None:
        """An advert is in the socket."""
        if key in self._of and len(self._inbox) < INBOX_MAX:
            self._inbox.append((key, received))
        if not self._waking:
            self._waking = True
            self._process.soon(0, self._turn)

    def _turn(self) -> None:
        """Look at what was received, then at the time."""
        self._waking = False
        now_ns = self._clock.now_ns
        inbox, self._inbox = self._inbox, []
        for group in self._groups:
            silence_ns = now_ns - group.last_sent_ns
            if group.last_sent_ns and silence_ns > group.silent_ns:
                self._after_silence(group, silence_ns, inbox, now_ns)
        for key, received in inbox:
            before = self._of[key].core.rival(key)
            self._step(key, received)
            self._changed |= self._of[key].core.rival(key) not in (None, before)
        for group in self._groups:
            due_ns = group.core.deadline_ns
            if due_ns is not None and now_ns >= due_ns:
                self._carry_out(group, group.core.step(None, TimePassed(), now_ns), now_ns)
        self._after()

    def _after_silence(
        self,
        group: RunningGroup,
        silence_ns: int,
        inbox: list[tuple[Key, AdvertisementReceived]],
        now_ns: int,
    ) -> None:
        if all(s.role is not Role.ACTIVE for s in group.core.snapshot().values()):
            group.last_sent_ns = 0
            return
        heard = (a.source for k, a in inbox if k in group.keys and a.advertisement.priority > 0)
        why = lost_by_stall(silence_ns, group.lease_ns, next(heard, None))
        if why is not None:
            group.last_sent_ns = 0
            self._carry_out(group, begin_again(group.core, why, now_ns), now_ns)

    def _step(self, key: Key, event: Input) -> None:
        group, now_ns = self._of[key], self._clock.now_ns
        self._carry_out(group, group.core.step(key, event, now_ns), now_ns)

    def _carry_out(
        self, group: RunningGroup, outputs: tuple[tuple[Key, Output], ...], now_ns: int
    ) -> None:
        for key, output in outputs:
            match output:
                case SendAdvertisement(advert):
                    self._around.multicast(key, output)
                    if advert.priority:
                        group.last_sent_ns = now_ns
                case InstallAddresses():
                    self._hold(key, self._vips[key[0]].plan.lease_ns)
                case RemoveAddresses():
                    self._hold(key, None)
                case RoleChanged():
                    self._role_changed(key[0], output)
                case Observed(code, text) if code in _NOTED:
                    self._around.note(f"{key[0]}: {code}", text)
                case _:
                    pass

    def _role_changed(self, name: str, change: RoleChanged) -> None:
        vip = self._vips[name]
        snapshot = self._of[name, vip.plan.families[0]].core.snapshot()
        role = min((snapshot[name, f].role for f in vip.plan.families), key=_LEAST_FIRST.index)
        if role is vip.role:
            return
        self._around.note(f"{name}: {vip.role} → {role}", first(change.reasons))
        vip.role, vip.since_ns, vip.reasons = role, self._clock.wall_ns, change.reasons
        self._changed = True

    def _after(self) -> None:
        """Wait for the next deadline, and tell what changed."""
        due = [at for g in self._groups if (at := g.core.deadline_ns) is not None]
        due_ns = min(due, default=None)
        if due_ns is not None and (self._woken_ns is None or due_ns < self._woken_ns):
            self._woken_ns = due_ns
            self._process.at(due_ns, lambda: self._wake(due_ns))
        if self._changed:
            self._changed = False
            self._around.engine_said(self.report())

    def _wake(self, due_ns: int) -> None:
        if self._woken_ns == due_ns:
            self._woken_ns = None
            self._turn()

    # ---- addresses -----------------------------------------------------------------------------

    def _hold(self, key: Key, lease_ns: int | None) -> None:
        if lease_ns is None:
            self._wanted.pop(key, None)
        else:
            self._wanted[key] = lease_ns
        asked_ns = self._clock.now_ns
        self._process.soon(self._kernel.work_ns(), lambda: self._reconcile(key, asked_ns))

    def _reconcile(self, key: Key, asked_ns: int = 0) -> None:
        """The kernel carries out what is wanted by then."""
        lease_ns, had = self._wanted.get(key), self._kernel.has(key)
        if lease_ns is not None:
            self._kernel.add(key, lease_ns)
        else:
            self._kernel.remove(key)
        if had == (lease_ns is not None):
            return
        self._changed = True
        if had and key[0] in self._vips:
            vip, said = self._vips[key[0]], self._of[key].core.departed(key)
            if said is not None and self._clock.now_ns - asked_ns < HEIR_WAIT_NS:
                self._around.multicast(key, said)
            if not any(self._kernel.has((key[0], f)) for f in vip.plan.families):
                self._around.vip_released(key[0], vip.reasons)
        self._after()

    def address_removed(self, key: Key) -> None:
        """Somebody else took an address away."""
        self._kernel.remove(key)
        if key in self._wanted:
            self._process.soon(REPAIR_NS, lambda: self._reconcile(key))

    def _renew(self) -> None:
        for key, lease_ns in self._wanted.items():
            if self._kernel.has(key):
                self._kernel.add(key, lease_ns)
            else:
                self._process.soon(self._kernel.work_ns(), lambda key=key: self._reconcile(key))  # type: ignore[misc]
        leases = [v.lease_ns for v in self._plan.vips] or [ANYCAST_LEASE_NS]
        self._process.soon(min(leases) // RENEWALS_PER_LEASE, self._renew)

    # ---- what it says --------------------------------------------------------------------------

    def _report_regularly(self) -> None:
        self._around.engine_said(self.report())
        self._process.soon(REPORT_NS, self._report_regularly)

    def report(self) -> EngineReported:
        """Everything that it knows."""
        held = tuple(
            HeldAddresses(name, (name,) if self._kernel.has((name, 4)) else (), complete)
            for name in self._anycast
            for complete in (self._kernel.has((name, 4)),)
        )
        return EngineReported(
            self._generation,
            tuple(self._vip_report(vip) for vip in self._vips.values()),
            anycast=held,
            ending=self.ending,
            places=self._plan.places,
            steers=self._steering.reports(),
            links=self._plan.links if self._plan.anycast else (),
        )

    def _vip_report(self, vip: RunningVip) -> VipReport:
        name = vip.plan.name
        family = vip.plan.families[0]
        snapshot = self._of[name, family].core.snapshot()[name, family]
        stance = vip.stance
        if stance is None:
            reasons: tuple[Reason, ...] = ()
        else:
            reasons = vip.told or (*snapshot.reasons, *stance.reasons)
        return VipReport(
            name,
            vip.role,
            snapshot.priority,
            vip.since_ns,
            reasons,
            tuple(name for f in vip.plan.families if self._kernel.has((name, f))),
            str(snapshot.active_router or ""),
            snapshot.active_priority,
        )

    def role(self, vip: str) -> Role:
        """What this node is to a VIP."""
        return self._vips[vip].role if vip in self._vips else Role.INITIALIZE
