"""What an agent costs its node at rest: processor time and memory, from the kernel's own books."""

import contextlib
import fnmatch
import os
import time
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from haman.lab import kernel

SETTLED_S = 5.0
"""After the start an agent is not at rest yet: it opens its sources, finds its peers, and looks around more often."""


class Cost(Struct, frozen=True):
    """Of all processes of an agent together.

    Attributes:
        cpu_percent: of one core; programs that they ran and waited for, such as a check, included.
        pss_mb: proportional set size, in 10⁶ bytes: shared pages count by their share.
    """

    cpu_percent: float
    pss_mb: float


def cost(pid: int, pattern: str, over_s: float, after_s: float = 0.0) -> Cost:
    """Watch some processes beside process 1 of a node for a while.

    What they start counts with their processor time once it has ended, as check scripts do at once.

    Args:
        pid: of process 1.
        pattern: their name, or several with spaces between.
        over_s: how long.
        after_s: waited before.
    """
    time.sleep(after_s)
    return costs({"": pid}, pattern, over_s)[""]


def costs(pids: Mapping[str, int], pattern: str, over_s: float) -> dict[str, Cost]:
    """As `cost`, of several nodes in the same span of time; `pids` has process 1 of each.

    What ended meanwhile is left out: a verb that somebody ran, which has its agent's kind of name.
    """
    numbers = {
        node: [
            number
            for number, name in kernel.processes_beside(pid)
            if any(fnmatch.fnmatchcase(name, each) for each in pattern.split())
        ]
        for node, pid in pids.items()
    }
    before, began = {n: _spent_s(n) for own in numbers.values() for n in own}, time.monotonic()
    time.sleep(over_s)
    after, took_s = {n: _spent_s(n) for n in before}, time.monotonic() - began
    spent_s = {n: s - (before[n] or 0.0) for n, s in after.items() if s is not None}
    return {
        node: Cost(
            round(100 * sum(spent_s.get(n, 0.0) for n in own) / took_s, 2),
            round(sum(map(_pss_bytes, own)) / 1e6, 1),
        )
        for node, own in numbers.items()
    }


def _spent_s(pid: int) -> float | None:
    """CPU time until now, to the nanosecond where the kernel keeps it so; None = it has ended.

    Of each thread proc_pid_schedstat (sched-stats.rst), first field; of children that ended and were waited
    for, proc_pid_stat(5), fields 16 and 17, in ticks.
    """
    process, spent_ns = Path(f"/proc/{pid}"), 0
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        for thread in (process / "task").iterdir():
            with contextlib.suppress(OSError):  # a thread may end, and its process go on
                spent_ns += int((thread / "schedstat").read_text().split()[0])
    except OSError:
        return None
    ticks = int(fields[13]) + int(fields[14])
    return spent_ns / 1e9 + ticks / os.sysconf("SC_CLK_TCK")


def _pss_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it has ended
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
