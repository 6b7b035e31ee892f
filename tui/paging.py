"""Turning pages: from the fleet to a node, a service, headroom, the journal, the past, and back."""

from collections.abc import Callable

from textual import on, work
from textual.screen import ModalScreen
from textual.worker import Worker

from tui.actions import FLEET
from tui.feed import Pace, watch_loss
from tui.messages import (
    DetailClosed,
    DetailOpened,
    FleetFiltered,
    Happened,
    LossChosen,
    LossToggled,
    MomentChosen,
)
from tui.operating import OperatingApp
from tui.screens.details import NodePage, ServicePage
from tui.screens.events import EventsPage
from tui.screens.headroom import HeadroomPage
from tui.screens.page import Page
from tui.source import Source
from tui.widgets.events import EventRows
from tui.widgets.fleet import NodeRows


class PagingApp(OperatingApp):
    """Which page is on top; the fleet lies below, and dialogs above."""

    def __init__(self, source: Source, place: str, clock: Callable[[], float], pace: Pace) -> None:
        super().__init__(source, clock)
        self._place = place
        self._pace = pace
        self._asking: Worker[None] | None = None

    def take(self, message: Happened) -> None:
        """Change the state."""
        raise NotImplementedError

    @property
    def page(self) -> Page:
        """The page on top, under any dialog; only while `is_open`."""
        return next(s for s in reversed(self.screen_stack) if isinstance(s, Page))

    @property
    def is_open(self) -> bool:
        """Whether there is a page: workers may tell something when the app is closing already."""
        return any(isinstance(s, Page) for s in self.screen_stack)

    def show_page(self) -> None:
        """Draw the page on top, and which keys it has."""
        if self.is_open:
            self.page.show(self.fleet)
            self.refresh_bindings()

    def _turn_to(self, page: Page | None) -> None:
        """Show another page; None = the fleet."""
        while isinstance(self.screen, ModalScreen):
            self.pop_screen()
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        if page is None:
            if len(self.screen_stack) > 1:
                self.pop_screen()
            self.tell(DetailClosed())
        else:
            page.show(self.fleet)
            if len(self.screen_stack) > 1:
                self.switch_screen(page)
            else:
                self.push_screen(page)
        self.call_after_refresh(self.show_page)

    def _open(self, node: str = "", service: str = "") -> None:
        """Everything about a node, a service, or what the cursor is on."""
        self.take(Happened(DetailOpened(node, service)))  # at once: what opens depends on it
        if self.fleet.detailed_service:
            self._turn_to(ServicePage(self._place))
        elif self.fleet.detailed_node:
            self._turn_to(NodePage(self._place))

    def action_open(self) -> None:
        """Everything about what the cursor is on: a node, a service, or among the events a moment."""
        if isinstance(self.focused, EventRows):
            self.action_jump()
        else:
            self._open()

    def action_node(self) -> None:
        """The node under the cursor."""
        self._open(node=self.fleet.cursor.node)

    def action_service(self) -> None:
        """The service under the cursor."""
        if service := self.fleet.focused_service:
            self._open(service=service.name)
        else:
            self.notify("Move to the column of a service first.", severity="warning")

    def action_fleet(self) -> None:
        """The fleet."""
        self._turn_to(None)

    def action_home(self) -> None:
        """One step back: to the fleet, out of the past, out of a filter."""
        if self.page.NAME != FLEET:
            self._turn_to(None)
        elif self.fleet.moment:
            self.tell(MomentChosen(None))
        elif self.fleet.query:
            self.tell(FleetFiltered(""))

    def action_matrix(self) -> None:
        """Give the matrix the keyboard."""
        self.page.query_one(NodeRows).focus()

    def action_headroom(self) -> None:
        """What would be lost on paper; at first the worst case, or the node under the cursor."""
        state = self.fleet
        if state.status is None:
            return
        if not state.loss.nodes:
            worst = state.status.headroom.worst
            self.tell(LossChosen(worst.lost if worst else (state.cursor.node,)))
        self._turn_to(HeadroomPage(self._place))
        self._ask_loss(state.loss.nodes)

    def action_lose(self) -> None:
        """Count the node under the cursor as lost, or as kept."""
        self.tell(LossToggled(self.fleet.cursor.node))

    def _ask_loss(self, nodes: tuple[str, ...]) -> None:
        if self._asking is not None:
            self._asking.cancel()
        self._asking = self._watch_loss(nodes) if nodes else None

    @work
    async def _watch_loss(self, nodes: tuple[str, ...]) -> None:
        await watch_loss(self._source, self.tell, nodes, self._pace)

    def action_events(self) -> None:
        """The journal."""
        self._turn_to(EventsPage(self._place))

    @on(EventRows.Opened)
    def action_jump(self) -> None:
        """The fleet as it stood after the event under the cursor."""
        page = self.page
        rows = page.query_one(EventRows)
        if rows.event is not None:
            self.tell(MomentChosen(rows.event.seq))
            self._turn_to(None)

    def action_earlier(self) -> None:
        """One event back."""
        self._step_moment(-1)

    def action_later(self) -> None:
        """One event on; after the last it is now."""
        self._step_moment(1)

    def _step_moment(self, way: int) -> None:
        if self.fleet.moment is None:
            return
        seqs = [e.seq for e in self.fleet.events]
        here = self.fleet.moment.event.seq
        beyond = [s for s in seqs if (s > here if way > 0 else s < here)]
        if way > 0:
            self.tell(MomentChosen(beyond[0] if beyond else None))
        elif beyond:
            self.tell(MomentChosen(beyond[-1]))
