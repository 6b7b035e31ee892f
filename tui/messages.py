"""What can happen to the terminal UI, as facts; `tui.fleet.reduce` is the only reader.

Instants `at_s` are seconds of one monotonic clock, the app's `clock`.
"""

from dataclasses import dataclass

from textual.message import Message

from haman.api.schema import Event, Status


@dataclass(frozen=True, slots=True)
class StatusFetched:
    """The agent answered."""

    status: Status
    at_s: float


@dataclass(frozen=True, slots=True)
class StatusFailed:
    """The agent did not answer; it is asked again at `retry_at_s`."""

    problem: str
    at_s: float
    retry_at_s: float


@dataclass(frozen=True, slots=True)
class EventsOpened:
    """The event stream stands, whether or not anything has happened yet."""


@dataclass(frozen=True, slots=True)
class EventsArrived:
    """Lines of the journal, oldest first."""

    events: tuple[Event, ...]


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

    text: str


@dataclass(frozen=True, slots=True)
class WishAnswered:
    """The agent answered, or could not be asked."""


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
    """The operator wants everything about what the cursor is on."""


@dataclass(frozen=True, slots=True)
class DetailClosed:
    """The operator has read it."""


Fact = (
    StatusFetched
    | StatusFailed
    | EventsOpened
    | EventsArrived
    | EventsBroke
    | Ticked
    | WishSent
    | WishAnswered
    | CursorStepped
    | CursorPlaced
    | DetailOpened
    | DetailClosed
)


class Happened(Message):
    """Carries a fact from a worker or a widget to the app."""

    def __init__(self, fact: Fact) -> None:
        super().__init__()
        self.fact = fact
