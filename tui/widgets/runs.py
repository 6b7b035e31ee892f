"""Playbooks and drills to choose from, and the tree of a run."""

from textual import events
from textual.content import Content
from textual.message import Message

from haman.api import runs
from tui.runs import Run, lane_mark
from tui.state import FleetState
from tui.views.runs import lane_line, offer_line, task_line, title_width
from tui.widgets.rows import Rows

NAME_MAX_W = 28
OPEN = frozenset({"running", "failed", "unknown"})
"""Lanes that show their steps unasked."""


class OfferRows(Rows):
    """One line for each thing that can be run."""

    BORDER_TITLE = "Run"

    class Moved(Message):
        """The cursor is on another one."""

    class Chosen(Message):
        """The operator wants to run the one under the cursor."""

    def __init__(self) -> None:
        super().__init__(id="offers")
        self.add_class("pane")
        self._offers: tuple[runs.Offer, ...] = ()
        self._at = 0

    @property
    def count(self) -> int:
        """All that pass the filter."""
        return len(self._offers)

    @property
    def at(self) -> int:
        """The one under the cursor."""
        return min(self._at, max(0, self.count - 1))

    @property
    def offer(self) -> runs.Offer | None:
        """What is under the cursor."""
        return self._offers[self.at] if self._offers else None

    def show(self, state: FleetState) -> None:
        """Take over the state; the cursor stays on what it was on."""
        shown = state.shown_offers
        if shown is not self._offers:
            name = self.offer.name if self.offer else ""
            self._offers = shown
            self._at = next((i for i, o in enumerate(shown) if o.name == name), 0)
        self.put()

    def line(self, index: int, width: int) -> tuple[Content, ...]:
        """One of them."""
        name_w = min(NAME_MAX_W, max((len(o.name) for o in self._offers), default=0))
        here = index == self.at
        offer = self._offers[index]
        return (offer_line(offer, name_w, width, here=here, active=self.has_focus),)

    def step(self, lines: int) -> None:
        """To another one."""
        self._to(self.at + lines)

    def point(self, index: int, event: events.Click) -> None:
        """To the one that the mouse points at; twice runs it."""
        self._to(index)
        if event.chain > 1:
            self.post_message(self.Chosen())

    def _to(self, index: int) -> None:
        self._at = min(max(0, index), max(0, self.count - 1))
        self.put()
        self.post_message(self.Moved())


class TaskRows(Rows):
    """Lanes and the steps of those that matter; follows what is under way until the cursor leaves it."""

    class Moved(Message):
        """The cursor is on another step."""

    def __init__(self) -> None:
        super().__init__(id="tasks")
        self.add_class("pane")
        self._run: Run | None = None
        self._now_s = 0.0
        self._rows: list[tuple[runs.Lane, runs.Task | None]] = []
        self._chosen: tuple[str, str] | None = None
        self._toggled: set[str] = set()

    @property
    def count(self) -> int:
        """Lanes, and steps in sight."""
        return len(self._rows)

    @property
    def at(self) -> int:
        """Where the operator looks, else what is under way, else the end of what was done."""
        if self._chosen is not None:
            found = next((i for i, r in enumerate(self._rows) if _key(r) == self._chosen), None)
            if found is not None:
                return found
        marks = [t.mark if t else "" for _, t in self._rows]
        for wanted in ("running", "failed", "unknown"):
            if wanted in marks:
                return marks.index(wanted)
        return max(0, self.count - 1)

    @property
    def step_shown(self) -> runs.Task | None:
        """The step under the cursor; None on a lane."""
        return self._rows[self.at][1] if self._rows else None

    def show(self, run: Run, now_s: float) -> None:
        """Take over the run."""
        self._run, self._now_s = run, now_s
        self._lay_out()
        self.put()

    def _lay_out(self) -> None:
        assert self._run is not None
        self._rows = []
        for lane in self._run.lanes:
            self._rows.append((lane, None))
            if self._is_open(lane):
                self._rows += [(lane, task) for task in lane.tasks]

    def _is_open(self, lane: runs.Lane) -> bool:
        unasked = lane_mark(lane) in OPEN or (self._run is not None and len(self._run.lanes) <= 2)
        return unasked != (lane.name in self._toggled)

    def line(self, index: int, width: int) -> tuple[Content, ...]:
        """A lane or a step."""
        assert self._run is not None
        lane, task = self._rows[index]
        if task is None:
            line = lane_line(lane, self._run, width, open_=self._is_open(lane))
        else:
            title_w = title_width(self._run, width)
            line = task_line(task, self._run, title_w, width, self._now_s)
        if index != self.at:
            return (line,)
        line = line.pad_right(max(0, width - line.cell_length))
        return (line.stylize("on $cursor" if self.has_focus else "on $row"),)

    def step(self, lines: int) -> None:
        """To another line; the end follows what is under way."""
        if not self._rows:
            return
        if lines > self.count:
            self._chosen = None
        else:
            self._chosen = _key(self._rows[min(max(0, self.at + lines), self.count - 1)])
        self.put()
        self.post_message(self.Moved())

    def point(self, index: int, event: events.Click) -> None:  # noqa: ARG002 - where on the line does not matter
        """To the line that the mouse points at; a lane opens or closes."""
        self._chosen = _key(self._rows[index])
        self.toggle()

    def toggle(self) -> None:
        """Open or close the lane under the cursor."""
        if self._rows and self._rows[self.at][1] is None:
            self._toggled ^= {self._rows[self.at][0].name}
            self._chosen = _key(self._rows[self.at])
            self._lay_out()
        self.put()
        self.post_message(self.Moved())


def _key(row: tuple[runs.Lane, runs.Task | None]) -> tuple[str, str]:
    lane, task = row
    return lane.name, task.key if task else ""
