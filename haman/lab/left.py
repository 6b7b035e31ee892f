"""What labs have on the host outside of their folders: processes and control groups, found without a list.

A list can be cut short by whoever kills its writer. So every process of a lab carries the lab's folder in its
environment, and every control group is named after the node's process 1 that it was made for.
"""

import contextlib
import os
import signal
from pathlib import Path

from haman.lab import kernel

MARK = "HAMAN_LAB"
"""The environment variable that names the folder of the lab that a process belongs to."""
GROUP_ROOTS = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
"""Where control groups are: version 1, version 2."""
GROUP = "haman-lab-"


def processes(folder: Path) -> dict[int, Path]:
    """The processes that carry the mark of a lab's folder, or of one below it, and which."""
    top = folder.resolve()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended while we looked
        for word in words:
            if word.startswith(MARK.encode() + b"="):
                marked = Path(os.fsdecode(word.partition(b"=")[2]))
                if marked.is_relative_to(top):
                    found[int(entry.name)] = marked
    return found


def ended(folder: Path, timeout_s: float) -> list[int]:
    """Kill what carries the mark of a folder, again and again until nothing does; what would not die.

    A process that is about to start others, or that just did, is met in the next round.
    """
    seen: dict[int, int] = {}

    def over() -> bool:
        found = processes(folder)
        for pid in found:
            seen[pid] = kernel.start_ticks(pid) or 0
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # A process 1 has no environment any more while it waits for everything inside to die.
        return not found and not any(_lives(pid, ticks) for pid, ticks in seen.items())

    return (
        [] if kernel.wait_until(over, timeout_s) else [p for p, t in seen.items() if _lives(p, t)]
    )


def _lives(pid: int, ticks: int) -> bool:
    return kernel.start_ticks(pid) == ticks


def group(pid: int) -> Path | None:
    """A new control group for processes of the node whose process 1 is `pid`; None where there are none."""
    for root in GROUP_ROOTS:
        if (root / "cgroup.procs").exists():
            made = root / f"{GROUP}{pid}"
            made.mkdir(exist_ok=True)
            return made
    return None


def remove_groups() -> None:
    """Remove the control groups of nodes that are gone, whoever made them."""
    for root in GROUP_ROOTS:
        for made in root.glob(f"{GROUP}*"):
            number = made.name.removeprefix(GROUP)
            if number.isdecimal() and kernel.start_ticks(int(number)) is None:
                with contextlib.suppress(OSError):  # somebody is in it: then it is in use
                    made.rmdir()
