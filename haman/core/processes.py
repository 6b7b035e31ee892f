"""Processes as values: who they are, and that they are gone."""

from haman.core.frozen import dataclass


@dataclass(frozen=True, slots=True, order=True)
class ProcessId:
    """A process for ever: the kernel reuses pids, but not with the same start.

    Attributes:
        start_ticks: since boot, in clock ticks (field 22 of /proc/PID/stat).
    """

    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """A living process.

    Attributes:
        name: as the kernel keeps it: at most 15 bytes.
        parent: pid of its parent.
    """

    process: ProcessId
    name: str
    parent: int


@dataclass(frozen=True, slots=True)
class ProcessGone:
    """The process does not exist, is a zombie, or is another than the one that was asked for."""

    pid: int
