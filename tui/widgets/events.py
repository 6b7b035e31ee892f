"""The event tail: a bounded, virtual list that follows its end unless scrolled up."""

from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from haman.api.schema import Event
from tui.fleet import FleetState
from tui.views.lists import Columns, columns, event_line


class EventTail(ScrollView, can_focus=True):
    """Renders only the lines in sight."""

    BORDER_TITLE = "Events · UTC"

    def __init__(self) -> None:
        super().__init__(id="events", classes="pane")
        self._events: tuple[Event, ...] = ()
        self._plan = Columns()
        self._dropped = 0
        self._problem: str | None = ""
        self._following = True
        self._keeping = False

    @property
    def following(self) -> bool:
        """Whether new events scroll in: until scrolled up, again from the end on."""
        return self._following

    def show(self, state: FleetState) -> None:
        """Take over the events; the lines in sight stay where they are unless following."""
        if state.events_problem != self._problem:
            self._problem = state.events_problem
            self._say()
        if state.events is self._events:
            return
        fell_off = state.events_dropped - self._dropped
        self._events, self._dropped = state.events, state.events_dropped
        self._plan = columns(self._events)
        self._keep(fell_off)
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow or not, as the operator scrolls."""
        super().watch_scroll_y(old_value, new_value)
        if not self._keeping:
            self._following = self.scroll_offset.y >= self.max_scroll_y
            self._say()

    def on_resize(self) -> None:
        """Keep following when the room changes."""
        self._keep(0)

    def _keep(self, fell_off: int) -> None:
        """Stay at the end, or with the lines in sight."""
        self._keeping = True
        self.virtual_size = Size(0, len(self._events))
        if self._following:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True, force=True)
        elif fell_off:
            self.scroll_to(y=self.scroll_offset.y - fell_off, animate=False, immediate=True)
        self._keeping = False
        self._say()

    def _say(self) -> None:
        newer = self.max_scroll_y - self.scroll_offset.y
        if self._problem:
            text = "stream lost, reconnecting"
        elif newer > 0 and not self._following:
            text = f"{newer} newer · End follows"
        else:
            text = ""
        if text != (self.border_subtitle or ""):
            self.border_subtitle = text

    def render_line(self, y: int) -> Strip:
        """One event, or an empty line below the last."""
        index = self.scroll_offset.y + y
        width = self.scrollable_content_region.width
        if index < len(self._events):
            content = event_line(self._events[index], self._plan, width)
        elif index == 0:
            content = Content.styled("Nothing has happened yet.", "$quiet")
        else:
            return Strip.blank(width, self.visual_style.rich_style)
        return Visual.to_strips(self, content, width, 1, self.visual_style, pad=True)[0]
