"""The runtime that needs nothing but a kernel: a node is a set of namespaces.

Each node has its own network, mounts, PIDs, host name and IPC. Its `/etc` and `/var/lib` are
overlays whose changes live in memory, its `/run` is empty at first, and the rest of the file system
is the host's. A node lives as long as its holder (`unshare --kill-child`), and everything inside
dies with process 1, so that nothing can be left behind but the holder, which carries the lab's mark.
"""

import os
import select
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec
from msgspec.structs import replace

from haman.lab import kernel, left, links, nest
from haman.lab.runtime import NAMESPACES, LabError, Runtime, terminal
from haman.lab.state import LabState, NodeState, Store, begun
from haman.lab.topology import BadFileError, Node, Problem, Topology, missing_sources

READY_TIMEOUT_S = 10
DOWN_TIMEOUT_S = 5
AT_ONCE = 4
STATUS_MAX = 100
"""Of a shell that tells by its status how far it came; 126 and above have meanings of their own."""
WRITABLE = ("/etc/", "/run/", "/var/lib/")
TOOLS: tuple[str, ...] = ("unshare", "nsenter", "ip")


@dataclass(frozen=True, slots=True)
class _Holder:
    """The process that a node lives as long as, and a pipe that says when process 1 is ready."""

    pid: int
    ready: IO[str]


def environment(node: Node) -> dict[str, str]:
    """What processes of a node see: nothing of the host's but its terminal and where programs are."""
    home = Path(sys.executable).parent  # the environment that haman itself runs in
    path = f"{home}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    # With PYTHONPATH, for a checkout that runs on another one's environment must not run its code.
    code = {key: os.environ[key] for key in ("PYTHONPATH",) if key in os.environ}
    return {"PATH": path, "HOME": "/root", "LANG": "C.UTF-8", **terminal(), **code, **node.env}


def start(topology: Topology, store: Store) -> Runtime:
    """Bring all nodes and links up and run each node's `exec`, the nodes side by side.

    Raises:
        BadFileError: binds that cannot be, all at once.
        LabError: something of the host's refused; what was started is taken down again.
    """
    if problems := [*missing_sources(topology), *_misplaced(topology)]:
        raise BadFileError(problems)
    state = begun(topology.name, topology.path.resolve(), "netns")
    folder = store.folder(topology.name)
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    # First, so that a crash half way can be cleaned up: what belongs to it is told by its mark.
    store.write(state)
    holders: dict[str, _Holder] = {}
    try:
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            names = (node.name for node in topology.nodes)
            holders |= zip(names, pool.map(lambda n: _hold(n, folder), topology.nodes), strict=True)
        nodes = tuple(_ready(name, holder, logs) for name, holder in holders.items())
        state = replace(state, nodes=nodes)
        runtime = attach(topology, state)
        links.plug(topology.links, runtime.pids)
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            list(pool.map(lambda node: _run_execs(runtime, node), topology.nodes))
    except BaseException:
        stop(state, store)
        store.forget(state)
        raise
    finally:
        for holder in holders.values():
            holder.ready.close()
    store.write(replace(state, ready=True))
    return runtime


def attach(topology: Topology, state: LabState) -> Runtime:
    """The runtime of a lab that another process brought up."""
    return Runtime(
        topology,
        {node.name: node.pid for node in state.nodes},
        {node.name: environment(node) for node in topology.nodes},
    )


def stop(state: LabState, store: Store) -> None:
    """End everything that carries the lab's mark, and with it all that the nodes run.

    Raises:
        LabError: a process did not die in time.
    """
    end(store.folder(state.name))


def end(folder: Path) -> None:
    """As `stop`, of a lab, or of all labs below a folder, of which nothing else is known.

    Raises:
        LabError: a process did not die in time.
    """
    if stayed := left.ended(folder, DOWN_TIMEOUT_S):
        numbers = ", ".join(map(str, stayed))
        raise LabError(f"{folder}: these processes did not die in {DOWN_TIMEOUT_S} s: {numbers}")
    left.remove_groups()


def _order(node: Node, logs: Path) -> bytes:
    """What `nest` is told."""
    binds = [
        {"source": str(bind.source), "target": bind.target, "read_only": bind.read_only}
        for bind in node.binds
    ]
    own = {"name": node.name, "logs": str(logs), "binds": binds, "sysctls": dict(node.sysctls)}
    return msgspec.json.encode(own)


def _hold(node: Node, folder: Path) -> _Holder:
    """Start a node's holder."""
    logs = folder / "logs"
    ready_read, ready_write = os.pipe()
    order = os.memfd_create(f"lab-{node.name}")
    unshare = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
    unshare += ["--propagation", "private", sys.executable, "-I", "-S", nest.__file__]
    unshare += [str(order), str(ready_write)]
    try:
        os.pwrite(order, _order(node, logs), 0)
        with (logs / f"{node.name}-init.log").open("ab") as log:
            # The shell leaves at once, so that the holder is an orphan that nobody here must reap.
            launched = subprocess.run(
                ["sh", "-c", f"{shlex.join(unshare)} >&2 & echo $!"],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                env={**environment(node), left.MARK: str(folder.resolve())},
                pass_fds=(order, ready_write),
                start_new_session=True,
            )
    except BaseException:
        os.close(ready_read)
        raise
    finally:
        os.close(order)
        os.close(ready_write)
    return _Holder(int(launched.stdout), os.fdopen(ready_read))


def _ready(name: str, holder: _Holder, logs: Path) -> NodeState:
    """Wait until process 1 of a node serves."""
    log = logs / f"{name}-init.log"
    if not select.select([holder.ready], [], [], READY_TIMEOUT_S)[0]:
        raise LabError(f"{name}: not ready within {READY_TIMEOUT_S} s; see {log}")
    if not holder.ready.readline():
        said = log.read_text(errors="replace").splitlines()[-2:]
        raise LabError(f"{name}: cannot be started: {' '.join(said) or 'it said nothing'}")
    inside = kernel.children(holder.pid)
    ticks = kernel.start_ticks(inside[0]) if inside else None
    if ticks is None:
        raise LabError(f"{name}: ended at once; see {log}")
    return NodeState(name, inside[0], ticks)


def _misplaced(topology: Topology) -> list[Problem]:
    """The binds to places that a node shares with the host."""
    places = ", ".join(WRITABLE)
    return [
        Problem(
            topology.path,
            f"topology.nodes.{node.name}.binds",
            f"{bind.target}: nodes in namespaces have their own {places} only",
        )
        for node in topology.nodes
        for bind in node.binds
        if not bind.target.startswith(WRITABLE)
    ]


def _run_execs(runtime: Runtime, node: Node) -> None:
    """Run the commands of a node, one after the other; the status says at which it ended."""
    for at in range(0, len(node.exec), STATUS_MAX):
        some = node.exec[at : at + STATUS_MAX]
        lines = [f"{shlex.join(command)} || exit {i}" for i, command in enumerate(some, 1)]
        done = runtime.exec(node.name, ["sh", "-c", "\n".join(lines)])
        if done.returncode:
            command = some[min(max(done.returncode, 1), len(some)) - 1]
            said = (done.stderr or done.stdout).strip()
            raise LabError(f"{node.name}: `{shlex.join(command)}` failed: {said}")
