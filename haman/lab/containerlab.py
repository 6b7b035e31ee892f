"""The runtime that deploys a topology with containerlab, on Docker.

`containerlab deploy` gets the very file that haman read. What is asked of Docker beside it is where
process 1 of each node is; from there on a node is a set of namespaces, as with `netns`.
https://containerlab.dev/cmd/deploy/
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from haman.lab import kernel
from haman.lab.runtime import LabError, Runtime, terminal
from haman.lab.state import LabState, NodeState, Store, begun
from haman.lab.topology import BadFileError, Problem, Topology, missing_sources

TOOLS: tuple[str, ...] = ("containerlab", "docker", "nsenter", "setpriv")
DEPLOY_TIMEOUT_S = 180
ASK_TIMEOUT_S = 30
EXEC_FAILED = "Failed to execute command"
BUILD = "lab/image/build.sh builds haman-lab"


class _State(msgspec.Struct, frozen=True, rename="pascal"):
    """The part of `docker inspect` that names process 1."""

    pid: int = 0


class _Config(msgspec.Struct, frozen=True, rename="pascal"):
    labels: Mapping[str, str] = {}


class _Container(msgspec.Struct, frozen=True, rename="pascal"):
    """A container of a lab; containerlab labels it with its node's name."""

    state: _State
    config: _Config


def start(topology: Topology, store: Store) -> Runtime:
    """Deploy a topology.

    Raises:
        BadFileError: nodes that would be managed, images that Docker does not have, binds of files that are
            not there, all at once.
        LabError: Docker or containerlab refused, or a lab of that name is deployed elsewhere.
    """
    _demand_daemon()
    if ids := _containers(topology.name):
        raise LabError(
            f"containerlab runs a lab called {topology.name} already ({len(ids)} containers); "
            f"`containerlab destroy --name {topology.name}` ends it"
        )
    if problems := [
        *_managed(topology),
        *_missing_images(topology),
        *missing_sources(topology),
    ]:
        raise BadFileError(problems)
    state = begun(topology.name, topology.path, "containerlab")
    # First, so that `down` knows what to destroy if this process is killed half way.
    store.write(state)
    try:
        _containerlab("deploy", topology.path, store.folder(topology.name))
        nodes = _nodes(topology)
    except BaseException:
        stop(state, store)
        store.forget(state)
        raise
    state = replace(state, nodes=nodes, ready=True)
    store.write(state)
    return attach(topology, state)


def attach(topology: Topology, state: LabState) -> Runtime:
    """The runtime of a lab that another process brought up."""
    return Runtime(
        topology,
        {node.name: node.pid for node in state.nodes},
        {node.name: {**_environment(node.pid), **terminal()} for node in state.nodes},
    )


def stop(state: LabState, store: Store) -> None:
    """Destroy a lab and what containerlab wrote for it.

    Raises:
        LabError: containerlab did not.
    """
    _demand_daemon()
    if _containers(state.name):
        _containerlab("destroy", Path(state.topology), store.folder(state.name), "--cleanup")
    if ids := _containers(state.name):  # a topology that changed since names fewer of them
        _run(["docker", "rm", "--force", *ids])
    shutil.rmtree(store.folder(state.name) / f"clab-{state.name}", ignore_errors=True)


def _containerlab(verb: str, topology: Path, folder: Path, *options: str) -> None:
    """Run a verb of containerlab's on a topology; what it writes goes below `folder`.

    Raises:
        LabError: it failed, or a node's `exec` did.
    """
    # It dies with this process, or a killed `up` would go on deploying behind its `down`.
    command = ["setpriv", "--pdeathsig", "KILL", "containerlab", verb, "--topo", str(topology)]
    said = _run(
        [*command, *options],
        env={**os.environ, "CLAB_LABDIR_BASE": str(folder), "CLAB_VERSION_CHECK": "disable"},
        timeout_s=DEPLOY_TIMEOUT_S,
    )
    log = folder / "logs" / f"containerlab-{verb}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(said.stderr + said.stdout)
    # It ends well though a node's `exec` did not.
    if failed := [line for line in said.stderr.splitlines() if EXEC_FAILED in line]:
        raise LabError(f"{failed[0].strip()}; {log} says more")


def _nodes(topology: Topology) -> tuple[NodeState, ...]:
    """Process 1 of each node, in the topology's order."""
    ids = _containers(topology.name)
    told = _run(["docker", "inspect", *ids]).stdout if ids else "[]"
    found = {
        container.config.labels.get("clab-node-name", ""): container.state.pid
        for container in msgspec.json.decode(told, type=tuple[_Container, ...])
    }
    nodes = []
    for node in topology.nodes:
        pid = found.get(node.name, 0)
        ticks = kernel.start_ticks(pid) if pid else None
        if ticks is None:
            raise LabError(
                f"{node.name}: its container does not run; "
                f"`docker logs clab-{topology.name}-{node.name}` says more"
            )
        nodes.append(NodeState(node.name, pid, ticks))
    return tuple(nodes)


def _containers(name: str) -> list[str]:
    """The containers, running or not, of the lab of that name."""
    wanted = ["--filter", f"label=containerlab={name}"]
    return _run(["docker", "ps", "--all", "--quiet", *wanted]).stdout.split()


def _environment(pid: int) -> dict[str, str]:
    """What a node's process 1 sees: the image's environment, and the topology's for the node."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}  # it died: whoever asks is told so by what he runs there
    return dict(word.split("=", 1) for word in words if "=" in word)


def _demand_daemon() -> None:
    done = _run(["docker", "version", "--format", "{{.Server.Version}}"], check=False)
    if done.returncode:
        said = " ".join(done.stderr.split()) or "it said nothing"
        raise LabError(f"no Docker daemon answers ({said}); start one, or name it in DOCKER_HOST")


def _managed(topology: Topology) -> list[Problem]:
    """What makes containerlab set up a management network: on the host, and around every fault."""
    problems = [
        Problem(topology.path, f"topology.nodes.{node.name}.network-mode", "must be 'none' here")
        for node in topology.nodes
        if not node.isolated
    ]
    if not topology.unmanaged:
        problems.append(Problem(topology.path, "mgmt.skip-when-unused", "must be true here"))
    return problems


def _missing_images(topology: Topology) -> list[Problem]:
    missing = {
        image
        for image in sorted({node.image for node in topology.nodes})
        if _run(["docker", "image", "inspect", image], check=False).returncode
    }
    return [
        Problem(
            topology.path,
            f"topology.nodes.{node.name}.image",
            f"Docker has no image {node.image!r}; {BUILD}",
        )
        for node in topology.nodes
        if node.image in missing
    ]


def _run(
    command: Sequence[str],
    *,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    timeout_s: float = ASK_TIMEOUT_S,
) -> subprocess.CompletedProcess[str]:
    """Run a program of the host's; with `check`, its failure is a refusal with its last words."""
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            env=env,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"`{' '.join(command)}` did not end within {timeout_s:g} s") from None
    if check and done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise LabError(f"`{' '.join(command)}` failed: {' / '.join(said) or done.returncode}")
    return done
