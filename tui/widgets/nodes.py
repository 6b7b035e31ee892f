"""The nodes to lose or to keep, on the headroom page."""

from textual import events
from textual.content import Content

from tui.messages import CursorPlaced, CursorStepped, LossToggled
from tui.state import FleetState
from tui.views.losses import choice
from tui.widgets.rows import Rows


class LossRows(Rows):
    """One line per node; a click loses it or keeps it."""

    BORDER_TITLE = "Lose"

    def __init__(self) -> None:
        super().__init__(id="loss-rows")
        self.add_class("pane")
        self._state = FleetState()

    @property
    def count(self) -> int:
        """The nodes."""
        return len(self._state.nodes)

    @property
    def at(self) -> int:
        """The node under the cursor."""
        name = self._state.cursor.node
        return next((i for i, n in enumerate(self._state.nodes) if n.name == name), 0)

    def show(self, state: FleetState) -> None:
        """Take over the state."""
        grown = len(state.nodes) != self.count
        self._state = state
        if grown:
            self.refresh(layout=True)
        self.put()

    def line(self, index: int, width: int) -> tuple[Content, ...]:
        """One node."""
        node = self._state.nodes[index]
        return (choice(node, self._state.cursor, self._state.loss, width, active=self.has_focus),)

    def step(self, lines: int) -> None:
        """To another node."""
        self.place(CursorStepped(nodes=lines))

    def point(self, index: int, event: events.Click) -> None:  # noqa: ARG002 - where on the line does not matter
        """Lose or keep the node that the mouse points at."""
        name = self._state.nodes[index].name
        self.place(CursorPlaced(name))
        self.place(LossToggled(name))
