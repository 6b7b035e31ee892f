"""Whether load that moves has room where it arrives: `headroom`'s arithmetic, with the gate's limits."""

import math
from collections.abc import Callable
from dataclasses import field

from haman.core.frozen import dataclass
from haman.core.headroom.outlook import Outlook
from haman.core.headroom.phases import RATES, STOCKS, outlook
from haman.core.headroom.sound import Node, sound
from haman.core.headroom.telling import reason
from haman.core.headroom.verdicts import STEP, STORM, Figure, Verdict
from haman.core.ladder import Rung
from haman.core.permits.moves import LEAST, rung_in_force, spread
from haman.core.permits.scene import Scene
from haman.core.permits.standing import PermitSettings
from haman.core.saturation import Thresholds
from haman.core.words import Reason, percent

RESOURCES = (*RATES, *STOCKS, "memory")
_PASSING = frozenset({("accept_queue", STEP), ("tls", STORM)})
"""What clients that come at once need, and a while later nobody needs any more."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What arriving load does to a node.

    Attributes:
        known: nothing that matters is unknown.
        lasting: what stays has room, whatever the clients that come at once need for the moment.
        badness: of the figure nearest its limit, 1 = at it; infinite where nothing is known.
        amounts: that arrive, by resource, in the native unit.
        clients: that arrive.
    """

    fits: bool
    reason: Reason
    known: bool = True
    lasting: bool = False
    badness: float = math.inf
    amounts: dict[str, float] = field(default_factory=dict)
    clients: float = 0.0


def fit(
    movers: dict[str, tuple[Node, float]],
    taker: Node,
    lead: str,
    settings: PermitSettings,
    limit: Callable[[Thresholds], float],
) -> Fit:
    """What `taker` comes to if it gets a share of each mover's load.

    Args:
        movers: nodes and shares, by name.
        taker: with all that it has reserved already.
        lead: the first words of the reason.
        settings: whose thresholds count.
        limit: which of them; a resource that does not act has none.
    """
    limits = {name: _limit(settings.of(name), limit) for name in RESOURCES}
    found = outlook(
        tuple(node for node, _ in movers.values()),
        taker,
        {name: share for name, (_, share) in movers.items()},
        limits,
    )
    worst = found.worst
    return Fit(
        fits=found.verdict in (Verdict.OK, Verdict.TIGHT),
        reason=reason(lead, found),
        known=found.verdict is not Verdict.UNKNOWN,
        lasting=not found.gaps and all(map(_has_room, found.figures)),
        badness=worst.badness[0] if worst is not None and not found.gaps else math.inf,
        amounts=_amounts(found),
        clients=found.clients or 0.0,
    )


def _has_room(figure: Figure) -> bool:
    passes = (figure.resource, figure.phase) in _PASSING
    return passes or figure.verdict is not Verdict.INSUFFICIENT


def _limit(thresholds: Thresholds, limit: Callable[[Thresholds], float]) -> float:
    return limit(thresholds) if thresholds.act else math.inf


def _amounts(found: Outlook) -> dict[str, float]:
    amounts = {}
    for figure in found.figures:
        mine = found.survivor.resources.get(figure.resource)
        counted = figure.phase != STORM and figure.resource in RESOURCES
        if counted and mine is not None and mine.ceiling and figure.added > 0:
            amounts[figure.resource] = figure.added * mine.ceiling
    return amounts


def fits_back(service: str, rung: Rung, scene: Scene, settings: PermitSettings) -> Fit:
    """What this node comes to if it takes a service back up to `rung`, against `recover`.

    Two bounds are known, and neither can be too low: its own load, as if all of it grew with the
    share; and the part of the others' load that would come. While it serves nothing there is only
    the second. One of them is enough.

    Clients that come at once are reckoned as if all that leave the others came here, which routers that
    spread anew by chance do at worst; with many peers that can be more than an accept queue holds, for
    ever. `lasting` says where that alone is in the way.
    """
    own = scene.node
    at = rung_in_force(service, scene)
    before = spread(service, at, scene) if at is not None else {}
    after = spread(service, rung, scene)
    mine = before.get(own.name, 0.0)
    scaled = None
    if mine > LEAST:
        scaled = _scaled(service, own, after.get(own.name, 0.0) / mine, settings)
        if scaled.fits:
            return scaled
    peers = {view.name: sound(view) for view in scene.peers}
    given = {
        name: (node, min(1.0, (part - after.get(name, 0.0)) / part))
        for name, part in before.items()
        if part > LEAST and (node := peers.get(name)) is not None
    }
    lead = f"if {own.name} takes {service} back"
    arriving = fit(given, own, lead, settings, lambda thresholds: thresholds.recover)
    return arriving if scaled is None or arriving.lasting else scaled


def _scaled(service: str, own: Node, grows: float, settings: PermitSettings) -> Fit:
    """Every resource at once: the one nearest its `recover`."""
    base = own.storm.base if own.storm is not None else {}
    found: list[tuple[float, float, str]] = []
    for name, resource in own.resources.items():
        thresholds = settings.of(name)
        if not thresholds.act or resource.utilization is None or not resource.ceiling:
            continue
        idle = min(base.get(name, 0.0) / resource.ceiling, resource.utilization)
        total = idle + (resource.utilization - idle) * max(grows, 1.0)
        found.append((total / thresholds.recover, total, name))
    if not found:
        text = f"what {own.name} would come to with more of {service} is unknown"
        return Fit(False, Reason("unknown-load", text), known=False)
    near, total, name = max(found)
    recover = settings.of(name).recover
    text = (
        f"with more of {service}, {own.name} would reach {percent(total)} of {name};"
        f" it takes that back below {percent(recover)}"
    )
    data: dict[str, int | float | str] = {
        "resource": name,
        "utilization": round(total, 4),
        "recover": recover,
    }
    return Fit(near < 1.0, Reason("projected-load", text, data), badness=near)
