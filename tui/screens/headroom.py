"""The page that answers: would the rest carry the load, whoever is lost."""

from collections.abc import Iterable

from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget

from haman.api.schema import Scenario
from tui.actions import HEADROOM
from tui.screens.page import Page
from tui.state import FleetState
from tui.views.losses import choice, legend, survivors_view, verdict_view
from tui.widgets.line import Line
from tui.widgets.nodes import LossRows
from tui.widgets.pane import TextPane


class HeadroomPage(Page):
    """Nodes to lose on the left, what that does to the others on the right."""

    NAME = HEADROOM
    AUTO_FOCUS = "#loss-rows"

    def compose_body(self) -> Iterable[Widget]:
        """The choice, the verdict, the survivors."""
        with Horizontal(id="losing"):
            yield LossRows()
            with Vertical(id="outlook"):
                yield Line(id="verdict")
                yield TextPane("Survivors, before and after", id="survivors")
                yield Line(id="legend")

    def show_body(self, state: FleetState) -> None:
        """Draw what differs."""
        status = state.status
        if status is None:
            return
        self.query_one(LossRows).show(state)
        pane = self.query_one("#survivors", TextPane)
        if pane.cells <= 0:
            return
        self.query_one("#verdict", Line).show(verdict_view(status, state.loss, pane.cells))
        answer = state.loss.answer
        told = Content("")
        if isinstance(answer, Scenario) and state.loss.answered == state.loss.nodes != ():
            told = survivors_view(answer, pane.cells)
        pane.show("Survivors, before and after", told)
        self.query_one("#legend", Line).show(legend(pane.cells))

    def body_text(self, state: FleetState, width: int) -> Content:
        """Choice, verdict and survivors."""
        status, answer = state.status, state.loss.answer
        if status is None:
            return Content("")
        rows = [choice(n, state.cursor, state.loss, width, active=False) for n in status.nodes]
        rows += [Content(""), verdict_view(status, state.loss, width)]
        if isinstance(answer, Scenario):
            rows += [Content(""), survivors_view(answer, width)]
        return Content("\n").join(rows)
