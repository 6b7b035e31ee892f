"""The state of the terminal UI: everything that is drawn is drawn from this."""

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import TypeVar

from haman.api import runs
from haman.api.plain import is_routing
from haman.api.schema import Done, Event, Node, Problem, Scenario, Service, Status
from tui.matching import event_matches, offer_matches
from tui.past import Past
from tui.picture import Picture
from tui.plans import Plan
from tui.runs import Run
from tui.trends import Trends

EVENTS_MAX = 1000
HISTORY_MAX = 50
STALE_AFTER_S = 2.0

T = TypeVar("T", Node, Service)


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
class Undertaking:
    """An act that was asked for.

    Attributes:
        since_s: when it was.
        answer: the agent's; None while it has not answered.
    """

    plan: Plan
    since_s: float
    answer: Done | Problem | None = None


@dataclass(frozen=True, slots=True)
class Loss:
    """What the operator asks of headroom.

    Attributes:
        nodes: that are lost.
        answer: of the agent, for `answered`.
    """

    nodes: tuple[str, ...] = ()
    answered: tuple[str, ...] = ()
    answer: Scenario | Problem | None = None


@dataclass(frozen=True, slots=True)
class FleetState:
    """Everything the widgets render from.

    Attributes:
        now_s: the latest instant heard of.
        status_at_s: when `status` was fetched.
        place: where it came from.
        picture: what of it is in sight, or of the fleet as it stood at `moment`.
        problem: why the last attempt failed; "" if it did not.
        attempts: failures since the last answer.
        failing_since_s: of the first of those failures.
        events_place: whose journal `events` are of.
        events_dropped: how many old events fell off the front, for ever.
        events_problem: why the event stream is down; "" before it was tried, None while it stands.
        undertaking: what the agent was asked to do last; None = nothing, or it has been seen.
        read_only: nothing can be changed from here; `read_only_because` says why, if there is more to it
            than the operator's own choice.
        offers: playbooks and drills; `offers_problem`: why they are not known, None = they are.
        run: the one that goes on, or the last one that is still looked at.
        detail: what is open in full: a service if it names one, else a node; None = nothing.
        moment: the past that is looked at; None = now.
    """

    now_s: float = 0.0
    status: Status | None = None
    status_at_s: float = 0.0
    place: str = ""
    picture: Picture | None = None
    query: str = ""
    trends: Trends = field(default_factory=Trends)
    problem: str = ""
    attempts: int = 0
    failing_since_s: float = 0.0
    retry_at_s: float = 0.0
    events: tuple[Event, ...] = ()
    events_place: str = ""
    events_dropped: int = 0
    events_problem: str | None = ""
    events_query: str = ""
    events_search: str = ""
    cursor: Cursor = Cursor()
    undertaking: Undertaking | None = None
    read_only: bool = False
    read_only_because: str = ""
    detail: Cursor | None = None
    moment: Past | None = None
    loss: Loss = Loss()
    offers: tuple[runs.Offer, ...] = ()
    offers_problem: str | None = ""
    offers_query: str = ""
    run: Run | None = None

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
        """The nodes in sight, () before the first answer."""
        return self.picture.nodes if self.picture else ()

    @property
    def services(self) -> tuple[Service, ...]:
        """The services in sight, () before the first answer."""
        return self.picture.services if self.picture else ()

    @property
    def shown_events(self) -> tuple[Event, ...]:
        """Those that pass the filter, and if a past is looked at, none that came later."""
        last = self.moment.event.seq if self.moment else None
        if last is None and not self.events_query:
            return self.events
        return tuple(
            e
            for e in self.events
            if (last is None or e.seq <= last) and event_matches(self.events_query, e)
        )

    @property
    def shown_offers(self) -> tuple[runs.Offer, ...]:
        """Those that pass the filter."""
        return tuple(o for o in self.offers if offer_matches(self.offers_query, o))

    @property
    def focused_node(self) -> Node | None:
        """The node under the cursor."""
        return self.picture.node(self.cursor.node) if self.picture else None

    @property
    def focused_service(self) -> Service | None:
        """The service under the cursor; the only one there is, if the cursor is on none."""
        if not self.cursor.service and len(self.services) == 1:
            return self.services[0]
        return self.picture.service(self.cursor.service) if self.picture else None

    @property
    def detailed_service(self) -> Service | None:
        """The service that is open in full."""
        if self.detail is None or self.picture is None:
            return None
        return _named(self.picture.status.services, self.detail.service)

    @property
    def detailed_node(self) -> Node | None:
        """The node that is open in full."""
        if self.detail is None or self.picture is None or self.detail.service:
            return None
        return _named(self.picture.status.nodes, self.detail.node)

    def history(self, service: str = "", node: str = "") -> tuple[Event, ...]:
        """The events of a service, or else those of a node, newest first, at most HISTORY_MAX.

        To an anycast service belongs what happened to sessions and to ExaBGP, too.
        """
        found = _named(self.picture.status.services, service) if self.picture else None
        routed = found is not None and found.kind == "anycast"
        last = self.moment.event.seq if self.moment else None

        def concerns(event: Event) -> bool:
            if last is not None and event.seq > last:
                return False
            if not service:
                return event.node == node
            return event.service == service or (
                routed and not event.service and is_routing(event.type)
            )

        return tuple(islice(filter(concerns, reversed(self.events)), HISTORY_MAX))


def _named(found: tuple[T, ...], name: str) -> T | None:
    return next((each for each in found if each.name == name), None)
