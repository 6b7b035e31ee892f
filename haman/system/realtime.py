"""Running when the machine is busy: real-time scheduling, locked memory, a settled interpreter.

Each function returns what the kernel refused, "" if nothing: the engine runs on, later and less
surely, and says so.
"""

import gc
import os
import sys

from haman.system.native import failure, libc

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4

SWITCH_INTERVAL_S = 0.0001
"""How long the loop may wait for the address worker to let go of the interpreter (default 5 ms)."""


def raise_priority(priority: int, pid: int = 0) -> str:
    """Put a process, or with `pid` 0 the calling thread, under SCHED_RR.

    Its children start without it (SCHED_RESET_ON_FORK): the controller must not inherit it. So do
    threads: each thread of the engine calls this, else one that is preempted while it holds the
    interpreter would make the real-time loop wait for an ordinary thread.
    """
    policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(pid, policy, os.sched_param(priority))
    except OSError as error:
        return (
            f"no real-time priority {priority}: {error.strerror}; "
            "allow it with LimitRTPRIO or CAP_SYS_NICE, or set engine.realtime_priority = 0"
        )
    return ""


def lock_memory() -> str:
    """Keep every page in memory: now mapped, and later as it is touched."""
    for flags in (_MCL_CURRENT, _MCL_FUTURE | _MCL_ONFAULT):
        if libc.mlockall(flags) < 0:
            return f"memory not locked: {failure('mlockall')}; raise LimitMEMLOCK"
    return ""


def settle_interpreter() -> None:
    """End of start-up: what lives now lives on, so that no collection looks at it again.

    Collections may have been held back until now. There is none here: it would walk everything, 20 ms, for
    one object in twenty.
    """
    gc.freeze()
    gc.enable()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
