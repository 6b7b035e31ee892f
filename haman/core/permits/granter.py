"""The side that answers: one grant at a time, from this node's own headroom, with room reserved.

States, timers and invariants are told in `haman.core.permits`.
"""

from collections import Counter
from dataclasses import field, replace

from haman.core.frozen import dataclass
from haman.core.permits.consent import OwnMoves, room, unkept, unwilling
from haman.core.permits.crowd import Crowd
from haman.core.permits.fit import Fit
from haman.core.permits.messages import Answer, Ask, PermitId, Revoke, Tell
from haman.core.permits.scene import Scene
from haman.core.permits.standing import NS_PER_S, Note, PermitSettings
from haman.core.serving import SERVING
from haman.core.words import Reason, percent

LEASE_NS = 10 * NS_PER_S
"""From the asker's last word until a grant ends by itself."""
LIFE_NS = 60 * NS_PER_S
"""The most that a grant lasts, whatever its asker says."""
CLIMBED_NS = 3 * NS_PER_S
"""From a weight of this node's own that rose until its figures tell of the load that comes with it."""
REPEAT_NS = NS_PER_S // 4
QUIET_NS = 300 * NS_PER_S
"""The same denial to the same peer is noted once in this time."""
_PASSING = frozenset({"grant-outstanding", "goes-first"})
"""Denials that end by themselves, while the asker repeats its ask."""


@dataclass(slots=True)
class _Grant:
    """One grant.

    Attributes:
        before: what this node used when it granted, by resource: what it uses more has arrived.
        clients_before: the same in connections.
        told_ns: of the last word that it is revoked.
    """

    peer: str
    ask: Ask
    since_ns: int
    heard_ns: int
    answer: Answer
    found: Fit
    before: dict[str, float]
    clients_before: float
    revoked: tuple[Reason, ...] = ()
    told_ns: int = 0


@dataclass(slots=True)
class _Known:
    """What is remembered of one peer: the last ask that is over, and what was said to it."""

    id: PermitId
    answer: Answer | None
    at_ns: int
    noted: str = ""
    noted_ns: int = 0


@dataclass(slots=True)
class _Own:
    """This node's resources at the last step."""

    used: dict[str, float] = field(default_factory=dict)
    clients: float = 0.0
    weights: dict[str, int] = field(default_factory=dict)


class Granter:
    """One node's grants."""

    def __init__(self, settings: PermitSettings, crowd: Crowd, now_ns: int) -> None:
        self._settings = settings
        self._crowd = crowd
        self._started_ns = now_ns
        self._grant: _Grant | None = None
        self._known: dict[str, _Known] = {}
        self._own = _Own()
        self._climbed_ns: int | None = None
        self._tells: list[Tell] = []
        self._notes: list[Note] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        """By outcome (given, refused, revoked) and reason."""

    def reconfigure(self, settings: PermitSettings) -> None:
        """Take over other thresholds; what is granted stays granted."""
        self._settings = settings

    @property
    def granted_to(self) -> str:
        """The peer with the outstanding grant; "" = none."""
        return "" if self._grant is None else self._grant.peer

    @property
    def reserved(self) -> dict[str, float]:
        """What of the granted load has not arrived, by resource, in the native unit."""
        grant = self._grant
        if grant is None:
            return {}
        used, before = self._own.used, grant.before
        arrived = {n: max(0.0, used[n] - before[n]) for n in used.keys() & before.keys()}
        return {n: max(0.0, a - arrived.get(n, 0.0)) for n, a in grant.found.amounts.items()}

    @property
    def reserved_clients(self) -> float:
        """The same in connections."""
        grant = self._grant
        if grant is None:
            return 0.0
        arrived = max(0.0, self._own.clients - grant.clients_before)
        return max(0.0, grant.found.clients - arrived)

    @property
    def deadline_ns(self) -> int | None:
        """When the grant ends, or is revoked once more."""
        grant = self._grant
        if grant is None:
            return None
        ends_ns = _ends_ns(grant)
        return min(ends_ns, grant.told_ns + REPEAT_NS) if grant.revoked else ends_ns

    def tells(self) -> tuple[Tell, ...]:
        """Take what is to be sent."""
        tells, self._tells = tuple(self._tells), []
        return tells

    def notes(self) -> tuple[Note, ...]:
        """Take what is to be noted."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def asked(self, peer: str, ask: Ask, scene: Scene, now_ns: int, own: OwnMoves) -> None:
        """Answer a peer; `own` is what this node moves itself."""
        if peer not in {view.name for view in scene.peers}:
            return
        grant = self._grant
        if grant is not None and grant.peer == peer and grant.ask.id == ask.id:
            self._repeated(grant, ask, now_ns)
            return
        known = self._known.get(peer)
        if known is not None and _is_old(ask.id, known, now_ns):
            if known.id == ask.id and known.answer is not None:
                self._tells.append(Tell(peer, known.answer))
            return
        if ask.moved:
            return  # granted in an earlier life, or too long ago; nothing can be denied any more
        if grant is not None and grant.peer == peer:
            if ask.id < grant.ask.id:
                return
            self._free(now_ns, "superseded", f"{peer} asks for something else")
        found = (
            unwilling(peer, ask, scene, own)
            or self._held(scene, now_ns)
            or self._crowd.ceiling(scene, peer, own.sheds)
            or room(peer, ask, scene, own, self._settings)
        )
        if isinstance(found, Fit):
            self._give(peer, ask, found, now_ns)
            return
        final = found.code not in _PASSING
        answer = Answer(ask.id, False, (found,), final)
        if final:
            self._close(peer, ask.id, answer, now_ns)
            self.counts["refused", found.code] += 1
        self._tells.append(Tell(peer, answer))
        self._refused(peer, ask, found, now_ns)

    def _held(self, scene: Scene, now_ns: int) -> Reason | None:
        """What this side itself has against any grant."""
        if now_ns - self._started_ns < LEASE_NS:
            text = f"{scene.own.node} has just started: what it granted before may still be used"
            return Reason("just-started", text)
        if self._climbed_ns is not None and now_ns - self._climbed_ns < CLIMBED_NS:
            text = f"{scene.own.node} has just taken more itself: that is not in its figures yet"
            return Reason("just-climbed", text)
        if self._grant is not None:
            text = f"{scene.own.node} holds room for {self._grant.peer}"
            return Reason("grant-outstanding", text, {"node": self._grant.peer})
        return None

    def _repeated(self, grant: _Grant, ask: Ask, now_ns: int) -> None:
        grant.heard_ns = now_ns
        if grant.revoked:
            self._tells.append(Tell(grant.peer, Revoke(ask.id, grant.revoked)))
            return
        grant.ask = ask if ask.moved else grant.ask
        self._tells.append(Tell(grant.peer, grant.answer))

    def _give(self, peer: str, ask: Ask, found: Fit, now_ns: int) -> None:
        answer = Answer(ask.id, True, (found.reason,))
        used, clients = dict(self._own.used), self._own.clients
        self._grant = _Grant(peer, ask, now_ns, now_ns, answer, found, used, clients)
        self._tells.append(Tell(peer, answer))
        self.counts["given", found.reason.code] += 1
        what = f"room for {percent(ask.share)} of its load" if ask.share else "consent"
        self._note("permit-granted", f"{peer} has {what}, to move {ask.service}", ask, found.reason)

    def ended(self, peer: str, permit: PermitId, now_ns: int) -> None:
        """The asker needs it no more; it may also never have been granted."""
        grant = self._grant
        if grant is not None and grant.peer == peer and grant.ask.id == permit:
            self._free(now_ns, "ended", f"{peer} needs it no more")
            return
        known = self._known.get(peer)
        if known is None or known.id < permit:
            self._close(peer, permit, None, now_ns)

    def step(self, scene: Scene, now_ns: int) -> None:
        """Let time pass."""
        own, before = scene.own, self._own.weights
        self._own = _Own(
            {r.name: r.used for r in own.resources if r.used is not None},
            float(own.connections or 0),
            {a.service: a.weight if a.stance in SERVING else 0 for a in own.anycast},
        )
        if any(weight > before.get(name, weight) for name, weight in self._own.weights.items()):
            self._climbed_ns = now_ns
        grant = self._grant
        if grant is None and not self._known:
            return
        names = {view.name for view in scene.peers}
        self._known = {name: known for name, known in self._known.items() if name in names}
        if grant is None:
            return
        if now_ns >= _ends_ns(grant) or grant.peer not in names:
            self._free(now_ns, "lease-over", f"{grant.peer} was not heard of it any more")
            return
        if not grant.revoked and (why := unkept(grant.ask, scene)):
            grant.revoked = why
            grant.told_ns = now_ns - REPEAT_NS
            self.counts["revoked", why[0].code] += 1
        if grant.revoked and now_ns - grant.told_ns >= REPEAT_NS:
            grant.told_ns = now_ns
            self._tells.append(Tell(grant.peer, Revoke(grant.ask.id, grant.revoked)))

    def _free(self, now_ns: int, code: str, text: str) -> None:
        grant, self._grant = self._grant, None
        if grant is None:
            return
        self._close(grant.peer, grant.ask.id, None, now_ns)
        reasons = grant.revoked or (Reason(code, text),)
        told = (
            f"the permit of {grant.peer} to move {grant.ask.service} has ended: {reasons[0].text}"
        )
        self._note("permit-ended", told, grant.ask, *reasons)

    def _close(self, peer: str, permit: PermitId, answer: Answer | None, now_ns: int) -> None:
        before = self._known.get(peer)
        if before is None:
            self._known[peer] = _Known(permit, answer, now_ns)
        elif before.id.epoch != permit.epoch or before.id <= permit:
            self._known[peer] = replace(before, id=permit, answer=answer, at_ns=now_ns)

    def _refused(self, peer: str, ask: Ask, why: Reason, now_ns: int) -> None:
        known = self._known.get(peer)
        if known is None:
            known = self._known[peer] = _Known(PermitId(ask.id.epoch, -1), None, now_ns)
        if known.noted == why.code and now_ns - known.noted_ns < QUIET_NS:
            return
        known.noted, known.noted_ns = why.code, now_ns
        text = f"{peer} may not move {ask.service}: {why.text}"
        self._note("permit-denied", text, ask, why)

    def _note(self, kind: str, text: str, ask: Ask, *reasons: Reason) -> None:
        data: dict[str, int | float | str] = {"share": round(ask.share, 4)}
        self._notes.append(Note(kind, text, ask.service, reasons, data))


def _ends_ns(grant: _Grant) -> int:
    return min(grant.heard_ns + LEASE_NS, grant.since_ns + LIFE_NS)


def _is_old(permit: PermitId, known: _Known, now_ns: int) -> bool:
    """Not newer than what is over.

    An epoch before the known one is believed after a while: clocks are set back, and packets do not
    live so long.
    """
    if permit.epoch < known.id.epoch:
        return now_ns - known.at_ns < LIFE_NS
    return permit <= known.id
