"""Text that repaints only when it says something else."""

from textual.content import Content
from textual.widgets import Static


class Line(Static):
    """Styled text of one or more lines."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__("", id=id, classes=classes)
        self._shown = Content("")

    def show(self, content: Content) -> None:
        """Show `content`; nothing is drawn when it is what is shown already."""
        if content.is_same(self._shown):
            return
        self._shown = content
        self.update(content, layout=content.plain.count("\n") + 1 != self.size.height)
