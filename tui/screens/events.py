"""The journal: filter, search, jump to a moment, export."""

from collections.abc import Iterable

from textual import on
from textual.content import Content
from textual.widget import Widget

from tui.actions import EVENTS
from tui.screens.page import Page
from tui.state import FleetState
from tui.views.lists import columns, event_line, event_view
from tui.widgets.events import EventRows
from tui.widgets.pane import TextPane


class EventsPage(Page):
    """Every event that is kept, and the one under the cursor in full."""

    NAME = EVENTS
    AUTO_FOCUS = "#journal"

    def compose_body(self) -> Iterable[Widget]:
        """The list, and one event."""
        yield EventRows(id="journal")
        yield TextPane("Event", id="event")

    @property
    def rows(self) -> EventRows:
        """The list."""
        return self.query_one(EventRows)

    def show_body(self, state: FleetState) -> None:
        """Draw what differs."""
        rows = self.rows
        rows.show(state)
        shown, kept = len(rows.listed), len(state.events)
        title = f"Events · UTC · {shown:,}" + (f" of {kept:,}" if shown != kept else "")
        for word, query in (("only", state.events_query), ("searching", state.events_search)):
            title += f" · {word} {query}" if query else ""
        if rows.border_title != Content(title).markup:
            rows.border_title = Content(title).markup
        self.show_event()

    @on(EventRows.Moved)
    def show_event(self) -> None:
        """Draw the event under the cursor in full."""
        pane, event = self.query_one("#event", TextPane), self.rows.event
        title = f"{event.type} · {event.seq}" if event else "Event"
        pane.show(title, event_view(event, pane.cells) if event else Content(""))

    def body_text(self, state: FleetState, width: int) -> Content:
        """Every event that is listed."""
        events = state.shown_events
        plan = columns(events)
        return Content("\n").join([event_line(e, plan, width) for e in events])
