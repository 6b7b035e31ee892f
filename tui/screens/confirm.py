"""Two questions before an act: do it? and, after a refusal, do it all the same?"""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Button, Input

from haman.api.schema import Problem
from tui.plans import Plan
from tui.screens.dialog import Dialog
from tui.views.dialogs import UNSAFE, plan_view, refusal_view


class ConfirmDialog(Dialog[bool]):
    """States what will happen; answers whether to do it. Cancel has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
        Binding("left", "app.focus_previous", "Previous", show=False),
        Binding("right", "app.focus_next", "Next", show=False),
    ]
    AUTO_FOCUS = "#cancel"

    def __init__(self, plan: Plan) -> None:
        super().__init__(f"{plan.title}?", plan_view(plan), "y confirms · Esc cancels")
        self._plan = plan

    def compose_foot(self) -> ComposeResult:
        """The two answers."""
        yield Button("Cancel", id="cancel", compact=True)
        yield Button(self._plan.action, id="do", variant="warning", compact=True)

    def action_answer(self, yes: bool) -> None:
        """Answer by key."""
        self.dismiss(yes)

    @on(Button.Pressed)
    def press(self, event: Button.Pressed) -> None:
        """Answer by button."""
        self.dismiss(event.button.id == "do")


class RefusedDialog(Dialog[bool]):
    """Shows the agent's reasons; when it refused for safety, the typed word forces the act."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "keep", "Close")]
    AUTO_FOCUS = "Input"

    def __init__(self, plan: Plan, problem: Problem) -> None:
        super().__init__(f"{plan.title}: refused", refusal_view(plan, problem))
        self._plan = plan
        self._forceable = problem.code == UNSAFE

    def compose_foot(self) -> ComposeResult:
        """Where to type, if it can be forced."""
        if self._forceable:
            field = Input(placeholder="here", id="force", compact=True)
            field.cursor_blink = False
            yield field

    @on(Input.Submitted)
    def submit(self, event: Input.Submitted) -> None:
        """Force only on the exact word; anything else stays here."""
        if event.value.strip() == self._plan.typed:
            self.dismiss(True)

    def action_keep(self) -> None:
        """Leave things as they are."""
        self.dismiss(False)
