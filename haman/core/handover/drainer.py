"""The node that an operator drains: its anycast service's connections go on to their end there.

Routers that lose a next hop spread its connections over the others, which would cut what they do not
know. So the others are asked first to steer that here.

    state    says   ladder                 on                                             to
    -------  -----  ---------------------  ---------------------------------------------  -------
    idle     –      free                   drained, announced, others serve               waiting
    waiting  –      keeps its rung         nobody else's tail of it                       asking
                                           WAIT_NS and tail_ns                            done
    asking   asks   keeps its rung         another one's has begun, or one asks, too,
                                             and comes first by name                      closing
                                           all that serve and can, and this node, are
                                             ready, in line; ASK_NS and one is            tail
                                           none can, or this node; ASK_NS                 closing
    tail     asks,  free; addresses stay   connections 0, withdrawn for LEAST_TAIL_NS     closing
             began                         tail_ns                                        closing
                                           undrained, and at its full rung for BACK_NS    closing
                                           the proxy is dead, the agent ends              closing
    closing  over   addresses stay         SAY_OVER_NS, and nobody steers here any more;
                                             CLOSING_NS: not to be tried again            done
                                             else, or undrained meanwhile                 idle
    done     –      free                   not drained any more                           idle

    waiting, asking: not drained any more, dead, ending, nobody else serves → idle (over closing).
    From the start, with an engine that still counts for a tail → tail.

Timers: one deadline per state, above; withdrawn and at full since.

Invariants
    The ladder moves down for a drain only when the survivors are ready, or it is known that none will be.
    Every state ends by time alone, whatever the others do.
    Addresses stay while anybody may still steer here.
"""

from dataclasses import dataclass

from haman.core.handover.messages import NS_PER_S, Side
from haman.core.handover.steering import (
    LEASE_NS,
    TAIL,
    LinkPlace,
    SteerOrder,
    SteerReport,
    SteerWord,
    TailStanding,
    TailWord,
    lease_end,
)
from haman.core.handover.survivor import DRAINS_ITSELF
from haman.core.ladder import WITHDRAWN, Rung, servers
from haman.core.reports import PeerView
from haman.core.words import Reason, Stance

ASK_NS = 10 * NS_PER_S
WAIT_NS = 10 * NS_PER_S
"""A tail lasts as long as its node's configuration says; asking and closing come on top."""
LEAST_TAIL_NS = 2 * NS_PER_S
"""What routers still send here after the withdrawal; FRR stops 60 ms after the UPDATE."""
BACK_NS = 2 * NS_PER_S
CLOSING_NS = LEASE_NS + NS_PER_S
SAY_OVER_NS = NS_PER_S
"""Reports are lost, and who has just been asked has not said yet that it steers."""


@dataclass(frozen=True, slots=True)
class DrainFacts:
    """What one step looks at.

    Attributes:
        drained: the operator wants it.
        broken: the proxy is dead or deaf, or the agent ends.
        in_force: what routers were told last; None while the relay is not reached.
        full: that is the top rung.
        peers: every configured one.
        reports: the engine's; None = it has said nothing yet.
    """

    drained: bool
    broken: bool
    in_force: Rung | None
    full: bool
    peers: tuple[PeerView, ...]
    reports: tuple[SteerReport, ...] | None


@dataclass(frozen=True, slots=True)
class TailNote:
    """For the journal: `tail-started`, `tail-ended` or `tail-refused`; `cut`: connections."""

    kind: str
    reason: Reason
    survivors: tuple[str, ...] = ()
    cut: int = 0


class Drainer:
    """The drains of one service on this node.

    Args:
        node: its name.
        tail_ns: how long a tail may last; 0 = there is none.
    """

    def __init__(self, service: str, node: str, tail_ns: int) -> None:
        self._service = service
        self._node = node
        self.tail_ns = tail_ns
        self._state = "idle"
        self._id = ""
        self._ends_ns = 0
        self._line: tuple[str, ...] = ()
        self._links: dict[str, tuple[LinkPlace, ...]] = {}
        self._own: SteerReport | None = None
        self._reasons: tuple[Reason, ...] = ()
        self._left: int | None = None
        self._withdrawn_ns: int | None = None
        self._full_ns: int | None = None
        self._adopted = False
        self._again = False

    # ---- surface -------------------------------------------------------------------------------

    def step(self, facts: DrainFacts, now_ns: int) -> tuple[TailNote, ...]:
        """Look around; what is to be noted."""
        self._observe(facts, now_ns)
        notes: list[TailNote] = []
        before = None
        while before != self._state:  # what needs no waiting is done at once
            before = self._state
            note = self._advance(facts, now_ns)
            notes += [note] if note is not None else []
        return tuple(notes)

    @property
    def state(self) -> str:
        """As in the table."""
        return self._state

    @property
    def asks(self) -> bool:
        """Others are to steer here: this node steers for nobody."""
        return self._state in {"asking", "tail"}

    @property
    def word(self) -> TailWord | None:
        """For this node's report."""
        if not self.asks and self._state != "closing":
            return None
        return TailWord(
            self._id, self._line, began=self._state == "tail", over=self._state == "closing"
        )

    @property
    def left(self) -> int | None:
        """Connections of the tail, as last counted; None = there is none, or not counted yet."""
        return self._left if self._state == "tail" else None

    @property
    def standing(self) -> TailStanding:
        """What is asked of the ladder."""
        again = self._state == "closing" and self._again
        keeps = self._state in {"waiting", "asking"} or again
        holds = keeps or self._state in {"tail", "closing"}
        return TailStanding(keeps, holds, self._reasons)

    def order(self, now_ns: int) -> SteerOrder | None:
        """What the engine shall do."""
        if not self.asks:
            return None
        first = self._line[0] if self._line else ""
        return SteerOrder(
            self._id,
            self._service,
            Side.GIVING,
            lease_end(now_ns),
            next=first,
            next_places=self._links.get(first, ()),
        )

    # ---- rules ---------------------------------------------------------------------------------

    def _observe(self, facts: DrainFacts, now_ns: int) -> None:
        if facts.in_force != WITHDRAWN:
            self._withdrawn_ns = None
        elif self._withdrawn_ns is None:
            self._withdrawn_ns = now_ns
        if not facts.full:
            self._full_ns = None
        elif self._full_ns is None:
            self._full_ns = now_ns
        self._links |= {p.name: p.report.links for p in facts.peers if p.report is not None}
        own = next((r for r in facts.reports or () if self._is_mine(r)), None)
        self._own = own if own is not None and own.order.id == self._id else None
        if self._own is not None and self._own.connections is not None:
            self._left = self._own.connections
        if facts.reports is None or self._adopted:
            return
        self._adopted = True
        if own is not None:
            self._id, self._left = own.order.id, own.connections
            self._line = (own.order.next,) if own.order.next else ()
            self._enter("tail", now_ns + self.tail_ns, self._tail_reason())

    def _is_mine(self, report: SteerReport) -> bool:
        order = report.order
        return order.service == self._service and order.side is Side.GIVING

    def _advance(self, facts: DrainFacts, now_ns: int) -> TailNote | None:
        match self._state:
            case "idle":
                return self._idle(facts, now_ns)
            case "waiting" if not self._may(facts):
                self._enter("idle", 0)
            case "asking" if not self._may(facts):
                self._close(now_ns, again=True)
            case "waiting":
                return self._waiting(facts, now_ns)
            case "asking":
                return self._asking(facts, now_ns)
            case "tail":
                return self._tail(facts, now_ns)
            case "closing":
                self._again |= not facts.drained
                said = now_ns >= self._ends_ns - CLOSING_NS + SAY_OVER_NS
                if (said and not self._words(facts.peers)) or now_ns >= self._ends_ns:
                    self._enter("idle" if self._again else "done", 0, *self._reasons)
            case "done" if not facts.drained:
                self._enter("idle", 0)
            case _:
                pass
        return None

    def _may(self, facts: DrainFacts) -> bool:
        announced = facts.in_force is not None and facts.in_force.stance is not Stance.WITHDRAWN
        others = servers(self._service, facts.peers)
        return facts.drained and not facts.broken and announced and bool(others)

    def _idle(self, facts: DrainFacts, now_ns: int) -> TailNote | None:
        # Before the engine has spoken it is not known whether a tail goes on.
        if self._may(facts) and self.tail_ns and facts.reports is not None:
            self._enter("waiting", now_ns + self.tail_ns + WAIT_NS)
        return None

    def _waiting(self, facts: DrainFacts, now_ns: int) -> TailNote | None:
        other = self._first(facts.peers)
        if not other:
            # Monotonic instants do not come back before the host is started anew.
            self._id, self._left, self._line = f"{self._node}/{now_ns:x}", None, ()
            text = f"{self._service} stays announced until the others steer its connections here"
            self._enter("asking", now_ns + ASK_NS, Reason("steering-awaited", text))
        elif now_ns >= self._ends_ns:
            reason = self._none(Reason("tail-awaited", f"the tail of {other} does not end"))
            self._enter("done", 0, reason)
            return TailNote("tail-refused", reason)
        else:
            text = f"{self._service} stays announced until the tail of {other} is over"
            self._reasons = (Reason("tail-awaited", text, {"node": other}),)
        return None

    def _first(self, peers: tuple[PeerView, ...]) -> str:
        """Whose tail comes before this node's: one that began, or the first of those who ask."""
        for peer in peers:
            said = self._said(peer)
            word = said[0] if said is not None else None
            if word is None or word.over:
                continue
            if word.began or self._state == "waiting" or peer.name < self._node:
                return peer.name
        return ""

    def _asking(self, facts: DrainFacts, now_ns: int) -> TailNote | None:
        if self._first(facts.peers):
            self._close(now_ns, again=True)
            return None
        serving, cannot = servers(self._service, facts.peers), self._cannot(facts.peers)
        self._line = tuple(name for name in serving if name not in cannot)
        problem = self._own.problem if self._own is not None else None
        if problem is not None:
            why = Reason(problem.code, f"{self._node}: {problem.text}", problem.data)
            return self._refuse(now_ns, why)
        late = now_ns >= self._ends_ns
        if self._line and not late and not self._settled(facts.peers):
            return None
        if late:
            ready = self._ready(facts.peers)
            text = f"it does not answer within {ASK_NS / NS_PER_S:g} s"
            cannot |= {n: Reason("no-answer", text) for n in self._line if n not in ready}
            self._line = tuple(name for name in self._line if name in ready)
        refusals = tuple(
            Reason(why.code, f"{name} does not steer to this node: {why.text}", {"node": name})
            for name, why in sorted(cannot.items())
        )
        if not self._line:
            return self._refuse(now_ns, *refusals)
        reason = self._tail_reason()
        self._enter("tail", now_ns + self.tail_ns, reason, *refusals)
        return TailNote("tail-started", reason, self._line)

    def _refuse(self, now_ns: int, *why: Reason) -> TailNote:
        reason = self._none(*why)
        self._close(now_ns, reason)
        return TailNote("tail-refused", reason)

    def _none(self, *why: Reason) -> Reason:
        told = "; ".join(reason.text for reason in why)
        text = f"established connections of {self._service} are not kept: {told}"
        return Reason("no-tail", text, {"code": why[0].code if why else ""})

    def _tail(self, facts: DrainFacts, now_ns: int) -> TailNote | None:
        # Who is silent, or comes to serve, leaves the line or joins it.
        self._line = self._ready(facts.peers) or self._line
        if facts.broken:
            return self._finish(Reason("broken", "the proxy or the agent ended here"), now_ns)
        if not facts.drained and _since(self._full_ns, BACK_NS, now_ns):
            return self._finish(Reason("undrained", "it is announced in full again"), now_ns)
        if self._left == 0 and _since(self._withdrawn_ns, LEAST_TAIL_NS, now_ns):
            return self._finish(Reason("served", "every connection was served to its end"), now_ns)
        if now_ns >= self._ends_ns:
            count = "an unknown number of" if self._left is None else str(self._left)
            text = f"{count} connections were left after {self.tail_ns / NS_PER_S:g} s"
            # Who was undrained serves them still, as far as routers send them here.
            cut = (self._left or 0) if facts.drained else 0
            return self._finish(Reason("tail-timeout", text), now_ns, cut)
        return None

    def _finish(self, reason: Reason, now_ns: int, cut: int = 0) -> TailNote:
        self._close(now_ns)
        return TailNote("tail-ended", reason, self._line, cut)

    def _close(self, now_ns: int, *reasons: Reason, again: bool = False) -> None:
        self._again = again
        self._enter("closing", now_ns + CLOSING_NS, *reasons)

    def _enter(self, state: str, ends_ns: int, *reasons: Reason) -> None:
        self._state, self._ends_ns, self._reasons = state, ends_ns, reasons

    def _tail_reason(self) -> Reason:
        who = " and ".join(self._line) or "others"
        text = f"serves its connections of {self._service} to their end"
        text += f", at most {self.tail_ns / NS_PER_S:g} s: steered here by {who}"
        return Reason(TAIL, text, {"tail_s": self.tail_ns / NS_PER_S})

    # ---- what the others say -------------------------------------------------------------------

    def _said(self, peer: PeerView) -> tuple[TailWord | None, SteerWord | None] | None:
        said = peer.report.service(self._service) if peer.report is not None else None
        return (said.tail, said.steers) if said is not None and peer.fresh else None

    def _words(self, peers: tuple[PeerView, ...]) -> dict[str, SteerWord]:
        found = {peer.name: said[1] for peer in peers if (said := self._said(peer)) is not None}
        return {name: w for name, w in found.items() if w is not None and w.id == self._id}

    def _settled(self, peers: tuple[PeerView, ...]) -> bool:
        """Everyone in line has his rules in force, and knows who is next."""
        own, words = self._own, self._words(peers)
        if own is None or not own.ready or own.order.next != self._line[0]:
            return False
        pairs = zip(self._line, (*self._line[1:], ""), strict=True)
        return all((w := words.get(name)) and w.ready and w.next == after for name, after in pairs)

    def _ready(self, peers: tuple[PeerView, ...]) -> tuple[str, ...]:
        return tuple(sorted(name for name, word in self._words(peers).items() if word.ready))

    def _cannot(self, peers: tuple[PeerView, ...]) -> dict[str, Reason]:
        found = {
            name: word.problem
            for name, word in self._words(peers).items()
            if word.problem is not None and word.problem.code != DRAINS_ITSELF
        }
        serving = servers(self._service, peers)
        old = [p.name for p in peers if p.name in serving and p.report and not p.report.links]
        text = "it has not said on which link it is: an older version, or a session not on a link"
        return {name: Reason("no-link", text) for name in old} | found


def _since(since_ns: int | None, long_ns: int, now_ns: int) -> bool:
    return since_ns is not None and now_ns - since_ns >= long_ns
