"""The side that asks: one move at a time, with all consents or not at all.

States, timers and invariants are told in `haman.core.permits`.
"""

from collections import Counter
from enum import StrEnum

from haman.core.because import listed
from haman.core.permits import against
from haman.core.permits.asked import Asked
from haman.core.permits.crowd import Crowd, busiest
from haman.core.permits.granter import LEASE_NS, REPEAT_NS
from haman.core.permits.messages import Answer, Ask, End, PermitId, Revoke, Tell
from haman.core.permits.moves import Move, has_moved, possible, rung_in_force
from haman.core.permits.scene import Scene
from haman.core.permits.sheds import Sheds
from haman.core.permits.standing import NS_PER_S, Note, PermitSettings, Standing, VipMove
from haman.core.words import Condition, Reason

ASK_NS = 2 * NS_PER_S
"""How long answers are waited for."""
ACT_NS = LEASE_NS // 2
"""From the first ask until the move is in force. A grant lasts longer than this from its first word,
so it is still there, whatever was lost."""
FAILOVER_NS = 20 * NS_PER_S
"""A failover tells its own end, and gives up earlier; its grants are renewed meanwhile."""
SETTLE_NS = 15 * NS_PER_S
BACKOFF_NS = 5 * NS_PER_S
BACKOFF_MAX_NS = 60 * NS_PER_S
RENEW_NS = NS_PER_S
URGENCY_STEPS = 20
FULL = 1.0


class Phase(StrEnum):
    """Of the asker."""

    IDLE = "idle"
    ASKING = "asking"
    MOVING = "moving"
    SETTLING = "settling"


class Asker:
    """One node's asks."""

    def __init__(self, settings: PermitSettings, crowd: Crowd, epoch: int) -> None:
        self._settings = settings
        self._crowd = crowd
        self._epoch = epoch
        self._number = 0
        self._phase = Phase.IDLE
        self._asked: Asked | None = None
        self._failures = 0
        self._quiet_until_ns = 0
        self._denied: Reason | None = None
        self._noted = ""
        self._holding: Reason | None = None
        self._sheds = Sheds(settings)
        self._deadline_ns: int | None = None
        self._tells: list[Tell] = []
        self._notes: list[Note] = []
        self._moves: list[VipMove] = []
        self.standing = Standing()
        """For the decisions of this step."""
        self.counts: Counter[tuple[str, str]] = Counter()
        """By outcome (granted, denied, ended) and reason."""

    def reconfigure(self, settings: PermitSettings) -> None:
        """Take over other services; what is asked for one that changed is settled by the next step."""
        self._settings = settings
        self._sheds.reconfigure(settings)

    @property
    def phase(self) -> Phase:
        """What is under way."""
        return self._phase

    @property
    def asks(self) -> str:
        """The service that is asked for, before all have consented; "" = none."""
        asking = self._phase is Phase.ASKING and self._asked is not None
        return self._asked.move.service if asking and self._asked is not None else ""

    @property
    def sheds(self) -> tuple[str, ...]:
        """Services of which less is served than configured, or that are moving."""
        names = set(self._sheds.services)
        if self._asked is not None and self._phase in (Phase.MOVING, Phase.SETTLING):
            names.add(self._asked.move.service)
        return tuple(sorted(names))

    @property
    def deadline_ns(self) -> int | None:
        """When something is due by time alone: packets, the end of a hold or of the back-off."""
        return self._deadline_ns

    def _due_ns(self, now_ns: int) -> int | None:
        due = [*self._sheds.due_ns, self._quiet_until_ns]
        if (asked := self._asked) is not None:
            due.append(asked.told_ns + self._every_ns)
            if self._phase is Phase.SETTLING:
                due.append(asked.in_force_ns + SETTLE_NS)
            else:
                due.append(asked.since_ns + (ASK_NS if self._phase is Phase.ASKING else ACT_NS))
        return min((each for each in due if each > now_ns), default=None)

    @property
    def _every_ns(self) -> int:
        return REPEAT_NS if self._phase is Phase.ASKING else RENEW_NS

    def tells(self) -> tuple[Tell, ...]:
        """Take what is to be sent."""
        tells, self._tells = tuple(self._tells), []
        return tells

    def notes(self) -> tuple[Note, ...]:
        """Take what is to be noted."""
        notes, self._notes = (*self._notes, *self._sheds.notes()), []
        return notes

    def moves(self) -> tuple[VipMove, ...]:
        """Take the failovers to begin."""
        moves, self._moves = tuple(self._moves), []
        return moves

    # ---- what comes in ---------------------------------------------------------------------

    def answered(self, peer: str, answer: Answer) -> None:
        """A peer's word on an ask; a grant that nobody waits for is given back."""
        asked = self._asked
        if asked is None or asked.id != answer.id or peer not in asked.voters:
            if answer.granted:
                self._tells.append(Tell(peer, End(answer.id)))
            return
        before = asked.answers.get(peer)
        if self._phase is Phase.ASKING and not (before is not None and before.granted):
            asked.answers[peer] = answer

    def revoked(self, peer: str, revoke: Revoke) -> None:
        """A peer takes its grant back."""
        asked = self._asked
        if asked is None or asked.id != revoke.id or peer not in asked.voters:
            self._tells.append(Tell(peer, End(revoke.id)))
            return
        asked.revoked = revoke.reasons or (Reason("revoked", f"{peer} took it back"),)
        asked.answers.pop(peer, None)

    def met(self, peer: str, ask: Ask, scene: Scene, now_ns: int) -> None:
        """A peer asks too: of the two the busier goes on, of equals the first by name."""
        asked = self._asked
        if asked is None or self._phase is not Phase.ASKING or ask.moved:
            return
        if (-ask.urgency, peer) < (-asked.urgency, scene.own.node):
            text = f"{peer} asks for {ask.service} at the same time, and goes first"
            self._fail(Reason("goes-first", text, {"node": peer}), now_ns)

    # ---- what follows ----------------------------------------------------------------------

    def step(self, scene: Scene, now_ns: int, *, granted_to: str) -> None:
        """Go on."""
        self._sheds.step(scene, now_ns, moving=self._moving)
        match self._phase:
            case Phase.IDLE:
                self._consider(scene, now_ns, granted_to)
            case Phase.ASKING:
                self._collect(scene, now_ns)
            case Phase.MOVING:
                self._follow(scene, now_ns)
            case Phase.SETTLING:
                self._settle(now_ns)
        asked = self._asked
        if asked is not None and now_ns - asked.told_ns >= self._every_ns:
            self._tell_all(asked, now_ns)
        if self._moving and scene.own.condition is Condition.SATURATED:
            self._holding = against.settling(self._moving)
        self.standing = Standing(self._sheds.standing(scene), self._holding)
        self._deadline_ns = self._due_ns(now_ns)

    @property
    def _moving(self) -> str:
        ordered = self._phase in (Phase.MOVING, Phase.SETTLING)
        return self._asked.move.service if ordered and self._asked is not None else ""

    def _consider(self, scene: Scene, now_ns: int, granted_to: str) -> None:
        self._holding = None
        if scene.own.condition is not Condition.SATURATED:
            self._failures = 0
            self._noted = ""
            self._denied = None
            return
        self._holding = (
            against.asking(scene, self._settings, granted_to)
            or self._crowd.ceiling(scene, scene.own.node, ())
            or self._crowd.shared_cause(scene)
        )
        if self._holding is not None:
            return
        if now_ns < self._quiet_until_ns:
            self._holding = self._denied
            return
        moves = possible(scene, self._settings)
        fits = [move for move in moves if against.taking(move, scene) is None]
        if not fits:
            found = (against.taking(move, scene) for move in moves)
            self._holding = next(found, None) or against.nowhere(scene, self._settings)
            return
        best = min(fits, key=lambda move: against.rank(move, scene, self._settings))
        self._ask(best, scene, now_ns)

    def _ask(self, move: Move, scene: Scene, now_ns: int) -> None:
        self._number += 1
        own = scene.node
        load = busiest(scene.own, self._settings)
        urgency = round((FULL if load is None else min(load, 10.0)) * URGENCY_STEPS)
        self._asked = asked = Asked(
            PermitId(self._epoch, self._number),
            move,
            urgency,
            {name: r.used for name, r in own.resources.items() if r.used is not None},
            own.clients or 0.0,
            against.voters(scene),
            now_ns,
            rung_in_force(move.service, scene) if move.rung is not None else None,
        )
        self._phase = Phase.ASKING
        self._holding = against.asked_now(move.service, asked.voters)
        self._tell_all(asked, now_ns)

    def _tell_all(self, asked: Asked, now_ns: int) -> None:
        asked.told_ns = now_ns
        self._tells += asked.asks(moved=self._phase is Phase.SETTLING)

    def _collect(self, scene: Scene, now_ns: int) -> None:
        asked = self._asked
        assert asked is not None
        why = against.asking(scene, self._settings, "") or asked.void(scene)
        # Time counts before answers do: this node may have slept while all have answered.
        why = why or asked.denial(late=now_ns - asked.since_ns >= ASK_NS)
        if why is not None:
            self._fail(why, now_ns)
        elif asked.unanimous:
            self._order(asked, now_ns)

    def _order(self, asked: Asked, now_ns: int) -> None:
        self._phase = Phase.MOVING
        asked.told_ns = now_ns
        move = asked.move
        if move.rung is None:
            self._moves.append(VipMove(move.service, move.to))
        else:
            reason = against.by_permit(move, asked.voters, self._settings)
            self._sheds.order(move.service, move.rung, reason, now_ns)
        reasons = tuple(r for voter in asked.voters for r in asked.answers[voter].reasons)
        self.counts["granted", ""] += 1
        text = f"{listed(asked.voters)} consented: {move.service} {against.words(move, self._settings)}"
        self._notes.append(Note("permit-granted", text, move.service, reasons))

    def _follow(self, scene: Scene, now_ns: int) -> None:
        asked = self._asked
        assert asked is not None
        move = asked.move
        if move.rung is None:
            self._follow_failover(asked, scene, now_ns)
            return
        if rung_in_force(move.service, scene) == move.rung:
            self._in_force(asked, now_ns)
            return
        why = asked.void(scene, asking=False)
        if why is None and now_ns - asked.since_ns >= ACT_NS:
            text = f"{move.service} has not come to it in time: the routers were not told"
            why = Reason("not-in-force", text)
        if why is not None:
            self._undo(asked, why, now_ns)

    def _follow_failover(self, asked: Asked, scene: Scene, now_ns: int) -> None:
        """However it is carried out: it is done when the peer has the VIP and this node has not."""
        ended = next((e for e in scene.ended if e.vip == asked.move.service), None)
        if (ended is not None and ended.taker) or has_moved(asked.move, scene):
            self._in_force(asked, now_ns)
        elif ended is not None or now_ns - asked.since_ns >= FAILOVER_NS:
            text = f"{asked.move.to} did not become active for {asked.move.service}"
            self._fail(Reason("no-taker", text), now_ns)

    def _in_force(self, asked: Asked, now_ns: int) -> None:
        self._phase = Phase.SETTLING
        asked.in_force_ns = now_ns
        self._tell_all(asked, now_ns)

    def _settle(self, now_ns: int) -> None:
        asked = self._asked
        assert asked is not None
        if asked.revoked and asked.before is not None:
            self._undo(asked, asked.revoked[0], now_ns)
        elif now_ns - asked.in_force_ns >= SETTLE_NS or asked.revoked:
            self._failures = 0
            why = asked.revoked or (Reason("settled", "the load has arrived where it went"),)
            self._end(asked, why[0])

    def _undo(self, asked: Asked, why: Reason, now_ns: int) -> None:
        if asked.before is not None:
            self._sheds.undo(asked.move.service, asked.before, why, now_ns)
        self._fail(why, now_ns)

    def _fail(self, why: Reason, now_ns: int) -> None:
        """Give up; the next try waits longer each time."""
        asked = self._asked
        assert asked is not None
        granted = self._phase is not Phase.ASKING
        backoff_ns = min(BACKOFF_NS << min(self._failures, 8), BACKOFF_MAX_NS)
        self._failures += 1
        self._quiet_until_ns = now_ns + backoff_ns
        self._denied = self._holding = why
        if granted:
            self._end(asked, why)
            return
        self.counts["denied", why.code] += 1
        if self._noted != why.code:
            self._noted = why.code
            text = f"{asked.move.service} stays as it is: {why.text}"
            self._notes.append(Note("permit-denied", text, asked.move.service, (why,)))
        self._close(asked)

    def _end(self, asked: Asked, why: Reason) -> None:
        self.counts["ended", why.code] += 1
        text = f"the permit to move {asked.move.service} has ended: {why.text}"
        self._notes.append(Note("permit-ended", text, asked.move.service, (why,)))
        self._close(asked)

    def _close(self, asked: Asked) -> None:
        self._tells += asked.ends()
        self._asked, self._phase = None, Phase.IDLE
