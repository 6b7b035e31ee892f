"""What a run does next, decided from what happened. Pure: no I/O, no clock.

    state      fact                       then
    ---------  -------------------------  -----------------------------------------------------------
    forward    Began                      the first tasks
               Ended, done or skipped     the next task of its lane, else the next lane, stage, `done`
               Ended, failed              again, if it has retries left; else by on_failure:
                                          stop → halting, roll-back → turning, continue → the next
                                          lane; a task that `passes` is noted, and its lane goes on
               Ended, unknown             halting: only looking can tell what became of the task
               Worsened, RollBackAsked    turning
               StopAsked                  halting
    turning    Ended                      when nothing is under way: back, the lanes taken back, last first;
                                          halting where there is nothing to take back
    back       Ended, done or skipped     the next task; in the end `rolled-back`
               Ended, failed or unknown   again, if it has retries left; else halting
               StopAsked                  halting
    halting    Ended                      when nothing is under way: ended
    ended      Resumed                    forward or back, from where it was: what failed is tried again,
                                          what is unknown is settled, what was done is not done again
               RollBackAsked              back

Invariants: a task that was done or skipped is never given out again. No more than `width` lanes of a
stage are under way, and one where tasks are taken back. A lane's task is given out only when the one
before it has ended. A fact that does not fit raises and changes nothing. The same facts give the same
acts, so that the journal of facts is the whole state of a run.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from haman.playbook.facts import (
    Act,
    Began,
    Ended,
    Fact,
    Finish,
    Outcome,
    Resumed,
    RollBackAsked,
    StopAsked,
    Verdict,
    Worsened,
)
from haman.playbook.script import Lane, Script, Task
from haman.playbook.undo import undo


class State(StrEnum):
    """Of a run."""

    NEW = "new"
    FORWARD = "forward"
    TURNING = "turning"
    BACK = "back"
    HALTING = "halting"
    ENDED = "ended"


class Mark(StrEnum):
    """Of a task."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    PASSED = "passed over"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task and what became of it."""

    task: Task
    mark: Mark
    attempt: int


@dataclass(frozen=True, slots=True)
class LaneView:
    """A lane and what became of it."""

    lane: Lane
    tasks: tuple[TaskView, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a run did and will do, for whoever shows it."""

    state: State
    lanes: tuple[LaneView, ...]
    finish: Finish | None


@dataclass(slots=True)
class _Track:
    """How far a lane is."""

    lane: Lane
    place: int = 0
    attempt: int = 0
    left: int = 0
    halted: bool = False
    marks: list[Mark] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.marks = [Mark.PENDING for _ in self.lane.tasks]
        self.attempts = [0 for _ in self.lane.tasks]

    @property
    def over(self) -> bool:
        return self.place == len(self.lane.tasks)

    @property
    def busy(self) -> bool:
        """Whether it was begun, and can go on."""
        return not self.over and not self.halted and any(m is not Mark.PENDING for m in self.marks)


class Plan:
    """One run of a script."""

    def __init__(self, script: Script) -> None:
        self._state = State.NEW
        self._stages = [(s.width, [_Track(lane) for lane in s.lanes]) for s in script.stages]
        self._back: list[_Track] = []
        self._back_asked = False
        self._under_way: dict[str, _Track] = {}
        self._verdict: Verdict | None = None
        self._text = ""
        self._finish: Finish | None = None

    @property
    def under_way(self) -> tuple[Act, ...]:
        """What was given out and has not ended, as far as is known."""
        return tuple(Act(t.lane.tasks[t.place], t.attempt) for t in self._under_way.values())

    def snapshot(self) -> Snapshot:
        """What became of everything."""
        tracks = [t for _, tracks in self._stages for t in tracks] + self._back
        lanes = (
            LaneView(
                t.lane,
                tuple(
                    TaskView(*view) for view in zip(t.lane.tasks, t.marks, t.attempts, strict=True)
                ),
            )
            for t in tracks
        )
        return Snapshot(self._state, tuple(lanes), self._finish)

    def takes(self, fact: Fact) -> bool:
        """Whether a fact means anything now; a wish or a warning may come too late."""
        if isinstance(fact, RollBackAsked | Worsened | StopAsked):
            return self._state in {State.FORWARD, State.ENDED} or (
                isinstance(fact, StopAsked) and self._state in {State.BACK, State.TURNING}
            )
        return True

    def step(self, fact: Fact) -> tuple[Act | Finish, ...]:
        """Take what happened; give what is to be done, or how the run ended.

        Raises:
            ValueError: the fact does not fit; nothing has changed.
        """
        match fact:
            case Began():
                self._demand(State.NEW)
                self._state = State.FORWARD
            case Ended():
                return self._ended(fact)
            case Worsened(reasons=reasons):
                if self._state is State.FORWARD:
                    self._turn("the cluster got worse: " + "; ".join(reasons))
            case StopAsked():
                if self._state in {State.FORWARD, State.BACK, State.TURNING}:
                    self._halt(Verdict.INTERRUPTED, "somebody asked for it")
            case RollBackAsked():
                self._demand(State.FORWARD, State.ENDED)
                self._ask_back()
            case Resumed():
                self._demand(State.ENDED)
                return self._resume()
        return self._go_on()

    def _demand(self, *states: State) -> None:
        if self._state not in states:
            raise ValueError(f"the run is {self._state}, not {' or '.join(states)}")

    def _ended(self, fact: Ended) -> tuple[Act | Finish, ...]:
        track = self._under_way.get(fact.key)
        if track is None or track.attempt != fact.attempt:
            raise ValueError(f"{fact.key}, attempt {fact.attempt}, is not under way")
        del self._under_way[fact.key]
        task = track.lane.tasks[track.place]
        if fact.outcome is Outcome.DONE or fact.outcome is Outcome.SKIPPED:
            done = fact.outcome is Outcome.DONE
            self._advance(track, Mark.DONE if done else Mark.SKIPPED)
        elif fact.outcome is Outcome.UNKNOWN:
            track.marks[track.place] = Mark.UNKNOWN
            track.halted = True
            self._halt(self._unfinished, f"{_where(task)}{fact.text}")
        elif track.left and self._state in {State.FORWARD, State.BACK}:
            track.left -= 1
            return (self._give(track), *self._go_on())
        else:
            self._failed(track, task, fact.text)
        return self._go_on()

    def _failed(self, track: _Track, task: Task, text: str) -> None:
        why = f"{_where(task)}{text}"
        if task.passes:
            self._advance(track, Mark.PASSED)
            return
        track.marks[track.place] = Mark.FAILED
        track.halted = True
        if self._state is State.BACK:
            self._halt(
                Verdict.ROLL_BACK_FAILED, f"{why}; it was taken back because of {self._text}"
            )
        elif self._state is State.FORWARD:
            match task.on_failure:
                case "stop":
                    self._halt(Verdict.STOPPED, why)
                case "roll-back":
                    self._turn(why)
                case "continue":
                    self._text = self._text or why
        else:
            self._text = f"{self._text}; {why}"

    @property
    def _unfinished(self) -> Verdict:
        back = self._state is State.BACK
        return Verdict.ROLL_BACK_FAILED if back else Verdict.STOPPED

    def _advance(self, track: _Track, mark: Mark) -> None:
        track.marks[track.place] = mark
        track.place += 1
        track.attempt = 0

    def _give(self, track: _Track) -> Act:
        """Give the lane's task out, for the first time or again."""
        task = track.lane.tasks[track.place]
        again = track.attempt > 0
        if not again:
            track.left = task.retries
        track.attempt += 1
        track.marks[track.place] = Mark.RUNNING
        track.attempts[track.place] = track.attempt
        self._under_way[task.key] = track
        return Act(task, track.attempt, task.retry_delay_s if again else 0.0)

    def _halt(self, verdict: Verdict, text: str) -> None:
        if self._state is not State.HALTING:
            self._verdict, self._text = verdict, text
        self._state = State.HALTING

    def _turn(self, text: str) -> None:
        self._state, self._text = State.TURNING, text

    def _ask_back(self) -> None:
        if self._finish is not None and self._finish.verdict is Verdict.ROLLED_BACK:
            raise ValueError("the run was rolled back already")
        self._finish = None
        for track in self._tracks():
            track.halted = True
        self._back_asked = True
        self._turn(self._text or "somebody asked for it")

    def _resume(self) -> tuple[Act | Finish, ...]:
        finish = self._finish
        if finish is None or not finish.verdict.resumable:
            raise ValueError(
                f"the run is {finish.verdict if finish else self._state}: it has ended"
            )
        self._finish, self._text = None, ""
        self._state = State.BACK if self._back else State.FORWARD
        acts: list[Act | Finish] = []
        for track in self._back or self._tracks():
            if not track.halted:
                continue
            track.halted = False
            if track.marks[track.place] is Mark.UNKNOWN:
                task = track.lane.tasks[track.place]
                track.marks[track.place] = Mark.RUNNING
                self._under_way[task.key] = track
                acts.append(Act(task, track.attempt, settles=True))
            else:
                track.left = track.lane.tasks[track.place].retries
        return (*acts, *self._go_on())

    def _go_on(self) -> tuple[Act | Finish, ...]:
        """Give out what can be begun now, or end."""
        if self._state is State.TURNING and not self._under_way:
            self._state = State.BACK
            self._back = list(self._undone())
            if not self._back and not self._back_asked:
                self._halt(Verdict.STOPPED, self._text)
        if self._state is State.FORWARD:
            return self._fill_stages()
        if self._state is State.BACK:
            return self._fill(1, self._back) or self._end_back()
        if self._state is State.HALTING and not self._under_way:
            return (self._end(self._verdict or Verdict.STOPPED),)
        return ()

    def _fill_stages(self) -> tuple[Act | Finish, ...]:
        for width, tracks in self._stages:
            if acts := self._fill(width, tracks):
                return acts
            if any(t.lane.tasks[t.place].key in self._under_way for t in tracks if not t.over):
                return ()
        failed = any(track.halted for track in self._tracks())
        return (self._end(Verdict.PARTLY if failed else Verdict.DONE),)

    def _end_back(self) -> tuple[Finish, ...]:
        return () if self._under_way else (self._end(Verdict.ROLLED_BACK),)

    def _fill(self, width: int, tracks: list[_Track]) -> tuple[Act, ...]:
        open_ones = [t for t in tracks if not t.over and not t.halted]
        open_ones.sort(key=lambda t: not t.busy)  # stable: those begun first, then in order
        idle = [t for t in open_ones[:width] if t.lane.tasks[t.place].key not in self._under_way]
        return tuple(self._give(track) for track in idle)

    def _end(self, verdict: Verdict) -> Finish:
        self._state = State.ENDED
        self._finish = Finish(verdict, self._text)
        return self._finish

    def _tracks(self) -> Iterator[_Track]:
        for _, tracks in self._stages:
            yield from tracks

    def _undone(self) -> Iterator[_Track]:
        began = {Mark.DONE: True, Mark.FAILED: False, Mark.UNKNOWN: False, Mark.PASSED: False}
        for track in reversed(list(self._tracks())):
            attempted = {
                task.key: began[mark]
                for task, mark in zip(track.lane.tasks, track.marks, strict=True)
                if mark in began
            }
            lane = undo(track.lane, attempted)
            if lane.tasks:
                yield _Track(lane)


def _where(task: Task) -> str:
    return f"{task.node or 'here'}, {task.title}: "
