"""The namespace runtime, for real: up, exec, faults, down, and what a crash leaves behind."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from haman.lab import faults, init, kernel, lab, state
from haman.lab.drill import Step
from haman.lab.runtime import LabError
from haman.lab.topology import BadFileError
from tests.lab.labs import PROCESSES, checkout, make_key, quiet

pytestmark = pytest.mark.privileged


@pytest.fixture
def two(tmp_path: Path) -> Iterator[lab.Lab]:
    path = checkout(tmp_path / "tree")
    yield lab.up(path, make_key, say=quiet)
    lab.down(path)


def out(running: lab.Lab, node: str, *command: str) -> str:
    done = running.runtime.exec(node, command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def names(running: lab.Lab, node: str) -> list[str]:
    pid = running.runtime.pids[node]
    return [name for number, name in kernel.processes_beside(pid) if number != pid]


def sleeper(running: lab.Lab) -> int | None:
    pid = running.runtime.pids["a"]
    found = [number for number, name in kernel.processes_beside(pid) if name == "sleep"]
    return found[0] if found else None


def inodes(running: lab.Lab) -> set[int]:
    """The namespaces of a lab's nodes."""
    kinds = ("net", "mnt", "pid", "uts", "ipc")
    pids = running.runtime.pids.values()
    return {Path(f"/proc/{pid}/ns/{kind}").stat().st_ino for pid in pids for kind in kinds}


def alive(running: lab.Lab) -> list[int]:
    return [pid for pid in running.runtime.pids.values() if kernel.start_ticks(pid) is not None]


def host_links() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def test_a_node_has_its_own_name_network_processes_and_files(two: lab.Lab) -> None:
    assert out(two, "a", "hostname") == "a"
    assert "10.99.0.1/24" in out(two, "a", "ip", "-4", "address", "show", "dev", "eth1")
    assert out(two, "b", "sh", "-c", "echo $COLOUR") == "blue"
    assert out(two, "b", "cat", "/proc/sys/net/ipv4/ip_forward") == "1"
    assert out(two, "b", "sh", "-c", "echo /run/*") == "/run/lab"
    assert out(two, "a", "sh", "-c", "ls /sys/class/net | sort | xargs") == "eth1 lo"
    out(two, "b", "sh", "-c", "echo b >/etc/only-here; mkdir -p /var/lib/only-here")
    assert not Path("/etc/only-here").exists()
    assert not Path("/var/lib/only-here").exists()
    assert two.runtime.exec("a", ["test", "-e", "/etc/only-here"]).returncode == 1


def test_links_carry_and_the_host_sees_none_of_it(tmp_path: Path) -> None:
    before = host_links()
    path = checkout(tmp_path / "tree")
    running = lab.up(path, make_key, say=quiet)
    try:
        assert host_links() == before
        out(running, "a", "ping", "-c", "1", "-W", "2", "10.99.0.2")
    finally:
        lab.down(path)
    assert host_links() == before


def test_exec_passes_failures_on_and_refuses_unknown_nodes(two: lab.Lab) -> None:
    assert two.runtime.exec("a", ["sh", "-c", "exit 3"]).returncode == 3
    with pytest.raises(LabError, match="no node 'c'; it has a, b"):
        two.runtime.exec("c", ["true"])
    with pytest.raises(LabError, match="did not end within"):
        two.runtime.exec("a", ["sleep", "30"], timeout_s=0.1)


def test_listed_processes_start_log_and_come_back(two: lab.Lab) -> None:
    assert kernel.wait_until(lambda: sleeper(two) is not None, 5)
    assert (two.folder / "logs" / "a-sleeper.log").exists()
    assert out(two, "a", "test", "-d", "/run/sleeper") == ""
    first = sleeper(two)
    faults.inflict(two.runtime, Step(0, "kill", "a", "sleep"))
    assert kernel.wait_until(lambda: sleeper(two) not in {None, first}, 5)


def test_a_planned_stop_stays_down_until_healed(two: lab.Lab) -> None:
    assert kernel.wait_until(lambda: sleeper(two) is not None, 5)
    faults.inflict(two.runtime, Step(0, "term", "a", "sleep"))
    log = two.folder / "logs" / "a-init.log"
    assert kernel.wait_until(lambda: "ended, signal 15" in log.read_text(), 5)
    assert out(two, "a", "test", "-e", str(init.HELD)) == ""
    assert sleeper(two) is None
    faults.heal(two.runtime)
    assert kernel.wait_until(lambda: sleeper(two) is not None, 5)


def test_a_stopped_process_goes_on_when_healed(two: lab.Lab) -> None:
    assert kernel.wait_until(lambda: sleeper(two) is not None, 5)

    def process_state() -> str:
        return Path(f"/proc/{sleeper(two)}/stat").read_text().rpartition(") ")[2][0]

    faults.inflict(two.runtime, Step(0, "stop", "a", "sleep"))
    assert kernel.wait_until(lambda: process_state() == "T", 5)
    faults.heal(two.runtime)
    assert kernel.wait_until(lambda: process_state() == "S", 5)


def test_a_cable_can_be_pulled_and_put_back(two: lab.Lab) -> None:
    faults.inflict(two.runtime, Step(0, "link-down", "a"))
    carrier = ("cat", "/sys/class/net/eth1/carrier")
    assert out(two, "a", *carrier) == "0"
    faults.inflict(two.runtime, Step(0, "link-up", "a"))
    assert out(two, "a", *carrier) == "1"


def test_faults_on_what_is_not_there_are_refused(two: lab.Lab) -> None:
    with pytest.raises(LabError, match="no node 'x'"):
        faults.inflict(two.runtime, Step(0, "silence", "x"))
    with pytest.raises(LabError, match="runs no process 'nginx'"):
        faults.inflict(two.runtime, Step(0, "kill", "a", "nginx"))
    with pytest.raises(LabError, match="bridge link set"):
        faults.inflict(two.runtime, Step(0, "silence", "a"))  # b is no switch


def test_down_ends_everything_inside(tmp_path: Path) -> None:
    path = checkout(tmp_path / "tree")
    running = lab.up(path, make_key, say=quiet)
    assert kernel.wait_until(lambda: sleeper(running) is not None, 5)
    inside = sleeper(running)
    assert inside is not None
    assert lab.down(path) == ("two",)
    assert kernel.start_ticks(inside) is None
    assert all(kernel.start_ticks(pid) is None for pid in running.runtime.pids.values())
    assert lab.down(path) == ()
    with pytest.raises(LabError, match="no lab is up"):
        lab.attach(path)


def test_a_lab_that_is_up_is_not_brought_up_again(two: lab.Lab) -> None:
    other = two.topology.path.with_name("copy.clab.yml")
    other.write_text(two.topology.path.read_text())
    for path in (two.topology.path, other):
        with pytest.raises(LabError, match="lab two is already up in this checkout"):
            lab.up(path, make_key, say=quiet)
    assert lab.attach(two.topology.path).runtime.pids == two.runtime.pids


def test_two_topologies_of_a_checkout_are_up_at_once_and_never_touch(two: lab.Lab) -> None:
    first, tree = two.topology.path, two.topology.path.parent
    second = tree / "other.clab.yml"
    second.write_text(first.read_text().replace("name: two", "name: other"))
    other = lab.up(second, make_key, say=quiet)
    try:
        assert not inodes(other) & inodes(two)
        out(other, "a", "ip", "address", "add", "10.99.0.77/24", "dev", "eth1")
        assert "10.99.0.77" not in out(two, "a", "ip", "address")
        assert lab.attach(second).runtime.pids == other.runtime.pids
        assert lab.attach(tree, "two").runtime.pids == two.runtime.pids
        with pytest.raises(LabError, match=r"several labs are up .*\(other, two\).*--lab"):
            lab.attach(tree)
    finally:
        assert lab.down(second) == ("other",)
    assert alive(other) == []
    assert lab.attach(tree).runtime.pids == two.runtime.pids
    assert out(two, "a", "hostname") == "a"


def test_down_in_a_checkout_takes_all_of_its_labs_down_or_the_one_that_is_named(
    tmp_path: Path,
) -> None:
    path = checkout(tmp_path / "tree")
    third = path.with_name("third.clab.yml")
    third.write_text(path.read_text().replace("name: two", "name: third"))
    running = [lab.up(each, make_key, say=quiet) for each in (path, third)]
    try:
        assert lab.down(path.parent, "third") == ("third",)
        assert lab.attach(path.parent).topology.name == "two"
        running.append(lab.up(third, make_key, say=quiet))
    finally:
        assert lab.down(path.parent) == ("third", "two")
    assert [alive(each) for each in running] == [[], [], []]


def test_labs_of_two_checkouts_never_touch(tmp_path: Path, two: lab.Lab) -> None:
    path = checkout(tmp_path / "elsewhere")
    other = lab.up(path, make_key, say=quiet)
    try:
        assert not inodes(other) & inodes(two)
        out(other, "a", "ip", "address", "add", "10.99.0.77/24", "dev", "eth1")
        assert "10.99.0.77" not in out(two, "a", "ip", "address")
    finally:
        assert lab.down(path) == ("two",)
    assert out(two, "a", "hostname") == "a"


def test_a_lab_that_lost_a_node_is_told_and_cleaned_up_by_the_next_up(tmp_path: Path) -> None:
    path = checkout(tmp_path / "tree")
    running = lab.up(path, make_key, say=quiet)
    os.kill(running.runtime.pids["b"], signal.SIGKILL)
    assert kernel.wait_until(lambda: kernel.start_ticks(running.runtime.pids["b"]) is None, 5)
    with pytest.raises(LabError, match="lost a node"):
        lab.attach(path)
    said: list[str] = []
    again = lab.up(path, make_key, say=said.append)
    try:
        assert said[0].startswith("cleaning up after lab two")
        assert kernel.start_ticks(running.runtime.pids["a"]) is None
        assert out(again, "b", "hostname") == "b"
    finally:
        lab.down(path)


def test_a_reused_process_number_is_not_killed(tmp_path: Path) -> None:
    """State of a lab long gone whose numbers now belong to others: here, to this very test."""
    path = checkout(tmp_path / "tree")
    me = os.getpid()
    store = state.Store(path.parent)
    node = state.NodeState("a", me, 1)
    store.write(state.LabState("two", str(path), "netns", (node,), ready=True))
    assert lab.down(path) == ("two",)


def test_an_exec_that_fails_takes_the_lab_down_again(tmp_path: Path) -> None:
    path = checkout(tmp_path / "tree")
    path.write_text(path.read_text().replace("10.99.0.2/24", "10.99.0.2/99"))
    with pytest.raises(LabError, match="b: `ip address add"):
        lab.up(path, make_key, say=quiet)
    assert lab.down(path) == ()


def test_a_node_that_cannot_be_furnished_says_what_was_refused(tmp_path: Path) -> None:
    path = checkout(tmp_path / "tree")
    path.write_text(path.read_text().replace("net.ipv4.ip_forward", "net.ipv4.nonsense"))
    with pytest.raises(LabError, match=r"b: cannot be started: .*/net/ipv4/nonsense: No such file"):
        lab.up(path, make_key, say=quiet)
    assert lab.down(path) == ()


def test_binds_are_shown_and_cannot_be_written(two: lab.Lab) -> None:
    wrote = two.runtime.exec("a", ["sh", "-c", "echo x >>/etc/lab/processes.toml"])
    assert wrote.returncode
    assert "Read-only" in wrote.stderr
    assert out(two, "a", "cat", "/etc/lab/processes.toml") == PROCESSES.strip()


def test_binds_that_cannot_be_are_told_all_at_once_before_anything_starts(tmp_path: Path) -> None:
    path = checkout(tmp_path / "tree")
    text = path.read_text()
    more = '"nothing.toml:/etc/x", "processes.toml:/usr/lib/x", "processes.toml:/etc/lab'
    path.write_text(text.replace('"processes.toml:/etc/lab', more))
    with pytest.raises(BadFileError) as caught:
        lab.up(path, make_key, say=quiet)
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 2
    assert all(line.startswith(f"{path}: topology.nodes.a.binds: ") for line in told)
    assert told[0].endswith("nothing.toml")
    assert "/usr/lib/x: nodes in namespaces have their own /etc/" in told[1]
    assert lab.down(path) == ()
