"""What taking a lane back means. Pure.

A node is taken back the way it was changed: out of service, if it was taken out for that; then what
was put there is restored, last thing first; then what was restarted is restarted; then it goes back
into service, and must serve as before. Where nothing was changed that can be restored, it only goes
back into service.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from haman.playbook.model import Drain, Reload, Restart, Run, Undrain, Upload, WaitFor
from haman.playbook.rules import TAKE_OUT
from haman.playbook.script import Lane, Restore, Revert, Soak, Task, soak_of

MARK = "undo:"


def undo(lane: Lane, attempted: Mapping[str, bool]) -> Lane:
    """Give the lane that takes `lane` back; without tasks where there is nothing to take back.

    Args:
        lane: of a node, or what is done once.
        attempted: keys of the tasks that were begun, and whether they were done; those that were skipped
            are not among them.
    """
    begun = [task for task in lane.tasks if task.key in attempted]
    restored = [_restored(task) for task in reversed(begun)]
    changes = [task for task in restored if task is not None]
    restarts = [t for t in begun if isinstance(t.work, Reload | Restart)] if changes else []
    out = _is_out(begun, attempted)
    away: list[Task] = []
    if any(isinstance(t.work, Restart) for t in restarts):
        first = next(i for i, t in enumerate(begun) if isinstance(t.work, TAKE_OUT))
        until = next(i for i, t in enumerate(begun) if isinstance(t.work, Restart))
        away = [t for t in begun[first:until] if isinstance(t.work, Drain | WaitFor)]
        if not any(isinstance(t.work, Drain) for t in away):
            away = []
    back = _back(lane.tasks, restarts) if away or out else []
    tasks = [*away, *changes, *restarts, *back]
    renamed = [replace(t, key=f"{MARK}{t.key}") for t in tasks]
    soak = next((t for t in lane.tasks if isinstance(t.work, Soak)), None)
    if renamed and soak is not None and isinstance(soak.work, Soak):
        again = Soak(soak.work.come_back_s, 0.0)
        renamed.append(soak_of(f"{MARK}{soak.key}", lane.node, again))
    return Lane(f"{lane.name}, taken back", lane.node, tuple(renamed))


def _restored(task: Task) -> Task | None:
    match task.work:
        case Upload():
            title = f"restore {task.work.to}"
            return replace(task, work=Restore(task.work, task.key), title=title, passes=False)
        case Run(undo=command) if command:
            title = f"undo: {task.title}"
            return replace(task, work=Revert(task.work), title=title, passes=False)
        case _:
            return None


def _is_out(begun: Sequence[Task], attempted: Mapping[str, bool]) -> bool:
    """Whether the node is, or may be, drained."""
    out = False
    for task in begun:
        if isinstance(task.work, Drain):
            out = True
        elif isinstance(task.work, Undrain) and attempted[task.key]:
            out = False
    return out


def _back(tasks: Sequence[Task], restarts: Sequence[Task]) -> list[Task]:
    """Give what brings a node into service: from its last restart on, or from its undrain."""
    undrain = next((i for i, t in enumerate(tasks) if isinstance(t.work, Undrain)), None)
    if undrain is None:
        drain = next(t for t in tasks if isinstance(t.work, Drain))
        return [replace(drain, work=Undrain(), title="undrain")]
    first = undrain
    if restarts:
        first = 1 + max(i for i, t in enumerate(tasks) if isinstance(t.work, Reload | Restart))
    return [t for t in tasks[first:] if isinstance(t.work, WaitFor | Undrain)]
