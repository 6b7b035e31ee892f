"""What is asked of containerlab and Docker, against stand-ins that write it down.

The real ones are in `test_runtimes`; they cannot be made to lack an image or to fail on demand.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from haman.lab import containerlab
from haman.lab.runtime import LabError
from haman.lab.state import Store
from haman.lab.topology import BadFileError, Topology, read_topology
from tests.lab.labs import checkout

DOCKER = """#!/bin/sh
cd {folder}; echo "docker $*" >>asked
case "$1" in
    version) [ ! -e no-daemon ] || {{ echo "cannot connect" >&2; exit 1; }} ;;
    ps) [ ! -e deployed ] || echo abc def ;;
    image) [ ! -e "no-$3" ] ;;
    inspect) cat told ;;
    rm) rm -f deployed ;;
esac
"""
CONTAINERLAB = """#!/bin/sh
cd {folder}; echo "containerlab $* below $CLAB_LABDIR_BASE" >>asked
[ ! -e broken ] || {{ echo "node a: no such interface" >&2; exit 1; }}
case "$1" in
    deploy) touch deployed; cat said >&2 ;;
    destroy) rm -f deployed ;;
esac
"""
TOLD = (
    '[{{"State": {{"Pid": {0}}}, "Config": {{"Labels": {{"clab-node-name": "a"}}}}, "Name": "/x"}},'
    ' {{"State": {{"Pid": {1}}}, "Config": {{"Labels": {{"clab-node-name": "b"}}}}}}]'
)


@dataclass
class Host:
    """A machine whose docker and containerlab are stand-ins."""

    folder: Path
    topology: Topology
    store: Store

    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()

    def has(self, fact: str) -> bool:
        return (self.folder / fact).exists()

    def set(self, fact: str, text: str = "") -> None:
        (self.folder / fact).write_text(text)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    folder = tmp_path / "host"
    folder.mkdir()
    for name, text in (("docker", DOCKER), ("containerlab", CONTAINERLAB)):
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    path = checkout(tmp_path / "tree")
    made = Host(folder, read_topology(path), Store(path.parent))
    made.store.root.mkdir()
    made.set("said")
    nodes = [subprocess.Popen(["sleep", "60"], env={"WHO": name}) for name in "ab"]
    made.set("told", TOLD.format(*(node.pid for node in nodes)))
    yield made
    for node in nodes:
        node.kill()
        node.wait()


def test_the_very_file_is_deployed_and_nodes_are_found_by_their_labels(host: Host) -> None:
    running = containerlab.start(host.topology, host.store)
    assert f"containerlab deploy --topo {host.topology.path} below {host.store.folder('two')}" in (
        host.asked()
    )
    state = host.store.read("two")
    assert state is not None
    assert (state.runtime, state.healthy()) == ("containerlab", True)
    assert [node.pid for node in state.nodes] == [running.pids["a"], running.pids["b"]]
    assert running.environments["a"]["WHO"] == "a"


def test_destroying_leaves_no_container_and_no_file(host: Host) -> None:
    containerlab.start(host.topology, host.store)
    state = host.store.read("two")
    assert state is not None
    left = host.store.folder("two") / "clab-two"
    left.mkdir()
    containerlab.stop(state, host.store)
    assert not host.has("deployed")
    assert not left.exists()
    assert [line for line in host.asked() if " --cleanup " in line]


def test_a_lab_of_that_name_that_runs_already_is_left_alone(host: Host) -> None:
    host.set("deployed")
    with pytest.raises(LabError, match="runs a lab called two already"):
        containerlab.start(host.topology, host.store)
    assert host.has("deployed")
    assert host.store.read("two") is None


def test_missing_images_are_told_with_their_nodes_before_anything_starts(host: Host) -> None:
    host.set("no-haman-lab")
    with pytest.raises(BadFileError) as caught:
        containerlab.start(host.topology, host.store)
    assert [p.key for p in caught.value.problems] == [
        "topology.nodes.a.image",
        "topology.nodes.b.image",
    ]
    assert "lab/image/build.sh" in str(caught.value)
    assert not [line for line in host.asked() if line.startswith("containerlab")]


def test_a_management_network_is_refused_since_it_is_the_hosts(host: Host) -> None:
    path = host.topology.path
    text = path.read_text().replace("linux: {network-mode: none}", "linux: {}")
    path.write_text(text.replace("mgmt: {skip-when-unused: true}", ""))
    with pytest.raises(BadFileError) as caught:
        containerlab.start(read_topology(path), host.store)
    assert [p.key for p in caught.value.problems] == [
        "topology.nodes.a.network-mode",
        "topology.nodes.b.network-mode",
        "mgmt.skip-when-unused",
    ]


def test_no_daemon_is_told_with_what_to_do(host: Host) -> None:
    host.set("no-daemon")
    with pytest.raises(LabError, match=r"no Docker daemon answers \(cannot connect\).*DOCKER_HOST"):
        containerlab.start(host.topology, host.store)


def test_a_deployment_that_fails_is_told_and_taken_down(host: Host) -> None:
    host.set("broken")
    with pytest.raises(LabError, match="no such interface"):
        containerlab.start(host.topology, host.store)
    assert host.store.read("two") is None


def test_a_command_that_failed_inside_a_node_fails_the_deployment(host: Host) -> None:
    """containerlab itself ends well then."""
    host.set("said", 'ERRO Failed to execute command command="ip link" node=a rc=1\n')
    with pytest.raises(LabError, match='command="ip link" node=a'):
        containerlab.start(host.topology, host.store)
    assert not host.has("deployed")
    assert host.store.read("two") is None


def test_a_container_that_does_not_run_is_named(host: Host) -> None:
    host.set("told", TOLD.format(os.getpid(), 0))
    with pytest.raises(LabError, match="b: its container does not run"):
        containerlab.start(host.topology, host.store)
    assert not host.has("deployed")
