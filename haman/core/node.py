"""One node, pure: its permits and its decisions, as daemon and simulator both drive them.

    situation, own report, what was heard ─► permits ─► decider ─► stances, packets, failovers, notes

The senses and their gate come before it, the engine's virtual routers and the relay after it.
"""

from dataclasses import replace

from haman.core.decide import Decider, Decision, FailoverEnded
from haman.core.frozen import dataclass
from haman.core.permits import FailoverSeen, Heard, Note, Permits, Scene, Tell, VipMove
from haman.core.reports import NodeReport
from haman.core.situation import Situation, judge


@dataclass(frozen=True, slots=True)
class NodeStepped:
    """What a node does after one step.

    Attributes:
        decision: what to be.
        tells: packets for peers; each may be lost.
        moves: failovers to order now (`FailoverOrdered`, permitted), and to step again after.
        notes: about permits, for the journal.
    """

    decision: Decision
    tells: tuple[Tell, ...] = ()
    moves: tuple[VipMove, ...] = ()
    notes: tuple[Note, ...] = ()


class NodeCore:
    """The decisions of one node about its own load and its peers'. Time comes in as `now_ns`."""

    def __init__(self, decider: Decider, permits: Permits) -> None:
        self._decider = decider
        self._permits = permits
        self._ended: tuple[FailoverSeen, ...] = ()

    @property
    def deadline_ns(self) -> int | None:
        """When a step is due though nothing changed; None = not by time."""
        due = (self._decider.deadline_ns, self._permits.deadline_ns)
        return min((each for each in due if each is not None), default=None)

    def step(
        self,
        situation: Situation,
        own: NodeReport,
        now_ns: int,
        heard: tuple[Heard, ...] = (),
        unweighted: frozenset[str] = frozenset(),
        *,
        ended: tuple[FailoverSeen, ...] = (),
        awake: bool = True,
    ) -> NodeStepped:
        """Decide.

        Args:
            situation: everything that the decision depends upon, but for permits.
            own: this node's report; condition, reasons and intent are taken from `situation`.
            now_ns: the monotonic instant.
            heard: messages about permits since the last step.
            unweighted: services of which routers were found to ignore the weights.
            ended: failovers that ended since, where the decider is not the one that carries them out.
            awake: False = the process was stopped just now, and what was heard may be old.
        """
        condition, reasons = judge(situation)
        own = replace(
            own,
            condition=condition,
            reasons=reasons,
            drained=situation.intent.drained,
            paused=situation.intent.paused,
        )
        relay = situation.announced is not None
        scene = Scene(
            own,
            situation.peers,
            heard,
            (*self._ended, *ended),
            unweighted,
            relay,
            awake,
            situation.namesake,
        )
        permits = self._permits.step(scene, now_ns)
        decision = self._decider.step(replace(situation, permits=permits.standing), now_ns)
        self._ended = tuple(
            FailoverSeen(t.vip, t.taker)
            for t in decision.transitions
            if isinstance(t, FailoverEnded)
        )
        return NodeStepped(decision, permits.tells, permits.moves, permits.notes)
