"""A runner that is killed with -9, wherever it is: the next `down` or `up` leaves nothing of its lab."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from haman.cli.lab import make_cluster_key
from haman.lab import kernel, lab, left
from haman.lab.runtime import LabError
from haman.lab.state import Store
from tests.lab.labs import SHIPPED, checkout, make_key, quiet

pytestmark = pytest.mark.privileged

UP = """
import pathlib, sys, time
from haman.lab import lab, quotas
path = pathlib.Path(sys.argv[1])
running = lab.up(path, lambda key: key.write_text("key"), say=lambda _: None)
print("up", flush=True)
{then}
"""
SLEEP = "time.sleep(100)"
LIMIT = "with quotas.limited(running, {'a': 0.5}): print('limited', flush=True); time.sleep(100)"


class Traces:
    """What a lab can be known by from outside of it: where its files are, and its namespaces."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.namespaces: set[int] = set()
        self._held: list[int] = []

    def holders(self) -> list[int]:
        """The processes that nodes live as long as: `unshare`, with a folder of the tree in its environment."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_text() if entry.name.isdecimal() else ""
                if words.startswith("unshare\0") and str(self.tree) in environment(entry):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def note(self) -> None:
        """Remember the namespaces of what runs now.

        They are held, else the kernel gives the number of one that has ended to the next one that begins,
        of whatever other tests.
        """
        for holder in self.holders():
            for pid in (holder, *kernel.children(holder)):
                for kind in ("net", "mnt", "pid_for_children"):
                    with suppress(OSError):
                        self._held.append(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY))
                        self.namespaces.add(os.fstat(self._held[-1]).st_ino)
        self.namespaces -= {inode(os.getpid(), kind) for kind in ("net", "mnt", "pid_for_children")}

    def close(self) -> None:
        """Hold them no more."""
        while self._held:
            os.close(self._held.pop())

    def left(self) -> list[object]:
        """Processes, and processes in the namespaces that were noted; groups of CPU quotas."""
        among = [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdecimal()
            and {inode(int(entry.name), kind) for kind in ("net", "mnt")} & self.namespaces
        ]
        return [*self.holders(), *among]


def environment(process: Path) -> str:
    return (process / "environ").read_bytes().decode(errors="replace")


def inode(pid: int, kind: str) -> int:
    try:
        return Path(f"/proc/{pid}/ns/{kind}").stat().st_ino
    except OSError:
        return 0


def groups(pids: list[int]) -> list[Path]:
    made = [root / f"haman-lab-{pid}" for root in left.GROUP_ROOTS for pid in pids]
    return [group for group in made if group.exists()]


@pytest.fixture
def traces_of() -> Iterator[Callable[[Path], Traces]]:
    made: list[Traces] = []

    def make(tree: Path) -> Traces:
        made.append(Traces(tree))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    made = checkout(tmp_path / "tree")
    yield made
    lab.down(made.parent)


def runner(path: Path, then: str = SLEEP) -> subprocess.Popen[str]:
    """A process that brings the topology up and goes on; its first line comes when it is up."""
    code = UP.format(then=then)
    return subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True)


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert process.stdout is not None
    process.stdout.close()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("nodes", [1, 2])
def test_killed_while_nodes_start(
    path: Path, nodes: int, traces_of: Callable[[Path], Traces]
) -> None:
    traces = traces_of(path.parent)
    started = runner(path)
    assert kernel.wait_until(lambda: len(traces.holders()) >= nodes, 10, poll_s=0.001)
    killed(started)
    traces.note()
    assert lab.down(path) == ("two",)
    assert traces.left() == []
    assert lab.down(path) == ()


def test_killed_while_a_node_is_set_up_and_cleaned_up_by_the_next_up(
    path: Path, traces_of: Callable[[Path], Traces]
) -> None:
    text = path.read_text()
    path.write_text(text.replace("10.99.0.2/24 dev eth1", '10.99.0.2/24 dev eth1", "sleep 77'))
    traces = traces_of(path.parent)
    started = runner(path)

    def busy() -> bool:
        inside = [n for h in traces.holders() for c in kernel.children(h) for n in beside(c)]
        return "sleep" in inside

    def beside(pid: int) -> list[str]:
        try:
            return [name for number, name in kernel.processes_beside(pid) if number != pid]
        except OSError:
            return []  # it is not yet there

    path_of_state = Store(path.parent).folder("two") / "state.json"
    assert kernel.wait_until(lambda: path_of_state.exists() and busy(), 10)
    traces.note()
    old = set(traces.holders())
    killed(started)
    assert traces.left()
    path.write_text(text)
    told: list[str] = []
    lab.up(path, make_key, say=told.append)
    assert told[0] == "cleaning up after lab two, which did not end well"
    assert old
    assert not old & set(traces.holders())
    assert lab.down(path) == ("two",)
    assert traces.left() == []


def test_killed_while_it_holds_a_proxy_to_a_quota(
    path: Path, traces_of: Callable[[Path], Traces]
) -> None:
    started = runner(path, LIMIT)
    assert (said(started), said(started)) == ("up", "limited")
    traces = traces_of(path.parent)
    traces.note()
    state = Store(path.parent).read("two")
    assert state is not None
    pids = [node.pid for node in state.nodes]
    assert groups(pids)
    killed(started)
    with pytest.raises(LabError, match="left by a command that was killed"):
        lab.attach(path)
    assert lab.down(path.parent) == ("two",)
    assert traces.left() == []
    assert groups(pids) == []


def test_what_is_left_is_found_though_its_folder_is_gone(
    path: Path, traces_of: Callable[[Path], Traces]
) -> None:
    started = runner(path)
    assert said(started) == "up"
    traces = traces_of(path.parent)
    traces.note()
    killed(started)
    shutil.rmtree(path.parent / ".lab")
    assert lab.down(path.parent) == ("two",)
    assert traces.left() == []


def test_a_lab_that_was_told_to_stay_outlives_who_brought_it_up(path: Path) -> None:
    words = [sys.executable, "-m", "haman.cli", "lab", "up", str(path)]
    subprocess.run(words, check=True, capture_output=True)
    assert lab.attach(path).runtime.exec("a", ["true"]).returncode == 0
    with pytest.raises(LabError, match="lab two is already up"):
        lab.up(path, make_key, say=quiet)


@pytest.mark.real("haproxy")
def test_killed_in_the_middle_of_a_drill(
    tmp_path: Path, traces_of: Callable[[Path], Traces]
) -> None:
    """The load, the listening and the fault are under way."""
    tree = tmp_path / "tree"
    (tree / ".git").mkdir(parents=True)
    path = Path(shutil.copytree(SHIPPED, tree / "lab")) / "pair.clab.yml"
    words = [sys.executable, "-m", "haman.cli", "lab", "drill", "cpu-stolen"]
    traces = traces_of(tree)
    said_to = (tree / "said").open("w")
    try:
        drill = subprocess.Popen(words, cwd=tree, stdout=subprocess.DEVNULL, stderr=said_to)
        assert kernel.wait_until(lambda: "processes spin" in (tree / "said").read_text(), 60)
        traces.note()
        drill.kill()
        drill.wait()
        told: list[str] = []
        lab.up(path, make_cluster_key, say=told.append)
        assert told[0].startswith("cleaning up after lab pair")
    finally:
        said_to.close()
        gone = lab.down(path)
    assert gone == ("pair",)
    assert traces.left() == []
