"""What can happen to the terminal UI, as facts; `tui.fleet.reduce` is the only reader.

Instants `at_s` are seconds of one monotonic clock, the app's `clock`.
"""

from dataclasses import dataclass

from textual.message import Message

from haman.api import runs
from haman.api.schema import Done, Event, Problem, Scenario, Status
from tui.plans import Plan
from tui.runs import Order


@dataclass(frozen=True, slots=True)
class StatusFetched:
    """The agent at `place` answered."""

    status: Status
    at_s: float
    place: str = ""


@dataclass(frozen=True, slots=True)
class StatusFailed:
    """No agent answered; they are asked again at `retry_at_s`."""

    problem: str
    at_s: float
    retry_at_s: float


@dataclass(frozen=True, slots=True)
class EventsOpened:
    """The event stream stands, whether or not anything has happened yet."""


@dataclass(frozen=True, slots=True)
class EventsArrived:
    """Lines of the journal at `place`, oldest first; another place has another journal."""

    events: tuple[Event, ...]
    place: str = ""


@dataclass(frozen=True, slots=True)
class EventsBroke:
    """The event stream ended."""

    problem: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed."""

    at_s: float


@dataclass(frozen=True, slots=True)
class WishSent:
    """The agent was asked to act, and has not answered yet."""

    plan: Plan
    at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class WishAnswered:
    """The agent answered, or could not be asked."""

    answer: Done | Problem


@dataclass(frozen=True, slots=True)
class WishForgotten:
    """The operator has seen how it went."""


@dataclass(frozen=True, slots=True)
class ActsForbidden:
    """The operator only watches: by choice, or for lack of rights; `because` says which."""

    because: str = ""


@dataclass(frozen=True, slots=True)
class CursorStepped:
    """The operator moved the cursor; steps may be negative and are clamped."""

    nodes: int = 0
    services: int = 0


@dataclass(frozen=True, slots=True)
class CursorPlaced:
    """The operator pointed at a node, or at its cell for one service ("" = the node itself)."""

    node: str
    service: str = ""


@dataclass(frozen=True, slots=True)
class DetailOpened:
    """The operator wants everything about a service, or else a node; "" both = what the cursor is on."""

    node: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True)
class DetailClosed:
    """The operator has read it."""


@dataclass(frozen=True, slots=True)
class FleetFiltered:
    """The operator wants only the nodes and services that match; "" = all."""

    query: str


@dataclass(frozen=True, slots=True)
class EventsFiltered:
    """The operator wants only the events that match; "" = all."""

    query: str


@dataclass(frozen=True, slots=True)
class EventsSearched:
    """The operator looks for events that match, among those shown; "" = for nothing."""

    query: str


@dataclass(frozen=True, slots=True)
class MomentChosen:
    """The operator wants to see the fleet as it stood after the event `seq`; None = now."""

    seq: int | None


@dataclass(frozen=True, slots=True)
class LossToggled:
    """The operator counts a node among those that are lost, or no more."""

    node: str


@dataclass(frozen=True, slots=True)
class LossChosen:
    """The operator asks for the loss of exactly these nodes."""

    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LossAnswered:
    """What the loss of `nodes` would do, or why nobody can say."""

    nodes: tuple[str, ...]
    answer: Scenario | Problem


@dataclass(frozen=True, slots=True)
class OffersTold:
    """What can be run; `problem`: why that is not known, "" = it is."""

    offers: tuple[runs.Offer, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class OffersFiltered:
    """The operator wants only the playbooks and drills that match; "" = all."""

    query: str


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The program of a run was started."""

    order: Order
    at_s: float


@dataclass(frozen=True, slots=True)
class RunTold:
    """Its program wrote a line."""

    line: runs.Line
    at_s: float


@dataclass(frozen=True, slots=True)
class RunStopped:
    """The operator wants it to stop after what is under way."""


@dataclass(frozen=True, slots=True)
class RunOver:
    """Its program ended with `status`, after some complaint or none."""

    status: int
    complaint: str
    at_s: float


@dataclass(frozen=True, slots=True)
class RunForgotten:
    """The operator has seen how it went, and turns to something else."""


Fact = (
    StatusFetched
    | StatusFailed
    | EventsOpened
    | EventsArrived
    | EventsBroke
    | Ticked
    | WishSent
    | WishAnswered
    | WishForgotten
    | ActsForbidden
    | CursorStepped
    | CursorPlaced
    | DetailOpened
    | DetailClosed
    | FleetFiltered
    | EventsFiltered
    | EventsSearched
    | MomentChosen
    | LossToggled
    | LossChosen
    | LossAnswered
    | OffersTold
    | OffersFiltered
    | RunStarted
    | RunTold
    | RunStopped
    | RunOver
    | RunForgotten
)


class Happened(Message):
    """Carries a fact from a worker or a widget to the app."""

    def __init__(self, fact: Fact) -> None:
        super().__init__()
        self.fact = fact
