"""What a virtual router hears of the others, and when their silence means that it takes over."""

from typing import Final, NamedTuple

from haman.core.vrrp import explain
from haman.core.vrrp.messages import OWNER_PRIORITY, VirtualRouterConfig
from haman.core.vrrp.packet import Advertisement, IPAddress
from haman.core.vrrp.timers import NS_PER_S, down_ns, skew_ns, span
from haman.core.words import Reason

REPORT_STANDS_NS: Final = 2 * NS_PER_S
"""For how long an engine's word that it is active stands in for adverts: it speaks once a second, and its
controller passes that on several times a second. When that node dies, nobody serves for as long."""


class Heard(NamedTuple):
    """The last valid advert of another router, priority 0 excepted."""

    source: IPAddress
    priority: int
    interval_ns: int
    at_ns: int


class Listening:
    """The Active_Down timer of RFC 9568 section 6.2, and what it is counted from.

    Attributes:
        config: of the virtual router.
        heard: the last advert; None when it is too old to say who is active.
        interval_ns: Active_Adver_Interval: the active router's, or ours while none is known.
        deadline: the timer; None = not running.
        reported: source of the active router whose reports stand in for its adverts; None = no such.
    """

    __slots__ = (
        "_departed",
        "_hold_until",
        "_listened_again",
        "_releaser",
        "_rival_at",
        "_rival_since",
        "_started_at",
        "config",
        "deadline",
        "heard",
        "interval_ns",
        "reported",
    )

    def __init__(self, config: VirtualRouterConfig) -> None:
        self.config = config
        self.heard: Heard | None = None
        self.interval_ns = config.advert_interval_ns
        self.deadline: int | None = None
        self._started_at = 0
        self._hold_until: int | None = None
        self._releaser: IPAddress | None = None
        self._departed = False  # the releaser's addresses are off
        self._listened_again = False
        self._rival_since: int | None = None
        self._rival_at = 0
        self.reported: IPAddress | None = None

    @property
    def skew_ns(self) -> int:
        """Skew_Time."""
        return skew_ns(self.config.version, self.config.priority, self.interval_ns)

    @property
    def release_ns(self) -> int:
        """How long to wait after priority 0."""
        wait = self.config.heir_wait_ns
        return self.skew_ns if wait is None else min(wait, self.skew_ns)

    @property
    def down_ns(self) -> int:
        """Active_Down_Interval."""
        return down_ns(self.config.version, self.config.priority, self.interval_ns)

    @property
    def expiry(self) -> int | None:
        """When the router last heard is no longer known to be active."""
        heard, config = self.heard, self.config
        if heard is None:
            return None
        return heard.at_ns + down_ns(config.version, config.priority, heard.interval_ns)

    def note(self, source: IPAddress, advert: Advertisement, now: int) -> None:
        """A valid advert of another router, in whatever role."""
        if advert.priority != 0:
            self.heard = Heard(source, advert.priority, advert.interval_ns, now)
        elif self.heard and self.heard.source == source:
            self.heard = None

    def forget_if_old(self, now: int) -> None:
        """Drop what was heard if it says nothing of the present any more."""
        expiry = self.expiry
        if expiry is not None and now >= expiry:
            self.heard = None

    def start(self, now: int) -> None:
        """Start the down timer anew: on becoming backup, and with each advert obeyed."""
        self.interval_ns = self.heard.interval_ns if self.heard else self.config.advert_interval_ns
        self.deadline = now + self.down_ns
        self._started_at = now
        self._releaser, self._departed = None, False
        self._listened_again = False
        self.reported = None

    @property
    def stands_ns(self) -> int:
        """For how long a report that another router is active stands in for its adverts."""
        return max(REPORT_STANDS_NS, self.down_ns)

    def stand_in(self, source: IPAddress, said_at: int) -> None:
        """Wait for as long as the word of `source`, that it is active, counts."""
        self.reported = source
        self.deadline = max(said_at + self.stands_ns, self.deadline or 0)

    def takes_in(
        self, advert: Advertisement, source: IPAddress, now: int
    ) -> tuple[bool, tuple[str, str] | None]:
        """An advert, as a backup: RFC 9568 section 6.4.2.

        Returns:
            Whether the timer was started anew, and a code and a text for operators.
        """
        config, told = self.config, None
        theirs, ours = advert.priority, config.priority
        if self.reported == source:
            self.start(now)  # its adverts arrive again, and say more than its reports
        if theirs == 0:
            if self.reported is None:
                self.shorten(source, now, departed=advert.departed)
            return False, None
        if theirs >= ours:
            self.end_hold()
        elif not config.preempt and ours != OWNER_PRIORITY:
            self.end_hold()
            text = f"{source} advertises {theirs}, ours is {ours}; preemption is off: stays backup"
            told = ("preempt-off", text)
        elif self.holds(now):
            delay = span(config.preempt_delay_ns)
            text = f"{source} advertises {theirs}, ours is {ours}: waits {delay} before preempting"
            told = ("preempt-delay", text)
        else:
            return False, None
        self.start(now)
        return True, told

    def watch(self) -> None:
        """Not a backup: all that time does is to make the router last heard unknown."""
        self.deadline = self.expiry
        self._hold_until = None
        self._rival_since = None
        self.reported = None

    def contested(self, now: int) -> bool:
        """Active, and another active router was heard: whether it goes on for too long.

        One that is preempted, or that was cut off, advertises until it hears of this one: for
        Active_Down_Interval that is the protocol at work, and a conflict only after it.
        """
        if self._rival_since is None or now - self._rival_at >= self.down_ns:
            self._rival_since = now
        self._rival_at = now
        return now - self._rival_since >= self.down_ns

    def shorten(self, source: IPAddress, now: int, *, departed: bool) -> None:
        """Priority 0 came in: wait for the skew alone, or for less if this one comes next.

        Not at all, if it does and that one says then that its addresses are off.

        Never for longer than without it: a flood of these must not keep a backup waiting.
        """
        at_once = departed and self._releaser == source and self.config.heir_wait_ns is not None
        end = now if at_once else now + self.release_ns
        if self.deadline is not None and end < self.deadline:
            self.deadline = end
            self._started_at = now
            self._releaser, self._departed = source, at_once

    def holds(self, now: int) -> bool:
        """A lower router advertises: whether preempt_delay still lets it be."""
        if self._hold_until is None:
            self._hold_until = now + self.config.preempt_delay_ns
        return now < self._hold_until

    def end_hold(self) -> None:
        """The active router is one that stays: preempt_delay counts anew for the next one."""
        self._hold_until = None

    def listen_again(self, late: int, now: int) -> int | None:
        """For how much longer to listen because the timer was seen so late; None = no longer."""
        if late < self.interval_ns or self._listened_again:
            return None
        self._listened_again = True
        more = self.interval_ns + self.skew_ns
        self.deadline = now + more
        return more

    def recount(self, now: int) -> None:
        """Let a changed priority or interval count from when the timer was started.

        The interval of an active router that is heard still stands: the configuration of one node
        changes before the other's.
        """
        if self.heard is None:
            self.interval_ns = self.config.advert_interval_ns
        if self.deadline is not None and self.reported is None:
            wait = self.down_ns if self._releaser is None else self.release_ns
            self.deadline = max(now, self._started_at + wait)

    def why_over(self, now: int) -> Reason:
        """Why the timer's end makes this router active."""
        config, heard = self.config, self.heard
        if self.reported is not None:
            return explain.report_over(self.reported, self.stands_ns, config.priority)
        if self._releaser is not None:
            waited_ns = None if self._departed else now - self._started_at
            return explain.let_go(self._releaser, waited_ns, config.priority)
        expiry = self.expiry
        if heard and expiry and heard.at_ns > self._started_at and now < expiry:
            return explain.preempting(heard.source, heard.priority, config.priority)
        return explain.silent(
            heard.source if heard else None,
            now - (heard.at_ns if heard else self._started_at),
            config.priority,
            self.interval_ns,
            self.skew_ns,
        )
