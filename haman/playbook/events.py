"""What a run tells whoever shows it: the command line, a report, the terminal UI."""

from dataclasses import dataclass

from haman.playbook.facts import Act, Finish, Outcome


@dataclass(frozen=True, slots=True)
class Prepared:
    """Something was made ready before the first task: connections, locks."""

    text: str


@dataclass(frozen=True, slots=True)
class TaskBegun:
    """A task is under way."""

    act: Act


@dataclass(frozen=True, slots=True)
class TaskSaid:
    """A line of its output; `shown`: people are to see it."""

    key: str
    line: str
    shown: bool = False


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """A task has ended; `seconds` counts the delay before a further attempt in."""

    act: Act
    outcome: Outcome
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ClusterWorsened:
    """The watch has found something."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The end."""

    finish: Finish


Event = Prepared | TaskBegun | TaskSaid | TaskEnded | ClusterWorsened | RunEnded
