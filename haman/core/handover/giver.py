"""The side that holds the VIPs and gives them away.

    state     said     engine   on                                        to
    --------  -------  -------  ----------------------------------------  --------
    offering  offer    ready(2) peer: ready, its places known             arming
                                peer: refused; engine cannot; OFFER_NS    aborted
    arming    offer    ready    engine: ready, of every VIP               yielding
                                engine: a problem; ARM_NS                 aborted
    yielding  take(1)  take     no VIP active here any more, and          tail
                                  peer: taken, or SETTLE_NS later
                                peer: refused, aborted; TAKE_NS           aborted
    tail      tail     tail     connections 0, not before LEAST_TAIL_NS   over
                                tail_ns                                   over (cut)
                                the VIPs active here again                over (taken back)
    over      done     –        said SAY_END times
    aborted   aborted  –        said SAY_END times

    any of the first three: cancelled → aborted; in the tail: → over.
    (2) without the peer's place: the engine gets ready to get ready.
    (1) not before the engine has reached `take`: from then on the taker's adverts make it yield.

Timers: repeat, REPEAT_NS until the tail, TELL_NS in it; one deadline per state, above.

Invariants
    The engine is told `tail` only after it has let go: what it serves is never given up on a word.
    An abort wants nothing of the engine: it serves as if nothing had been.
    Every state ends by time alone, whatever the other side does.
"""

from haman.core.frozen import dataclass
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

OFFER_NS = 4 * NS_PER_S
ARM_NS = 3 * NS_PER_S
TAKE_NS = 1500 * NS_PER_MS
SETTLE_NS = 500 * NS_PER_MS
"""A taker whose adverts made this node yield holds the VIPs, whether or not its word arrives."""
LEAST_TAIL_NS = 1500 * NS_PER_MS
"""Who missed the first announcements still sends here; three of them repeat within a second."""
TELL_NS = NS_PER_S
SAY_END = 5
_SAID = {
    "offering": Phase.OFFER,
    "arming": Phase.OFFER,
    "yielding": Phase.TAKE,
    "tail": Phase.TAIL,
    "over": Phase.DONE,
    "aborted": Phase.ABORTED,
}
_ORDERED = {"offering": Step.READY, "arming": Step.READY, "yielding": Step.TAKE, "tail": Step.TAIL}


@dataclass(frozen=True, slots=True)
class GiverSnapshot:
    """One instant of it; `connections` None = not counted yet."""

    id: str
    vips: tuple[str, ...]
    to: str
    state: str
    connections: int | None
    ends_ns: int


class Giver:
    """One handover of VIPs that this node holds.

    Args:
        handover: its id.
        vips: that move together, at least one.
        to: the node that shall take them.
        tail_ns: how long the tail may last.
        places: of the VIPs on this node.
        now_ns: the monotonic clock.
    """

    def __init__(
        self,
        handover: str,
        vips: tuple[str, ...],
        to: str,
        tail_ns: int,
        places: tuple[VipPlace, ...],
        *,
        now_ns: int,
    ) -> None:
        self.id = handover
        self.vips = vips
        self.to = to
        self._tail_ns = tail_ns
        self._places = places
        self._theirs: dict[str, VipPlace] = {}
        self._taken = False
        self._left: dict[str, int] = {}
        self._engine = EngineSaid((), frozenset(vips), frozenset(), places)
        self._yielded_ns: int | None = None
        self._endings = 0
        self._reasons: tuple[Reason, ...] = ()
        self._ends_ns = 0
        self._say_ns: int | None = now_ns
        self._enter("offering", now_ns + OFFER_NS, now_ns)

    @classmethod
    def adopt(cls, reports: tuple[HandoverReport, ...], now_ns: int) -> "Giver":
        """Go on with a tail that the engine still has; of one handover, at least one."""
        first = reports[0].order
        vips = tuple(r.order.vip for r in reports)
        giver = cls(first.id, vips, first.peer, max(0, first.until_ns - now_ns), (), now_ns=now_ns)
        giver._theirs = {r.order.vip: r.order.place for r in reports}
        giver._taken = True
        giver._enter("tail", first.until_ns, now_ns)
        return giver

    # ---- surface -------------------------------------------------------------------------------

    def step(self, event: Input, now_ns: int) -> tuple[Output, ...]:
        """Take one input in; what is to be said and told, in order."""
        outputs: list[Output] = []
        match event:
            case PeerSaid(said) if said.id == self.id:
                outputs += self._heard(said, now_ns)
            case EngineSaid():
                self._engine = event
                self._count()
            case Cancelled(reason):
                outputs += self._cancel(reason, now_ns)
            case _:
                pass
        outputs += self._advance(now_ns)
        if self._say_ns is not None and now_ns >= self._say_ns:
            outputs += self._say(now_ns)
        return tuple(outputs)

    @property
    def state(self) -> str:
        """As in the table."""
        return self._state

    @property
    def finished(self) -> bool:
        """Ended, and said often enough."""
        return self._state in {"over", "aborted"} and self._endings >= SAY_END

    @property
    def ended(self) -> bool:
        """Ended, whether or not the other side has heard it."""
        return self._state in {"over", "aborted"}

    @property
    def deadline_ns(self) -> int | None:
        """When to `step` with `TimePassed`."""
        if self.ended:
            return self._say_ns
        times = [self._ends_ns, self._say_ns]
        if self._yielded_ns is not None and self._state == "yielding":
            times.append(self._yielded_ns + SETTLE_NS)
        if self._state == "tail":
            times.append(self._since_ns + LEAST_TAIL_NS)
        return min(t for t in times if t is not None)

    @property
    def orders(self) -> tuple[HandoverOrder, ...]:
        """What the engine shall do."""
        step = _ORDERED.get(self._state)
        if step is None:
            return ()
        # Until the tail, the engine's own end is far: a state's deadline here comes long before.
        until_ns = self._ends_ns if step is Step.TAIL else self._ends_ns + self._tail_ns
        return tuple(
            HandoverOrder(
                self.id,
                vip,
                Side.GIVING,
                step,
                self.to,
                self._theirs.get(vip, VipPlace(vip, "", ())),
                until_ns,
            )
            for vip in self.vips
        )

    def snapshot(self) -> GiverSnapshot:
        """The present state."""
        counted = sum(self._left.values()) if len(self._left) == len(self.vips) else None
        return GiverSnapshot(self.id, self.vips, self.to, self._state, counted, self._ends_ns)

    # ---- rules ---------------------------------------------------------------------------------

    def _enter(self, state: str, ends_ns: int, now_ns: int) -> None:
        self._state, self._since_ns, self._ends_ns = state, now_ns, ends_ns
        if state != "yielding":  # not said before the engine yields
            self._say_ns = now_ns

    def _heard(self, said: Said, now_ns: int) -> tuple[Output, ...]:
        match said.phase:
            case Phase.READY | Phase.TAKEN:
                theirs = {p.vip: p for p in said.places}
                if self._state == "offering" and theirs.keys() >= set(self.vips):
                    self._theirs = theirs
                    self._enter("arming", now_ns + ARM_NS, now_ns)
                self._taken = self._taken or said.phase is Phase.TAKEN
            case Phase.REFUSED | Phase.ABORTED if self._state in {
                "offering",
                "arming",
                "yielding",
            }:
                if self._yielded_ns is None:
                    why = said.reasons[0] if said.reasons else Reason("refused", "it says no why")
                    text = f"{self.to} does not take {self._names}: {why.text}"
                    return self._abort(Reason(why.code, text, why.data), now_ns)
            case _:
                pass
        return ()

    def _cancel(self, reason: Reason, now_ns: int) -> tuple[Output, ...]:
        if self._state == "tail":
            return self._finish(reason, now_ns)
        return () if self.ended else self._abort(reason, now_ns)

    def _advance(self, now_ns: int) -> tuple[Output, ...]:
        problem = self._problem()
        if problem and self._state in {"arming", "yielding"} and self._yielded_ns is None:
            return self._abort(problem, now_ns)
        match self._state:
            case "offering" if now_ns >= self._ends_ns:
                text = f"{self.to} did not answer the offer of {self._names}"
                return self._abort(_late("no-answer", text, OFFER_NS), now_ns)
            case "arming" if self._all_have(Step.READY):
                self._enter("yielding", now_ns + TAKE_NS, now_ns)
                self._say_ns = None
            case "arming" if now_ns >= self._ends_ns:
                text = f"the kernel's rules for the tail of {self._names} are not there"
                return self._abort(_late("not-armed", text, ARM_NS), now_ns)
            case "yielding":
                return self._yielding(now_ns)
            case "tail":
                return self._tail(now_ns)
            case _:
                pass
        return ()

    def _yielding(self, now_ns: int) -> tuple[Output, ...]:
        if self._say_ns is None and self._all_have(Step.TAKE):
            self._say_ns = now_ns
        active = self._engine.active & set(self.vips)
        if not active and self._yielded_ns is None:
            self._yielded_ns = now_ns
        if active:
            self._yielded_ns = None
        elif self._taken or now_ns - (self._yielded_ns or 0) >= SETTLE_NS:
            self._enter("tail", now_ns + self._tail_ns, now_ns)
            return (Moved(),)
        if now_ns >= self._ends_ns:
            but = ", though it says that it has" if self._taken else ""
            text = f"{self.to} was told to take {self._names}, and no advert of its came{but}"
            return self._abort(_late("not-taken", text, TAKE_NS), now_ns)
        return ()

    def _tail(self, now_ns: int) -> tuple[Output, ...]:
        if self._engine.active & set(self.vips):
            text = f"{self._names} came back here: {self.to} has let go"
            return self._finish(Reason("taken-back", text), now_ns)
        left = self.snapshot().connections
        if left == 0 and now_ns - self._since_ns >= LEAST_TAIL_NS:
            return self._finish(Reason("served", "every connection was served to its end"), now_ns)
        if now_ns >= self._ends_ns:
            count = "an unknown number of" if left is None else str(left)
            text = f"{count} connections were left after {self._tail_ns / NS_PER_S:.0f} s"
            return self._finish(Reason("tail-timeout", text), now_ns, left or 0)
        return ()

    def _abort(self, reason: Reason, now_ns: int) -> tuple[Output, ...]:
        self._reasons = (reason,)
        self._enter("aborted", 0, now_ns)
        return (Ended(moved=False, reason=reason),)

    def _finish(self, reason: Reason, now_ns: int, cut: int = 0) -> tuple[Output, ...]:
        self._reasons = (reason,)
        self._enter("over", 0, now_ns)
        return (Ended(moved=True, reason=reason, cut=cut),)

    def _say(self, now_ns: int) -> tuple[Output, ...]:
        self._say_ns = now_ns + (TELL_NS if self._state == "tail" else REPEAT_NS)
        if self.ended:
            self._endings += 1
            if self.finished:
                self._say_ns = None
        phase = _SAID[self._state]
        return (Say(Said(self.id, self.vips, phase, self._places, self._reasons)),)

    # ---- what the engine says ------------------------------------------------------------------

    def _own(self) -> tuple[HandoverReport, ...]:
        return tuple(r for r in self._engine.handovers if r.order.id == self.id)

    def _all_have(self, step: Step) -> bool:
        return {r.order.vip for r in self._own() if r.has(step)} >= set(self.vips)

    def _problem(self) -> Reason | None:
        return next((r.problem for r in self._own() if r.problem is not None), None)

    def _count(self) -> None:
        for report in self._own():
            if report.connections is not None and report.has(Step.TAIL):
                self._left[report.order.vip] = report.connections

    @property
    def _names(self) -> str:
        return " and ".join(self.vips)


def _late(code: str, text: str, after_ns: int) -> Reason:
    return Reason(code, f"{text} after {after_ns / NS_PER_S:g} s", {"after_s": after_ns / NS_PER_S})
