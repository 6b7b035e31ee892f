"""A playbook and the nodes in their order, made into lanes of tasks. Pure.

    before ──► lb2: guard, steps, soak ──► lb3: … ──► lb1: … ──► after

A lane is done in order; `batch` lanes of nodes go on at once. The guard comes before the first step
that clients of the node may notice, the soak after its last step.
"""

from dataclasses import dataclass

from msgspec.structs import replace

from haman.playbook.model import AnyStep, Confirm, OnFailure, Playbook, Run, Undrain, Upload
from haman.playbook.rules import TAKE_OUT
from haman.playbook.words import title

HERE = ""
"""The node of a task that concerns this machine, or the cluster."""


@dataclass(frozen=True, slots=True)
class Guard:
    """May this node be taken out: everybody else is in service, and N−1 holds."""

    meant_out: tuple[str, ...] = ()
    """Nodes that this run leaves drained, and does not count as missing."""
    asked: tuple[str, ...] = ()
    """Nodes whose loss together must be carried."""
    stays_out: bool = False
    """The run leaves its nodes drained; one that was drained before is no surprise."""


@dataclass(frozen=True, slots=True)
class Soak:
    """The node serves again as before, and nothing gets worse for some time."""

    come_back_s: float
    seconds: float
    drained: bool = False
    """The node was to be left drained instead."""
    meant_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Restore:
    """Put back what an upload replaced; `key` of that task says where it is kept."""

    upload: Upload
    key: str


@dataclass(frozen=True, slots=True)
class Revert:
    """Run the undo of a command."""

    run: Run


Work = AnyStep | Guard | Soak | Restore | Revert


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do.

    Attributes:
        key: NODE/PLACE, before:PLACE or after:PLACE with @NODE for each node; the same in every run of
            the playbook, so that a journal can be read again.
        node: for which; HERE = none.
        here: it is done on this machine.
        on_failure: roll-back for guards of the run itself.
    """

    key: str
    node: str
    work: Work
    title: str
    timeout_s: float
    retries: int = 0
    retry_delay_s: float = 0.0
    on_failure: OnFailure = "stop"
    here: bool = False
    passes: bool = False
    """A failure is noted, and the lane goes on."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What is done in order: of one node, or once before or after all."""

    name: str
    node: str
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """Lanes, `width` of them at once."""

    lanes: tuple[Lane, ...]
    width: int = 1


@dataclass(frozen=True, slots=True)
class Script:
    """All that a run would do if nothing went wrong."""

    stages: tuple[Stage, ...]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task, in order."""
        return tuple(t for stage in self.stages for lane in stage.lanes for t in lane.tasks)


def script(playbook: Playbook, nodes: tuple[str, ...]) -> Script:
    """Lay out what a playbook does on these nodes, in this order."""
    lanes = tuple(_lane(playbook, nodes, place) for place in range(len(nodes)))
    stages = (
        Stage((_once(playbook, "before", playbook.before, nodes),)),
        Stage(tuple(lane for lane in lanes if lane.tasks), playbook.batch),
        Stage((_once(playbook, "after", playbook.after, nodes),)),
    )
    filled = (Stage(tuple(x for x in s.lanes if x.tasks), s.width) for s in stages)
    return Script(tuple(s for s in filled if s.lanes))


def task_of(step: AnyStep, key: str, node: str, default: OnFailure) -> Task:
    """Make a task of a step."""
    passes = step.on_failure == "continue"
    return Task(
        key=key,
        node=node,
        work=step,
        title=title(step),
        timeout_s=step.timeout_s,
        retries=step.retries,
        retry_delay_s=step.retry_delay_s,
        here=step.at == "here" or node == HERE,
        on_failure=default if passes or not step.on_failure else step.on_failure,
        passes=passes,
    )


def soak_of(key: str, node: str, soak: Soak) -> Task:
    """Make the task of a soak; its time is its own."""
    return Task(
        key=key,
        node=node,
        work=soak,
        title="serves again, and nothing is worse" if not soak.drained else "nothing is worse",
        timeout_s=soak.come_back_s + soak.seconds,
        on_failure="roll-back",
    )


def _lane(playbook: Playbook, nodes: tuple[str, ...], place: int) -> Lane:
    node = nodes[place]
    tasks = [
        task_of(step, f"{node}/{number}", node, playbook.on_failure)
        for number, step in enumerate(playbook.step, 1)
    ]
    if not playbook.agents or not tasks:
        return Lane(node, node, tuple(tasks))
    stays_out = playbook.leaves == "drained"
    first = next((i for i, t in enumerate(tasks) if isinstance(t.work, TAKE_OUT)), None)
    guards = playbook.guards
    if first is not None:
        meant = nodes if stays_out else ()
        guard = Guard(meant, meant or (node,), stays_out)
        name = f"{node}/guard"
        tasks.insert(first, Task(name, node, guard, "may leave: everybody else serves", 30.0))
    seconds = max(guards.soak_s, guards.canary_soak_s) if place == 0 else guards.soak_s
    if first is not None or any(_changes(t.work) for t in tasks):
        meant = nodes[: place + 1] if stays_out else ()
        soak = Soak(guards.come_back_s, seconds, drained=stays_out, meant_out=meant)
        tasks.append(soak_of(f"{node}/soak", node, soak))
    if guards.confirm_after_canary and place == 0 and len(nodes) > 1:
        question = f"{node} is done and serves. Go on with {', '.join(nodes[1:])}?"
        asked = task_of(Confirm(question=question), f"{node}/confirm", HERE, playbook.on_failure)
        tasks.append(asked)
    return Lane(node, node, tuple(tasks))


def _changes(work: Work) -> bool:
    return isinstance(work, Upload | Undrain) or (isinstance(work, Run) and work.changes)


def _once(
    playbook: Playbook, phase: str, steps: tuple[AnyStep, ...], nodes: tuple[str, ...]
) -> Lane:
    tasks: list[Task] = []
    for number, step in enumerate(steps, 1):
        key = f"{phase}:{number}"
        if step.at in {"every", "first"}:
            on = nodes if step.at == "every" else nodes[:1]
            tasks += (
                task_of(replace(step, at="node"), f"{key}@{node}", node, playbook.on_failure)
                for node in on
            )
        else:
            tasks.append(task_of(step, key, HERE, playbook.on_failure))
    return Lane(phase, HERE, tuple(tasks))
