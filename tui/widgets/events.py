"""The events: a list that follows its end until the cursor leaves it."""

from textual import events
from textual.content import Content
from textual.message import Message

from haman.api.schema import Event
from tui.matching import event_matches
from tui.state import FleetState
from tui.views.lists import Columns, columns, event_line
from tui.widgets.rows import Rows

KEPT_MAX = 256
"""Lines that are kept made."""


class EventRows(Rows):
    """One line per event; the cursor is an event, or the end, whatever it is."""

    BORDER_TITLE = "Events · UTC"

    class Opened(Message):
        """The operator wants more of an event."""

        def __init__(self, seq: int) -> None:
            super().__init__()
            self.seq = seq

    class Moved(Message):
        """The cursor is on another event."""

    def __init__(self, *, id: str = "events") -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.add_class("pane")
        self._events: tuple[Event, ...] = ()
        self._all: tuple[Event, ...] = ()
        self._filter: tuple[object, ...] = ()
        self._plan = Columns()
        self._place = ""
        self._search = ""
        self._problem: str | None = ""
        self._seq: int | None = None
        self._kept: dict[tuple[int, bool, bool], tuple[Content, ...]] = {}
        self._kept_for: tuple[Columns, int] | None = None

    @property
    def following(self) -> bool:
        """Whether new events scroll in: until the cursor leaves the end, again from the end on."""
        return self._seq is None

    @property
    def event(self) -> Event | None:
        """The event under the cursor; None if there is none."""
        return self._events[self.at] if self._events else None

    @property
    def listed(self) -> tuple[Event, ...]:
        """Those that are listed."""
        return self._events

    @property
    def count(self) -> int:
        """How many there are; one line says that there are none."""
        return max(1, len(self._events))

    @property
    def at(self) -> int:
        """The event under the cursor, or the one before it, if it is kept no more the first."""
        last = len(self._events) - 1
        if self._seq is None:
            return max(0, last)
        low, high = 0, last
        while low < high:  # ascending by seq
            middle = (low + high + 1) // 2
            if self._events[middle].seq <= self._seq:
                low = middle
            else:
                high = middle - 1
        return max(0, low)

    def show(self, state: FleetState) -> None:
        """Take over the events; the lines in sight stay where they are unless following."""
        now = (state.events_query, state.moment)
        if state.events is not self._all or now != self._filter:
            if self._all[:1] != state.events[:1] and state.events_place != self._place:
                self._kept, self._place = (
                    {},
                    state.events_place,
                )  # another journal, the same numbers
            self._all, self._filter = state.events, now
            self._events = state.shown_events
            self._plan = columns(self._events)
        self._search, self._problem = state.events_search, state.events_problem
        self.put()

    def put(self) -> None:
        """Lines, and in the border what is not in sight."""
        super().put()
        newer = len(self._events) - 1 - self.at
        if self._problem:
            text = "stream lost, reconnecting"
        elif newer > 0 and not self.following:
            text = f"{newer} newer · End follows"
        else:
            text = ""
        if text != (self.border_subtitle or ""):
            self.border_subtitle = text

    def line(self, index: int, width: int) -> tuple[Content, ...]:
        """One event; made once, for while events scroll by each stands there many times."""
        if not self._events:
            none = (
                "Nothing that matches."
                if self._filter[:1] != ("",)
                else "Nothing has happened yet."
            )
            return (Content.styled(none, "$quiet"),)
        event = self._events[index]
        marked = self.has_focus and index == self.at
        found = bool(self._search) and event_matches(self._search, event)
        if (self._plan, width) != self._kept_for or len(self._kept) > KEPT_MAX:
            self._kept, self._kept_for = {}, (self._plan, width)
        key = (event.seq, marked, found)
        if key not in self._kept:
            lead = Content.styled("▌" if marked else "▸" if found else " ", "$primary")
            line = lead + event_line(event, self._plan, width - 1)
            line = line.stylize("bold") if found else line
            self._kept[key] = (line.stylize("on $cursor", 1) if marked else line,)
        return self._kept[key]

    def step(self, lines: int) -> None:
        """To another event; onto the last is to follow."""
        self.go(self.at + lines)

    def go(self, index: int) -> None:
        """Put the cursor on an event."""
        last = len(self._events) - 1
        index = min(max(index, 0), last)
        self._seq = None if index >= last else self._events[index].seq
        self.put()
        self.post_message(self.Moved())

    def find(self, way: int) -> bool:
        """To the next event that is searched for; round the end. False if there is none."""
        total = len(self._events)
        for distance in range(1, total + 1):
            index = (self.at + way * distance) % total
            if event_matches(self._search, self._events[index]):
                self.go(index)
                return True
        return False

    def point(self, index: int, event: events.Click) -> None:
        """To the event that the mouse points at; twice opens it."""
        self.go(index)
        if event.chain > 1 and self.event is not None:
            self.post_message(self.Opened(self.event.seq))
