"""What /proc tells of processes (proc(5)). A process that vanished is a value, not an error.

Costs, measured on an EPYC virtual machine: 2 µs for a kept descriptor, 10–20 µs for a file that is
opened each time; listing the 20,000 descriptors of a busy proxy takes 21 ms, asking for their
number 2 µs.
"""

import os
import time
from pathlib import Path

from haman.core.processes import ProcessGone, ProcessId, ProcessStatus
from haman.core.resources import ProcessSample

NAME_BYTES = 15
READ_BYTES = 4096
LIMITS_NS = 5_000_000_000
"""How often limits are read anew: they hardly change, and cost ten times what a count does."""
COUNT_SHARE = 100
COUNT_NS = 1_000_000_000
"""Where descriptors can only be counted by listing them: once a second, or more rarely, so that it
takes no more than a hundredth of the time."""
LISTENERS_BELOW = 512
"""Descriptors that are looked at for sockets: listening ones are opened before clients come."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_DEAD = "ZXx"
_VANISHED = (FileNotFoundError, ProcessLookupError)


def _names(directory: str | int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]


class ProcFs:
    """The processes of this PID namespace.

    What the kernel can do is found out once: whether it lists children (CONFIG_PROC_CHILDREN) and
    whether it counts descriptors (`st_size` of /proc/PID/fd, Linux 6.2).
    """

    def __init__(self, root: str = "/proc") -> None:
        self._root = root
        self._lists_children = Path(root, "thread-self/children").exists()
        self.counts_fds = Path(root, "self/fd").stat().st_size > 0

    def status(self, pid: int) -> ProcessStatus | ProcessGone:
        """Identity, name and parent of a living process; zombies are gone."""
        try:
            text = self._read(f"{pid}/stat")
        except _VANISHED:
            return ProcessGone(pid)
        # The name may hold spaces and brackets: it ends at the last bracket.
        head, _, tail = text.rpartition(")")
        fields = tail.split()
        if fields[0] in _DEAD:
            return ProcessGone(pid)
        name = head.partition("(")[2]
        return ProcessStatus(ProcessId(pid, int(fields[19])), name, parent=int(fields[1]))

    def children(self, pid: int) -> tuple[int, ...]:
        """Pids of its children, zombies included; none if it is gone."""
        if not self._lists_children:
            return tuple(
                other
                for other in self.pids()
                if isinstance(status := self.status(other), ProcessStatus) and status.parent == pid
            )
        found: list[int] = []
        try:
            for thread in _names(f"{self._root}/{pid}/task"):
                found += map(int, self._read(f"{pid}/task/{thread}/children").split())
        except _VANISHED:
            return ()
        return tuple(found)

    def find(self, name: str) -> tuple[int, ...]:
        """Pids of processes of this name (its first 15 bytes), youngest pid first."""
        wanted = os.fsencode(name)[:NAME_BYTES].decode(errors="replace")
        found: list[int] = []
        for pid in sorted(self.pids(), reverse=True):
            try:
                if self._read(f"{pid}/comm").rstrip("\n") == wanted:
                    found.append(pid)
            except _VANISHED:
                continue
        return tuple(found)

    def arguments(self, pid: int) -> tuple[str, ...]:
        """Its command line; empty if it is gone, or a thread of the kernel."""
        try:
            return tuple(self._read(f"{pid}/cmdline").split("\0"))
        except _VANISHED:
            return ()

    def open(self, process: ProcessId) -> "ProcessReader | ProcessGone":
        """A reader for repeated samples of one process."""
        try:
            reader = ProcessReader(f"{self._root}/{process.pid}", process, self.counts_fds)
        except _VANISHED:
            return ProcessGone(process.pid)
        status = self.status(process.pid)  # after opening: now the descriptors are known to be its
        if isinstance(status, ProcessGone) or status.process != process:
            reader.close()
            return ProcessGone(process.pid)
        return reader

    def pids(self) -> list[int]:
        """All that there are now."""
        return [int(entry) for entry in _names(self._root) if entry.isdigit()]

    def _read(self, path: str) -> str:
        fd = os.open(f"{self._root}/{path}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, READ_BYTES).decode(errors="replace")
        finally:
            os.close(fd)


class ProcessReader:
    """Samples of one process over kept descriptors, which never come to mean another process."""

    def __init__(self, path: str, process: ProcessId, counts_fds: bool) -> None:
        self._path = path
        self._process = process
        self._counts_fds = counts_fds
        self._kept: list[int] = []
        self._threads: dict[int, int] = {}
        self._limit: int | None = None
        self._limit_due_ns = self._count_due_ns = 0
        try:
            self._task = self._keep(f"{path}/task", os.O_RDONLY)
            self._statm = self._keep(f"{path}/statm", os.O_RDONLY)
            self._limits = self._keep(f"{path}/limits", os.O_RDONLY)
            self._fds = self._keep(f"{path}/fd", os.O_PATH)
        except OSError:
            self.close()
            raise

    def _keep(self, path: str, flags: int) -> int:
        fd = os.open(path, flags | os.O_CLOEXEC)
        self._kept.append(fd)
        return fd

    def sample(self) -> ProcessSample | ProcessGone:
        """CPU time by thread, descriptors and their limit, now."""
        try:
            schedstat = self._schedstat()
            now_ns = time.monotonic_ns()
            if now_ns >= self._limit_due_ns:
                self._limit, self._limit_due_ns = self._soft_limit(), now_ns + LIMITS_NS
            return ProcessSample(
                self._process,
                {thread: ran_ns for thread, (ran_ns, _) in schedstat.items()},
                self._count(now_ns),
                self._limit,
                {thread: waited_ns for thread, (_, waited_ns) in schedstat.items()},
            )
        except _VANISHED:
            return ProcessGone(self._process.pid)

    def _schedstat(self) -> dict[int, tuple[int, int]]:
        """Fields 1 and 2: ns on a CPU, and on a run queue. Empty without CONFIG_SCHED_INFO."""
        if os.fstat(self._task).st_nlink - 2 != len(self._threads):
            self._find_threads()
        try:
            return self._read_threads()
        except _VANISHED:  # a thread ended, and another may have taken its place in the count
            self._find_threads()
            return self._read_threads()

    def _read_threads(self) -> dict[int, tuple[int, int]]:
        found = {}
        for thread, fd in self._threads.items():
            ran_ns, waited_ns, _ = os.pread(fd, 64, 0).split(b" ", 2)
            found[thread] = int(ran_ns), int(waited_ns)
        return found

    def _find_threads(self) -> None:
        alive = {int(thread) for thread in _names(self._task)}
        for ended in self._threads.keys() - alive:
            os.close(self._threads.pop(ended))
        for thread, fd in list(self._threads.items()):
            try:
                os.pread(fd, 1, 0)
            except _VANISHED:  # its number was reused
                os.close(fd)
                del self._threads[thread]
        for thread in alive - self._threads.keys():
            try:
                fd = os.open(f"{thread}/schedstat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._task)
            except _VANISHED:
                continue
            self._threads[thread] = fd

    def resident_bytes(self) -> int:
        """RSS, which is some pages behind (proc(5), statm).

        Raises:
            OSError: the process is gone.
        """
        return int(os.pread(self._statm, 128, 0).split(b" ", 2)[1]) * PAGE_BYTES

    def sockets(self) -> set[int]:
        """Inodes of the sockets among its first descriptors; some 2 ms.

        Raises:
            PermissionError: the process is another user's.
            OSError: it is gone.
        """
        found = set()
        for number in range(LISTENERS_BELOW):
            try:
                target = os.readlink(str(number), dir_fd=self._fds)
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
        return found

    def _count(self, now_ns: int) -> int | None:
        if self._counts_fds:
            return os.fstat(self._fds).st_size
        if now_ns < self._count_due_ns:
            return None
        try:
            return len(_names(f"{self._path}/fd"))
        except PermissionError:
            return None
        finally:
            took_ns = time.monotonic_ns() - now_ns
            self._count_due_ns = now_ns + max(COUNT_NS, COUNT_SHARE * took_ns)

    def _soft_limit(self) -> int | None:
        text = os.pread(self._limits, READ_BYTES, 0)
        if not text:  # of a process that has just ended
            raise ProcessLookupError(self._process.pid)
        soft = text.partition(b"Max open files")[2].split(None, 1)[0]
        return int(soft) if soft.isdigit() else None

    def close(self) -> None:
        """Give the descriptors back."""
        for fd in (*self._kept, *self._threads.values()):
            os.close(fd)
        self._kept.clear()
        self._threads.clear()
