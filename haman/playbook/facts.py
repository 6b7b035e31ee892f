"""What happens in a run, and what is done about it: the values that plan, runner and journal share."""

from dataclasses import dataclass
from enum import StrEnum

from haman.playbook.script import Task


class Outcome(StrEnum):
    """Of a task."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """Of a run."""

    DONE = "done"
    PARTLY = "partly done"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    ROLLED_BACK = "rolled back"
    ROLL_BACK_FAILED = "not rolled back whole"

    @property
    def resumable(self) -> bool:
        """Whether there is something left to do."""
        return self not in {Verdict.DONE, Verdict.ROLLED_BACK}


@dataclass(frozen=True, slots=True)
class Began:
    """The run was begun."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A task has ended.

    Attributes:
        attempt: of that task, from 1.
        text: what it came to, in a line.
    """

    key: str
    attempt: int
    outcome: Outcome
    text: str = ""


@dataclass(frozen=True, slots=True)
class Worsened:
    """Something got worse in the cluster that the node at work does not explain."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Somebody wants the run to stop after what is under way."""


@dataclass(frozen=True, slots=True)
class RollBackAsked:
    """Somebody wants everything taken back."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """A run that had ended goes on."""


Fact = Began | Ended | Worsened | StopAsked | RollBackAsked | Resumed


@dataclass(frozen=True, slots=True)
class Act:
    """Do a task.

    Attributes:
        attempt: from 1.
        delay_s: wait before.
        settles: it was begun before, and nobody knows what became of it: find out first.
        only_looks: and do not begin it if it was not begun, for everything is taken back.
    """

    task: Task
    attempt: int
    delay_s: float = 0.0
    settles: bool = False
    only_looks: bool = False


@dataclass(frozen=True, slots=True)
class Finish:
    """The run has ended; `text` says why it ended as it did."""

    verdict: Verdict
    text: str = ""
