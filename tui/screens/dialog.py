"""A box over the screen, titled, closed by Escape."""

from collections.abc import Iterable
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.markup import escape
from textual.screen import ModalScreen
from textual.widgets import Static

from haman.api.schema import Problem, Why
from tui.actions import Action
from tui.views.dialogs import help_view, problem_view, why_view

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer]):
    """Scrolls when it says more than fits."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Close")]

    def __init__(self, title: str, content: Content, hint: str = "Esc closes") -> None:
        super().__init__()
        self._caption = title
        self._text = content
        self._hint = hint

    def compose(self) -> ComposeResult:
        """The box, and what a subclass puts under the text."""
        with Vertical(classes="dialog") as box:
            box.border_title = escape(self._caption)
            box.border_subtitle = self._hint
            with VerticalScroll(classes="dialog-text"):
                yield from self.compose_text()
            with Horizontal(classes="dialog-buttons"):
                yield from self.compose_foot()

    def compose_text(self) -> ComposeResult:
        """The text."""
        yield Static(self._text)

    def compose_foot(self) -> ComposeResult:
        """Nothing, unless a subclass asks something."""
        yield from ()


class HelpDialog(Dialog[None]):
    """Every key that does something on this page, and the others after them."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark,q", "dismiss", "Close")]

    def __init__(self, actions: Iterable[Action], note: str = "") -> None:
        super().__init__("Keys", help_view(actions, note))


class ReportDialog(Dialog[None]):
    """How a run went, as it was told."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"Report: {name}", Content(text))


class WhyDialog(Dialog[None]):
    """The story of one service."""

    def __init__(self, service: str, answer: Why | Problem) -> None:
        view = why_view(answer) if isinstance(answer, Why) else problem_view(answer)
        super().__init__(f"Why {service}", view)
