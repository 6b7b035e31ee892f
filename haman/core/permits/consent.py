"""Whether a node consents to what a peer asks, and whether it can keep its word."""

from dataclasses import replace

from haman.core.frozen import dataclass
from haman.core.headroom.sound import HUGE, Node, sound
from haman.core.permits.fit import Fit, fit
from haman.core.permits.messages import VERSION, Ask
from haman.core.permits.scene import Scene, standing_problem
from haman.core.permits.standing import PermitSettings
from haman.core.words import Condition, Reason, Stance

URGENCY_MAX = 1000


@dataclass(frozen=True, slots=True)
class OwnMoves:
    """What the node that is asked moves itself.

    Attributes:
        asks: the service for which it asks, being the busier one; "" = none.
        sheds: services of which it serves less than configured.
    """

    asks: str = ""
    sheds: tuple[str, ...] = ()


def unwilling(peer: str, ask: Ask, scene: Scene, own: OwnMoves) -> Reason | None:
    """Why the node answers no, whatever room it has; None = nothing is against it."""
    if nonsense := _nonsense(peer, ask):
        return nonsense
    if problem := standing_problem(scene):
        return problem
    if own.asks:
        return Reason("goes-first", f"{scene.own.node} asks for {own.asks} itself, and goes first")
    return None


def room(
    peer: str, ask: Ask, scene: Scene, own: OwnMoves, settings: PermitSettings
) -> Fit | Reason:
    """What the load would do to this node, if it stays below every hard threshold; else why not."""
    node = scene.own.node
    if not ask.share:
        return Fit(fits=True, reason=Reason("no-share", f"{node} would get nothing of it"))
    if own.sheds:
        return Reason("sheds", f"{node} sheds {own.sheds[0]} itself")
    if scene.own.condition is Condition.SATURATED:
        return _saturated(scene, "is saturated itself")
    if returning := _returning(scene):
        return returning
    asker = sound(next(view for view in scene.peers if view.name == peer))
    if asker.report is None:
        return Reason("no-fresh-report", f"{node} has no word of {peer}: {asker.silence}")
    found = fit(
        {peer: (_loaded(asker, ask), ask.share)},
        scene.node,
        f"if {peer} moves {ask.service}",
        settings,
        lambda thresholds: thresholds.hard,
    )
    return found if found.fits else found.reason


def _loaded(asker: Node, ask: Ask) -> Node:
    """The asker with the load that it told last: its report may be from before it was busy."""
    resources = {
        name: replace(each, used=max(each.used or 0.0, ask.load.get(name, 0.0)))
        for name, each in asker.resources.items()
        if each.used is not None
    }
    clients = None if asker.clients is None else max(asker.clients, ask.clients)
    return replace(asker, resources=asker.resources | resources, clients=clients)


def unkept(ask: Ask, scene: Scene) -> tuple[Reason, ...]:
    """Why this node cannot keep its word; () = it can."""
    if ask.share and scene.own.condition is Condition.SATURATED:
        return (_saturated(scene, "is saturated itself now"),)
    problem = standing_problem(scene)
    return () if problem is None or ask.moved else (problem,)


def _returning(scene: Scene) -> Reason | None:
    """On its way up a node has yet to get the load of its own weight: it only looks idle."""
    for said in scene.own.anycast:
        if said.stance is not Stance.FULL:
            text = (
                f"{scene.own.node} is {said.stance} for {said.service} and comes back to it: what it"
                " will get of that itself is not there yet"
            )
            return Reason("returning", text, {"service": said.service})
    return None


def _saturated(scene: Scene, what: str) -> Reason:
    cause = f": {scene.own.reasons[0].text}" if scene.own.reasons else ""
    return Reason("saturated", f"{scene.own.node} {what}{cause}")


def _nonsense(peer: str, ask: Ask) -> Reason | None:
    if ask.version != VERSION:
        text = f"{peer} asks in version {ask.version} of the protocol, this node knows {VERSION}"
        return Reason("unknown-version", text, {"version": ask.version})
    if not 0.0 <= ask.share <= 1.0:  # no NaN is
        return Reason("senseless", f"{peer} asks to move a share of {ask.share:g}, which cannot be")
    wrong = {n: v for n, v in {**ask.load, "clients": ask.clients}.items() if not 0 <= v <= HUGE}
    if wrong:
        told = ", ".join(f"{value:g} for {name}" for name, value in wrong.items())
        return Reason("senseless", f"{peer} asks with {told}, which cannot be")
    if not 0 <= ask.urgency <= URGENCY_MAX:
        text = f"{peer} asks with an urgency of {ask.urgency}, which cannot be"
        return Reason("senseless", text)
    return None
