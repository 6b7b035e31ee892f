"""What this node sheds of its anycast services, and how it takes that back, one rung at a time."""

from dataclasses import replace

from haman.core.frozen import dataclass
from haman.core.ladder import ConfiguredAnycast, Rung, Shed
from haman.core.permits.fit import fits_back
from haman.core.permits.moves import rung_in_force
from haman.core.permits.scene import Scene, standing_problem
from haman.core.permits.standing import NS_PER_S, Note, PermitSettings
from haman.core.words import Condition, Reason, Stance

HOLDS_MAX = 10
"""A hold grows to as many times the first, and one flap is forgiven in as long. For as many of its
holds a node waits where it does not know what would come, or where what comes at once is too much and
what stays is not: then it takes the rung back all the same. Whatever passes decays to serving."""

FOUND = "found-reduced"
"""The code of the reason for a shed of an earlier life."""


@dataclass(slots=True)
class _Shed:
    """Attributes: `ordered`: not in force yet, down or up."""

    rung: Rung
    since_ns: int
    hold_ns: int
    why: tuple[Reason, ...]
    ordered: bool
    waits: Reason | None = None


class Sheds:
    """The sheds of one node; at most one for each service."""

    def __init__(self, settings: PermitSettings) -> None:
        self._settings = settings
        self._sheds: dict[str, _Shed] = {}
        self._flaps: dict[str, tuple[int, int]] = {}
        self._seen: set[str] = set()
        self._notes: list[Note] = []

    def reconfigure(self, settings: PermitSettings) -> None:
        """Take over other services and times."""
        self._settings = settings
        names = {service.name for service in settings.anycast}
        self._sheds = {name: shed for name, shed in self._sheds.items() if name in names}
        self._flaps = {name: flaps for name, flaps in self._flaps.items() if name in names}
        self._seen &= names

    @property
    def services(self) -> tuple[str, ...]:
        """Of which less is served."""
        return tuple(self._sheds)

    @property
    def due_ns(self) -> tuple[int, ...]:
        """When holds end, past ones too; after ten of them also what is unknown decays."""
        sheds = self._sheds.values()
        return tuple(s.since_ns + n * s.hold_ns for s in sheds for n in (1, HOLDS_MAX))

    def notes(self) -> tuple[Note, ...]:
        """Take what is to be noted."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def standing(self, scene: Scene) -> dict[str, Shed]:
        """For the ladders. Nothing is ordered while automatic moves are off."""
        off = standing_problem(scene) is not None
        return {
            name: Shed(shed.rung, shed.ordered and not off, _told(shed))
            for name, shed in self._sheds.items()
        }

    def order(self, service: str, rung: Rung, why: Reason, now_ns: int) -> None:
        """Go down, by permit."""
        shed = self._sheds.get(service)
        hold_ns = self._hold_ns(service, now_ns) if shed is None else shed.hold_ns
        self._sheds[service] = _Shed(rung, now_ns, hold_ns, (why,), ordered=True)

    def _hold_ns(self, service: str, now_ns: int) -> int:
        """Of a new shed. A further rung of one that has not ended is no flap."""
        first_ns = self._settings.hold_ns
        count, last_ns = self._flaps.get(service, (0, now_ns))
        forgiven = (now_ns - last_ns) // (HOLDS_MAX * first_ns) if first_ns else count
        count = max(0, count - forgiven) + 1
        self._flaps[service] = (count, now_ns)
        return min(first_ns << min(count - 1, HOLDS_MAX), HOLDS_MAX * first_ns)

    def undo(self, service: str, rung: Rung, why: Reason, now_ns: int) -> None:
        """Go back up to where it was, saturated or not."""
        shed = self._sheds.get(service)
        if shed is not None:
            shed.rung, shed.since_ns, shed.ordered = rung, now_ns, True
            shed.why = (Reason("permit-revoked", f"takes {service} back: {why.text}"),)
            shed.waits = None

    def step(self, scene: Scene, now_ns: int, *, moving: str) -> None:
        """See what is in force, and take back what is due.

        Args:
            scene: as it is.
            now_ns: the monotonic instant.
            moving: the service whose permit is not over; it is left alone.
        """
        for service in self._settings.anycast:
            at = rung_in_force(service.name, scene)
            if at is None:
                continue
            if service.name not in self._seen:
                self._find(service, at, now_ns)
            shed = self._sheds.get(service.name)
            if shed is None:
                continue
            shed.rung = service.nearest(shed.rung)  # the weights may be others than they were
            if shed.ordered and at == shed.rung:
                shed.ordered = False
                shed.since_ns = now_ns
            withdrawn = at.stance is Stance.WITHDRAWN and service.name != moving
            if withdrawn or (not shed.ordered and _is_over(service, shed, at)):
                del self._sheds[service.name]
            elif not shed.ordered and service.name != moving and at == shed.rung:
                self._take_back(service, shed, scene, now_ns)

    def _find(self, service: ConfiguredAnycast, at: Rung, now_ns: int) -> None:
        """What an earlier life left: as if it had been shed now, for why it is there was forgotten.

        Shut tells nothing: a relay that hears no controller shuts by itself, on all nodes perhaps.
        """
        self._seen.add(service.name)
        if at in service.rungs[1:]:
            text = f"{service.name} was found at weight {at.weight} of {service.weight}"
            why = Reason(FOUND, f"{text} when the controller started: perhaps it was shed")
            hold_ns = self._hold_ns(service.name, now_ns)
            self._sheds[service.name] = _Shed(at, now_ns, hold_ns, (why,), ordered=False)

    def _take_back(
        self, service: ConfiguredAnycast, shed: _Shed, scene: Scene, now_ns: int
    ) -> None:
        own, held_ns = scene.own, now_ns - shed.since_ns
        if standing_problem(scene) is not None or own.condition is not Condition.IN_SERVICE:
            shed.waits = None
            return
        if held_ns < shed.hold_ns:
            text = f"takes nothing back for {shed.hold_ns / NS_PER_S:g} s"
            shed.waits = Reason("shed-hold", text)
            return
        rung = _above(service, shed.rung)
        found = fits_back(service.name, rung, scene, self._settings)
        patience_ns = HOLDS_MAX * max(shed.hold_ns, 1)
        decays = not found.known or found.lasting
        if not found.fits and not (decays and held_ns >= patience_ns):
            shed.waits = _waits(found.reason, patience_ns) if decays else found.reason
            return
        text = f"{service.name} is taken back to weight {rung.weight}: {found.reason.text}"
        self._notes.append(Note("permit-ended", text, service.name, (found.reason,)))
        if rung == service.rungs[0]:
            del self._sheds[service.name]
            return
        shed.rung, shed.since_ns, shed.waits = rung, now_ns, None


def _above(service: ConfiguredAnycast, rung: Rung) -> Rung:
    rungs = service.rungs
    return rungs[max(0, rungs.index(rung) - 1)] if rung in rungs else rungs[-1]


def _is_over(service: ConfiguredAnycast, shed: _Shed, at: Rung) -> bool:
    """Back in full; or something else has moved it up: nobody else served."""
    if shed.rung == service.rungs[0]:
        return True
    places = (*service.rungs, service.shut)
    return at in places and places.index(at) < places.index(shed.rung)


def _waits(why: Reason, patience_ns: int) -> Reason:
    text = (
        f"{why.text}; takes it back all the same {patience_ns / NS_PER_S:g} s after its last step"
    )
    return replace(why, text=text)


def _told(shed: _Shed) -> tuple[Reason, ...]:
    return shed.why if shed.waits is None else (*shed.why, shed.waits)
