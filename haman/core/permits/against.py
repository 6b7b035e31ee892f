"""Why a node does not ask, or what its peers said: reasons in words and numbers.

What holds for the whole node comes first, in the order of the list in `haman.core.permits`.
"""

from collections.abc import Mapping

from haman.core.because import listed
from haman.core.headroom.sound import sound
from haman.core.permits.fit import fit
from haman.core.permits.messages import Answer
from haman.core.permits.moves import Move
from haman.core.permits.scene import VOTERS, Scene, standing_problem
from haman.core.permits.standing import PermitSettings
from haman.core.words import Condition, Reason, Stance, percent

_OVER = frozenset({"saturated", "exhausted"})


def voters(scene: Scene) -> tuple[str, ...]:
    """The peers whose consent is needed: fresh, and in service or saturated."""
    return tuple(sorted(n for n, r in scene.reports.items() if r.condition in VOTERS))


def asking(scene: Scene, settings: PermitSettings, granted_to: str) -> Reason | None:
    """Why nothing is asked for, whatever could move; None = nothing is against it."""
    own = scene.own
    if problem := standing_problem(scene):
        return problem
    if own.condition is not Condition.SATURATED or not _is_over(own.reasons):
        return Reason("calm", "it is below its hard threshold again, and sheds nothing more")
    if not settings.max_shedding:
        return Reason("max-shedding", "max_shedding is 0: no node may shed", {"most": 0})
    if not scene.peers:
        return Reason("no-peer", "there is no other node")
    if granted_to:
        text = f"it holds room for {granted_to}, and asks for nothing meanwhile"
        return Reason("holds-grant", text, {"node": granted_to})
    return silence(scene)


def _is_over(reasons: tuple[Reason, ...]) -> bool:
    """A resource is over its hard threshold at this moment, not only not yet recovered."""
    return any(
        reason.code in _OVER
        and float(reason.data.get("utilization", 1.0)) >= float(reason.data.get("threshold", 0.0))
        for reason in reasons
    )


def silence(scene: Scene) -> Reason | None:
    """Peers that cannot be asked, or are known to say no; what a silent one carries is not known."""
    for view in scene.peers:
        found = sound(view)
        if found.report is None:
            text = f"{view.name} counts as full: {found.silence}"
            return Reason("no-fresh-report", text, {"node": view.name})
        if found.report.paused:
            text = f"automatic moves are paused on {view.name}"
            return Reason("paused", text, {"node": view.name})
        if found.report.permits is None:
            text = (
                f"{view.name} counts as full: its version ({found.report.version}) knows no permits"
            )
            return Reason("no-permits", text, {"node": view.name})
    return None


def taking(move: Move, scene: Scene) -> Reason | None:
    """One that would get load cannot be asked for it."""
    outside = sorted(move.shares.keys() - set(voters(scene)))
    if not outside:
        return None
    name = outside[0]
    report = scene.report(name)
    what = report.condition.predicate if report is not None else "not heard"
    text = f"{name} would get some of {move.service}, and is {what}"
    return Reason("taker-out-of-service", text, {"node": name})


def nowhere(scene: Scene, settings: PermitSettings) -> Reason:
    """No move was found."""
    anycast = [a for s in settings.anycast if (a := scene.own.service(s.name)) is not None]
    lowest = [a.service for a in anycast if a.stance is Stance.SHUT]
    if lowest:
        return Reason("lowest-rung", f"{listed(lowest)} is shut already: there is no lower rung")
    unheard = [a.service for a in anycast if not a.carried]
    if unheard:
        text = f"not all routers are told of {listed(unheard)}: what would move is not known"
        return Reason("not-carried", text)
    return Reason("no-other-server", "no other node could serve instead")


def rank(move: Move, scene: Scene, settings: PermitSettings) -> tuple[float, bool, str, str]:
    """Sorts moves: the one that fits best, by what the takers report; then anycast before a VIP."""
    own = scene.node
    worst = 0.0
    for view in scene.peers:
        share = move.shares.get(view.name, 0.0)
        if share:
            movers = {own.name: (own, share)}
            found = fit(movers, sound(view), "", settings, lambda t: t.hard)
            worst = max(worst, found.badness)
    return worst, move.rung is None, move.service, move.to


def asked_now(service: str, asked: tuple[str, ...]) -> Reason:
    """An ask is under way."""
    text = f"asks {listed(asked)} for room for {service}"
    return Reason("asking", text, {"service": service})


def settling(service: str) -> Reason:
    """A move is under way."""
    return Reason("settling", f"{service} was moved by permit: its load has to settle first")


def denied(asked: tuple[str, ...], denials: Mapping[str, Answer]) -> Reason:
    """Who said no, and why."""
    told = "; ".join(f"{name} denied: {_why(answer)}" for name, answer in sorted(denials.items()))
    first = denials[min(denials)]
    code = first.reasons[0].code if first.reasons else "denied"
    data = dict(first.reasons[0].data) if first.reasons else {}
    return Reason("permit-denied", f"asked {listed(asked)}: {told}", data | {"code": code})


def unanswered(asked: tuple[str, ...], silent: list[str], denials: Mapping[str, Answer]) -> Reason:
    """Nobody said no for good, and not all said yes."""
    told = [f"{name} denied: {_why(answer)}" for name, answer in sorted(denials.items())]
    if silent or not told:
        told.append(f"{listed(silent) if silent else 'not all'} did not answer in time")
    return Reason("not-answered", f"asked {listed(asked)}: {'; '.join(told)}")


def _why(answer: Answer) -> str:
    return answer.reasons[0].text if answer.reasons else "no reason was given"


def words(move: Move, settings: PermitSettings) -> str:
    """What a move is: "to weight 50 of 100, which moves 40 % of its load at most"."""
    if move.rung is None:
        return f"to {move.to}, with all of its load at most"
    where = "shut"
    if move.rung.stance is not Stance.SHUT:
        full = next((s.weight for s in settings.anycast if s.name == move.service), 0)
        where = f"at weight {move.rung.weight} of {full}"
    return f"{where}, which moves {percent(sum(move.shares.values()))} of its load at most"


def by_permit(move: Move, consented: tuple[str, ...], settings: PermitSettings) -> Reason:
    """Why a node serves less than configured."""
    text = f"was saturated, and {listed(consented)} consented to it {words(move, settings)}"
    data: dict[str, int | float | str] = {"share": round(sum(move.shares.values()), 4)}
    return Reason("shed", text, data)
