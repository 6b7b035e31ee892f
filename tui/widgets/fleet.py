"""The fleet matrix: nodes × services under a header that stays."""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content

from tui.messages import CursorPlaced, CursorStepped
from tui.state import FleetState
from tui.views.matrix import Layout, header, layout, row, service_at
from tui.views.words import count
from tui.widgets.line import Line
from tui.widgets.rows import Rows


class NodeRows(Rows):
    """One line per node; the cursor also moves along the services."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "aside(-1)", "Left", show=False),
        Binding("right,l", "aside(1)", "Right", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(id="fleet-rows")
        self._state = FleetState()
        self._plan: Layout | None = None

    @property
    def count(self) -> int:
        """The nodes in sight."""
        return len(self._state.nodes)

    @property
    def at(self) -> int:
        """The node under the cursor."""
        name = self._state.cursor.node
        return next((i for i, n in enumerate(self._state.nodes) if n.name == name), 0)

    def show(self, state: FleetState) -> None:
        """Take over the state."""
        self._state = state
        self.put()

    def put(self) -> None:
        """Share the width first: it is the same for every line."""
        if self._state.picture and self.cells > 0:
            self._plan = layout(self._state.picture, self._state.cursor, self.cells)
            super().put()

    def line(self, index: int, width: int) -> tuple[Content, ...]:  # noqa: ARG002 - the plan has it
        """One node."""
        seen, cursor = self._state.picture, self._state.cursor
        if seen is None or self._plan is None:
            return ()
        node = seen.nodes[index]
        return row(seen, node, cursor, self._plan, self._state.trends, active=self.has_focus)

    def step(self, lines: int) -> None:
        """To another node."""
        self.place(CursorStepped(nodes=lines))

    def action_aside(self, services: int) -> None:
        """To another service."""
        self.place(CursorStepped(services=services))

    def point(self, index: int, event: events.Click) -> None:
        """To the node or the cell that the mouse points at."""
        seen, at = self._state.picture, event.get_content_offset(self)
        service = service_at(seen, self._plan, at.x) if seen and self._plan and at else ""
        self.place(CursorPlaced(self._state.nodes[index].name, service))


class FleetMatrix(Vertical):
    """Nodes × services."""

    BORDER_TITLE = "Fleet"

    def __init__(self) -> None:
        super().__init__(id="fleet", classes="pane")
        self._state = FleetState()

    def compose(self) -> ComposeResult:
        """Header over rows."""
        yield Line(id="fleet-header")
        yield NodeRows()

    def show(self, state: FleetState) -> None:
        """Render the matrix from the state."""
        self._state = state
        table = self.query_one(NodeRows)
        seen, width = state.picture, table.cells
        if seen is None:
            return
        height = len(seen.nodes) + 1 + self.gutter.height
        if self.styles.height is None or self.styles.height.value != height:
            self.styles.height = height  # max-height in the style sheet has the last word
        if width <= 0:
            return
        plan = layout(seen, state.cursor, width)
        self.query_one("#fleet-header", Line).show(header(seen, plan))
        table.show(state)
        title = "Fleet, as it was then" if state.moment else "Fleet"
        if state.query:
            title += f" · only {state.query}" if seen.found else f" · nothing matches {state.query}"
        if title != (self.border_title or ""):
            self.border_title = Content(title).markup
        hidden = len(seen.nodes) > table.content_region.height
        subtitle = count(len(seen.nodes), "node") if hidden else ""
        if subtitle != (self.border_subtitle or ""):
            self.border_subtitle = subtitle  # setting it draws, even when it is the same

    def on_resize(self) -> None:
        """Share the new width among the columns."""
        self.show(self._state)
