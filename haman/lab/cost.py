"""What an agent costs its node at rest: processor time and memory, from the kernel's own books."""

import fnmatch
import os
import time
from pathlib import Path

from msgspec import Struct

from haman.lab import kernel


class Cost(Struct, frozen=True):
    """Of all processes of an agent together.

    Attributes:
        cpu_percent: of one core.
        pss_mb: proportional set size, in 10⁶ bytes: shared pages count by their share.
    """

    cpu_percent: float
    pss_mb: float


def cost(pid: int, pattern: str, over_s: float) -> Cost:
    """Watch some processes beside process 1 of a node for a while.

    What they start counts with their processor time once it has ended, as check scripts do at once.

    Args:
        pid: of process 1.
        pattern: their name, or several with spaces between.
        over_s: how long.
    """
    numbers = [
        number
        for number, name in kernel.processes_beside(pid)
        if any(fnmatch.fnmatchcase(name, each) for each in pattern.split())
    ]
    before, began = sum(map(_ticks, numbers)), time.monotonic()
    time.sleep(over_s)
    used_s = (sum(map(_ticks, numbers)) - before) / os.sysconf("SC_CLK_TCK")
    share = used_s / (time.monotonic() - began)
    return Cost(round(100 * share, 2), round(sum(map(_pss_bytes, numbers)) / 1e6, 1))


def _ticks(pid: int) -> int:
    """User and system time, own and of children waited for: proc_pid_stat(5), fields 14 to 17."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))


def _pss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
