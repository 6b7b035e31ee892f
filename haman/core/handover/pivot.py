"""A node whose move sends routers' hashes elsewhere: others steer to it what they do not know.

When a node leaves an anycast service, comes back, or changes its weight, routers send a part of the
connections of *all* nodes to another one. So who does that is the pivot for a while: the
others, the survivors, steer to it what they do not know, and what it does not know either goes down
the line of them (see `steering`). There is one pivot at a time, and it need not be a certain one: who
moves while another one's tail is on is covered by that, and once a drained pivot serves nothing itself,
it names the first in line its heir, and is free.

    state    says   ladder                 on                                             to
    -------  -----  ---------------------  ---------------------------------------------  -------
    idle     –      free                   drained and announced, others serve            waiting
                                           comes back, others serve                       waiting
                                           is to have another weight, others serve        waiting
    waiting  –      keeps its rung         nobody else's tail of it                       asking
                                           in line of another one's that began            leaning
                                           WAIT_NS and tail_ns; not drained: ASK_BACK_NS  done
    leaning  leans  keeps its rung         that one covers it; ASK_BACK_NS                covered
                                           not in line any more                           idle
    asking   asks   keeps its rung         another one's has begun, or one asks, too,
                                             and comes first by name                      closing
                                           all that serve and can, and this node, are
                                             ready, in line; ASK_NS and one is            tail
                                           none can, or this node; ASK_NS                 closing
    tail     asks,  free; addresses stay   drained: no connection is left, withdrawn for
             began                         LEAST_TAIL_NS, and there is one survivor       closing
                                             there are several: the first is the heir     passing
                                           not drained: nothing passes by it that routers sent
                                             elsewhere, and no rung has changed, for
                                             `quiet_ns`                                   closing
                                           tail_ns since it began, was undrained, or a
                                             rung came into force while it comes back     closing
                                           the proxy is dead (and not merely restarted,
                                             drained, with no connection), the agent ends closing
    passing  asks,  free; addresses stay   all steer to the heir, and are ready; PASS_NS  closing
             heir
    covered  leans  free; addresses stay   drained: no connection left, withdrawn for L.  done
                                           not drained: nothing to move, L. on its rung;
                                             tail_ns; dead                                done
                                           not in line any more, (un)drained              idle
    closing  over   addresses stay         SAY_OVER_NS, and nobody steers here any more;
                                             CLOSING_NS: not to be tried again            done
                                             else, or wanted otherwise meanwhile          idle
    done     –      free                   what it was for is over                        idle

    L.: LEAST_TAIL_NS. idle, waiting, leaning, covered, done: named an heir → tail.
    waiting, leaning, asking: not wanted any more, dead, ending, nobody else serves → idle (over closing).
    tail: does not end by time or silence while it covers another node, and says so before that one moves.
    From the start, with an engine that still counts for a tail → tail.

Timers: one deadline per state, above; withdrawn since; the rung, and the tail, unchanged since.

Invariants
    The ladder moves down for a drain, up from nothing, and from one weight to another, only when the
    survivors are ready, or it is known that none will be.
    Every state ends by time alone, whatever the others do.
    Addresses stay while anybody may still steer here.
    While the pivot changes, whoever knows a connection is still found: the heir is the first in line, so
    nobody's next changes, it says so once its rules are in force, and the old pivot goes on until all others' are.
"""

from haman.core.handover import tail_reasons
from haman.core.handover.messages import Side
from haman.core.handover.pivot_facts import (
    ASK_BACK_NS,
    ASK_NS,
    CLOSING_NS,
    PASS_NS,
    SAY_OVER_NS,
    SWITCH_NS,
    WAIT_NS,
    Heard,
    Late,
    Other,
    PivotFacts,
    RungWatch,
    TailNote,
    muster,
)
from haman.core.handover.steering import (
    LinkPlace,
    SteerOrder,
    SteerReport,
    TailStanding,
    TailWord,
    lease_end,
    macs,
)
from haman.core.words import Reason

_SERVES_ON = ("tail", "passing", "covered")


class Pivot:
    """The tails of one service on this node.

    Args:
        node: its name.
        tail_ns: how long a tail may last; 0 = there is none.
    """

    def __init__(self, service: str, node: str, tail_ns: int) -> None:
        self._service = service
        self._node = node
        self.tail_ns = tail_ns
        self._state = "idle"
        self._id = self._of = self._heir = ""
        self._ends_ns = 0
        self._line: tuple[str, ...] = ()
        self._covers: tuple[str, ...] = ()
        self._line_until_ns: int | None = 0
        self._links: dict[str, tuple[LinkPlace, ...]] = {}
        self._own: SteerReport | None = None
        self._reasons: tuple[Reason, ...] = ()
        self._late = Late()
        self._left: int | None = None
        self._passed: int | None = None
        self._rung = RungWatch()
        self._drained = self._for_drain = self._adopted = self._again = self._refused = False

    def step(self, facts: PivotFacts, now_ns: int) -> tuple[TailNote, ...]:
        """Look around; what is to be noted."""
        notes = self._observe(facts, now_ns)
        heard = Heard(self._service, facts.peers, self._late.see(facts.peers, now_ns))
        before = None
        while before != self._state:  # what needs no waiting is done at once
            before = self._state
            note = self._advance(facts, heard, now_ns)
            notes += [note] if note is not None else []
        return tuple(notes)

    @property
    def state(self) -> str:
        """As in the table."""
        return self._state

    @property
    def asks(self) -> bool:
        """Others are to steer here: this node steers for nobody."""
        return self._state in {"asking", "tail", "passing"}

    @property
    def leans(self) -> bool:
        """What this node moves is carried by another one's tail, or is to be."""
        return self._state in {"leaning", "covered"}

    @property
    def word(self) -> TailWord | None:
        """For this node's report."""
        if self._line_until_ns is None or not (self.asks or self._state == "closing"):
            return None
        return TailWord(
            self._id,
            self._line,
            began=self._state in {"tail", "passing"},
            over=self._state == "closing",
            heir=self._heir if self._state == "passing" else "",
            of=self._of,
            covers=self._covers,
        )

    @property
    def left(self) -> int | None:
        """Connections here of a drained node's tail, as last counted; None = none, or not counted."""
        return self._left if self._state in _SERVES_ON and self._drained else None

    @property
    def standing(self) -> TailStanding:
        """What is asked of the ladder."""
        keeps = self._state in {"waiting", "asking", "leaning"} or (
            self._state == "closing" and self._again
        )
        holds = keeps or self._state in {*_SERVES_ON, "closing"}
        rests = self._state == "idle" or (self._state == "closing" and not self._refused)
        return TailStanding(keeps, (keeps or rests) and self.tail_ns > 0, holds, self._reasons)

    def order(self, now_ns: int) -> SteerOrder | None:
        """What the engine shall do."""
        if not self.asks:
            return None
        first = self._line[0] if self._line else ""
        out = self._rung.withdrawn_ns is not None
        what = (self._id, self._service, Side.GIVING, lease_end(now_ns))
        return SteerOrder(
            *what,
            next=first,
            next_places=self._links.get(first, ()),
            others=macs(*self._links.values()),
            anew=out and self._state == "asking" and not self._drained,
        )

    def _observe(self, facts: PivotFacts, now_ns: int) -> list[TailNote]:
        notes: list[TailNote] = []
        moved = self._rung.see(facts.in_force, now_ns)
        turned, self._drained = facts.drained != self._drained, facts.drained
        if self._state == "tail" and (turned or (moved and not facts.drained)):
            self._ends_ns = now_ns + self.tail_ns
            self._reasons = (self._reason(), *self._reasons[1:])
            if turned and self._drained:
                notes.append(TailNote("tail-started", self._reasons[0], self._line))
        self._links |= {p.name: p.report.links for p in facts.peers if p.report is not None}
        mine = (r for r in facts.reports or () if r.order.service == self._service)
        side = Side.TAKING if self._state == "covered" else Side.GIVING
        own = next((r for r in mine if r.order.side is side), None)
        self._own = own if own is not None and own.order.id == self._id else None
        self._count(self._own)
        if facts.reports is None or self._adopted:
            return notes
        self._adopted = True
        if own is not None:
            self._id, self._line = own.order.id, (own.order.next,) if own.order.next else ()
            self._count(own)
            self._begin(now_ns)
        return notes

    def _count(self, report: SteerReport | None) -> None:
        if report is not None and report.connections is not None:
            self._left, self._passed = report.connections, report.passed

    def _advance(self, facts: PivotFacts, heard: Heard, now_ns: int) -> TailNote | None:
        match self._state:
            case "tail":
                return self._tail(facts, heard, now_ns)
            case "passing":
                return self._passing(facts, heard, now_ns)
            case "closing":
                self._closing(facts, heard, now_ns)
            case "asking" if not self._may(facts, heard):
                self._close(now_ns, again=True)
            case "asking":
                return self._asking(heard, now_ns)
            case _:
                return self._named(facts, heard, now_ns) or self._before(facts, heard, now_ns)
        return None

    def _before(self, facts: PivotFacts, heard: Heard, now_ns: int) -> TailNote | None:
        match self._state:
            case "waiting" if self._may(facts, heard):
                return self._waiting(facts, heard, now_ns)
            case "leaning" if self._may(facts, heard):
                return self._leaning(facts, heard, now_ns)
            case "covered":
                return self._covered(facts, heard, now_ns)
            case "idle":
                self._idle(facts, heard, now_ns)
            case "done" if facts.drained == self._for_drain and facts.moves:
                pass
            case _:
                self._enter("idle", 0)
        return None

    def _may(self, facts: PivotFacts, heard: Heard) -> bool:
        return facts.wanted and bool(heard.serving)

    def _idle(self, facts: PivotFacts, heard: Heard, now_ns: int) -> None:
        # Before the engine has spoken it is not known whether a tail goes on.
        if self._may(facts, heard) and self.tail_ns and facts.reports is not None:
            wait_ns = self.tail_ns + WAIT_NS if facts.drained else ASK_BACK_NS
            self._enter("waiting", now_ns + wait_ns)

    def _named(self, facts: PivotFacts, heard: Heard, now_ns: int) -> TailNote | None:
        """Take over the tail of a drained node that serves nothing any more."""
        other = heard.other(lambda o: o.word.began and o.word.heir == self._node)
        if other is None or not self.tail_ns or facts.dead or facts.ending:
            return None
        self._new_id(now_ns, of=other.word.id)
        self._line = tuple(name for name in other.word.line if name != self._node)
        self._line_until_ns = None  # others come when this node's own rules are in force
        return self._begin(now_ns)

    def _leaning(self, facts: PivotFacts, heard: Heard, now_ns: int) -> TailNote | None:
        other = heard.other(lambda o: o.word.began and self._node in o.word.line)
        if other is None:
            self._enter("idle", 0)
        elif self._node in other.word.covers or now_ns >= self._ends_ns:
            return self._cover(facts, other, now_ns)
        return None

    def _cover(self, facts: PivotFacts, other: Other, now_ns: int) -> TailNote | None:
        self._id, self._left, self._for_drain = other.word.id, None, facts.drained
        self._rung.steady_ns = now_ns
        why = tail_reasons.covered(self._service, whose=other.node, drains=facts.drained)
        self._enter("covered", now_ns + self.tail_ns, why)
        return TailNote("tail-started", why) if facts.drained else None

    def _covered(self, facts: PivotFacts, heard: Heard, now_ns: int) -> TailNote | None:
        other, was_for_drain = heard.other(lambda o: self._node in o.word.line), self._for_drain
        over = self._rung.has_moved(facts, self._left, drained=was_for_drain, now_ns=now_ns)
        turned = facts.drained != was_for_drain
        if other and not (over or turned or facts.dead) and now_ns < self._ends_ns:
            self._id = other.word.id
            return None
        self._settle()
        if turned or other is None:
            self._enter("idle", 0)  # what it moves from now on is to be covered anew
        served = over or turned
        why = tail_reasons.SERVED if served else tail_reasons.UNCOVERED
        cut = 0 if served else self._left or 0
        return TailNote("tail-ended", why, cut=cut) if was_for_drain else None

    def _begin(self, now_ns: int, *refusals: Reason) -> TailNote:
        self._rung.steady_ns, reason = now_ns, self._reason()
        self._enter("tail", now_ns + self.tail_ns, reason, *refusals)
        return TailNote("tail-started", reason, self._line)

    def _reason(self) -> Reason:
        return tail_reasons.served_on(self._service, self._line, self.tail_ns, drains=self._drained)

    def _new_id(self, now_ns: int, *, of: str = "") -> None:
        # Monotonic instants do not come back before the host is started anew.
        self._id, self._of = f"{self._node}/{now_ns:x}", of
        self._left = self._passed = None
        self._heir, self._covers, self._line_until_ns = "", (), 0

    def _waiting(self, facts: PivotFacts, heard: Heard, now_ns: int) -> TailNote | None:
        other = heard.other(lambda _: True)
        if other is None:
            self._new_id(now_ns)
            self._line = ()
            ask_ns = ASK_NS if facts.drained else ASK_BACK_NS
            self._enter("asking", now_ns + ask_ns, tail_reasons.asked(self._service))
        elif other.word.began and facts.steers and self._node in other.word.line:
            self._id = other.word.id
            why = tail_reasons.awaited(self._service, whose=other.node)
            self._enter("leaning", now_ns + ASK_BACK_NS, why)
        elif now_ns >= self._ends_ns:
            self._settle(reason := tail_reasons.endless(self._service, whose=other.node))
            return TailNote("tail-refused", reason)
        else:
            self._reasons = (tail_reasons.awaited(self._service, whose=other.node),)
        return None

    def _asking(self, heard: Heard, now_ns: int) -> TailNote | None:
        if heard.other(lambda o: o.word.began or o.node < self._node):
            self._close(now_ns, again=True)
            return None
        found = muster(self._node, self._id, heard, self._own, late=now_ns >= self._ends_ns)
        self._line = found.line
        if not found.over:
            return None
        if found.line:
            return self._begin(now_ns, *found.refusals)
        self._close(now_ns, reason := tail_reasons.no_tail(self._service, *found.refusals))
        return TailNote("tail-refused", reason)

    def _tail(self, facts: PivotFacts, heard: Heard, now_ns: int) -> TailNote | None:
        if self._line_until_ns is None and self._own and self._own.ready:
            self._line_until_ns = now_ns + SWITCH_NS
        stay = self._line if self._line_until_ns is None or now_ns < self._line_until_ns else ()
        found = heard.line(self._id, self._line)
        self._line = tuple(dict.fromkeys((*stay, *found))) or self._line
        self._covers = heard.covers(self._id)
        free = facts.drained and self._left == 0
        if facts.ending or (facts.dead and not free):
            return self._finish(tail_reasons.BROKEN, now_ns)
        free, still = free and self._rung.is_out(now_ns), not facts.drained and self._passed == 0
        if free and len(self._line) > 1:
            self._heir = self._line[0]
            self._enter("passing", now_ns + PASS_NS, *self._reasons)
        elif self._covers:
            self._rung.steady_ns = now_ns  # what they move comes by from now on
        elif free:
            return self._finish(tail_reasons.SERVED, now_ns)
        elif still and self._rung.is_steady(facts.quiet_ns, now_ns):
            return self._finish(tail_reasons.SETTLED, now_ns)
        elif now_ns >= self._ends_ns:
            left = self._left if facts.drained else self._passed
            return self._finish(tail_reasons.timed_out(left, self.tail_ns), now_ns, left or 0)
        return None

    def _passing(self, facts: PivotFacts, heard: Heard, now_ns: int) -> TailNote | None:
        taken = heard.other(lambda o: o.word.of == self._id)
        if not (taken and heard.went_over(self._id, taken.word.id)) and now_ns < self._ends_ns:
            return None
        self._close(now_ns, again=not facts.drained)
        why = tail_reasons.passed_on(taken.node if taken else "")
        return TailNote("tail-ended", why, self._line)

    def _closing(self, facts: PivotFacts, heard: Heard, now_ns: int) -> None:
        more = (facts.shifts or facts.comes) and not self._refused
        self._again |= facts.drained != self._for_drain or more
        said = now_ns >= self._ends_ns - CLOSING_NS + SAY_OVER_NS and not heard.steer(self._id)
        if said or now_ns >= self._ends_ns:
            self._settle(*self._reasons)
            self._state = "idle" if self._again else "done"

    def _finish(self, reason: Reason, now_ns: int, cut: int = 0) -> TailNote:
        self._close(now_ns)
        return TailNote("tail-ended", reason, self._line, cut)

    def _close(self, now_ns: int, *reasons: Reason, again: bool = False) -> None:
        self._again, self._for_drain, self._refused = again, self._drained, bool(reasons)
        self._enter("closing", now_ns + CLOSING_NS, *reasons)

    def _enter(self, state: str, ends_ns: int, *reasons: Reason) -> None:
        self._state, self._ends_ns, self._reasons = state, ends_ns, reasons

    def _settle(self, *reasons: Reason) -> None:
        self._for_drain = self._drained
        self._enter("done", 0, *reasons)
