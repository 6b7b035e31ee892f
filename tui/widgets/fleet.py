"""The fleet matrix as a widget: keyboard, mouse, and scrolling to the cursor."""

from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Region

from tui.fleet import FleetState
from tui.messages import CursorPlaced, CursorStepped, Happened
from tui.views.matrix import header, rows
from tui.widgets.line import Line


class Rows(VerticalScroll, can_focus=True):
    """The rows; takes the keyboard and moves the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "step(-1, 0)", "Up", show=False),
        Binding("down,j", "step(1, 0)", "Down", show=False),
        Binding("left,h", "step(0, -1)", "Left", show=False),
        Binding("right,l", "step(0, 1)", "Right", show=False),
        Binding("home", "step(-1000, 0)", "First", show=False),
        Binding("end", "step(1000, 0)", "Last", show=False),
        Binding("pageup", "step(-10, 0)", "Page up", show=False),
        Binding("pagedown", "step(10, 0)", "Page down", show=False),
    ]

    def action_step(self, nodes: int, services: int) -> None:
        """Move the cursor."""
        self.post_message(Happened(CursorStepped(nodes, services)))

    @on(events.Click)
    def point(self, event: events.Click) -> None:
        """Put the cursor where the mouse points."""
        meta = event.style.meta
        if "node" in meta:
            self.post_message(Happened(CursorPlaced(meta["node"], meta["service"])))


class FleetMatrix(Vertical):
    """Nodes × services, with a header that stays."""

    BORDER_TITLE = "Fleet"

    def __init__(self) -> None:
        super().__init__(id="fleet", classes="pane")
        self._state = FleetState()

    def compose(self) -> ComposeResult:
        """Header over rows."""
        yield Line(id="fleet-header")
        with Rows(id="fleet-rows"):
            yield Line(id="fleet-lines")

    @property
    def cells(self) -> int:
        """The width there is for text; the last column is the scroll bar's, needed or not."""
        return self.scrollable_content_region.width - 1

    def show(self, state: FleetState) -> None:
        """Render the matrix from the state."""
        self._state = state
        status = state.status
        width = self.cells
        if status is None or width <= 0:
            return
        table = self.query_one(Rows)
        lines = rows(status, state.cursor, width, active=table.has_focus)
        self.query_one("#fleet-header", Line).show(header(status, state.cursor, width))
        self.query_one("#fleet-lines", Line).show(Content("\n").join(lines))
        height = len(lines) + 1 + self.gutter.height
        if self.styles.height is None or self.styles.height.value != height:
            self.styles.height = height  # max-height in the style sheet has the last word
        subtitle = f"{len(lines)} nodes" if len(lines) > table.size.height else ""
        if subtitle != (self.border_subtitle or ""):
            self.border_subtitle = subtitle  # setting it draws, even when it is the same
        names = [n.name for n in status.nodes]
        if state.cursor.node in names:
            line = Region(0, names.index(state.cursor.node), 1, 1)
            table.scroll_to_region(line, animate=False, force=True)

    def on_resize(self) -> None:
        """Share the new width among the columns."""
        self.show(self._state)

    @on(events.DescendantFocus)
    @on(events.DescendantBlur)
    def redraw_cursor(self) -> None:
        """The cursor shows whether the matrix has the keyboard."""
        self.show(self._state)
