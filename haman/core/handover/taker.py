"""The side that is offered VIPs and takes them.

    state      said     engine  on                                       to
    ---------  -------  ------  ---------------------------------------  ---------
    preparing  –        ready   engine: ready, of every VIP              ready
                                engine: a problem; PREPARE_NS            refused
    ready      ready    ready   giver: take                              taking
                                nothing heard for HEARD_NS               over
    taking     –        take    active and held, every VIP               taken
                                engine: a problem; TAKE_NS               refused
    taken      taken    take,   giver: tail → the engine's step is tail
                        tail(1) giver: done; nothing heard for HEARD_NS  over
                                not active here any more                 over
    refused    refused  –       said SAY_END times
    over       –        –

    any: giver: aborted, done → over; cancelled → refused, in `taken` → over.
    (1) `tail` also after TAKE_NS: until then the giver's adverts do not count against this node.

Timers: repeat, REPEAT_NS; one deadline per state; HEARD_NS since the giver was heard.

Invariants
    It takes only what it said to be ready for, and only while the giver says so.
    A giver that died is noticed within HEARD_NS; what this node then holds stays with it.
"""

from haman.core.handover.messages import (
    NS_PER_MS,
    NS_PER_S,
    REPEAT_NS,
    Cancelled,
    Ended,
    EngineSaid,
    HandoverOrder,
    HandoverReport,
    Input,
    Moved,
    Output,
    PeerSaid,
    Phase,
    Said,
    Say,
    Side,
    Step,
    VipPlace,
)
from haman.core.words import Reason

PREPARE_NS = 3500 * NS_PER_MS
TAKE_NS = 1400 * NS_PER_MS
HEARD_NS = 5 * NS_PER_S
SAY_END = 5
_SAID = {"ready": Phase.READY, "taken": Phase.TAKEN, "refused": Phase.REFUSED}


class Taker:
    """One handover of VIPs that are offered to this node.

    Args:
        offer: the giver's first word.
        giver: the node that said it.
        tail_ns: how long the tail may last at most.
        now_ns: the monotonic clock.
    """

    def __init__(self, offer: Said, giver: str, tail_ns: int, now_ns: int) -> None:
        self.id = offer.id
        self.vips = offer.vips
        self.giver = giver
        self._theirs = {p.vip: p for p in offer.places}
        self._tail_ns = tail_ns
        self._engine = EngineSaid((), frozenset(), frozenset(), ())
        self._heard_ns = now_ns
        self._step = Step.READY
        self._endings = 0
        self._reasons: tuple[Reason, ...] = ()
        self._say_ns: int | None = None
        self._enter("preparing", now_ns + PREPARE_NS, now_ns)

    @classmethod
    def adopt(cls, reports: tuple[HandoverReport, ...], now_ns: int) -> "Taker":
        """Go on with what the engine still forwards; of one handover, at least one."""
        first = reports[0].order
        vips = tuple(r.order.vip for r in reports)
        places = tuple(r.order.place for r in reports)
        offer = Said(first.id, vips, Phase.TAIL, places)
        taker = cls(offer, first.peer, max(0, first.until_ns - now_ns), now_ns)
        taker._step = Step.TAIL
        taker._enter("taken", now_ns + TAKE_NS, now_ns)
        taker._engine = EngineSaid((), frozenset(vips), frozenset(vips), ())
        return taker

    # ---- surface -------------------------------------------------------------------------------

    def step(self, event: Input, now_ns: int) -> tuple[Output, ...]:
        """Take one input in; what is to be said and told, in order."""
        outputs: list[Output] = []
        match event:
            case PeerSaid(said) if said.id == self.id:
                self._heard_ns = now_ns
                outputs += self._heard(said, now_ns)
            case EngineSaid():
                self._engine = event
            case Cancelled(reason):
                outputs += self._cancel(reason, now_ns)
            case _:
                pass
        outputs += self._advance(now_ns)
        if self._say_ns is not None and now_ns >= self._say_ns and self._state in _SAID:
            outputs += self._say(now_ns)
        return tuple(outputs)

    @property
    def state(self) -> str:
        """As in the table."""
        return self._state

    @property
    def ended(self) -> bool:
        """Ended, whether or not the other side has heard it."""
        return self._state in {"over", "refused"}

    @property
    def finished(self) -> bool:
        """Ended, and said often enough."""
        return self._state == "over" or (self._state == "refused" and self._endings >= SAY_END)

    @property
    def deadline_ns(self) -> int | None:
        """When to `step` with `TimePassed`."""
        if self.ended:
            return None if self.finished else self._say_ns
        times = [self._heard_ns + HEARD_NS, self._say_ns]
        if self._state in {"preparing", "taking"} or self._step is Step.TAKE:
            times.append(self._ends_ns)
        return min(t for t in times if t is not None)

    @property
    def orders(self) -> tuple[HandoverOrder, ...]:
        """What the engine shall do."""
        if self.ended:
            return ()
        # The tail cannot begin later than all of its steps take; the giver's end comes before.
        until_ns = self._began_ns + self._tail_ns + PREPARE_NS + TAKE_NS + 2 * HEARD_NS
        return tuple(
            HandoverOrder(
                self.id, vip, Side.TAKING, self._step, self.giver, self._theirs[vip], until_ns
            )
            for vip in self.vips
        )

    # ---- rules ---------------------------------------------------------------------------------

    def _enter(self, state: str, ends_ns: int, now_ns: int) -> None:
        if state == "preparing":
            self._began_ns = now_ns
        self._state, self._ends_ns = state, ends_ns
        self._say_ns = now_ns

    def _heard(self, said: Said, now_ns: int) -> tuple[Output, ...]:
        match said.phase:
            case Phase.ABORTED | Phase.DONE:
                why = said.reasons[0] if said.reasons else Reason("over", "the giver ended it")
                return self._end(why, now_ns)
            case Phase.TAKE if self._state == "ready":
                self._step = Step.TAKE
                self._enter("taking", now_ns + TAKE_NS, now_ns)
            case Phase.TAIL if self._state == "taken" and self._step is Step.TAKE:
                self._step = Step.TAIL
            case _:
                pass
        return ()

    def _cancel(self, reason: Reason, now_ns: int) -> tuple[Output, ...]:
        if self.ended:
            return ()
        return self._end(reason, now_ns) if self._state == "taken" else self._refuse(reason, now_ns)

    def _advance(self, now_ns: int) -> tuple[Output, ...]:
        if self.ended:
            return ()
        problem = self._problem()
        if problem is not None and self._state != "taken":
            return self._refuse(problem, now_ns)
        if now_ns - self._heard_ns >= HEARD_NS:
            text = f"{self.giver} has said nothing for {HEARD_NS / NS_PER_S:g} s"
            return self._end(Reason("giver-silent", text), now_ns)
        if self._state == "preparing":
            return self._prepare(now_ns)
        return self._take(now_ns)

    def _prepare(self, now_ns: int) -> tuple[Output, ...]:
        if self._all_ready() and self._places():
            self._enter("ready", 0, now_ns)
        elif now_ns >= self._ends_ns:
            text = f"the rules that forward to {self.giver} were not there in time"
            return self._refuse(Reason("not-prepared", text), now_ns)
        return ()

    def _take(self, now_ns: int) -> tuple[Output, ...]:
        wanted, active = set(self.vips), self._engine.active
        match self._state:
            case "taking" if wanted <= active and wanted <= self._engine.held:
                self._enter("taken", now_ns + TAKE_NS, now_ns)
                return (Moved(),)
            case "taking" if now_ns >= self._ends_ns:
                text = "the addresses were not on the interface in time"
                return self._refuse(Reason("not-acquired", text), now_ns)
            case "taken" if not wanted & active:
                return self._end(Reason("lost", "it is not active here any more"), now_ns)
            case "taken" if self._step is Step.TAKE and now_ns >= self._ends_ns:
                self._step = Step.TAIL
            case _:
                pass
        return ()

    def _refuse(self, reason: Reason, now_ns: int) -> tuple[Output, ...]:
        self._reasons = (reason,)
        self._enter("refused", 0, now_ns)
        return (Ended(moved=False, reason=reason),)

    def _end(self, reason: Reason, now_ns: int) -> tuple[Output, ...]:
        if self.ended:
            return ()
        moved = self._state == "taken"
        self._enter("over", 0, now_ns)
        self._say_ns = None
        return (Ended(moved=moved, reason=reason),)

    def _say(self, now_ns: int) -> tuple[Output, ...]:
        self._say_ns = now_ns + REPEAT_NS
        if self._state == "taken" and self._step is Step.TAIL:
            self._say_ns = None  # the giver knows
        if self._state == "refused":
            self._endings += 1
        said = Said(self.id, self.vips, _SAID[self._state], self._places(), self._reasons)
        return (Say(said),)

    # ---- what the engine says ------------------------------------------------------------------

    def _own(self) -> tuple[HandoverReport, ...]:
        return tuple(r for r in self._engine.handovers if r.order.id == self.id)

    def _all_ready(self) -> bool:
        return {r.order.vip for r in self._own() if r.has(Step.READY)} >= set(self.vips)

    def _problem(self) -> Reason | None:
        return next((r.problem for r in self._own() if r.problem is not None), None)

    def _places(self) -> tuple[VipPlace, ...]:
        known = {p.vip: p for p in self._engine.places}
        return tuple(known[vip] for vip in self.vips) if known.keys() >= set(self.vips) else ()
