"""The state of the terminal UI, and the pure function that is the only way to change it.

    connecting ──StatusFetched──► live ──StatusFailed, or silence > STALE_AFTER_S──► lost
        │                          ▲                                                   │
        └──StatusFailed──► absent ─┴───────────────────StatusFetched───────────────────┘

Invariants: at most EVENTS_MAX events are kept, ascending by seq; the cursor stands on a node (and
a service) that exists whenever there is one, and so does what is open in detail; a state that did not change is the same object.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice

from haman.api.plain import is_routing
from haman.api.schema import Event, Node, Service, Status
from tui.messages import (
    CursorPlaced,
    CursorStepped,
    DetailClosed,
    DetailOpened,
    EventsArrived,
    EventsBroke,
    EventsOpened,
    Fact,
    StatusFailed,
    StatusFetched,
    Ticked,
    WishAnswered,
    WishSent,
)

EVENTS_MAX = 1000
HISTORY_MAX = 50
STALE_AFTER_S = 2.0


class Link(StrEnum):
    """How we stand with the agent."""

    CONNECTING = "connecting"
    ABSENT = "absent"
    LIVE = "live"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the operator looks: a node, and one of its services ("" = the node itself)."""

    node: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True)
class FleetState:
    """Everything the widgets render from.

    Attributes:
        now_s: the latest instant heard of.
        status_at_s: when `status` was fetched.
        problem: why the last attempt failed; "" if it did not.
        attempts: failures since the last answer.
        failing_since_s: of the first of those failures.
        events_dropped: how many old events fell off the front, for ever.
        events_problem: why the event stream is down; "" before it was tried, None while it stands.
        pending: what the agent was asked to do and has not answered; "" if nothing.
        detail: what is open in full: a service if it names one, else a node; None = nothing.
    """

    now_s: float = 0.0
    status: Status | None = None
    status_at_s: float = 0.0
    problem: str = ""
    attempts: int = 0
    failing_since_s: float = 0.0
    retry_at_s: float = 0.0
    events: tuple[Event, ...] = ()
    events_dropped: int = 0
    events_problem: str | None = ""
    cursor: Cursor = Cursor()
    pending: str = ""
    detail: Cursor | None = None

    @property
    def age_s(self) -> float:
        """How old the picture is."""
        return max(0.0, self.now_s - self.status_at_s)

    @property
    def link(self) -> Link:
        """How we stand with the agent; silence counts as loss even before a call fails."""
        if self.status is None:
            return Link.ABSENT if self.problem else Link.CONNECTING
        if self.problem or self.age_s > STALE_AFTER_S:
            return Link.LOST
        return Link.LIVE

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes, () before the first answer."""
        return self.status.nodes if self.status else ()

    @property
    def services(self) -> tuple[Service, ...]:
        """The services, () before the first answer."""
        return self.status.services if self.status else ()

    @property
    def focused_node(self) -> Node | None:
        """The node under the cursor."""
        return next((n for n in self.nodes if n.name == self.cursor.node), None)

    @property
    def focused_service(self) -> Service | None:
        """The service under the cursor; the only one there is, if the cursor is on none."""
        if not self.cursor.service and len(self.services) == 1:
            return self.services[0]
        return next((s for s in self.services if s.name == self.cursor.service), None)

    @property
    def detailed_service(self) -> Service | None:
        """The service that is open in full."""
        name = self.detail.service if self.detail else ""
        return next((s for s in self.services if s.name == name), None)

    @property
    def detailed_node(self) -> Node | None:
        """The node that is open in full."""
        if self.detail is None or self.detail.service:
            return None
        return next((n for n in self.nodes if n.name == self.detail.node), None)

    def history(self, service: str = "", node: str = "") -> tuple[Event, ...]:
        """The events of a service, or else those of a node, newest first, at most HISTORY_MAX.

        To an anycast service belongs what happened to sessions and to ExaBGP, too.
        """
        found = next((s for s in self.services if s.name == service), None)
        routed = found is not None and found.kind == "anycast"

        def concerns(event: Event) -> bool:
            if not service:
                return event.node == node
            return event.service == service or (
                routed and not event.service and is_routing(event.type)
            )

        return tuple(islice(filter(concerns, reversed(self.events)), HISTORY_MAX))


def reduce(state: FleetState, fact: Fact) -> FleetState:  # noqa: C901, PLR0911 - one case per fact
    """What `state` becomes when `fact` happens."""
    match fact:
        case Ticked(at_s):
            return _at(state, at_s)
        case StatusFetched(status, at_s):
            fresh = replace(
                _at(state, at_s), status=status, status_at_s=at_s, problem="", attempts=0
            )
            return _settled(fresh)
        case StatusFailed(problem, at_s, retry_at_s):
            return replace(
                _at(state, at_s),
                problem=problem,
                attempts=state.attempts + 1,
                failing_since_s=state.failing_since_s if state.attempts else at_s,
                retry_at_s=retry_at_s,
            )
        case EventsOpened():
            return replace(state, events_problem=None)
        case EventsArrived(events):
            return _with_events(state, events)
        case EventsBroke(problem):
            return replace(state, events_problem=problem)
        case WishSent(text):
            return replace(state, pending=text)
        case WishAnswered():
            return replace(state, pending="")
        case CursorStepped(nodes, services):
            return _stepped(state, nodes, services)
        case CursorPlaced(node, service):
            return _settled(replace(state, cursor=Cursor(node, service)))
        case DetailOpened():
            return replace(state, detail=state.cursor) if state.focused_node else state
        case DetailClosed():
            return state if state.detail is None else replace(state, detail=None)


def _at(state: FleetState, at_s: float) -> FleetState:
    return state if at_s <= state.now_s else replace(state, now_s=at_s)


def _with_events(state: FleetState, events: tuple[Event, ...]) -> FleetState:
    """Append what is new; a journal that began anew (lower seq) replaces what we had."""
    if not events:
        return state
    last = state.events[-1].seq if state.events else 0
    known = state.events if events[-1].seq >= last else ()
    kept = (*known, *(e for e in events if not known or e.seq > last))
    dropped = max(0, len(kept) - EVENTS_MAX)
    return replace(
        state,
        events=kept[dropped:],
        events_dropped=state.events_dropped + dropped,
        events_problem=None,
    )


def _settled(state: FleetState) -> FleetState:
    """Put the cursor on something that exists."""
    if not state.nodes:
        return state
    names = [n.name for n in state.nodes]
    node = state.cursor.node if state.cursor.node in names else names[0]
    service = state.cursor.service
    if service not in {s.name for s in state.services}:
        service = ""
    cursor = Cursor(node, service)
    if state.detail and not state.detailed_node and not state.detailed_service:
        state = replace(state, detail=None)
    return state if cursor == state.cursor else replace(state, cursor=cursor)


def _stepped(state: FleetState, nodes: int, services: int) -> FleetState:
    if not state.nodes:
        return state
    rows = [n.name for n in state.nodes]
    columns = ["", *(s.name for s in state.services)]
    row = rows.index(state.cursor.node) + nodes
    column = columns.index(state.cursor.service) + services
    cursor = Cursor(
        rows[min(max(row, 0), len(rows) - 1)], columns[min(max(column, 0), len(columns) - 1)]
    )
    return state if cursor == state.cursor else replace(state, cursor=cursor)
