"""What permits are judged by: this node and its peers at one instant, and what was heard since."""

from dataclasses import field

from haman.core.frozen import dataclass
from haman.core.headroom.sound import Node, sound
from haman.core.permits.messages import Heard
from haman.core.reports import NodeReport, PeerView
from haman.core.words import Condition, Reason

VOTERS = (Condition.IN_SERVICE, Condition.SATURATED)


@dataclass(frozen=True, slots=True)
class FailoverSeen:
    """A failover of this node's is over; `taker` "" = nobody took the VIP."""

    vip: str
    taker: str


@dataclass(frozen=True, slots=True)
class Scene:
    """One instant.

    Attributes:
        own: this node's report of itself, condition and reasons as decided now.
        peers: every configured one.
        heard: messages since the last step, in the order of their arrival.
        ended: failovers that ended since.
        unweighted: services of which routers were found to ignore the weights.
        relay: it is reached: what `own` says of anycast services is in force.
        awake: nothing that was heard can be old; False after this process was stopped for a while.
        namesake: another node is named as this one, so that peers cannot tell whose word is whose.
    """

    own: NodeReport
    peers: tuple[PeerView, ...] = ()
    heard: tuple[Heard, ...] = ()
    ended: tuple[FailoverSeen, ...] = ()
    unweighted: frozenset[str] = field(default_factory=frozenset)
    relay: bool = True
    awake: bool = True
    namesake: Reason | None = None

    def report(self, peer: str) -> NodeReport | None:
        """The report of a peer to decide upon; None = there is none."""
        return next((p.report for p in self.peers if p.name == peer and p.fresh), None)

    @property
    def node(self) -> Node:
        """This node, as far as its own word can be believed."""
        return sound(PeerView(self.own.node, self.own, 0.0, fresh=True))

    @property
    def reports(self) -> dict[str, NodeReport]:
        """The fresh reports, by peer."""
        return {p.name: p.report for p in self.peers if p.fresh and p.report is not None}


def standing_problem(scene: Scene) -> Reason | None:
    """Why a node neither asks nor grants now; None = it may."""
    own = scene.own
    if own.condition not in VOTERS:
        return Reason("not-in-service", f"{own.node} is {own.condition.predicate}")
    if own.paused:
        return Reason("paused", f"automatic moves are paused on {own.node}")
    if scene.namesake is not None:
        return scene.namesake
    if not scene.awake:
        text = f"{own.node} was not running for a moment: what it has heard may be old"
        return Reason("overslept", text)
    return None
