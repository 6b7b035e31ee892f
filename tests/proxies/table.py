"""A table of processes that tests write, and a ProcessSet over it."""

from dataclasses import dataclass, field
from pathlib import Path

from haman.core.processes import ProcessGone, ProcessId, ProcessStatus
from haman.proxies.process import ProcessSet


@dataclass
class FakeTable:
    """A process table that tests write."""

    rows: dict[int, ProcessStatus] = field(default_factory=dict)
    command_lines: dict[int, tuple[str, ...]] = field(default_factory=dict)
    searches: int = 0

    def start(
        self,
        pid: int,
        at: int,
        parent: int = 1,
        name: str = "haproxy",
        command: tuple[str, ...] = (),
    ) -> None:
        self.rows[pid] = ProcessStatus(ProcessId(pid, at), name, parent)
        self.command_lines[pid] = command

    def status(self, pid: int) -> ProcessStatus | ProcessGone:
        return self.rows.get(pid, ProcessGone(pid))

    def children(self, pid: int) -> tuple[int, ...]:
        return tuple(p for p, status in self.rows.items() if status.parent == pid)

    def find(self, name: str) -> tuple[int, ...]:
        self.searches += 1
        return tuple(p for p, status in self.rows.items() if status.name == name)

    def arguments(self, pid: int) -> tuple[str, ...]:
        return self.command_lines.get(pid, ())


@dataclass
class Box:
    table: FakeTable
    pidfile: Path
    processes: ProcessSet

    def look(self, times: int = 1) -> set[int]:
        for _ in range(times):
            self.processes.look()
        return {process.pid for process in self.processes.serving}

    @property
    def members(self) -> set[int]:
        return {process.pid for process in self.processes.members}
