"""The first page: the fleet, the node under the cursor, what needs attention, what happens."""

from collections.abc import Iterable

from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget

from tui.actions import FLEET
from tui.screens.page import Page
from tui.state import FleetState
from tui.views.lists import alerts_view, columns, event_line
from tui.views.matrix import header, layout, row
from tui.views.node import node_title, node_view
from tui.widgets.events import EventRows
from tui.widgets.fleet import FleetMatrix
from tui.widgets.pane import TextPane

EVENTS_COPIED = 40


class FleetPage(Page):
    """Who serves what, is it as meant, what just happened."""

    NAME = FLEET
    AUTO_FOCUS = "#fleet-rows"

    def compose_body(self) -> Iterable[Widget]:
        """The matrix, node and alerts, events."""
        yield FleetMatrix()
        with Horizontal(id="middle"):
            yield TextPane("Node", id="node")
            yield TextPane("Alerts", id="alerts")
        yield EventRows()

    def show_body(self, state: FleetState) -> None:
        """Draw what differs."""
        seen, node = state.picture, state.focused_node
        if seen is None:
            return
        self.query_one(FleetMatrix).show(state)
        self.query_one(EventRows).show(state)
        alerts = self.query_one("#alerts", TextPane)
        told = alerts_view(seen.status, alerts.cells)
        alerts.show(f"Alerts {len(seen.status.alerts)}".removesuffix(" 0"), told)
        if node:
            pane = self.query_one("#node", TextPane)
            view = node_view(seen.status, node, state.focused_service, state.trends, pane.cells)
            pane.show(node_title(node), view)

    def body_text(self, state: FleetState, width: int) -> Content:
        """Every node, the alerts, the last events."""
        seen = state.picture
        if seen is None:
            return Content("")
        plan = layout(seen, state.cursor, width)
        rows = [header(seen, plan)]
        for node in seen.nodes:
            cells = row(seen, node, state.cursor, plan, state.trends, active=False)
            rows.append(Content("").join(cells))
        rows += [Content(""), alerts_view(seen.status, width), Content("")]
        events = state.shown_events[-EVENTS_COPIED:]
        rows += [event_line(e, columns(events), width) for e in events]
        return Content("\n").join(rows)
