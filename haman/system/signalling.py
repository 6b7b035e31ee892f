"""Signals to other processes: whether one listens yet, and ending those that must not go on."""

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

from haman.system.procfs import ProcFs


def catches(pid: int, number: int) -> bool:
    """Whether a process handles a signal by now; False if it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    found = next((line for line in text.splitlines() if line.startswith("SigCgt:")), "SigCgt: 0")
    return bool(int(found.split()[1], 16) >> (number - 1) & 1)


def end_processes(arguments: tuple[str, ...], within_s: float) -> tuple[int, ...]:
    """End the processes of this network namespace whose command line ends so; gives their pids.

    Asked to at first, killed when they have not ended in time. Their parents wait for them.
    """
    own = Path("/proc/self/ns/net").stat().st_ino
    procfs = ProcFs()
    ended = []
    for pid in procfs.pids():
        try:
            if Path(f"/proc/{pid}/ns/net").stat().st_ino != own:
                continue
            with _pidfd(pid) as fd:
                # After opening: it cannot be another process's any more.
                if procfs.arguments(pid)[-len(arguments) - 1 : -1] != arguments:
                    continue
                signal.pidfd_send_signal(fd, signal.SIGTERM)
                if not select.select([fd], [], [], within_s)[0]:
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
                    select.select([fd], [], [], within_s)
        except (
            FileNotFoundError,
            ProcessLookupError,
            PermissionError,
        ):  # not ours to end, if not ours to look at
            continue
        ended.append(pid)
    return tuple(ended)


@contextlib.contextmanager
def _pidfd(pid: int) -> Iterator[int]:
    fd = os.pidfd_open(pid)
    try:
        yield fd
    finally:
        os.close(fd)
