"""How an act goes: a box that tells each step as it comes true."""

from textual.app import ComposeResult
from textual.content import Content

from tui.screens.dialog import Dialog
from tui.state import FleetState
from tui.views.dialogs import is_done, progress_view
from tui.widgets.line import Line


class ProgressDialog(Dialog[None]):
    """Drawn from the state; closing it stops nothing."""

    def __init__(self, title: str) -> None:
        super().__init__(title, Content(""), "Esc closes; it goes on, g shows it again")

    def show(self, state: FleetState) -> None:
        """Draw what differs."""
        if not self.query(Line):
            return  # it is about to be
        self.query_one(Line).show(progress_view(state))
        hint = "Esc closes" if is_done(state) else self._hint
        box = self.query_one(".dialog")
        if box.border_subtitle != hint:
            box.border_subtitle = hint

    def compose_text(self) -> ComposeResult:
        """A text that changes."""
        yield Line()
