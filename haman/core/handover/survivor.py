"""A node of an anycast service while another one leaves or comes back: it steers to that one.

    steers for  on                                                             to
    ----------  -------------------------------------------------------------  -----------
    nobody      a peer asks; of several, the first by name                     that tail
    a tail      a peer has taken that one over; of several, the first by name  that peer's
                the peer says that it is over, or asks for another one         nobody
                the peer has not asked for LEASE_NS: silent, dead, restarted   nobody
    any         this node asks for a tail of its own                           nobody

Timers: LEASE_NS since the peer was last heard to ask.

Invariants
    It steers for one tail of a service at a time.
    Who asks others to steer does not steer itself.
    A controller that was restarted goes on with what its engine steers.
"""

from haman.core.handover.messages import Side
from haman.core.handover.steering import (
    LEASE_NS,
    LinkPlace,
    SteerOrder,
    SteerReport,
    SteerWord,
    TailWord,
    lease_end,
    macs,
)
from haman.core.reports import NodeReport, PeerView
from haman.core.words import Reason


class Survivor:
    """What this node does for the tails of one service on other nodes.

    Args:
        node: its name.
    """

    def __init__(self, service: str, node: str) -> None:
        self._service = service
        self._node = node
        self._next: tuple[str, tuple[LinkPlace, ...]] = ("", ())
        self._after: tuple[LinkPlace, ...] = ()
        self._id = ""
        self._peer = ""
        self._places: tuple[LinkPlace, ...] = ()
        self._others: tuple[str, ...] = ()
        self._heard_ns = 0
        self._refused: SteerWord | None = None
        self._report: SteerReport | None = None
        self._adopted = False
        self._leans = False

    def step(
        self,
        peers: tuple[PeerView, ...],
        reports: tuple[SteerReport, ...] | None,
        now_ns: int,
        *,
        drains: bool,
        leans: bool = False,
    ) -> None:
        """Look around.

        Args:
            peers: every configured one.
            reports: the engine's; None = it has said nothing yet.
            now_ns: the monotonic clock.
            drains: this node asks for a tail of its own.
            leans: it moves, or is drained, under the tail that it steers for.
        """
        self._leans = leans
        mine = [r for r in reports or () if r.order.service == self._service]
        taking = next((r for r in mine if r.order.side is Side.TAKING), None)
        if reports is not None and not self._adopted:
            self._adopted = True
            if taking is not None:
                order = taking.order
                self._steer_for(order.id, order.peer, order.places, now_ns)
                self._next = (order.next, order.next_places)
                self._after = tuple(LinkPlace(mac, ()) for mac in order.after)
        self._report = taking if taking is not None and taking.order.id == self._id else None
        heard = {
            r.node: (r, word)
            for p in peers
            if p.fresh and (r := p.report) is not None and (word := self._word(r)) is not None
        }
        self._refused = None
        if drains:
            self._steer_for("", "", (), now_ns)
            asked = next((w for _, w in heard.values() if not w.over), None)
            if asked is not None:
                text = f"this node drains {self._service} itself"
                self._refused = SteerWord(asked.id, problem=Reason(DRAINS_ITSELF, text))
            return
        self._listen(heard, now_ns)
        if not self._id:
            for node, (report, word) in sorted(heard.items()):
                if not word.over:
                    self._steer_for(word.id, node, report.links, now_ns)
                    break
        links = {p.name: p.report.links for p in peers if p.report is not None}
        self._others = macs(*links.values(), self._places)
        word = heard[self._peer][1] if self._peer in heard else None
        if self._id and word is not None:
            self._stand(word.line, links)

    def _listen(self, heard: dict[str, tuple[NodeReport, TailWord]], now_ns: int) -> None:
        for node, (after, taken) in sorted(heard.items()):
            if self._id and taken.of == self._id and not taken.over:
                self._steer_for(taken.id, node, after.links, now_ns)
                return
        report, word = heard.get(self._peer, (None, None))
        if report is not None and word is not None:
            if word.id != self._id or word.over:
                self._steer_for("", "", (), now_ns)
            else:
                self._places, self._heard_ns = report.links, now_ns
        elif now_ns - self._heard_ns >= LEASE_NS:
            self._steer_for("", "", (), now_ns)

    def _stand(self, line: tuple[str, ...], links: dict[str, tuple[LinkPlace, ...]]) -> None:
        """Find this node's place in the line."""
        place = line.index(self._node) if self._node in line else -1
        if place < 0:
            self._next, self._after = ("", ()), ()
            return
        last = place == len(line) - 1
        after = "" if last else line[place + 1]
        self._next = (after, links.get(after, ()))
        self._after = links.get(line[place - 1], ()) if place else self._places

    def _word(self, report: NodeReport) -> TailWord | None:
        said = report.service(self._service)
        return said.tail if said is not None else None

    def _steer_for(self, drain: str, peer: str, places: tuple[LinkPlace, ...], now_ns: int) -> None:
        self._id, self._peer, self._places, self._heard_ns = drain, peer, places, now_ns
        self._next, self._after = ("", ()), ()
        self._report = None  # of another order

    @property
    def peer(self) -> str:
        """The node that is steered to; "" = none."""
        return self._peer

    @property
    def word(self) -> SteerWord | None:
        """For this node's report."""
        if self._refused is not None or not self._id:
            return self._refused
        if self._report is None:
            return SteerWord(self._id, leans=self._leans)
        found = self._report
        return SteerWord(self._id, found.ready, found.order.next, found.problem, self._leans)

    def order(self, now_ns: int) -> SteerOrder | None:
        """What the engine shall do."""
        if not self._id:
            return None
        return SteerOrder(
            self._id,
            self._service,
            Side.TAKING,
            lease_end(now_ns),
            self._peer,
            self._places,
            *self._next,
            macs(self._after),
            self._others,
        )


DRAINS_ITSELF = "drains-itself"
"""Not for ever: of two that drain at once, one waits, and steers meanwhile."""
