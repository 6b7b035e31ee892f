"""VIPs on their way from this node to another: by a handover, or plainly; and who waits for which.

A handover drops nothing, and is what every move begins with. Where it is not possible, or given up,
the VIP stays, unless who ordered the move wants it all the same (`plain`): then it is released, its
connections are cut, and the peer takes it as VRRP has it.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from haman.controller.handovers import Handovers, Outcome
from haman.controller.intent import IntentKeeper
from haman.controller.node import unfit
from haman.controller.ports import Clock
from haman.controller.recorder import FlightRecorder
from haman.core.decide import Decider, FailoverEnded, FailoverOrdered, Transition
from haman.core.facts import VipReport
from haman.core.frozen import dataclass
from haman.core.handover.messages import Said
from haman.core.handover.preemption import Preemption, asked_for
from haman.core.reports import NodeReport, PeerView
from haman.core.situation import Situation
from haman.core.words import Event, Reason, Role

ASKED_AGAIN_NS = 5_000_000_000
"""After a handover to a better node that came to nothing."""


@dataclass(slots=True)
class _Waiting:
    """One move.

    Attributes:
        plain: fall back to a release.
        stays: the operator's: not to be preempted back.
    """

    to: str
    plain: bool
    stays: bool
    ended: asyncio.Future[FailoverEnded]


class Failovers:
    """At most one for each VIP; whoever asks for it again waits for the same one.

    Args:
        recorder: of what is ordered.
        tell: sends to a peer once.
        note: writes an event down.
        changed: called when the engine is to be told other orders.
    """

    def __init__(
        self,
        decider: Decider,
        intent: IntentKeeper,
        clock: Clock,
        recorder: FlightRecorder,
        *,
        tell: Callable[[str, Said], object],
        note: Callable[[Event], object],
        changed: Callable[[], object],
    ) -> None:
        self._decider = decider
        self._recorder = recorder
        self._intent = intent
        self._clock = clock
        self._note = note
        self._changed = changed
        self.handovers = Handovers(clock, tell, note, changed=changed, outcome=self._handed_over)
        """Those that this node takes part in, whoever began them."""
        self._preemption = Preemption()
        self._waiting: dict[str, _Waiting] = {}
        self._not_before_ns: dict[str, int] = {}
        self._parting: frozenset[str] | None = None

    # ---- the end -------------------------------------------------------------------------------

    @property
    def parting(self) -> frozenset[str]:
        """VIPs that are handed over because the agent ends, or were; the others are released."""
        return self._parting or frozenset()

    def part(
        self, roles: tuple[VipReport, ...], peers: tuple[PeerView, ...], tail_s: float
    ) -> None:
        """The agent was told to end: hand over what it holds; once, however often this is called.

        For `tail_s` it goes on serving the connections of what it has handed over.
        """
        if self._parting is not None:
            return
        held = [r.vip for r in roles if r.role is Role.ACTIVE] if tail_s else []
        # All at once, before any of them begins: what is not among them is released.
        self._parting = frozenset(held) | self.handovers.given
        begun = set(self.handovers.moving)
        for vip in held:
            if vip in begun:
                continue
            begun |= {each.name for each in self._decider.group(vip)}
            taker = self._decider.heir(vip, peers) or ""
            self._tell(
                "handover-started",
                f"{vip} moves to {taker or 'nobody'}: the agent ends",
                vip,
                taker,
            )
            ended = self.order(vip, taker, peers, plain=False, stays=False, tail_s=tail_s)
            ended.add_done_callback(partial(self._parted, taker))

    def _parted(self, peer: str, done: asyncio.Future[FailoverEnded]) -> None:
        ended = done.result()
        if ended.taker:
            text = f"{ended.vip} moved to {peer}: the agent ends"
            self._tell("handover-completed", text, ended.vip, peer)
            return
        why = f": {ended.reason.text}" if ended.reason is not None else ""
        text = f"{ended.vip} is released, and its connections are cut{why}"
        reasons = (ended.reason,) if ended.reason is not None else ()
        self._tell("handover-aborted", text, ended.vip, peer, reasons)
        self._parting = self.parting - {each.name for each in self._decider.group(ended.vip)}
        self._changed()

    # ---- preemption ----------------------------------------------------------------------------

    def asks(self, roles: tuple[VipReport, ...], peers: tuple[PeerView, ...]) -> dict[str, Reason]:
        """VIPs that this node would preempt, and leaves to a handover instead."""
        given = self.handovers.given | self._intent.current.yielded
        mine = tuple(role for role in roles if role.vip not in given)
        now_ns = self._clock.monotonic_ns()
        return self._preemption.step(self._decider.vips, mine, peers, now_ns)

    def give_back(self, situation: Situation) -> None:
        """Hand over what a better node asks for; one that failed is tried again after a while."""
        if situation.intent.paused or situation.ending:
            return
        now_ns = self._clock.monotonic_ns()
        wanted = asked_for(self._decider.vips, situation.roles, situation.peers)
        for vip, peer in wanted.items():
            if vip in self._waiting or vip in self.handovers.moving:
                continue
            if now_ns >= self._not_before_ns.get(vip, 0):
                for each in self._decider.group(vip):
                    self._not_before_ns[each.name] = now_ns + ASKED_AGAIN_NS
                text = f"{vip} goes back to {peer}, which has the higher priority"
                self._tell("handover-started", text, vip, peer)
                ended = self.order(vip, peer, situation.peers, plain=False, stays=False)
                ended.add_done_callback(partial(self._gave_back, peer))

    def _gave_back(self, peer: str, done: asyncio.Future[FailoverEnded]) -> None:
        ended = done.result()
        if ended.taker:
            text = f"{ended.vip} moved to {peer}, which has the higher priority"
            self._tell("handover-completed", text, ended.vip, peer)
            return
        why = f": {ended.reason.text}" if ended.reason is not None else ""
        text = f"{ended.vip} did not go back to {peer}{why}"
        reasons = (ended.reason,) if ended.reason is not None else ()
        self._tell("handover-aborted", text, ended.vip, peer, reasons)

    def _tell(
        self, kind: str, text: str, vip: str, peer: str, reasons: tuple[Reason, ...] = ()
    ) -> None:
        self._note(Event(kind, self._clock.wall_ns(), text, vip, reasons, {"to": peer}))

    # ---- moves ---------------------------------------------------------------------------------

    def order(
        self,
        vip: str,
        to: str,
        peers: tuple[PeerView, ...],
        *,
        plain: bool,
        stays: bool,
        tail_s: float = math.inf,
    ) -> asyncio.Future[FailoverEnded]:
        """Begin to move `vip`, and the others of its group; the future tells who took it.

        Its tail lasts no longer than `tail_s`, where that is less than what is configured.
        """
        waiting = self._waiting.get(vip)
        if waiting is not None:
            return waiting.ended
        ended = asyncio.get_running_loop().create_future()
        self._waiting[vip] = _Waiting(to, plain, stays, ended)
        group = self._decider.group(vip)
        names = tuple(each.name for each in group)
        taker = to or self._decider.heir(vip, peers) or ""
        why = _incapable(taker, peers) or self.handovers.hindrance(names, taker)
        if why is None:
            self.handovers.start(group, taker, tail_s)
        else:
            self._not_handed_over(vip, why)
        return ended

    def hear(self, peer: str, said: Said, own: NodeReport) -> None:
        """A peer said how far its side of a handover is."""
        group = self._decider.group(said.vips[0]) if said.vips else ()
        self.handovers.hear(peer, said, group, unfit(own, group))

    def _handed_over(self, outcome: Outcome) -> None:
        """A handover that was begun here has moved its VIPs, or was given up."""
        asked = [self._waiting[vip] for vip in outcome.vips if vip in self._waiting]
        stays = any(each.stays for each in asked)
        for vip in outcome.vips:
            if outcome.taker:
                self.follow_up(FailoverEnded(vip, outcome.taker, stays=stays))
            elif vip in self._waiting:
                self._not_handed_over(vip, outcome.reason)

    def _not_handed_over(self, vip: str, why: Reason | None) -> None:
        waiting = self._waiting[vip]
        if waiting.plain:
            order, now_ns = FailoverOrdered(vip, waiting.to), self._clock.monotonic_ns()
            self._recorder.ordered(order, now_ns)
            self._decider.order(order, now_ns)
        else:
            self.follow_up(FailoverEnded(vip, "", why))

    def follow_up(self, transition: Transition) -> None:
        """Write down what became of a failover, and tell who waits for it."""
        vip = transition.vip
        if not isinstance(transition, FailoverEnded):
            self._intent.note(lambda i: replace(i, yielded=i.yielded - {vip}))
            return
        if transition.taker and transition.stays:
            self._intent.note(lambda i: replace(i, yielded=i.yielded | {vip}))
        waiting = self._waiting.pop(vip, None)
        if waiting is not None and not waiting.ended.done():
            waiting.ended.set_result(transition)

    def reconfigured(self) -> None:
        """Nobody took what is no longer configured."""
        for vip in self._waiting.keys() - self._decider.pending - self.handovers.moving:
            self.follow_up(FailoverEnded(vip, ""))


def _incapable(to: str, peers: tuple[PeerView, ...]) -> Reason | None:
    """Why the target cannot take part in a handover."""
    report = next((p.report for p in peers if p.name == to and p.fresh), None)
    if report is None:
        return Reason("no-target", f"{to or 'no peer'} is not heard, or cannot take it")
    if report.handover:
        return None
    text = f"{to} cannot take part in a handover: an older version, or its engine is not ready"
    return Reason("no-handover", text)
