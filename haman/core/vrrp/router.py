"""One virtual router: the state machine of RFC 9568 section 6.4 (version 2: RFC 3768).

States
    initialize  not contending: not told to yet, or the engine is ending
    released    not contending: fault, drain or the operator; else as initialize
    backup      listening; the down timer runs
    active      holding the addresses; the advertisement timer runs

Timers, one at a time
    advertisement  active: one advert per interval; a late call sends one, not those it missed
    down           backup: 3 × interval + skew since the last advert obeyed, by the interval which
                   that advert carries (version 3); after priority 0 the skew, or `heir_wait_ns`
    watch          not contending: as down, but its end only means that no active router is known
    hold           backup, beside down: preempt_delay since a lower priority was first heard
    report         backup, instead of down: since a report that a router which outranks this one is
                   active and hears it; until that one's adverts arrive, or the report is too old

Transitions: `transitions.TRANSITIONS`. What a late call does: `stall`.

Invariants
    The addresses are installed ⇔ the role is active.
    Whoever lets go says priority 0, removes, and says that it has (`departed`). Whoever yields to a
    higher one says its own priority once more, then removes: else the higher one, cut off until now,
    would never learn that the link knows another's MAC, and would not announce. In a planned move
    (`yields_to`) not: the taker has spoken for both.
    A step has at most five outputs besides `Observed`.
    After `TimePassed` the deadline lies in the future, or there is none.
"""

from haman.core.vrrp import explain
from haman.core.vrrp.advertising import Advertising
from haman.core.vrrp.listening import Listening
from haman.core.vrrp.messages import (
    OWNER_PRIORITY,
    AdvertisementReceived,
    Discarded,
    GroupLetGo,
    GroupTookOver,
    HandOverAddresses,
    HolderReported,
    Input,
    Observed,
    Output,
    PeerReleased,
    Reconfigured,
    Released,
    RemoveAddresses,
    RoleChanged,
    RouterSnapshot,
    SendAdvertisement,
    Shutdown,
    Started,
    TimePassed,
    VirtualRouterConfig,
)
from haman.core.vrrp.observations import Observations
from haman.core.vrrp.packet import IPAddress
from haman.core.vrrp.screening import mismatches, reason_to_discard
from haman.core.vrrp.timers import NS_PER_MS, span
from haman.core.words import Reason, Role


class VirtualRouter:
    """A virtual router of one family, in role `initialize` at first.

    Args:
        config: may change later by `Reconfigured`.
        now_ns: the monotonic clock.
        gated: a member of a `Group`: when a timer would make it active it is `willing` instead, and
            becomes active by `GroupTookOver`.
        breaks_ties: whether equal priorities are decided here; in a group only one member does.
    """

    __slots__ = (
        "_advertising",
        "_breaks_ties",
        "_config",
        "_gated",
        "_last_ns",
        "_listening",
        "_observations",
        "_offset_ns",
        "_reasons",
        "_since",
        "_willing",
        "role",
    )

    def __init__(
        self,
        config: VirtualRouterConfig,
        now_ns: int,
        *,
        gated: bool = False,
        breaks_ties: bool = True,
    ) -> None:
        self._config = config
        self._gated = gated
        self._breaks_ties = breaks_ties
        self.role = Role.INITIALIZE
        """The present role."""
        self._reasons: tuple[Reason, ...] = ()
        self._since = now_ns
        # Instants inside are the caller's plus this offset, which grows when his clock falls back.
        self._offset_ns = 0
        self._last_ns = now_ns
        self._listening = Listening(config)
        self._advertising = Advertising(config, now_ns)
        self._willing: tuple[Reason, ...] | None = None
        self._observations = Observations()

    # ---- surface -------------------------------------------------------------------------------

    def step(self, event: Input, now_ns: int) -> tuple[Output, ...]:
        """Take one input in, at `now_ns` of the monotonic clock.

        Returns:
            What is to be done, in this order. Adverts and address work may go different ways.

        Raises:
            ValueError: `Reconfigured` to another VRID or family.
        """
        now = self._advance(now_ns)
        match event:
            case AdvertisementReceived():
                outputs = self._received(event, now)
            case TimePassed():
                outputs = self._time_passed(now)
            case Started():
                outputs = self._started(now)
            case Released() | Shutdown():
                outputs = self._stopped(event, now)
            case PeerReleased(reasons):
                outputs = self._peer_released(reasons or (explain.FREE,), now)
            case HolderReported():
                outputs = self._holder_reported(event, now)
            case Reconfigured(config):
                outputs = self._reconfigured(config, now)
            case GroupTookOver(reasons):
                outputs = self._follow_to_active(reasons, now)
            case GroupLetGo(reasons):
                outputs = self._follow_to_backup(reasons, now)
        return outputs

    def advertise_along(self, now_ns: int) -> tuple[SendAdvertisement, ...]:
        """The regular advert, if it is due soon: others of the group leave now."""
        now = self._advance(now_ns)
        is_due = self.role is Role.ACTIVE and self._advertising.is_due_soon(now)
        return (self._advertising.send(now),) if is_due else ()

    @property
    def deadline_ns(self) -> int | None:
        """When to `step` with `TimePassed`; None = only another input matters."""
        return None if self._deadline is None else self._deadline - self._offset_ns

    @property
    def _deadline(self) -> int | None:
        return self._advertising.deadline if self.role is Role.ACTIVE else self._listening.deadline

    @property
    def farewell(self) -> SendAdvertisement:
        """The advert with priority 0, for whoever has to send it in this router's stead."""
        return self._advertising.farewell

    @property
    def departed(self) -> SendAdvertisement | None:
        """What follows when the addresses are off; None where nothing does."""
        return None if self.role in (Role.BACKUP, Role.ACTIVE) else self._advertising.departed

    @property
    def willing(self) -> bool:
        """It would be active, were it not for the other members of its group."""
        return self._willing is not None

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why the role is what it is."""
        return self._reasons

    def snapshot(self) -> RouterSnapshot:
        """The present state."""
        heard = self._listening.heard
        return RouterSnapshot(
            config=self._config,
            role=self.role,
            priority=self._config.priority if self.role in (Role.BACKUP, Role.ACTIVE) else 0,
            since_ns=self._since - self._offset_ns,
            reasons=self._reasons,
            deadline_ns=self.deadline_ns,
            active_router=heard.source if heard else None,
            active_priority=heard.priority if heard else 0,
            active_interval_ns=heard.interval_ns if heard else 0,
            willing=self.willing,
        )

    # ---- time ----------------------------------------------------------------------------------

    def _advance(self, now_ns: int) -> int:
        now = now_ns + self._offset_ns
        if now < self._last_ns:
            self._offset_ns += self._last_ns - now
            now = self._last_ns
        self._last_ns = now
        return now

    def _time_passed(self, now: int) -> tuple[Output, ...]:
        deadline = self._deadline
        if deadline is None or now < deadline:
            return ()
        if self.role is Role.ACTIVE:
            return self._advertise_in_time(now - deadline, now)
        if self.role is Role.BACKUP:
            return self._down_timer_ended(now - deadline, now)
        self._listening.forget_if_old(now)
        self._listening.watch()
        return ()

    def _advertise_in_time(self, late: int, now: int) -> tuple[Output, ...]:
        self._listening.forget_if_old(now)
        outputs = self._advertising.send_in_time(late, now)
        if not self._advertising.replaced_after(late):
            return outputs
        text = f"woke {span(late)} late while active: a backup may have taken over meanwhile"
        told = self._observations.make("late", text, now, {"late_ms": late / NS_PER_MS})
        return outputs + told

    def _down_timer_ended(self, late: int, now: int) -> tuple[Output, ...]:
        listening = self._listening
        more = listening.listen_again(late, now) if self._willing is None else None
        if more is not None:
            text = f"woke {span(late)} late: listens for {span(more)} more before it takes over"
            return self._observations.make("late", text, now, {"late_ms": late / NS_PER_MS})
        reasons = (listening.why_over(now),)
        if not self._gated:
            return self._become_active(reasons, now)
        # A lower router that is active may fall silent while this one waits for its group: look
        # again by then, so that the reason given for taking over is the one that holds.
        self._willing = reasons
        listening.forget_if_old(now)
        listening.watch()
        return ()

    # ---- adverts -------------------------------------------------------------------------------

    def _received(self, event: AdvertisementReceived, now: int) -> tuple[Output, ...]:
        config, advertisement, source = self._config, event.advertisement, event.source
        wrong = reason_to_discard(config, event)
        if wrong is not None:
            return (Discarded(wrong[0]), *self._observations.make(*wrong, now))
        listening = self._listening
        listening.note(source, advertisement, now)
        if self.role is Role.BACKUP:
            outputs = self._received_as_backup(event, now)
        elif self.role is Role.ACTIVE:
            outputs = self._received_as_active(advertisement.priority, source, now)
        else:
            listening.watch()
            outputs = ()
        for code, text in mismatches(config, event):
            outputs = (*outputs, *self._observations.make(code, text, now))
        return outputs

    def _received_as_backup(self, event: AdvertisementReceived, now: int) -> tuple[Output, ...]:
        """RFC 9568 section 6.4.2."""
        listening = self._listening
        was_held_down = listening.reported is not None
        obeyed, told = listening.takes_in(event.advertisement, event.source, now)
        if obeyed:
            self._willing = None
        observed = self._observations.make(*told, now) if told is not None else ()
        if not was_held_down or listening.reported is not None:
            return observed
        why = explain.heard_again(event.source)
        self._reasons = (why,)
        return (*observed, Observed(why.code, why.text))

    def _received_as_active(self, theirs: int, source: IPAddress, now: int) -> tuple[Output, ...]:
        """RFC 9568 section 6.4.3; the owner never yields (erratum)."""
        config = self._config
        ours = config.priority
        if theirs == 0:
            return self._advertising.reassure(now)
        if source == config.yields_to:
            return self._follow_to_backup((explain.handed_over(source),), now)
        why = explain.why_yield(config, theirs, source) if source != config.takes_from else None
        if why is not None and (theirs > ours or self._breaks_ties):
            return self._yield(why, now)
        conflict: tuple[Output, ...] = ()
        if self._listening.contested(now):
            text = f"{source} is active too, with priority {theirs}, and does not yield to {ours}"
            conflict = self._observations.make("conflict", text, now, {"priority": theirs})
        if theirs == ours and (ours == OWNER_PRIORITY or not self._breaks_ties):
            return conflict  # two that never yield would answer each other without end
        return (*self._advertising.answer(now), *conflict)

    def _holder_reported(self, event: HolderReported, now: int) -> tuple[Output, ...]:
        """As an advert that was lost: by the same rules, if it was said after this role began."""
        listening, source, heard = self._listening, event.source, self._listening.heard
        said_at = min(event.word.said_ns + self._offset_ns, now)
        if said_at + listening.stands_ns <= now:
            return ()
        if self.role is Role.BACKUP and listening.reported == source:
            listening.stand_in(source, said_at)
        if self.role is not Role.ACTIVE:
            return ()
        why = explain.why_unheard(self._config, event)
        tie = event.word.priority == self._config.priority and not self._breaks_ties
        if why is None or tie or said_at <= self._since or (heard and heard.source == source):
            return ()
        outputs = self._yield(why, now)
        listening.stand_in(source, said_at)
        return (*outputs, *self._observations.make(why.code, why.text, now))

    # ---- roles ---------------------------------------------------------------------------------

    def _become(self, role: Role, reasons: tuple[Reason, ...], now: int) -> RoleChanged:
        change = RoleChanged(self.role, role, reasons)
        self.role = role
        self._reasons = reasons
        self._since = now
        self._willing = None
        if role is Role.BACKUP:
            self._listening.start(now)
        else:
            self._listening.watch()
        return change

    def _started(self, now: int) -> tuple[Output, ...]:
        if self.role in (Role.BACKUP, Role.ACTIVE):
            return ()
        config = self._config
        self._listening.forget_if_old(now)
        if config.priority == OWNER_PRIORITY and not self._gated:
            return self._become_active((explain.owner(),), now)
        self._listening.start(now)
        reason = explain.contending(config.priority, self._listening.down_ns)
        change = self._become(Role.BACKUP, (reason,), now)
        if config.priority == OWNER_PRIORITY:
            self._willing = (explain.owner(),)
        return (change,)

    def _become_active(self, reasons: tuple[Reason, ...], now: int) -> tuple[Output, ...]:
        self._listening.heard = None
        change = self._become(Role.ACTIVE, reasons, now)
        return (*self._advertising.take(now), change)

    def _yield(self, why: Reason, now: int) -> tuple[Output, ...]:
        last, change = self._advertising.send(now), self._become(Role.BACKUP, (why,), now)
        return (last, RemoveAddresses(self._config.addresses), change)

    def _follow_to_active(self, reasons: tuple[Reason, ...], now: int) -> tuple[Output, ...]:
        if self.role is not Role.BACKUP:
            return ()
        return self._become_active((*(self._willing or ()), *reasons), now)

    def _follow_to_backup(self, reasons: tuple[Reason, ...], now: int) -> tuple[Output, ...]:
        """For the group: unlike in a yield, nobody need have claimed this one; or in a planned move."""
        if self.role is not Role.ACTIVE:
            return ()
        change = self._become(Role.BACKUP, reasons, now)
        if self._config.yields_to is not None:
            return (HandOverAddresses(self._config.addresses), change)
        return (self.farewell, RemoveAddresses(self._config.addresses), change)

    def _stopped(self, event: Released | Shutdown, now: int) -> tuple[Output, ...]:
        released = isinstance(event, Released)
        role = Role.RELEASED if released else Role.INITIALIZE
        reasons = event.reasons or (explain.RELEASED if released else explain.SHUTDOWN,)
        if self.role is role:
            self._reasons = reasons
            return ()
        active = self.role is Role.ACTIVE
        left = (self.farewell, RemoveAddresses(self._config.addresses)) if active else ()
        return (*left, self._become(role, reasons, now))

    def _peer_released(self, reasons: tuple[Reason, ...], now: int) -> tuple[Output, ...]:
        if self.role is Role.ACTIVE:
            return ()  # its priority 0 was quicker than its word
        if self.role is not Role.BACKUP:
            text = f"{reasons[0].text}: ignored, the role here is {self.role}"
            return self._observations.make("peer-released-ignored", text, now)
        if not self._gated:
            return self._become_active(reasons, now)
        self._willing = reasons
        self._listening.heard = None
        self._listening.watch()
        return ()

    def _reconfigured(self, config: VirtualRouterConfig, now: int) -> tuple[Output, ...]:
        if config == (old := self._config):
            return ()
        if (config.vrid, config.family) != (old.vrid, old.family):
            raise ValueError(f"virtual router {old.vrid}: another VRID or family is another router")
        self._config = self._listening.config = config
        if self.role is Role.BACKUP and self._willing is None:
            self._listening.recount(now)
        if self.role is Role.ACTIVE:
            return self._advertising.reconfigure(config, now)
        self._advertising.configure(config)
        return ()
