"""Control groups that limit a process: CPU quota and memory, v2 and v1 (cgroups(7)).

Every group on the way up may have a limit, so all of them are looked at. In v1 each controller may
have a tree of its own; the use of CPU is then only told where the two trees have the same path.
Limits change while the proxy runs, so they are looked up anew every LOOK_NS.
"""

import contextlib
import os

from haman.core.frozen import dataclass
from haman.core.resources import GroupCpu, GroupMemory
from haman.system.kept import KeptFile

NS_PER_S = 1_000_000_000
LOOK_NS = 10 * NS_PER_S
_NO_LIMIT = 1 << 60
"""v1 tells "no limit" as the largest number of whole pages."""


@dataclass(frozen=True, slots=True)
class _Tree:
    """A mounted hierarchy: where it is mounted, and which of its groups is at the mount."""

    version: int
    mount: str
    root: str


class ControlGroups:
    """The groups of one process.

    Raises:
        OSError: the process is gone.
    """

    def __init__(self, pid: int, proc: str = "/proc") -> None:
        self._cpu: list[_CpuGroup] = []
        self._memory: list[_MemoryGroup] = []
        self._pid, self._proc = pid, proc
        self._looked_ns: int | None = None
        self._paths(_read(f"{proc}/{pid}/cgroup"))  # that it is there

    def close(self) -> None:
        """Give the descriptors back."""
        for quota in self._cpu:
            quota.close()
        for limit in self._memory:
            limit.close()
        self._cpu, self._memory = [], []

    def cpu(self, now_ns: int) -> tuple[GroupCpu, ...]:
        """Every group with a quota.

        Raises:
            OSError: a group is gone, or cannot be read.
        """
        self._look(now_ns)
        return tuple(group.sample() for group in self._cpu)

    def memory(self, now_ns: int) -> tuple[GroupMemory, ...]:
        """Every group with a limit.

        Raises:
            OSError: a group is gone, or cannot be read.
        """
        self._look(now_ns)
        return tuple(group.sample() for group in self._memory)

    def _look(self, now_ns: int) -> None:
        if self._looked_ns is not None and now_ns - self._looked_ns < LOOK_NS:
            return
        self._looked_ns = now_ns
        self.close()
        paths = self._paths(_read(f"{self._proc}/{self._pid}/cgroup"))
        trees = _trees(_read(f"{self._proc}/self/mountinfo"))
        same = paths.get("cpuacct") == paths.get("cpu")
        for place in _ways_up(trees.get("cpu"), paths.get("cpu")):
            self._cpu += _CpuGroup.open(place, trees["cpu"], trees.get("cpuacct") if same else None)
        for place in _ways_up(trees.get("memory"), paths.get("memory")):
            self._memory += _MemoryGroup.open(place, trees["memory"])
        if unified := trees.get(""):
            for place in _ways_up(unified, paths.get("")):
                self._cpu += _CpuGroup.open(place, unified, None)
                self._memory += _MemoryGroup.open(place, unified)

    @staticmethod
    def _paths(text: str) -> dict[str, str]:
        """The process's group by controller; v2 is ""."""
        paths = {}
        for line in text.splitlines():
            _, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                paths[controller] = path
        return paths


def _trees(mountinfo: str) -> dict[str, _Tree]:
    """Mounted hierarchies by controller; v2 is ""."""
    trees: dict[str, _Tree] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        place, told = before.split(), after.split()
        if told[0] == "cgroup2":
            trees.setdefault("", _Tree(2, place[4], place[3]))
        elif told[0] == "cgroup":
            for option in told[-1].split(","):
                trees.setdefault(option, _Tree(1, place[4], place[3]))
    return trees


def _ways_up(tree: _Tree | None, path: str | None) -> list[str]:
    """The group and those above it, as far as they are mounted, innermost first."""
    if tree is None or path is None or "/.." in path:
        return []
    inside = path
    if tree.root != "/":
        if path != tree.root and not path.startswith(tree.root + "/"):
            return []
        inside = path[len(tree.root) :] or "/"
    parts = [part for part in inside.split("/") if part]
    return ["/" + "/".join(parts[:count]) for count in range(len(parts), -1, -1)]


class _CpuGroup:
    def __init__(
        self, name: str, quota_cores: float, stat: KeptFile, usage: KeptFile | None
    ) -> None:
        self._name, self._quota_cores = name, quota_cores
        self._stat, self._usage = stat, usage

    @classmethod
    def open(cls, place: str, tree: _Tree, accounting: _Tree | None) -> "list[_CpuGroup]":
        """One, if it has a quota."""
        folder = tree.mount + place
        with contextlib.suppress(FileNotFoundError):
            if tree.version == 1:
                quota = int(_read(f"{folder}/cpu.cfs_quota_us"))
                period = int(_read(f"{folder}/cpu.cfs_period_us"))
            else:
                words = _read(f"{folder}/cpu.max").split()
                quota, period = -1 if words[0] == "max" else int(words[0]), int(words[1])
            if quota <= 0 or period <= 0:
                return []
            usage = None
            if accounting is not None:
                with contextlib.suppress(FileNotFoundError):
                    usage = KeptFile(f"{accounting.mount}{place}/cpuacct.usage")
            return [cls(place, quota / period, KeptFile(f"{folder}/cpu.stat"), usage)]
        return []

    def sample(self) -> GroupCpu:
        told = _fields(self._stat.read())
        used_ns = None
        if "usage_usec" in told:
            used_ns = told["usage_usec"] * 1000
        elif self._usage is not None:
            used_ns = int(self._usage.read())
        return GroupCpu(
            self._name,
            self._quota_cores,
            used_ns,
            told.get("nr_periods", 0),
            told.get("nr_throttled", 0),
        )

    def close(self) -> None:
        self._stat.close()
        if self._usage is not None:
            self._usage.close()


class _MemoryGroup:
    def __init__(self, name: str, limit_bytes: int, current: KeptFile, stat: KeptFile) -> None:
        self._name, self._limit_bytes = name, limit_bytes
        self._current, self._stat = current, stat

    @classmethod
    def open(cls, place: str, tree: _Tree) -> "list[_MemoryGroup]":
        """One, if it has a limit."""
        folder = tree.mount + place
        limit_file, current = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes")
            if tree.version == 1
            else ("memory.max", "memory.current")
        )
        with contextlib.suppress(FileNotFoundError):
            text = _read(f"{folder}/{limit_file}").strip()
            if text == "max" or not 0 < int(text) < _NO_LIMIT:
                return []
            kept = KeptFile(f"{folder}/{current}")
            return [cls(place, int(text), kept, KeptFile(f"{folder}/memory.stat"))]
        return []

    def sample(self) -> GroupMemory:
        told = _fields(self._stat.read())
        # Pages of files that nobody used lately are dropped at once when memory is needed.
        droppable = told.get("total_inactive_file", told.get("inactive_file", 0))
        used = max(0, int(self._current.read()) - droppable)
        return GroupMemory(self._name, used, self._limit_bytes)

    def close(self) -> None:
        self._current.close()
        self._stat.close()


def _fields(content: bytes) -> dict[str, int]:
    """Lines of "name number"."""
    fields = {}
    for line in content.decode(errors="replace").splitlines():
        name, _, value = line.partition(" ")
        if value.isdigit():
            fields[name] = int(value)
    return fields


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = b""
        while chunk := os.read(fd, 1 << 16):
            content += chunk
        return content.decode(errors="replace")
    finally:
        os.close(fd)
