"""A drill as values for programs: what there is to run, and a drill line by line."""

import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import msgspec

from haman.api import runs
from haman.cli.attended import Attendant
from haman.lab import report
from haman.lab.drill import CONCERNS, Drill, Step, read_drill
from haman.lab.topology import BadFileError
from haman.lab.verdict import Record, judge

LOAD, JUDGE = "load", "judge"


def offers(paths: Sequence[Path]) -> runs.Offers:
    """Every drill of these files, or why one cannot be used."""
    return runs.Offers(tuple(_offer(path) for path in paths))


def _offer(path: Path) -> runs.Offer:
    try:
        drill = read_drill(path)
    except BadFileError as error:
        problems = tuple(str(problem) for problem in error.problems)
        return runs.Offer("drill", path.stem, str(path), problems=problems)
    return runs.Offer(
        kind="drill",
        name=drill.name,
        file=str(path),
        about=drill.about,
        words=tuple(_words(drill)),
        takes_out=True,
        nodes=tuple(dict.fromkeys(step.node for step in drill.step)),
        lab=drill.topology,
    )


def _words(drill: Drill) -> list[str]:
    load = drill.load
    lines = [
        f"On the lab {drill.topology} of this machine: brought up if none is, and healed afterwards.",
        f"Clients: {load.new_per_s} new connections per second, {load.connections} long-lived ones.",
        "",
        *(f"  {step_title(step)}" for step in _in_order(drill)),
        "",
        "What must come of it:",
    ]
    expected = msgspec.to_builtins(drill.expect)
    for name, value in expected.items():
        if value not in (None, "", {}, []):
            lines.append(f"  {_expected(name, value)}")
    return lines


def _expected(name: str, value: object) -> str:
    words = name.removesuffix("_max").removesuffix("_min").removesuffix("_ms").replace("_", " ")
    if not isinstance(value, int | float):
        return f"{words}: {_shown(value)}"
    bound = "at least" if name.endswith("_min") else "at most"
    return f"{words}: {bound} {value:g}{' ms' if '_ms' in name else ''}"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(inside) or 'nobody'}" for name, inside in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def step_title(step: Step) -> str:
    """A step in a few words: "+2 s  kill haproxy on lb1"."""
    needed, allowed = CONCERNS.get(step.fault, ((), ()))
    given = [str(v) for n in (*needed, *allowed) if (v := getattr(step, n)) and isinstance(v, str)]
    what = " ".join([step.fault, *given])
    return f"+{step.at_s:g} s  {what} on {step.node}"


def _in_order(drill: Drill) -> list[Step]:
    return sorted(drill.step, key=lambda step: step.at_s)


class DrillEvents:
    """Tells a drill to a program; use as a context around all of it.

    The program's wish to stop interrupts the drill as Ctrl-C does, once: what heals the lab is let be.
    """

    def __init__(self, drill: Drill, into: int = 0, out: int = 1) -> None:
        self._drill = drill
        self._steps = [f"step/{place}" for place, _ in enumerate(drill.step, 1)]
        self._left: list[str] = []
        self._under_way = ""
        self._began_s = 0.0
        self._interrupted = threading.Event()
        self._attendant = Attendant(self._stop, into, out)
        self._before: signal.Handlers | None = None

    def __enter__(self) -> Self:
        """Begin to listen, and take SIGINT."""
        self._before = signal.signal(signal.SIGINT, self._interrupt)  # type: ignore[assignment]
        self._attendant.attend()
        titles = [step_title(step) for step in _in_order(self._drill)]
        tasks = [
            runs.Task(LOAD, "clients come"),
            *(runs.Task(key, title) for key, title in zip(self._steps, titles, strict=True)),
            runs.Task(JUDGE, "wait, and judge"),
        ]
        self._tasks = tuple(tasks)
        self._attendant.tell(runs.LaidOut("", "", (runs.Lane(self._drill.name, self._tasks),)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Give SIGINT back; tell if it was stopped."""
        self._attendant.over()
        signal.signal(signal.SIGINT, self._before)
        if kind is KeyboardInterrupt:
            self._attendant.tell(runs.Finished("interrupted", ok=False, text="the lab was healed"))

    def say(self, text: str) -> None:
        """Take what the drill says: first how the lab comes up, then the load, then each step."""
        if text.startswith("load:"):
            self._left = [*self._steps, JUDGE]
            self._begin(LOAD)
            self._end(text)
        elif self._left:
            self._end(text)
        else:
            self._attendant.tell(runs.Prepared(text))

    def healing(self) -> None:
        """The drill has ended, however; what it left behind is undone."""
        if not self._left and self._under_way == JUDGE:
            self._end("")
        self._attendant.tell(runs.Prepared("healing the lab"))

    def judged(self, record: Record, files: tuple[str, ...]) -> bool:
        """Tell what came of it; whether every expectation held."""
        verdicts = judge(record)
        self._attendant.tell(self._with_verdicts(record))
        well = report.passed(verdicts)
        broken = "; ".join(
            f"{v.name}: {v.got}, expected {v.expected}" for v in verdicts if not v.ok
        )
        self._attendant.tell(
            runs.Reported(
                report.to_text(record), msgspec.json.decode(report.to_json(record)), files
            )
        )
        self._attendant.tell(runs.Finished("passed" if well else "failed", well, broken))
        return well

    def _with_verdicts(self, record: Record) -> runs.LaidOut:
        texts = [step.text for step in record.steps]
        done = tuple(
            runs.Task(t.key, t.title, "done", 1, text)
            for t, text in zip(self._tasks, ["", *texts, ""], strict=True)
        )
        expected = tuple(
            runs.Task(
                f"expect/{place}",
                v.name,
                "done" if v.ok else "failed",
                1,
                f"{v.got} ({v.expected})",
            )
            for place, v in enumerate(judge(record), 1)
        )
        name = self._drill.name
        return runs.LaidOut("", "", (runs.Lane(name, done), runs.Lane("expectations", expected)))

    def _begin(self, key: str) -> None:
        self._under_way, self._began_s = key, time.monotonic()
        self._attendant.tell(runs.Begun(key))

    def _end(self, text: str) -> None:
        took_s = round(time.monotonic() - self._began_s, 3)
        self._attendant.tell(runs.Ended(self._under_way, "done", text, took_s))
        if self._left:
            self._begin(self._left.pop(0))

    def _stop(self) -> None:
        if not self._interrupted.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if not self._interrupted.is_set():
            self._interrupted.set()
            raise KeyboardInterrupt
