"""What a node could move, and who would get how much of it.

What part of a node's load belongs to which service is not known, so a move is reckoned as if all of
it did (as in `shares`): a VIP's next holder gets the whole load, the announcers of an anycast service
what the routers' spread changes by. That is the most it can be.
"""

from collections.abc import Iterator
from dataclasses import replace

from haman.core.announcements import AnycastReport
from haman.core.frozen import dataclass
from haman.core.heirs import can_serve, groups_of
from haman.core.ladder import ConfiguredAnycast, Rung
from haman.core.permits.scene import VOTERS, Scene
from haman.core.permits.standing import PermitSettings
from haman.core.reports import NodeReport
from haman.core.serving import SERVING, servers
from haman.core.shares import ecmp
from haman.core.words import Role, Stance

LEAST = 1e-6
"""A share below this is none."""


@dataclass(frozen=True, slots=True)
class Move:
    """One step that would take load off this node.

    Attributes:
        shares: of this node's whole load, by the peer that gets it; never empty.
        rung: of an anycast service; None = a VIP moves, and its group with it.
        to: the VIP's next holder.
    """

    service: str
    shares: dict[str, float]
    rung: Rung | None = None
    to: str = ""


def possible(scene: Scene, settings: PermitSettings) -> tuple[Move, ...]:
    """Every move that would take load off this node: one step of each ladder, each VIP to each peer."""
    anycast = (_step_down(service, scene) for service in settings.anycast)
    return (*(move for move in anycast if move is not None), *_vip_moves(scene, settings))


def again(move: Move, scene: Scene) -> dict[str, float]:
    """The shares of a move that was found before, as they would be now; empty = nothing would move."""
    if move.rung is not None:
        return _moved(move.service, move.rung, scene)
    return move.shares if _active(scene.own, move.service) else {}


def rung_in_force(service: str, scene: Scene) -> Rung | None:
    """What routers were told of an anycast service; None = that is not known."""
    said = scene.own.service(service)
    return Rung(said.stance, said.weight) if said is not None and scene.relay else None


def spread(service: str, rung: Rung, scene: Scene) -> dict[str, float]:
    """How routers would spread an anycast service if this node were at `rung`, by node."""
    own = scene.own
    lowered = tuple(_at(said, rung) if said.service == service else said for said in own.anycast)
    nodes = (replace(own, anycast=lowered), *scene.reports.values())
    return ecmp(service, nodes, weighted=service not in scene.unweighted)


def _at(said: AnycastReport, rung: Rung) -> AnycastReport:
    return replace(said, stance=rung.stance, weight=rung.weight)


def _step_down(service: ConfiguredAnycast, scene: Scene) -> Move | None:
    """To the nearest lower rung that moves anything; where weights count for nothing, that is shut."""
    said, at = scene.own.service(service.name), rung_in_force(service.name, scene)
    if said is None or not said.carried or at not in service.rungs:
        return None
    if not servers(service.name, scene.peers):
        return None
    lower = service.rungs[service.rungs.index(at) + 1 :]
    for rung in (*lower, service.shut):
        shares = _moved(service.name, rung, scene)
        if shares:
            return Move(service.name, shares, rung)
    return None


def _moved(service: str, rung: Rung, scene: Scene) -> dict[str, float]:
    now = rung_in_force(service, scene)
    if now is None or now.stance not in SERVING:
        return {}
    before, after = spread(service, now, scene), spread(service, rung, scene)
    mine = before.get(scene.own.node, 0.0)
    if mine <= LEAST:
        return {}
    gained = {n: (part - before.get(n, 0.0)) / mine for n, part in after.items()}
    return {n: min(share, 1.0) for n, share in gained.items() if share > LEAST}


def _vip_moves(scene: Scene, settings: PermitSettings) -> Iterator[Move]:
    seen: set[str] = set()
    groups = groups_of(settings.vips)
    for vip in settings.vips:
        group = groups[vip.name]
        if vip.name in seen or not all(_active(scene.own, each.name) for each in group):
            continue
        seen |= {each.name for each in group}
        for name, report in scene.reports.items():
            if report.condition in VOTERS and can_serve(group, report):
                yield Move(vip.name, {name: 1.0}, to=name)


def _active(report: NodeReport, vip: str) -> bool:
    said = report.vip(vip)
    return said is not None and said.role is Role.ACTIVE


def has_moved(move: Move, scene: Scene) -> bool:
    """Whether a VIP is where it should go, by the word of both."""
    report = scene.report(move.to)
    return (
        report is not None
        and _active(report, move.service)
        and not _active(scene.own, move.service)
    )


def stance_of(move: Move) -> tuple[Stance, int]:
    """For the ask; a VIP has none."""
    return (Stance.FULL, 0) if move.rung is None else (move.rung.stance, move.rung.weight)
