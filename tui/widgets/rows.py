"""A list of which only the lines in sight are made, and only those that changed are drawn.

It keeps its own offset, so that what is in sight follows from what was put and asked alone: no
animation, no scroll bar that comes and goes, nothing that depends on when it is drawn.
"""

from typing import ClassVar, Protocol, cast

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from tui.messages import Fact, Happened

WHEEL = 3
MADE_MAX = 1024
"""Parts that are kept made."""
_NO_BAR, _TRACK = Content(" "), Content.styled("│", "$track")
_THUMB = Content.styled("┃", "$quiet")


class Taking(Protocol):
    """The app: the one place where the state changes."""

    def take(self, message: Happened) -> None:
        """Change the state."""


class Rows(Widget, can_focus=True):
    """Subclasses say how many lines there are and what is in them, and take what is pressed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "move(-1000000)", "First", show=False),
        Binding("end", "move(1000000)", "Last", show=False),
    ]

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._top = 0
        self._lines: list[tuple[Content, ...]] = []
        self._made: dict[int, tuple[Content, Strip]] = {}
        self._made_in: object = None

    @property
    def count(self) -> int:
        """How many lines there are."""
        raise NotImplementedError

    @property
    def at(self) -> int:
        """The line that the cursor is on: it is always in sight."""
        raise NotImplementedError

    def line(self, index: int, width: int) -> tuple[Content, ...]:
        """Make one line, at most `width` cells wide, of parts; an old part may stand again."""
        raise NotImplementedError

    def step(self, lines: int) -> None:
        """The operator moved the cursor by so many lines; there may not be so many."""
        raise NotImplementedError

    def point(self, index: int, event: events.Click) -> None:
        """The operator pointed at a line."""
        raise NotImplementedError

    def place(self, fact: Fact) -> None:
        """Move a cursor that is part of the state, at once.

        The next key, which is about what is under it, may be waiting already, and would overtake a message.
        """
        cast("Taking", self.app).take(Happened(fact))

    @property
    def cells(self) -> int:
        """The width there is for text; the last column is the scroll bar's, needed or not."""
        return self.content_region.width - 1

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002 - Textual's signature
        """As many lines as there are, where the style sheet leaves it to the content."""
        return self.count

    @property
    def top(self) -> int:
        """The first line in sight."""
        return self._top

    def put(self) -> None:
        """Make the lines in sight anew, and draw those that are different."""
        height, width = self.content_region.height, self.cells
        if height <= 0 or width <= 0:
            return
        top = min(self._top, self.at)
        top = max(top, self.at - height + 1)
        top = max(0, min(top, self.count - height))
        was, self._top = (self._top, top), top
        lines = [self.line(i, width) for i in range(top, min(top + height, self.count))]
        old, self._lines = self._lines, lines
        if was[0] != was[1] or len(old) != len(lines):
            self.refresh()
            return
        for y, (before, after) in enumerate(zip(old, lines, strict=True)):
            if not _is_same(before, after):
                self.refresh(Region(0, y, self.content_region.width, 1))
            else:
                lines[y] = before  # what was made of it is known

    def on_resize(self) -> None:
        """Share the new room."""
        self._lines = []
        self.put()
        self.refresh()

    def on_focus(self) -> None:
        """The cursor is drawn full."""
        self.put()

    def on_blur(self) -> None:
        """The cursor is drawn faint."""
        self.put()

    def render_line(self, y: int) -> Strip:
        """One line, and its piece of the scroll bar."""
        parts = self._lines[y] if y < len(self._lines) else ()
        drawn = Strip.join([self._strip(part) for part in parts])
        filled = drawn.adjust_cell_length(self.cells, self.visual_style.rich_style)
        return Strip.join([filled, self._strip(self._bar(y))])

    def _strip(self, part: Content) -> Strip:
        """Make a part into what is written to the terminal, once: parts stand there again and again."""
        style = self.visual_style
        if (style, self.app.theme) != self._made_in or len(self._made) > MADE_MAX:
            self._made, self._made_in = {}, (style, self.app.theme)
        made = self._made.get(id(part))
        if made is None:
            strips = Visual.to_strips(self, part, max(1, part.cell_length), 1, style)
            made = self._made[id(part)] = (part, strips[0] if strips else Strip([]))
        return made[1]

    def _bar(self, y: int) -> Content:
        height = self.content_region.height
        if self.count <= height:
            return _NO_BAR
        size = max(1, height * height // self.count)
        start = self._top * (height - size) // max(1, self.count - height)
        inside = start <= y < start + size
        return _THUMB if inside else _TRACK

    def action_move(self, lines: int) -> None:
        """Move the cursor."""
        self.step(lines)

    def action_page(self, pages: int) -> None:
        """Move the cursor by what is in sight."""
        self.step(pages * max(1, self.content_region.height - 1))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Up by some lines."""
        event.stop()
        self.step(-WHEEL)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Down by some lines."""
        event.stop()
        self.step(WHEEL)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse points."""
        offset = event.get_content_offset(self)
        if offset is not None and 0 <= (index := self._top + offset.y) < self.count:
            self.point(index, event)


def _is_same(before: tuple[Content, ...], after: tuple[Content, ...]) -> bool:
    return len(before) == len(after) and all(
        a is b or a.is_same(b) for a, b in zip(before, after, strict=True)
    )
