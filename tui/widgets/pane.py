"""A titled, scrolling pane around one text."""

from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.markup import escape
from textual.message import Message

from tui.widgets.line import Line


class TextPane(VerticalScroll, can_focus=True):
    """Scrolls when its text is longer than its room."""

    class Widened(Message):
        """There is another width for text: what is shown was cut to the old one."""

    def __init__(self, title: str, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, classes="pane")
        self._width = 0
        self._title = title
        self.border_title = title

    def compose(self) -> ComposeResult:
        """The text."""
        yield Line()

    def on_resize(self, event: events.Resize) -> None:
        """Ask for the text anew, if its width is another."""
        if event.size.width != self._width:
            self._width = event.size.width
            self.post_message(self.Widened())

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
