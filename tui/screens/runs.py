"""Two pages: what can be run, and how a run goes."""

from collections.abc import Iterable

from textual import on
from textual.containers import Horizontal
from textual.content import Content
from textual.markup import escape
from textual.widget import Widget

from tui.actions import RUN, RUNS
from tui.runs import Run
from tui.screens.page import Page
from tui.state import FleetState
from tui.views.runs import (
    lane_line,
    offer_line,
    offer_view,
    offers_note,
    output_view,
    run_head,
    run_title,
    task_line,
    title_width,
)
from tui.widgets.line import Line
from tui.widgets.pane import TextPane
from tui.widgets.runs import OfferRows, TaskRows

NAME_COPIED_W = 28


class RunsPage(Page):
    """Playbooks and drills, and the one under the cursor in words."""

    NAME = RUNS
    AUTO_FOCUS = "#offers"

    def compose_body(self) -> Iterable[Widget]:
        """The list, and one of it."""
        yield OfferRows()
        yield TextPane("What it does", id="words")

    def show_body(self, state: FleetState) -> None:
        """Draw what differs."""
        rows = self.query_one(OfferRows)
        rows.show(state)
        shown, known = len(state.shown_offers), len(state.offers)
        title = "Run" + (
            f" · {shown} of {known} · only {state.offers_query}" if state.offers_query else ""
        )
        if rows.border_title != escape(title):
            rows.border_title = escape(title)
        self.show_words()

    @on(OfferRows.Moved)
    def show_words(self) -> None:
        """Draw what is under the cursor in words."""
        pane, offer = self.query_one("#words", TextPane), self.query_one(OfferRows).offer
        if pane.cells <= 0:
            return
        if offer is None:
            pane.show("What it does", offers_note(self._state))
        else:
            pane.show(offer.name, offer_view(offer, pane.cells))

    def body_text(self, state: FleetState, width: int) -> Content:
        """The list, and what is under the cursor."""
        rows = [
            offer_line(o, NAME_COPIED_W, width, here=False, active=False)
            for o in state.shown_offers
        ]
        offer = self.query_one(OfferRows).offer
        told = offer_view(offer, width) if offer else offers_note(state)
        return Content("\n").join([*rows, Content(""), told])


class RunPage(Page):
    """Lanes, steps and times; what a step said; how it ended."""

    NAME = RUN
    AUTO_FOCUS = "#tasks"

    def compose_body(self) -> Iterable[Widget]:
        """How it goes, the tree, the output."""
        yield Line(id="run-head")
        with Horizontal(id="run"):
            yield TaskRows()
            yield TextPane("Output", id="output")

    def show_body(self, state: FleetState) -> None:
        """Draw what differs."""
        run = state.run
        if run is None:
            return
        rows = self.query_one(TaskRows)
        width = max(1, self.app.size.width - 4)
        self.query_one("#run-head", Line).show(run_head(run, state.now_s, width))
        title = escape(run_title(run))
        if rows.border_title != title:
            rows.border_title = title
        rows.show(run, state.now_s)
        self.show_output()

    @on(TaskRows.Moved)
    def show_output(self) -> None:
        """Draw what the step under the cursor said, at its end unless somebody has scrolled."""
        pane, run = self.query_one("#output", TextPane), self._state.run
        if run is None or not self.has_class("-output") or pane.cells <= 0:
            return
        task = self.query_one(TaskRows).step_shown
        at_end = pane.scroll_offset.y >= pane.max_scroll_y
        pane.show(
            f"Output · {task.title}" if task else "Output", output_view(run, task, pane.cells)
        )
        if at_end:
            pane.scroll_end(animate=False)

    def toggle_output(self) -> None:
        """Show the output beside the tree, or hide it."""
        self.toggle_class("-output")
        self.call_after_refresh(lambda: self.show(self._state))

    def body_text(self, state: FleetState, width: int) -> Content:
        """All of it, every lane open."""
        run = state.run
        if run is None:
            return Content("")
        parts = [Content(run_title(run)), run_head(run, state.now_s, width), Content("")]
        return Content("\n").join([*parts, *_tree(run, state.now_s, width)])


def _tree(run: Run, now_s: float, width: int) -> list[Content]:
    title_w = title_width(run, width)
    rows = []
    for lane in run.lanes:
        rows.append(lane_line(lane, run, width, open_=True))
        rows += [task_line(t, run, title_w, width, now_s) for t in lane.tasks]
    return rows
