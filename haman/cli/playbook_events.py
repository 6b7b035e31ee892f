"""A playbook as values for programs: what there is to run, and a run line by line."""

import _thread
import threading
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from haman.api import runs
from haman.cli.attended import Attendant
from haman.config.reader import Problem
from haman.playbook import explain, report
from haman.playbook.check import Checked
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
from haman.playbook.model import Parameter, Playbook
from haman.playbook.plan import Mark, Snapshot
from haman.playbook.report import RunReport
from haman.playbook.rules import TAKE_OUT
from haman.playbook.runner import Runner


def offer(path: Path, name: str, found: Playbook | None, problems: Iterable[Problem]) -> runs.Offer:
    """A playbook as it can be run, or why it cannot."""
    told = tuple(f"{p.key}: {p.message}" if p.key else p.message for p in problems)
    if found is None:
        return runs.Offer("playbook", path.stem, name, problems=told)
    return runs.Offer(
        kind="playbook",
        name=path.stem,
        file=name,
        about=found.about,
        words=tuple(explain.what_happens(found)),
        parameters=tuple(_parameter(n, p) for n, p in found.parameter.items()),
        takes_out=any(isinstance(s, TAKE_OUT) for s in (*found.before, *found.step, *found.after)),
        stays_out=found.leaves == "drained",
        nodes=found.inventory.nodes or tuple(found.inventory.host),
        site="" if "‹" in found.inventory.site else found.inventory.site,
        problems=told,
    )


def _parameter(name: str, declared: Parameter) -> runs.Parameter:
    default = declared.default
    if isinstance(default, bool):
        default = "true" if default else "false"
    return runs.Parameter(
        name=name,
        type=declared.type,
        default=None if default is None else str(default),
        about=declared.about,
        choices=declared.choices,
        pattern=declared.pattern,
        min=declared.min,
        max=declared.max,
    )


def tell_check(told: Checked) -> None:
    """Tell what `--check` found: a lane for each node, a task for each thing looked at."""
    lanes = tuple(
        runs.Lane(
            node,
            tuple(
                runs.Task(f"{node}/{place}", what, "failed" if problem else "done", 1, problem)
                for place, (_, what, problem) in enumerate(found, 1)
            ),
        )
        for node, found in groupby(sorted(told.lines, key=itemgetter(0)), key=itemgetter(0))
    )
    program = Attendant(lambda: None)
    program.tell(runs.LaidOut("", "", lanes))
    program.tell(runs.Reported(told.text()))
    verdict = "checked" if told.ok else "would not work"
    program.tell(runs.Finished(verdict, told.ok, "nothing was changed"))


class Events:
    """What shows a run to a program; see `haman.cli.playbook_view.View`."""

    def __init__(self, wanted: Verdict, into: int = 0, out: int = 1) -> None:
        self._wanted = wanted
        self._runner: Runner | None = None
        self._stopping = False
        self._known: dict[str, str] = {}
        """What whoever reads this takes each task for."""
        self._lock = threading.Lock()
        self.attendant = Attendant(self._stop, into, out)

    def __enter__(self) -> Self:
        """Begin to listen."""
        self.attendant.attend()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Let the attendant leave."""
        self.attendant.over()

    def running(self, runner: Runner) -> None:
        """Take the runner, before it begins."""
        with self._lock:
            self._runner = runner
            self._lay_out(runner.snapshot())
        if self._stopping:
            runner.stop()

    def tell(self, event: Event) -> None:
        """Tell it on."""
        with self._lock:
            self._tell(event)

    def _tell(self, event: Event) -> None:
        say = self.attendant.tell
        match event:
            case Prepared(text):
                say(runs.Prepared(text))
            case TaskBegun(act):
                self._catch_up()
                self._known[act.task.key] = Mark.RUNNING
                say(runs.Begun(act.task.key, act.attempt))
            case TaskSaid(key, line, shown):
                say(runs.Said(key, line, shown))
            case TaskEnded(act, outcome, text, seconds):
                self._known[act.task.key] = outcome
                say(runs.Ended(act.task.key, outcome, text, round(seconds, 3), act.attempt))
            case ClusterWorsened(reasons):
                say(runs.Worsened(reasons))
            case RunEnded(finish):
                self._catch_up()
                verdict, run = finish.verdict, self._runner.journal.stem if self._runner else ""
                again = f"haman playbook resume {run}" if verdict.resumable else ""
                say(runs.Finished(verdict, verdict is self._wanted, finish.text, again))

    def hush(self) -> None:
        """Nothing is in the way of a question."""

    def go_on(self) -> None:
        """Nothing was taken away."""

    def report(self, made: RunReport) -> None:
        """Tell the report."""
        data = msgspec.to_builtins(made)
        self.attendant.tell(runs.Reported(report.to_markdown(made), data))

    def _stop(self) -> None:
        """Stop after what is under way; before there is a run, a second wish ends the program."""
        runner, again = self._runner, self._stopping
        self._stopping = True
        if runner is not None:
            runner.stop()
        elif again:
            _thread.interrupt_main()

    def _catch_up(self) -> None:
        """Tell what the plan made of tasks meanwhile, and lanes that it has put on."""
        if self._runner is None:
            return
        seen = self._runner.snapshot()
        tasks = [t for lane in seen.lanes for t in lane.tasks]
        if any(t.task.key not in self._known for t in tasks):
            self._lay_out(seen)
            return
        for task in tasks:
            # What runs has its own lines; they may have come before the plan has heard of it.
            if task.mark is not Mark.RUNNING and task.mark != self._known[task.task.key]:
                self._known[task.task.key] = task.mark
                self.attendant.tell(runs.Marked(task.task.key, task.mark))

    def _lay_out(self, seen: Snapshot) -> None:
        assert self._runner is not None
        path = self._runner.journal
        lanes = tuple(
            runs.Lane(
                lane.lane.name,
                tuple(runs.Task(t.task.key, t.task.title, t.mark, t.attempt) for t in lane.tasks),
            )
            for lane in seen.lanes
        )
        self._known = {t.key: t.mark for lane in lanes for t in lane.tasks}
        self.attendant.tell(runs.LaidOut(path.stem, str(path), lanes))
