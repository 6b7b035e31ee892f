"""What a checkout remembers of its labs: `.lab/<name>/state.json`, and a lock against two `up` of one.

The folder also holds what the lab generates (keys, rendered configuration) and what it leaves (logs,
reports). Labs of different names may be up at once, each in its own folder.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from haman.lab import kernel
from haman.lab.runtime import LabError


class NodeState(msgspec.Struct, frozen=True):
    """Process 1 of a node; its start time tells a reused number apart."""

    name: str
    pid: int
    start_ticks: int

    def alive(self) -> bool:
        """Whether the node is still the one that was started."""
        return kernel.start_ticks(self.pid) == self.start_ticks


class LabState(msgspec.Struct, frozen=True):
    """A lab that was started.

    Attributes:
        ready: its nodes are up.
        runner: the process that takes the lab down when it is done with it; 0 = it stays.
        runner_ticks: when that process began.
    """

    name: str
    topology: str
    runtime: str
    nodes: tuple[NodeState, ...] = ()
    ready: bool = False
    runner: int = 0
    runner_ticks: int = 0

    def healthy(self) -> bool:
        """Whether every node of a lab that came up still lives."""
        return self.ready and all(node.alive() for node in self.nodes)

    def abandoned(self) -> bool:
        """Whether the process that wanted to take it down is gone."""
        return self.runner != 0 and kernel.start_ticks(self.runner) != self.runner_ticks

    def usable(self) -> bool:
        """Whether it is somebody's, and all of it is there."""
        return self.healthy() and not self.abandoned()


def begun(name: str, topology: Path, runtime: str) -> LabState:
    """A lab that this process has begun to bring up, and will take down."""
    me = os.getpid()
    ticks = kernel.start_ticks(me) or 0
    return LabState(name, str(topology), runtime, runner=me, runner_ticks=ticks)


def checkout_of(path: Path) -> Path:
    """The checkout that a path belongs to: the nearest folder above with .git or pyproject.toml.

    Where there is none, the path's own folder.
    """
    start = path.resolve() if path.is_dir() else path.resolve().parent
    for folder in (start, *start.parents):
        if (folder / ".git").exists() or (folder / "pyproject.toml").exists():
            return folder
    return start


class Store:
    """The `.lab` folder of one checkout."""

    def __init__(self, checkout: Path) -> None:
        self.root = checkout / ".lab"

    def folder(self, name: str) -> Path:
        """Where the lab of that name keeps everything."""
        return self.root / name

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a lab for one `up` or `down`.

        Raises:
            LabError: somebody else is at it.
        """
        folder = self.folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LabError(
                    f"{folder}: another `haman lab` is bringing this lab up or down; "
                    "wait for it to end"
                ) from None
            yield

    def read(self, name: str) -> LabState | None:
        """The lab of that name, running or left behind by a crash; None when there is none."""
        path = self.folder(name) / "state.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=LabState)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise LabError(f"{path}: is not a lab's state ({error}); remove it") from error

    def labs(self) -> tuple[LabState, ...]:
        """All labs of this checkout, running or left behind by a crash."""
        names = sorted(path.parent.name for path in self.root.glob("*/state.json"))
        found = (self.read(name) for name in names)
        return tuple(state for state in found if state is not None)

    def write(self, state: LabState) -> None:
        """Replace the state at once, so that a reader never sees half of it."""
        folder = self.folder(state.name)
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / "state.json.new"
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
        fresh.replace(folder / "state.json")

    def forget(self, state: LabState) -> None:
        """The lab is gone; what it left to read stays."""
        (self.folder(state.name) / "state.json").unlink(missing_ok=True)
