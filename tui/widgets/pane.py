"""A titled, scrolling pane around one text."""

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.markup import escape

from tui.widgets.line import Line


class TextPane(VerticalScroll, can_focus=True):
    """Scrolls when its text is longer than its room."""

    def __init__(self, title: str, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, classes="pane")
        self._title = title
        self.border_title = title

    def compose(self) -> ComposeResult:
        """The text."""
        yield Line()

    @property
    def cells(self) -> int:
        """The width there is for text; the last column is the scroll bar's, needed or not."""
        return self.scrollable_content_region.width - (not self.show_vertical_scrollbar)

    def show(self, title: str, content: Content) -> None:
        """Show `content` under `title`; draws only what changed."""
        if title != self._title:
            self._title = title
            self.border_title = escape(title)
        self.query_one(Line).show(content)
