"""What a checkout remembers of its lab: `.lab/<name>/state.json`, and a lock against two at once.

A checkout has one lab at a time. The folder also holds what the lab generates (keys, rendered
configuration) and what it leaves (logs, reports).
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from haman.lab import kernel
from haman.lab.runtime import LabError


class NodeState(msgspec.Struct, frozen=True):
    """Process 1 of a node and the process that holds it; start times tell a reused number apart."""

    name: str
    pid: int
    start_ticks: int
    holder: int
    holder_ticks: int

    def alive(self) -> bool:
        """Whether the node is still the one that was started."""
        return kernel.start_ticks(self.pid) == self.start_ticks


class LabState(msgspec.Struct, frozen=True):
    """A lab that was started. `ready` false: `up` has not come to its end."""

    name: str
    topology: str
    runtime: str
    nodes: tuple[NodeState, ...] = ()
    ready: bool = False

    def healthy(self) -> bool:
        """Whether every node of a lab that came up still lives."""
        return self.ready and all(node.alive() for node in self.nodes)


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
    def locked(self) -> Iterator[None]:
        """Hold the checkout's lab for one `up` or `down`.

        Raises:
            LabError: somebody else is at it.
        """
        self.root.mkdir(exist_ok=True)
        with (self.root / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LabError(
                    f"{self.root}: another `haman lab` is bringing a lab up or down here; "
                    "wait for it to end"
                ) from None
            yield

    def read(self) -> LabState | None:
        """The lab of this checkout, running or left behind by a crash; None when there is none."""
        for path in sorted(self.root.glob("*/state.json")):
            try:
                return msgspec.json.decode(path.read_bytes(), type=LabState)
            except FileNotFoundError:
                continue  # it went down meanwhile
            except msgspec.DecodeError as error:
                raise LabError(f"{path}: is not a lab's state ({error}); remove it") from error
        return None

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
