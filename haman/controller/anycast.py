"""Between the decisions on anycast services and what routers, peers and operators are told of them."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from haman.bgp.surface import AnnouncerSnapshot
from haman.config.model import Anycast, Config
from haman.core.announcements import (
    Announcement,
    AnycastReport,
    AnycastStance,
    HeldAddresses,
    NeighborReport,
)
from haman.core.ladder import WITHDRAWN, ConfiguredAnycast, Rung, in_force
from haman.core.words import Event, Reason, Stance

NS_PER_S = 1_000_000_000
SESSION_UP = "up"


def configured_anycast(config: Config) -> tuple[ConfiguredAnycast, ...]:
    """The anycast services, as decisions see them."""
    return tuple(_configured(each) for each in config.anycast)


def _configured(service: Anycast) -> ConfiguredAnycast:
    return ConfiguredAnycast(
        service.name,
        service.weight,
        service.weighted,
        service.reduced_weights,
        round(service.step_s * NS_PER_S),
        round(service.drain_s * NS_PER_S),
        round(service.handover_timeout_s * NS_PER_S),
    )


def announcements(config: Config, stances: tuple[AnycastStance, ...]) -> tuple[Announcement, ...]:
    """What the relay shall have announced: a whole set, so that what is not in it is withdrawn."""
    wanted = {stance.service: stance for stance in stances}
    found = []
    for service in config.anycast:
        stance = wanted.get(service.name)
        if stance is None or stance.stance is Stance.WITHDRAWN:
            continue
        found.append(
            Announcement(
                service=service.name,
                prefixes=service.prefixes,
                shut=stance.stance is Stance.SHUT,
                weight=stance.weight if service.weighted else None,
                communities=service.community,
                med=service.med,
            )
        )
    return tuple(found)


def rung(service: Anycast, snapshot: AnnouncerSnapshot) -> Rung:
    """What routers were told last; a relay that is not reached may have shut or withdrawn since."""
    return in_force(_configured(service), snapshot.announced) if snapshot.relay else WITHDRAWN


def anycast_report(
    service: Anycast,
    stance: AnycastStance | None,
    held: HeldAddresses | None,
    snapshot: AnnouncerSnapshot,
    since_ns: int,
) -> AnycastReport:
    """This node's word on one service: what is in force, and why it is that."""
    actual = rung(service, snapshot)
    wanted = stance.reasons if stance is not None else ()
    families = {ip_network(prefix).version for prefix in service.prefixes}
    routers = [n for n in snapshot.neighbors if ip_address(n.address).version in families]
    lost = actual == WITHDRAWN and stance is not None and stance.stance is not Stance.WITHDRAWN
    why = _why_not_in_force(stance, actual, snapshot) if stance is not None else ()
    # Without the relay no session is known, and that is said once.
    known = routers if snapshot.relay else []
    down = tuple(_session_down(n) for n in known if n.session != SESSION_UP)
    return AnycastReport(
        service=service.name,
        stance=actual.stance,
        weight=actual.weight,
        full_weight=service.weight,
        since_ns=since_ns,
        prefixes=service.prefixes,
        held=held.addresses if held is not None else (),
        neighbors_up=sum(n.session == SESSION_UP for n in known),
        # What keeps it from serving comes before what it would like to do.
        reasons=(*why, *down, *wanted) if lost else (*wanted, *why, *down),
        weighted=service.weighted,
        unheard=_unheard(service, known),
    )


def _unheard(service: Anycast, known: Sequence[NeighborReport]) -> tuple[str, ...]:
    families = {ip_address(n.address).version for n in known}
    mute = families - {ip_address(n.address).version for n in known if n.session == SESSION_UP}
    return tuple(p for p in service.prefixes if ip_network(p).version in mute)


def _why_not_in_force(
    stance: AnycastStance, actual: Rung, snapshot: AnnouncerSnapshot
) -> tuple[Reason, ...]:
    if not snapshot.relay:
        problem = snapshot.problem or "the relay is not reached"
        return (Reason("relay-not-reached", f"nothing can be announced: {problem}"),)
    if (stance.stance, stance.weight) == (actual.stance, actual.weight):
        return ()
    wanted = str(stance.stance) + (f" at weight {stance.weight}" if stance.weight else "")
    text = f"{wanted} is wanted; ExaBGP has not acknowledged it"
    text += f": {snapshot.problem}" if snapshot.problem else " yet"
    return (Reason("not-acknowledged", text, {"weight": stance.weight}),)


def _session_down(neighbor: NeighborReport) -> Reason:
    why = f": {neighbor.reasons[0].text}" if neighbor.reasons else ""
    text = f"session with {neighbor.name} is {neighbor.session}{why}"
    data: dict[str, int | float | str] = {"neighbor": neighbor.name, "session": neighbor.session}
    return Reason("session-down", text, data)


def rung_events(
    before: tuple[AnycastStance, ...], after: tuple[AnycastStance, ...], at_ns: int
) -> tuple[Event, ...]:
    """One event for each service whose stance or weight is another."""
    old = {stance.service: (stance.stance, stance.weight) for stance in before}
    return tuple(
        Event(
            "stance-changed",
            at_ns,
            f"{stance.service} is {stance.stance} here"
            + (f", weight {stance.weight}" if stance.stance is Stance.REDUCED else ""),
            stance.service,
            stance.reasons,
            {"stance": str(stance.stance), "weight": stance.weight},
        )
        for stance in after
        if old.get(stance.service) != (stance.stance, stance.weight)
    )
