"""Starting a child without stopping the loop: posix_spawn(3), and `confine` before its program.

Whoever spawns waits until the child has reached its exec, and the child is an ordinary process: on a
host where every core is busy it gets one only when its turn comes, and the real-time loop waits with
it (measured with eight busy processes on two cores: 15 ms, at most 20; subprocess.Popen 8 to 18). So
the child begins as a real-time process of the lowest priority, below the engine and above all that
is ordinary, until `confine` ends that: 0.3 ms, busy or not. Where the kernel does not allow it, it is
as late as it is.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

from haman.core.frozen import dataclass
from haman.system import confine


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a child runs as.

    Attributes:
        user: numeric; None = as the parent, and so are the groups.
        groups: supplementary.
        powerless: it has no capability, whoever it is, and no program that it runs can get one.
    """

    user: int | None = None
    group: int | None = None
    groups: tuple[int, ...] = ()
    powerless: bool = False


def spawn(
    command: Sequence[str],
    environment: Mapping[str, str],
    confinement: Confinement,
    keep: Sequence[int] = (),
) -> int:
    """Start a child: leader of its own session, standard input empty, killed when this thread dies.

    Args:
        command: an absolute path first; or a module of haman's own, see `confine`.
        environment: all of it.
        confinement: applied before the command is run; a failure ends the child with
            `confine.FAILED`, and says why on standard error.
        keep: descriptors that it inherits, beside 1 and 2.

    Returns:
        The process id; wait for it.

    Raises:
        OSError: no process could be made.
    """
    is_user = confinement.user is not None
    arguments = [
        *(sys.executable, "-I", "-S", confine.__file__),
        str(os.getpid()),
        str(confinement.user) if is_user else "",
        str(confinement.group) if is_user else "",
        ",".join(map(str, confinement.groups)),
        "1" if confinement.powerless else "0",
        *command,
    ]
    # dup2 onto itself makes a descriptor survive exec in the child alone.
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]]
    actions = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in keep]
    actions.append((os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0))
    with _urgent() as scheduler:
        return os.posix_spawn(
            sys.executable,
            arguments,
            dict(environment),
            file_actions=actions,
            setsid=True,
            **scheduler,
        )


class _Scheduler(TypedDict, total=False):
    scheduler: tuple[int, os.sched_param]


@contextlib.contextmanager
def _urgent() -> Iterator[_Scheduler]:
    """Let a child of this thread inherit that it is real-time, if it is."""
    policy = os.sched_getscheduler(0)
    if policy != os.SCHED_RR | os.SCHED_RESET_ON_FORK:
        yield {}
        return
    priority = os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, priority)
    except PermissionError:  # clearing the flag needs CAP_SYS_NICE, whatever RLIMIT_RTPRIO says
        yield {}
        return
    try:
        yield {"scheduler": (os.SCHED_RR, os.sched_param(1))}
    finally:
        os.sched_setscheduler(0, policy, priority)
