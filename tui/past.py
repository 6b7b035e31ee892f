"""The fleet as it stood after an event, as far as the journal tells: pure.

What a thing was then is, in this order: what the last change up to the event made of it; what the
first change after it says that it was before; if nothing changed since, what it is now. A journal is
one node's, so of the others it tells little: their role is known where it has lasted since before
the moment, and is otherwise unknown, never guessed. Resources and headroom are in no journal.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from haman.api.schema import Event, Headroom, Member, Node, Service, Status
from haman.core.words import Condition, Role, Stance

UNKNOWN = "unknown"
NO_HEADROOM = Headroom("in no journal")
_ANNOUNCED = (Stance.FULL, Stance.REDUCED, Stance.SHUT)
_OPERATOR = {
    "operator-drained": ("drained", True),
    "operator-undrained": ("drained", False),
    "operator-paused": ("paused", True),
    "operator-resumed": ("paused", False),
}


@dataclass(frozen=True, slots=True)
class Past:
    """The fleet after `event`; `status` has UNKNOWN where the journal does not tell."""

    status: Status
    event: Event


@dataclass(frozen=True, slots=True)
class Change:
    """From one word to another; None = the event does not say."""

    seq: int
    before: str | None
    after: str


def as_of(status: Status, events: tuple[Event, ...], event: Event) -> Past:
    """Rebuild the fleet as it stood after `event`, from how it is now and the journal in between."""
    nodes = tuple(_node(status, n, events, event) for n in status.nodes)
    services = tuple(_service(status, s, events, event) for s in status.services)
    paused = _then(_operator(events, "paused", status.node), event.seq, str(status.paused))
    then = replace(
        status,
        at=event.at,
        paused=paused == str(True),
        nodes=nodes,
        services=services,
        headroom=NO_HEADROOM,
        alerts=(),
        mode=_mode(services),
    )
    return Past(then, event)


def is_past(status: Status) -> bool:
    """Whether a status was rebuilt: no agent says such a verdict, nor has no scenario at all."""
    return status.headroom == NO_HEADROOM


def _then(changes: Iterable[Change], seq: int, now: str | None) -> str | None:
    """What it was after `seq`; None = nothing tells. `now` counts if nothing changed since."""
    last, following = None, None
    for change in changes:
        if change.seq <= seq:
            last = change
        elif following is None:
            following = change
    if last is not None:
        return last.after
    return following.before if following is not None else now


def _node(status: Status, node: Node, events: tuple[Event, ...], event: Event) -> Node:
    own = node.name == status.node
    now = node.condition if own else None
    condition = _then(changes_of(events, _condition, node.name), event.seq, now)
    if not own and condition is None:
        condition = _then(changes_of(events, _hearing, node.name), event.seq, None)
    drained = _then(_operator(events, "drained", node.name), event.seq, str(node.drained))
    said = next(
        (
            e
            for e in reversed(events)
            if e.seq <= event.seq and e.node == node.name and e.type == "condition-changed"
        ),
        None,
    )
    return replace(
        node,
        condition=condition or UNKNOWN,
        reasons=said.reasons if said else (),
        age_ms=0.0,
        resources=(),
        binding="",
        connections=None,
        drained=drained == str(True) if own else False,
        neighbors=(),
        proxy=replace(node.proxy, up=condition in {Condition.IN_SERVICE, Condition.SATURATED}),
    )


def _service(status: Status, service: Service, events: tuple[Event, ...], event: Event) -> Service:
    members = tuple(_member(status, service, m, events, event) for m in service.members)
    holders = tuple(m.node for m in members if m.role == Role.ACTIVE or m.stance in _ANNOUNCED)
    known = all((m.role or m.stance) != UNKNOWN for m in members)
    state = UNKNOWN
    if service.kind == "vip" and len(holders) > 1:
        state = "conflict"
    elif known or (service.kind == "vip" and holders):
        state = "ok" if holders else "down"
    return replace(service, state=state, holders=holders, members=members, reasons=())


def _member(
    status: Status, service: Service, member: Member, events: tuple[Event, ...], event: Event
) -> Member:
    now = member.role or member.stance
    lasted = bool(member.since) and member.since <= event.at
    changes = changes_of(events, standing, member.node, service.name)
    own = member.node == status.node
    word = _then(changes, event.seq, now if lasted or own else None) or UNKNOWN
    last = next((c for c in reversed(changes) if c.seq <= event.seq), None)
    since = next((e.at for e in events if last and e.seq == last.seq), "")
    if lasted:
        since = member.since
    same = word == now
    told = replace(
        member,
        since=since,
        reasons=next((e.reasons for e in events if last and e.seq == last.seq), ()),
        priority=member.priority if same else 0,
        weight=member.weight if same else 0,
        share=None,
        routers=0,
    )
    return replace(told, stance=word) if service.kind == "anycast" else replace(told, role=word)


def changes_of(
    events: tuple[Event, ...],
    read: Callable[[Event, str], Change | None],
    node: str,
    service: str = "",
) -> tuple[Change, ...]:
    """What `read` makes of the events about one node and service."""
    found = (read(e, node) for e in events if e.service == service)
    return tuple(change for change in found if change is not None)


def _condition(event: Event, node: str) -> Change | None:
    if event.type != "condition-changed" or event.node != node or "to" not in event.data:
        return None
    return Change(event.seq, _word(event, "from"), str(event.data["to"]))


def _hearing(event: Event, node: str) -> Change | None:
    """Whether a peer is heard; what it is while it is, this journal does not say."""
    if event.type not in {"peer-lost", "peer-found"} or event.data.get("peer") != node:
        return None
    if event.type == "peer-lost":
        return Change(event.seq, None, Condition.STALE)
    return Change(event.seq, Condition.STALE, UNKNOWN)


def standing(event: Event, node: str) -> Change | None:
    """The role of a VIP, or the stance of an anycast service, if the event tells of one.

    Whoever takes a VIP says of whom: that one held it until then.
    """
    if event.node != node:
        handed = event.type == "role-changed" and event.data.get("new") == Role.ACTIVE
        if handed and any(
            r.code == "peer-released" and r.data.get("peer") == node for r in event.reasons
        ):
            return Change(event.seq, Role.ACTIVE, Role.RELEASED)
        return None
    if event.type == "role-changed" and "new" in event.data:
        return Change(event.seq, _word(event, "old"), str(event.data["new"]))
    if event.type == "stance-changed" and "stance" in event.data:
        return Change(event.seq, None, str(event.data["stance"]))
    return None


def _operator(events: tuple[Event, ...], what: str, node: str) -> tuple[Change, ...]:
    found = ((e, _OPERATOR.get(e.type)) for e in events if e.node == node)
    return tuple(
        Change(e.seq, str(not said[1]), str(said[1]))
        for e, said in found
        if said and said[0] == what
    )


def _word(event: Event, key: str) -> str | None:
    return str(event.data[key]) if key in event.data else None


def _mode(services: tuple[Service, ...]) -> str:
    """As far as the holders are known."""
    holders = {h for s in services for h in s.holders}
    if len(holders) > 1 or any(s.kind == "anycast" for s in services):
        return "active-active"
    return "active-passive" if holders else UNKNOWN
