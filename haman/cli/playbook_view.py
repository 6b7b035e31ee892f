"""A run on the screen: a live tree on a terminal, plain lines elsewhere, and the questions it asks."""

import select
import signal
import sys
import threading
import time
from collections import deque
from types import FrameType, TracebackType
from typing import IO, Protocol, Self

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from haman.api.times import duration
from haman.playbook.events import (
    ClusterWorsened,
    Event,
    Prepared,
    RunEnded,
    TaskBegun,
    TaskEnded,
    TaskSaid,
)
from haman.playbook.facts import Verdict
from haman.playbook.plan import LaneView, Mark, Snapshot, TaskView
from haman.playbook.runner import Runner

REFRESH_PER_S = 8
LINES_SHOWN = 8
LANES_SHOWN = 40
SIGNS = {
    Mark.PENDING: ("·", "dim"),
    Mark.RUNNING: ("▸", "cyan"),
    Mark.DONE: ("✓", "green"),
    Mark.SKIPPED: ("–", "dim"),
    Mark.PASSED: ("!", "yellow"),
    Mark.FAILED: ("✗", "red"),
    Mark.UNKNOWN: ("?", "yellow"),
}


class View(Protocol):
    """What shows a run."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Leave the last picture."""

    def running(self, runner: Runner) -> None:
        """Take the runner, before it begins."""

    def tell(self, event: Event) -> None:
        """Take an event, from any thread."""

    def hush(self) -> None:
        """Leave the screen to a question."""

    def go_on(self) -> None:
        """Take the screen again."""


def view_of(*, quiet: bool, output: bool, nodes: tuple[str, ...]) -> View:
    """Choose by where standard output leads; `quiet` leaves it to a report."""
    if sys.stdout.isatty() and not quiet:
        return Tree(output=output)
    return Lines(sys.stderr if quiet else sys.stdout, output=output, nodes=nodes)


class Interruptible:
    """Ctrl-C stops a run after what is under way, a second one at once."""

    def __init__(self) -> None:
        self.runner: Runner | None = None
        self._before: signal.Handlers | None = None

    def __enter__(self) -> Self:
        """Take SIGINT."""
        self._before = signal.signal(signal.SIGINT, self._interrupt)  # type: ignore[assignment]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Give it back."""
        signal.signal(signal.SIGINT, self._before)

    def running(self, runner: Runner) -> None:
        """Take the runner."""
        self.runner = runner

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        runner, self.runner = self.runner, None
        if runner is None:
            raise KeyboardInterrupt
        runner.stop()


class Lines(Interruptible):
    """A line for whatever ended."""

    def __init__(self, stream: IO[str], *, output: bool, nodes: tuple[str, ...]) -> None:
        super().__init__()
        self._stream = stream
        self._output = output
        self._width = max([4, *map(len, nodes)])
        self._began = time.monotonic()

    def tell(self, event: Event) -> None:
        """Write what people want to read."""
        match event:
            case Prepared(text):
                self._say("", text)
            case TaskSaid(key, line, shown) if self._output or shown:
                self._say(_node(key), f"  | {line}")
            case TaskEnded(act, outcome, text, seconds):
                task = act.task
                again = f", attempt {act.attempt}" if act.attempt > 1 else ""
                why = f": {text}" if text else ""
                line = f"{outcome.value:<8} {task.title}{again} ({duration(seconds)}){why}"
                self._say(task.node, line)
            case ClusterWorsened(reasons):
                self._say("", f"the cluster got worse: {'; '.join(reasons)}")
            case RunEnded(finish):
                self._say("", f"{finish.verdict}{f': {finish.text}' if finish.text else ''}")
            case _:
                pass

    def hush(self) -> None:
        """Nothing is in the way."""

    def go_on(self) -> None:
        """Nothing was taken away."""

    def _say(self, node: str, text: str) -> None:
        at = time.monotonic() - self._began
        click.echo(f"{at:8.2f}  {node:<{self._width}}  {text}", file=self._stream)


class Tree(Interruptible):
    """Nodes and their steps, live."""

    def __init__(self, *, output: bool) -> None:
        super().__init__()
        self._output = output
        self._console = Console()
        self._lock = threading.Lock()
        self._head = ""
        self._began: dict[str, float] = {}
        self._seconds: dict[str, float] = {}
        self._texts: dict[str, str] = {}
        self._lines: deque[str] = deque(maxlen=LINES_SHOWN)
        self._start = time.monotonic()
        self._shown: Runner | None = None
        self._live = self._new_live()

    def __enter__(self) -> Self:
        """Take the screen."""
        super().__enter__()
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Leave the last picture on it."""
        self._live.stop()
        super().__exit__(kind, error, at)

    def running(self, runner: Runner) -> None:
        """Take the runner."""
        super().running(runner)
        self._shown = runner

    def tell(self, event: Event) -> None:
        """Remember what the next picture shows."""
        with self._lock:
            match event:
                case Prepared(text):
                    self._head = text
                case TaskBegun(act):
                    self._head = ""
                    self._began[act.task.key] = time.monotonic()
                    self._lines.clear()
                case TaskSaid(key, line, shown):
                    self._lines.append(line)
                    if shown:
                        self._live.console.print(f"{_node(key)} | {line}", markup=False)
                case TaskEnded(act, _, text, seconds):
                    self._seconds[act.task.key] = seconds
                    self._texts[act.task.key] = text
                case ClusterWorsened(reasons):
                    self._head = f"the cluster got worse: {'; '.join(reasons)}"
                case RunEnded(finish):
                    self._head = f"{finish.verdict}{f': {finish.text}' if finish.text else ''}"

    def hush(self) -> None:
        """Leave the screen to a question."""
        self._live.stop()

    def go_on(self) -> None:
        """Take the screen again."""
        self._live = self._new_live()
        self._live.start()

    def _new_live(self) -> Live:
        return Live(
            console=self._console,
            get_renderable=self._picture,
            refresh_per_second=REFRESH_PER_S,
            vertical_overflow="visible",
        )

    def _picture(self) -> Group:
        with self._lock:
            snapshot = self._shown.snapshot() if self._shown is not None else None
            rows = list(self._lane_rows(snapshot)) if snapshot is not None else []
            took = duration(time.monotonic() - self._start)
            style = _style(snapshot)
            rows.append(Text(f"{self._head or 'running'}  ({took})", style=style))
        return Group(*rows)

    def _lane_rows(self, snapshot: Snapshot) -> list[Text]:
        rows: list[Text] = []
        lanes = snapshot.lanes
        hidden = max(0, len(lanes) - LANES_SHOWN)
        if hidden:  # those that are done are the least to be seen
            done = [v for v in lanes if _all_done(v)][:hidden]
            lanes = tuple(v for v in lanes if v not in done)
            rows.append(Text(f"✓ {len(done)} nodes are done", style="green"))
        for view in lanes:
            mark = _lane_mark(view)
            sign, style = SIGNS[mark]
            took = sum(self._seconds.get(t.task.key, 0.0) for t in view.tasks)
            ended = sum(t.mark not in {Mark.PENDING, Mark.RUNNING} for t in view.tasks)
            count = f"{ended}/{len(view.tasks)}" if mark is not Mark.PENDING else ""
            shown = f"  {count}  {duration(took)}" if count else ""
            rows.append(Text(f"{sign} {view.lane.name}{shown}", style=style))
            if mark in {Mark.DONE, Mark.PENDING}:
                continue
            rows += [self._task_row(task) for task in view.tasks]
            if mark is Mark.RUNNING and self._output:
                rows += [Text(f"      │ {line}", style="dim", no_wrap=True) for line in self._lines]
        return rows

    def _task_row(self, view: TaskView) -> Text:
        key, (sign, style) = view.task.key, SIGNS[view.mark]
        took = ""
        if view.mark is Mark.RUNNING and key in self._began:
            took = f"  {duration(time.monotonic() - self._began[key])}"
        elif key in self._seconds:
            took = f"  {duration(self._seconds[key])}"
        again = f"  attempt {view.attempt}" if view.attempt > 1 else ""
        text = self._texts.get(key, "") if view.mark not in {Mark.RUNNING, Mark.PENDING} else ""
        return Text(
            f"    {sign} {view.task.title}{took}{again}{f'  {text}' if text else ''}", style=style
        )


class Approval:
    """Asks people, where there is somebody."""

    def __init__(self, view: View, *, yes: bool) -> None:
        self._view = view
        self._yes = yes
        self._one_at_a_time = threading.Lock()

    def ask(self, question: str, timeout_s: float) -> bool:
        """Ask on the terminal; without one the answer is no, unless --yes gave it."""
        if self._yes:
            return True
        if not sys.stdin.isatty():
            return False
        with self._one_at_a_time:
            self._view.hush()
            try:
                click.echo(f"{question} [y/N] ", nl=False, err=True)
                ready, _, _ = select.select([sys.stdin], [], [], timeout_s)
                answer = sys.stdin.readline().strip().lower() if ready else ""
            finally:
                self._view.go_on()
        return answer in {"y", "yes"}


def _node(key: str) -> str:
    """The node of a task, by its key."""
    return key.partition("@")[2] or key.removeprefix("undo:").partition("/")[0].partition(":")[0]


def _lane_mark(view: LaneView) -> Mark:
    marks = {task.mark for task in view.tasks}
    for mark in (Mark.FAILED, Mark.UNKNOWN, Mark.RUNNING):
        if mark in marks:
            return mark
    if Mark.PENDING not in marks:
        return Mark.DONE
    return Mark.PENDING if marks == {Mark.PENDING} else Mark.RUNNING


def _all_done(view: LaneView) -> bool:
    return _lane_mark(view) is Mark.DONE


def _style(snapshot: Snapshot | None) -> str:
    if snapshot is None or snapshot.finish is None:
        return "bold"
    return "bold green" if snapshot.finish.verdict is Verdict.DONE else "bold red"
