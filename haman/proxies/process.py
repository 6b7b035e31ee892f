"""Which processes are the proxy, and which of them serve.

Proxies come as one process, or as a master with workers of the same name as its children. A master
does not serve. Nor does an old worker after a reload, which only finishes its connections; but it
is part of the proxy until it ends.

The rules, in doubt for the living: a reload must never look like a death, and a missed death is
still found by the probe.

    members     the processes of the pidfile (or of the name), their children of the same name, and
                every earlier member that is still alive
    masters     members that had the same child of their name in two looks in a row; once a
                master, always one. One look is not enough: a process on its way to run an
                external check has its parent's name for a moment.
    superseded  members older than the one that the proxy itself said is serving now (`confirm`)
    serving     members that are neither

Replacing leaves gaps in which nobody serves to the eye, though the sockets stay open. A single
process (`haproxy -sf PID`) may end before its successor is in the pidfile; the last worker of a
master may end before the master, which runs itself anew with `-sf PID`, has forked the next one.
Both times the successor names the ended process in its arguments, which after a crash nobody does.
A master counts as serving in such a gap, for HANDOVER_LOOKS at most.
"""

from pathlib import Path
from typing import Protocol

from haman.core.processes import ProcessGone, ProcessId, ProcessStatus

PIDFILE_BYTES = 4096
PIDS_MAX = 64
HANDOVER_LOOKS = 5


class ProcessTable(Protocol):
    """The kernel's processes, as `haman.system.procfs` tells them."""

    def status(self, pid: int) -> ProcessStatus | ProcessGone:
        """A living process, or that it is gone."""

    def children(self, pid: int) -> tuple[int, ...]:
        """Pids of its children."""

    def find(self, name: str) -> tuple[int, ...]:
        """Pids of processes of this name."""

    def arguments(self, pid: int) -> tuple[str, ...]:
        """Its command line."""


class ProcessSet:
    """The processes of one proxy, found by pidfile or, without one, by name."""

    def __init__(self, table: ProcessTable, *, pidfile: str = "", name: str = "") -> None:
        self._table = table
        self._pidfile = pidfile
        self._name = name
        self._members: dict[ProcessId, ProcessStatus] = {}
        self._masters: set[ProcessId] = set()
        self._parents: dict[ProcessId, set[ProcessId]] = {}
        self._superseded: set[ProcessId] = set()
        self._confirmed: ProcessId | None = None
        self._replacing: set[ProcessId] = set()
        self._patience = 0

    @property
    def source(self) -> str:
        """Where it is looked for, for messages."""
        return f"pidfile {self._pidfile}" if self._pidfile else f"process name {self._name}"

    def look(self, *, wide: bool = False) -> None:
        """Find the members anew: some 50 µs by pidfile, some ms by name.

        Args:
            wide: search all processes for the name even while known members are alive.
        """
        served = self._working
        found: dict[ProcessId, ProcessStatus] = {}
        for known in self._members.values():
            status = self._table.status(known.process.pid)
            if isinstance(status, ProcessStatus) and status.process == known.process:
                found[status.process] = status
        if self._pidfile or wide or not found:
            found |= {status.process: status for status in self._roots()}
        if not found:
            found = self._successors()
        if not found and self._pidfile:  # a successor that became a daemon during the search
            found = {status.process: status for status in self._roots()}
        for root in list(found.values()):
            found |= {child.process: child for child in self._children(root)}
        self._promote(found)
        self._members = found
        self._masters &= found.keys()
        self._superseded &= found.keys()
        self._bridge(served)

    def _bridge(self, served: set[ProcessId]) -> None:
        """Let masters stand in for workers that they have ended to replace them."""
        self._patience = HANDOVER_LOOKS if served else max(0, self._patience - 1)
        if self._working or not self._patience:
            self._replacing = set()
        elif served:
            ended = {str(process.pid) for process in served}
            self._replacing = {
                master
                for master in self._masters
                if ended.intersection(self._table.arguments(master.pid)[1:])
            }

    def _roots(self) -> list[ProcessStatus]:
        pids = self._pids_of_file() if self._pidfile else self._table.find(self._name)
        return self._alive(pids[:PIDS_MAX])

    def _pids_of_file(self) -> tuple[int, ...]:
        """The pids in the file; none if it is missing, or half written."""
        try:
            with Path(self._pidfile).open("rb") as file:
                words = file.read(PIDFILE_BYTES).split()
        except OSError:
            return ()
        return tuple(int(word) for word in words if word.isdigit() and 0 < int(word) < 1 << 31)

    def _alive(self, pids: tuple[int, ...]) -> list[ProcessStatus]:
        statuses = (self._table.status(pid) for pid in pids)
        return [status for status in statuses if isinstance(status, ProcessStatus)]

    def _children(self, parent: ProcessStatus) -> list[ProcessStatus]:
        children = self._alive(self._table.children(parent.process.pid)[:PIDS_MAX])
        return [child for child in children if child.name == parent.name]

    def _successors(self) -> dict[ProcessId, ProcessStatus]:
        """Processes started to replace the members that have just ended."""
        if self._masters or not self._pidfile:
            return {}
        ended = {str(process.pid) for process in self._members}
        names = {status.name for status in self._members.values()}
        return {
            status.process: status
            for name in names
            for status in self._alive(self._table.find(name))
            if ended.intersection(self._table.arguments(status.process.pid)[1:])
        }

    def _promote(self, found: dict[ProcessId, ProcessStatus]) -> None:
        """Take for masters those whose child was there at the last look, too."""
        by_pid = {process.pid: process for process in found}
        parents: dict[ProcessId, set[ProcessId]] = {}
        for status in found.values():
            parent = by_pid.get(status.parent)
            if parent is not None and found[parent].name == status.name:
                parents.setdefault(parent, set()).add(status.process)
        for parent, children in parents.items():
            if parent != self._confirmed and children & self._parents.get(parent, set()):
                self._masters.add(parent)
        self._parents = parents

    def confirm(self, pid: int) -> bool:
        """Take in that the process `pid` said of itself that it serves.

        Returns:
            Whether it is a member; if not, somebody else answered.
        """
        confirmed = next((process for process in self._members if process.pid == pid), None)
        if confirmed is None:
            return False
        self._confirmed = confirmed
        self._masters.discard(confirmed)
        self._superseded |= {
            process
            for process in self._members.keys() - self._masters
            if _age(process) < _age(confirmed)
        }
        return True

    @property
    def members(self) -> tuple[ProcessId, ...]:
        """Every process of the proxy."""
        return tuple(self._members)

    @property
    def serving(self) -> tuple[ProcessId, ...]:
        """Those that serve new clients."""
        return tuple(self._working or self._replacing & self._members.keys())

    @property
    def masters(self) -> tuple[ProcessId, ...]:
        """Those that run others and do not serve themselves, as far as is known yet."""
        return tuple(self._masters)

    @property
    def finishing(self) -> tuple[ProcessId, ...]:
        """Those that only finish old connections after a reload, eldest first."""
        masters = self._masters | self._parents.keys()
        return tuple(sorted(self._superseded - masters, key=_age))

    @property
    def eldest(self) -> ProcessId | None:
        """The member that was started first: a master where there is one."""
        return min(self._members, key=_age, default=None)

    @property
    def _working(self) -> set[ProcessId]:
        return self._members.keys() - self._masters - self._superseded


def _age(process: ProcessId) -> tuple[int, int]:
    """Ordered by start; a pid alone is not, it wraps around."""
    return process.start_ticks, process.pid
