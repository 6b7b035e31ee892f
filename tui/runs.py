"""A run of a playbook or a drill, as the terminal UI sees it: what its program told, line by line. Pure.

under way ──Finished──► finished ──its program ended──► over
under way ──its program ended, with what it complained of──► over, and nobody knows how it ended
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from msgspec import structs

from haman.api import runs

OUTPUT_LINES_MAX = 200
"""Of one task; older ones are forgotten."""
OUTPUT_LINE_MAX = 500
"""Characters; the rest of a line is cut."""
WORSE = "the cluster got worse: "
OVER = frozenset({"done", "skipped", "passed over"})
WRONG = frozenset({"failed", "unknown"})


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run.

    Attributes:
        values: of parameters, as they were typed; those left out have their defaults.
        nodes: only these, in this order; () = as the playbook says.
        only_check: connect and verify, change nothing.
    """

    offer: runs.Offer
    values: tuple[tuple[str, str], ...] = ()
    nodes: tuple[str, ...] = ()
    only_check: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """A run and what became of it.

    Attributes:
        began_s: when it was started; ended_s: when its program ended, None = it has not.
        name: "" before it has one, and for what is not written down.
        told: what is waited for, or what the watch has found.
        begun_s: when each task's last attempt began; `seconds`: how long it took.
        output: the last lines of each task.
        question: that is open.
        finished: how it ended, by its own words; None = it goes on, or did not say.
        status: of its program.
        complaint: what the program said on standard error.
    """

    order: Order
    began_s: float
    name: str = ""
    journal: str = ""
    lanes: tuple[runs.Lane, ...] = ()
    told: str = ""
    begun_s: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    output: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    question: runs.Asked | None = None
    finished: runs.Finished | None = None
    report: runs.Reported | None = None
    stopping: bool = False
    ended_s: float | None = None
    status: int = 0
    complaint: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether its program works."""
        return self.ended_s is None

    @property
    def counts(self) -> tuple[int, int]:
        """Tasks that are over, and tasks."""
        tasks = [task for lane in self.lanes for task in lane.tasks]
        return sum(task.mark in OVER | WRONG for task in tasks), len(tasks)

    @property
    def running(self) -> runs.Task | None:
        """The task under way that began last."""
        tasks = [t for lane in self.lanes for t in lane.tasks if t.mark == "running"]
        return max(tasks, key=lambda t: self.begun_s.get(t.key, 0.0)) if tasks else None


def told(run: Run, line: runs.Line, at_s: float) -> Run:
    """What a run becomes by a line of its program."""
    match line:
        case runs.LaidOut(name, journal, lanes):
            return replace(run, name=name, journal=journal, lanes=lanes, told="")
        case runs.Prepared(text):
            return replace(run, told=text)
        case runs.Worsened(reasons):
            return replace(run, told=f"{WORSE}{'; '.join(reasons)}")
        case runs.Asked() | runs.Settled():
            return _questioned(run, line)
        case runs.Finished() | runs.Reported():
            return _ended(run, line)
        case runs.Begun() | runs.Said() | runs.Ended() | runs.Marked():
            return _of_a_task(run, line, at_s)


def _questioned(run: Run, line: runs.Asked | runs.Settled) -> Run:
    if isinstance(line, runs.Asked):
        return replace(run, question=line)
    ours = run.question is not None and run.question.id == line.id
    return replace(run, question=None) if ours else run


def _ended(run: Run, line: runs.Finished | runs.Reported) -> Run:
    if isinstance(line, runs.Reported):
        return replace(run, report=line)
    return replace(run, finished=line, question=None)


def _of_a_task(
    run: Run, line: runs.Begun | runs.Said | runs.Ended | runs.Marked, at_s: float
) -> Run:
    key = line.key
    match line:
        case runs.Begun(attempt=attempt):
            lanes = _marked(run.lanes, key, mark="running", attempt=attempt, text="")
            begun = {**run.begun_s, key: at_s}
            kept = run.told if run.told.startswith(WORSE) else ""
            return replace(run, lanes=lanes, begun_s=begun, told=kept)
        case runs.Said(line=text):
            before = run.output.get(key, ())[-OUTPUT_LINES_MAX + 1 :]
            lines = (*before, text[:OUTPUT_LINE_MAX])
            return replace(run, output={**run.output, key: lines})
        case runs.Ended(outcome=outcome, text=text, seconds=seconds):
            lanes = _marked(run.lanes, key, mark=outcome, text=text)
            took = {**run.seconds, key: seconds}
            return replace(run, lanes=lanes, seconds=took)
        case runs.Marked(mark=mark):
            return replace(run, lanes=_marked(run.lanes, key, mark=mark))


def _marked(lanes: tuple[runs.Lane, ...], key: str, **changes: str | int) -> tuple[runs.Lane, ...]:
    """The lanes with one task changed; lanes that do not have it are the same objects."""
    return tuple(
        structs.replace(
            lane,
            tasks=tuple(structs.replace(t, **changes) if t.key == key else t for t in lane.tasks),
        )
        if any(t.key == key for t in lane.tasks)
        else lane
        for lane in lanes
    )


def lane_mark(lane: runs.Lane) -> str:
    """What a lane is as a whole."""
    marks = {task.mark for task in lane.tasks}
    for mark in ("failed", "unknown", "running"):
        if mark in marks:
            return mark
    if "pending" not in marks:
        return "done"
    return "pending" if marks == {"pending"} else "running"
