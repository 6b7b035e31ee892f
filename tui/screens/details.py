"""The pages of one node and of one service: everything there is to say, in one text that scrolls."""

from collections.abc import Iterable

from textual.content import Content
from textual.widget import Widget

from tui.actions import NODE, SERVICE
from tui.screens.page import Page
from tui.state import FleetState
from tui.views.node import node_detail, node_title
from tui.views.service import service_title, service_view
from tui.widgets.pane import TextPane


class DetailPage(Page):
    """One text, kept true."""

    AUTO_FOCUS = "#detail"

    def compose_body(self) -> Iterable[Widget]:
        """The text."""
        yield TextPane("", id="detail")

    def show_body(self, state: FleetState) -> None:
        """Draw what differs."""
        pane = self.query_one("#detail", TextPane)
        if pane.cells > 0:
            pane.show(self.title_of(state), self.body_text(state, pane.cells))

    def title_of(self, state: FleetState) -> str:
        """What stands in the border."""
        raise NotImplementedError


class NodePage(DetailPage):
    """Resources, ceilings, trends, sessions, counters, its part in every service, its history."""

    NAME = NODE

    def title_of(self, state: FleetState) -> str:
        """The node."""
        return node_title(state.detailed_node) if state.detailed_node else ""

    def body_text(self, state: FleetState, width: int) -> Content:
        """The node in full."""
        node = state.detailed_node
        if node is None or state.picture is None:
            return Content("")
        history = state.history(node=node.name)
        return node_detail(state.picture.status, node, history, state.trends, width)


class ServicePage(DetailPage):
    """Who holds it and why, why not the others, who held it when, its history."""

    NAME = SERVICE

    def title_of(self, state: FleetState) -> str:
        """The service."""
        return service_title(state.detailed_service) if state.detailed_service else ""

    def body_text(self, state: FleetState, width: int) -> Content:
        """The service in full."""
        service = state.detailed_service
        if service is None or state.picture is None:
            return Content("")
        history = state.history(service=service.name)
        events = state.events
        if state.moment:
            events = tuple(e for e in events if e.seq <= state.moment.event.seq)
        return service_view(state.picture.status, service, history, width, events)
