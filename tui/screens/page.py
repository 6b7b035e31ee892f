"""What every page has: who answers and the verdict on top, the keys below, one line to type into."""

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

from tui.state import FleetState, Link
from tui.views import heading
from tui.views.dialogs import absent_view, small_view
from tui.widgets.keys import Keys
from tui.widgets.line import Line
from tui.widgets.pane import TextPane
from tui.widgets.prompt import Prompt


class Page(Screen[None]):
    """Draws itself from the state, and nothing else; a subclass draws its body."""

    NAME: ClassVar[str] = ""
    """As in `tui.actions`."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place
        self._state = FleetState()

    def compose(self) -> ComposeResult:
        """Two lines on top, the body, the keys."""
        yield Line(id="heading")
        yield Line(id="headroom")
        yield Line(id="absent")
        yield Line(id="small")
        with Vertical(id="body"):
            yield from self.compose_body()
        yield Prompt()
        yield Keys()

    def compose_body(self) -> Iterable[Widget]:
        """What this page is about."""
        raise NotImplementedError

    def show(self, state: FleetState) -> None:
        """Draw what differs."""
        self._state = state
        if not self.is_mounted or not self.query("#heading"):
            return  # it is about to be, or is closing
        width = self.app.size.width
        top = heading.heading(state, state.place or self._place, width)
        self.query_one("#heading", Line).show(top)
        self.query_one("#headroom", Line).show(heading.headroom(state, width))
        self.query_one("#small", Line).show(small_view(*self.app.size))
        self.set_class(state.status is None, "-absent")
        self.set_class(state.link is Link.LOST, "-stale")
        self.set_class(state.moment is not None, "-past")
        if state.status is None:
            self.query_one("#absent", Line).show(absent_view(state, self._place))
        else:
            self.show_body(state)

    def show_body(self, state: FleetState) -> None:
        """Draw what differs in the body; there is a status."""
        raise NotImplementedError

    def body_text(self, state: FleetState, width: int) -> Content:
        """The body as text, whole, for copying."""
        raise NotImplementedError

    def text(self, state: FleetState, width: int = 120) -> str:
        """The page as plain text, nothing of it cut off by the screen."""
        parts = [
            heading.heading(state, state.place or self._place, width),
            heading.headroom(state, width),
            Content(""),
            self.body_text(state, width),
        ]
        return "\n".join(line.rstrip() for part in parts for line in part.plain.split("\n"))

    def on_mount(self) -> None:
        """Draw what is known already."""
        self.show(self._state)

    @on(TextPane.Widened)
    def cut_anew(self) -> None:
        """A pane has another width."""
        self.show(self._state)

    def on_resize(self) -> None:
        """Lines are cut to the width; cut them anew, once the new room is shared."""
        self.call_after_refresh(lambda: self.show(self._state))
