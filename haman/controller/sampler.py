"""The sampler: one round of readings of the proxy's processes and of what the kernel says of them.

Each source has its own pace: threads and quotas are read in every round, queues 2.5 times and the rest
once a second; each of them in every round while its resource is past half of its ceiling. A source that cannot be
read is a reading, too (`SourceFailed`), and is opened anew a second later. Nothing here waits for
anybody: files of the kernel over kept descriptors, and netlink dumps, which the kernel answers
while they are received.

What belongs to a network namespace or a control group is read through one process of the proxy, the
leader; another one takes its place when it ends.
"""

import errno
from collections.abc import Callable, Container
from dataclasses import replace
from typing import Any, Protocol

from haman.core.frozen import dataclass
from haman.core.processes import ProcessGone, ProcessId
from haman.core.resources import (
    GroupsSampled,
    ListenQueue,
    MemorySampled,
    ProcessesSampled,
    QueuesSampled,
    Reading,
    SourceFailed,
)
from haman.system.cgroup import ControlGroups
from haman.system.conntrack import Conntrack
from haman.system.netdev import Interfaces, Overflows
from haman.system.netns import is_own, open_inside
from haman.system.pressure import HostMemory
from haman.system.procfs import ProcessReader, ProcFs
from haman.system.sockdiag import Listener, SockDiag
from haman.system.softirq import Interrupts

NS_PER_S = 1_000_000_000
QUEUES_NS = 2 * NS_PER_S // 5
SLOW_NS = NS_PER_S
RETRY_NS = NS_PER_S
REST_NS_PER_SOCKET = NS_PER_S // 500
"""Looking at a descriptor takes some 20 µs: at most 1 % of the time is spent so, however many there are."""
EARLY_NS = NS_PER_S // 20
"""A source that is due within this is read now, with the others."""


class Opened(Protocol):
    """What a source keeps open."""

    def close(self) -> None:
        """Give it back."""


@dataclass(slots=True)
class _Source:
    """Something to read: opened for a leader, read at its pace.

    Attributes:
        optional: what is not there is nothing that could run out.
    """

    resource: str
    every_ns: int
    open: Callable[[int], Opened]
    read: Callable[[Any, int], Reading]
    optional: bool = False
    opened: Opened | None = None
    due_ns: int = 0

    def close(self) -> None:
        """Give back what is open."""
        if self.opened is not None:
            self.opened.close()
        self.opened, self.due_ns = None, 0

    def sample(self, leader: int, now_ns: int) -> Reading | None:
        """One reading, or why there is none."""
        self.due_ns = now_ns + self.every_ns
        try:
            if self.opened is None:
                self.opened = self.open(leader)
            return self.read(self.opened, now_ns)
        except (OSError, ValueError, LookupError) as error:
            self.close()
            self.due_ns = now_ns + RETRY_NS
            if self.optional and isinstance(error, FileNotFoundError):
                return None
            return SourceFailed(now_ns, self.resource, _why(error))


class Sampler:
    """Reads everything that is due.

    Args:
        procfs: the processes.
        take: called with every reading.
        probe_port: of the proxy's own listener, as far as the configuration tells; tells its sockets
            where its descriptors may not be looked at.
        told_fds: descriptors and their limit by the proxy's own word, for where they are not told.
    """

    def __init__(
        self,
        procfs: ProcFs,
        take: Callable[[Reading], None],
        probe_port: int | None,
        told_fds: Callable[[], tuple[int | None, int | None]],
    ) -> None:
        self._procfs = procfs
        self._take = take
        self._told_fds = told_fds
        self._readers: dict[ProcessId, ProcessReader] = {}
        self._leader: ProcessId | None = None
        self._listeners = OwnListeners(probe_port)
        self._sources = (
            _Source("cpu", 0, ControlGroups, _groups),
            _Source("accept_queue", QUEUES_NS, _ListenSource.open, self._queues),
            _Source("memory", SLOW_NS, _MemorySource, self._memory),
            _Source("cpu", SLOW_NS, lambda _: Interrupts(), Interrupts.sample),
            _Source("conntrack", SLOW_NS, _conntrack, Conntrack.sample, optional=True),
            _Source("nic", SLOW_NS, _interfaces, Interfaces.sample),
        )

    def close(self) -> None:
        """Give back everything that is open."""
        for source in self._sources:
            source.close()
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def sample(
        self,
        serving: tuple[ProcessId, ...],
        others: tuple[ProcessId, ...],
        near: Container[str],
        now_ns: int,
    ) -> None:
        """One round.

        Args:
            serving: processes of the proxy that serve; one of them leads.
            others: its masters, and those that only finish old connections.
            near: resources past half of their ceiling.
            now_ns: CLOCK_MONOTONIC.
        """
        members = (*serving, *others)
        self._read_processes(members, now_ns)
        leader = next((process for process in members if process in self._readers), None)
        if self._leader in self._readers and self._leader in serving:
            leader = self._leader
        if leader != self._leader:
            for source in self._sources:
                source.close()
            self._leader = leader
        if leader is None:
            return
        for source in self._sources:
            if source.due_ns <= now_ns + EARLY_NS or source.resource in near:
                reading = source.sample(leader.pid, now_ns)
                if reading is not None:
                    self._take(reading)

    def _read_processes(self, members: tuple[ProcessId, ...], now_ns: int) -> None:
        for process in self._readers.keys() - set(members):
            self._readers.pop(process).close()
        samples = []
        for process in members:
            reader = self._readers.get(process) or self._procfs.open(process)
            if isinstance(reader, ProcessGone):
                continue
            self._readers[process] = reader
            sample = reader.sample()
            if isinstance(sample, ProcessGone):
                continue
            if sample.fds is None:
                fds, limit = self._told_fds()
                sample = replace(sample, fds=fds, fd_limit=limit)
            samples.append(sample)
        if samples:
            self._take(ProcessesSampled(now_ns, tuple(samples)))

    def _memory(self, source: "_MemorySource", now_ns: int) -> MemorySampled:
        total, available = source.host.sizes()
        resident = 0
        for reader in self._readers.values():
            try:
                resident += reader.resident_bytes()
            except ProcessLookupError:  # ended since the round began
                continue
        return MemorySampled(
            now_ns,
            total,
            available,
            resident,
            source.groups.memory(now_ns),
            source.host.stalled_ns(),
        )

    def _queues(self, source: "_ListenSource", now_ns: int) -> Reading:
        listeners = source.diag.listeners()
        own = self._listeners.among(listeners, self._readers, now_ns)
        if isinstance(own, str):
            return SourceFailed(now_ns, "accept_queue", own)
        queues = tuple(
            ListenQueue(each.address, each.waiting, each.backlog, each.inode in own)
            for each in listeners
        )
        return QueuesSampled(now_ns, queues, source.overflows.sample())


class OwnListeners:
    """Which listening sockets are the proxy's: by its descriptors, or by the probe's port."""

    def __init__(self, probe_port: int | None) -> None:
        self._probe_port = probe_port
        self._looked_at: tuple[set[ProcessId], set[int]] = (set(), set())
        self._due_ns = 0
        self._found: set[int] = set()
        self._forbidden = ""

    def among(
        self, listeners: list[Listener], readers: dict[ProcessId, ProcessReader], now_ns: int
    ) -> set[int] | str:
        """Inodes of the proxy's, or why they cannot be told."""
        processes, sockets = self._looked_at
        inodes = {each.inode for each in listeners}
        # Sockets that close do not matter, and other programs of this host open theirs all the time.
        if (set(readers) != processes or not inodes <= sockets) and now_ns >= self._due_ns:
            self._look(readers)
            self._looked_at = set(readers), inodes
            self._due_ns = now_ns + max(SLOW_NS, len(self._found) * REST_NS_PER_SOCKET)
        if not self._forbidden:
            own = {each.inode for each in listeners} & self._found
            return own or "the proxy listens on no TCP socket"
        if self._probe_port is None:
            return f"{self._forbidden}, and there is no proxy.probe whose port would tell them"
        own = {each.inode for each in listeners if each.port == self._probe_port}
        return own or f"{self._forbidden}, and nobody listens on the port of proxy.probe"

    def _look(self, readers: dict[ProcessId, ProcessReader]) -> None:
        self._found, self._forbidden = set(), ""
        for process, reader in readers.items():
            try:
                self._found |= reader.sockets()
            except PermissionError:
                text = f"the sockets of process {process.pid} may not be looked at by this user"
                self._forbidden = f"{text} (CAP_SYS_PTRACE)"
            except ProcessLookupError:
                continue


class _ListenSource:
    def __init__(self, diag: SockDiag, overflows: Overflows) -> None:
        self.diag, self.overflows = diag, overflows

    @classmethod
    def open(cls, pid: int) -> "_ListenSource":
        diag = open_inside(pid, SockDiag)
        try:
            return cls(diag, Overflows(pid))
        except OSError:
            diag.close()
            raise

    def close(self) -> None:
        self.diag.close()
        self.overflows.close()


class _MemorySource:
    def __init__(self, pid: int) -> None:
        self.groups = ControlGroups(pid)
        self.host = HostMemory()

    def close(self) -> None:
        self.groups.close()
        self.host.close()


def _groups(groups: ControlGroups, now_ns: int) -> GroupsSampled:
    return GroupsSampled(now_ns, groups.cpu(now_ns))


def _conntrack(pid: int) -> Conntrack:
    return open_inside(pid, Conntrack)


def _interfaces(pid: int) -> Interfaces:
    return Interfaces(pid, own_namespace=is_own(pid))


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.EPERM, errno.EACCES):
        return f"not permitted: {error.strerror} ({error.filename or 'CAP_SYS_ADMIN'})"
    if isinstance(error, OSError):
        return f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
    return str(error)
