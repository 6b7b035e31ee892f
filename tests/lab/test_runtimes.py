"""What every runtime must do alike, for real: namespaces, and containerlab where Docker is there."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from haman.lab import faults, inside, kernel, lab
from haman.lab.drill import Step
from haman.lab.runtime import LabError
from tests.lab.labs import checkout, make_key, quiet

pytestmark = pytest.mark.privileged


def lacking() -> str:
    """Why containerlab cannot be driven here; "" if it can."""
    for tool in ("docker", "containerlab"):
        if shutil.which(tool) is None:
            return f"there is no {tool}"
    asked = ["docker", "image", "inspect", "haman-lab"]
    done = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=30)
    return f"Docker has no image haman-lab: {done.stderr.strip()}" if done.returncode else ""


@pytest.fixture(params=["netns", "containerlab"], scope="module")
def two(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[lab.Lab]:
    if request.param == "containerlab" and (why := lacking()):
        pytest.skip(why)
    path = checkout(tmp_path_factory.mktemp(request.param) / "tree", "contract")
    running = lab.up(path, make_key, runtime=request.param, say=quiet)
    yield running
    pids = running.runtime.pids.values()
    assert lab.down(path) == ("contract",)
    assert all(kernel.start_ticks(pid) is None for pid in pids)
    assert not list(path.parent.glob("clab-*"))


def out(running: lab.Lab, node: str, *command: str) -> str:
    done = running.runtime.exec(node, command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def sleepers(running: lab.Lab) -> list[int]:
    beside = kernel.processes_beside(running.runtime.pids["a"])
    return [number for number, name in beside if name == "sleep"]


def test_a_node_has_its_name_its_links_its_environment_and_its_sysctls(two: lab.Lab) -> None:
    assert out(two, "a", "hostname") == "a"
    assert out(two, "b", "sh", "-c", "echo $COLOUR") == "blue"
    assert out(two, "b", "cat", "/proc/sys/net/ipv4/ip_forward") == "1"
    assert "10.99.0.1/24" in out(two, "a", "ip", "-4", "address", "show", "dev", "eth1")
    assert two.runtime.exec("a", ["ip", "link", "show", "dev", "eth0"]).returncode == 1
    out(two, "a", "ping", "-c", "1", "-W", "2", "10.99.0.2")


def test_commands_see_their_status_and_unknown_nodes_are_refused(two: lab.Lab) -> None:
    assert two.runtime.exec("a", ["sh", "-c", "exit 3"]).returncode == 3
    assert two.runtime.spawn("a", ["sh", "-c", "exit 4"]).wait(10) == 4
    with pytest.raises(LabError, match="no node 'c'; it has a, b"):
        two.runtime.exec("c", ["true"])


def test_another_process_finds_the_same_lab(two: lab.Lab) -> None:
    found = lab.attach(two.topology.path)
    assert found.runtime.pids == two.runtime.pids
    assert found.runtime.environments["b"]["COLOUR"] == "blue"


def test_processes_are_listed_killed_and_come_back(two: lab.Lab) -> None:
    assert kernel.wait_until(lambda: bool(sleepers(two)), 10)
    first = sleepers(two)
    faults.inflict(two.runtime, Step(0, "kill", "a", "sleep"))
    assert kernel.wait_until(lambda: sleepers(two) not in ([], first), 10)


def test_what_a_fault_changed_is_taken_back_by_whoever_heals(two: lab.Lab) -> None:
    key = "net.ipv4.ip_local_port_range"
    path = "/proc/sys/" + key.replace(".", "/")
    before = out(two, "b", "cat", path)
    (pid, *_) = sleepers(two)
    limits = Path(f"/proc/{pid}/limits").read_text()
    faults.inflict(two.runtime, Step(0, "sysctl", "b", key=key, value="40000 40010"))
    faults.inflict(two.runtime, Step(0, "limit", "a", "sleep", limit="nofile", value="77"))
    faults.inflict(two.runtime, Step(0, "hog", "b", count=2, for_s=30))
    assert out(two, "b", "cat", path).split() == ["40000", "40010"]
    assert " 77 " in Path(f"/proc/{pid}/limits").read_text()
    first = two.runtime.pids["b"]
    hogs = [n for n, _ in kernel.processes_beside(first) if n != first]
    assert hogs
    faults.heal(lab.attach(two.topology.path).runtime)
    assert out(two, "b", "cat", path) == before
    assert Path(f"/proc/{pid}/limits").read_text() == limits
    assert kernel.wait_until(lambda: all(kernel.start_ticks(n) is None for n in hogs), 10)
    assert not inside.undo(two.runtime, "b")


def test_a_fault_that_cannot_be_says_why_and_leaves_nothing_to_undo(two: lab.Lab) -> None:
    with pytest.raises(LabError, match="no small file system of its own"):
        faults.inflict(two.runtime, Step(0, "fill", "a"))
    with pytest.raises(LabError, match="no switch is between 'a' and 'b'"):
        faults.inflict(two.runtime, Step(0, "loss", "a", peer="b"))
    with pytest.raises(LabError, match="runs no process 'nginx'"):
        faults.inflict(two.runtime, Step(0, "limit", "a", "nginx", limit="as", value="1"))
    assert not inside.undo(two.runtime, "a")
