"""A box over the screen, titled, closed by Escape."""

from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.markup import escape
from textual.screen import ModalScreen
from textual.widgets import Static

from haman.api.schema import Problem, Why
from tui.views.dialogs import help_view, problem_view, why_view
from tui.widgets.line import Line

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


class DetailDialog(Dialog[None]):
    """A node or a service in full; the app shows it anew whenever the state changes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter", "dismiss", "Close"),
        Binding("w", "app.why", "Why"),
    ]
    WIDTH = 112
    EDGES_W = 7
    SHARE = 0.94
    """Of the screen, as the style sheet has it."""

    def __init__(self) -> None:
        super().__init__("", Content(""), "Esc closes")
        self.add_class("-detail")

    @property
    def cells(self) -> int:
        """The width there is for text."""
        return min(self.WIDTH, int(self.app.size.width * self.SHARE)) - self.EDGES_W

    def show(self, title: str, content: Content) -> None:
        """Show `content` under `title`; draws only what changed."""
        box = self.query_one(".dialog")
        if box.border_title != escape(title):
            box.border_title = escape(title)
        self.query_one(Line).show(content)

    def compose_text(self) -> ComposeResult:
        """A text that changes."""
        yield Line()


class HelpDialog(Dialog[None]):
    """Every key."""

    def __init__(self) -> None:
        super().__init__("Keys", help_view())


class WhyDialog(Dialog[None]):
    """The story of one service."""

    def __init__(self, service: str, answer: Why | Problem) -> None:
        view = why_view(answer) if isinstance(answer, Why) else problem_view(answer)
        super().__init__(f"Why {service}", view)
