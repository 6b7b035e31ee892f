"""What can be run, and what a run tells whoever attends to it: `list --json`, `show --json` and `--events`.

A run under `--events` writes lines of JSON, each with its `type`; the program that attends to it writes
lines into its standard input. Additions are free, removals are not; an unknown type may be passed over.

    laid-out            what will be done, at the beginning and again whenever there is more of it
    prepared            something is ready, or why it takes its time
    begun said ended    of one task; marked: what became of it in the end, where `ended` does not tell
    worsened            the watch has found something
    asked settled       a question, and its end: answered, or too late
    finished            how it ended; reported: all of it once more, for people and machines

    answer stop         what may be written to it
"""

from typing import Any

from msgspec import Struct, field


class Parameter(Struct, frozen=True):
    """What a run may be given; `default` null: it must be. Values are written as text.

    `type`: text, command, path, whole, number or flag; `min`, `max` bound numbers, `pattern` all of a text.
    """

    name: str
    type: str = "text"
    default: str | None = None
    about: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ""
    min: float | None = None
    max: float | None = None


class Offer(Struct, frozen=True):
    """A playbook or a drill that can be run.

    Attributes:
        kind: playbook or drill.
        file: its file, as the verb that runs it takes it.
        words: what would happen, line by line; of a playbook with the values given, else with defaults.
        takes_out: nodes leave service meanwhile, or what they serve is moved.
        stays_out: and stay drained in the end, all of them.
        nodes: that it works on, or that a drill breaks; () = every node of the cluster's view.
        site: it works on the nodes of this site only; "" = of all.
        lab: the lab that a drill breaks.
        problems: why it cannot be run so; () = nothing is wrong.
    """

    kind: str
    name: str
    file: str = ""
    about: str = ""
    words: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    takes_out: bool = False
    stays_out: bool = False
    nodes: tuple[str, ...] = ()
    site: str = ""
    lab: str = ""
    problems: tuple[str, ...] = ()


class Task(Struct, frozen=True):
    """One thing to do; `mark`: pending, running, done, skipped, passed over, failed or unknown."""

    key: str
    title: str
    mark: str = "pending"
    attempt: int = 0
    text: str = ""


class Lane(Struct, frozen=True):
    """Tasks that are done in order, of one node mostly."""

    name: str
    tasks: tuple[Task, ...]


class LaidOut(Struct, frozen=True, tag="laid-out", tag_field="type"):
    """All lanes; `run` is the run's name and `journal` its file, "" where nothing is written down."""

    run: str
    journal: str
    lanes: tuple[Lane, ...]


class Prepared(Struct, frozen=True, tag="prepared", tag_field="type"):
    """Something was made ready, or is waited for."""

    text: str


class Begun(Struct, frozen=True, tag="begun", tag_field="type"):
    """A task is under way; `attempt` from 1."""

    key: str
    attempt: int = 1


class Said(Struct, frozen=True, tag="said", tag_field="type"):
    """A line of a task's output; `shown`: people are to see it."""

    key: str
    line: str
    shown: bool = False


class Ended(Struct, frozen=True, tag="ended", tag_field="type"):
    """An attempt at a task has ended; `outcome`: done, skipped, failed or unknown."""

    key: str
    outcome: str
    text: str = ""
    seconds: float = 0.0
    attempt: int = 1


class Marked(Struct, frozen=True, tag="marked", tag_field="type"):
    """What became of a task, as in `Task.mark`."""

    key: str
    mark: str


class Worsened(Struct, frozen=True, tag="worsened", tag_field="type"):
    """Something got worse in the cluster."""

    reasons: tuple[str, ...]


class Asked(Struct, frozen=True, tag="asked", tag_field="type"):
    """A person is asked; without an answer within `timeout_s` it is a no."""

    id: int
    question: str
    timeout_s: float


class Settled(Struct, frozen=True, tag="settled", tag_field="type"):
    """A question is no longer open."""

    id: int
    yes: bool


class Finished(Struct, frozen=True, tag="finished", tag_field="type"):
    """The end; `ok`: it came out as it was meant to. `resume`: what to type to go on; "" = nothing is left to do."""

    verdict: str
    ok: bool
    text: str = ""
    resume: str = ""


class Reported(Struct, frozen=True, tag="reported", tag_field="type"):
    """The report: `text` for people, `data` for machines, `files` where it was written to."""

    text: str
    data: Any = None
    files: tuple[str, ...] = ()


Line = (
    LaidOut
    | Prepared
    | Begun
    | Said
    | Ended
    | Marked
    | Worsened
    | Asked
    | Settled
    | Finished
    | Reported
)


class Answer(Struct, frozen=True, tag="answer", tag_field="type"):
    """To the question `id`."""

    id: int
    yes: bool


class Stop(Struct, frozen=True, tag="stop", tag_field="type"):
    """End after what is under way; a drill: now, and the lab is healed."""


Word = Answer | Stop


class Offers(Struct, frozen=True):
    """Everything of one kind that can be run; `problem`: why there is nothing, "" = that is no mistake."""

    offers: tuple[Offer, ...] = field(default_factory=tuple)
    problem: str = ""
