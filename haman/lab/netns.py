"""The runtime that needs nothing but a kernel: a node is a set of namespaces.

Each node has its own network, mounts, PIDs, host name and IPC. Its `/etc` and `/var/lib` are
overlays whose changes live in memory, its `/run` is empty at first, and the rest of the file system
is the host's. A node lives as long as its holder (`unshare --kill-child`), and everything inside
dies with process 1, so that nothing can be left behind but the holder's number, which the state
file names together with its start time.
"""

import os
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from haman.lab import kernel, links
from haman.lab.runtime import NAMESPACES, LabError, Runtime, terminal
from haman.lab.state import LabState, NodeState, Store
from haman.lab.topology import Bind, Node, Topology

READY_TIMEOUT_S = 10
DOWN_TIMEOUT_S = 5
WRITABLE = ("/etc/", "/run/", "/var/lib/")
TOOLS: tuple[str, ...] = ("unshare", "nsenter", "mount", "ip")

# Runs in the new mount namespace; the logs are bound first because overlays may hide their folder.
PREPARE = """
set -eu
mount -t tmpfs -o mode=755 lab /run
for d in logs etc/upper etc/work lib/upper lib/work; do mkdir -p "/run/lab/$d"; done
mount --bind {logs} /run/lab/logs
mount -t overlay -o lowerdir=/etc,upperdir=/run/lab/etc/upper,workdir=/run/lab/etc/work lab /etc
mount -t overlay -o lowerdir=/var/lib,upperdir=/run/lab/lib/upper,workdir=/run/lab/lib/work \
    lab /var/lib
mount -t sysfs lab /sys
echo {name} >/proc/sys/kernel/hostname
echo {name} >/etc/hostname
printf '127.0.0.1 localhost\\n::1 localhost\\n127.0.1.1 %s\\n' {name} >/etc/hosts
{binds}
{sysctls}
exec {python} -m haman.lab.init {ready}
"""


def environment(node: Node) -> dict[str, str]:
    """What processes of a node see: nothing of the host's but its terminal and where programs are."""
    home = Path(sys.executable).parent  # the environment that haman itself runs in
    path = f"{home}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    # With PYTHONPATH, for a checkout that runs on another one's environment must not run its code.
    code = {key: os.environ[key] for key in ("PYTHONPATH",) if key in os.environ}
    return {"PATH": path, "HOME": "/root", "LANG": "C.UTF-8", **terminal(), **code, **node.env}


def start(topology: Topology, store: Store) -> Runtime:
    """Bring all nodes and links up and run each node's `exec`.

    The state file is written as nodes appear, so that a crash half way can be cleaned up.

    Raises:
        LabError: something of the host's refused; what was started is taken down again.
    """
    state = LabState(topology.name, str(topology.path.resolve()), "netns")
    logs = store.folder(topology.name) / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    nodes: list[NodeState] = []
    pipes: dict[str, IO[str]] = {}
    try:
        for node in topology.nodes:
            holder, pipe = _hold(node, logs)
            pipes[node.name] = pipe
            nodes.append(holder)
            state = _with_nodes(state, nodes)
            store.write(state)
        nodes = [_ready(holder, pipes[holder.name], logs) for holder in nodes]
        state = _with_nodes(state, nodes)
        runtime = attach(topology, state)
        pids = dict(runtime.pids)
        for pid in pids.values():
            links.loopback_up(pid)
        for link in topology.links:
            links.plug(link, pids)
        for node in topology.nodes:
            for command in node.exec:
                _run_exec(runtime, node.name, command)
    except BaseException:
        stop(state, store)
        store.forget(state)
        raise
    finally:
        for pipe in pipes.values():
            pipe.close()
    store.write(_with_nodes(state, nodes, ready=True))
    return runtime


def attach(topology: Topology, state: LabState) -> Runtime:
    """The runtime of a lab that another process brought up."""
    return Runtime(
        topology,
        {node.name: node.pid for node in state.nodes},
        {node.name: environment(node) for node in topology.nodes},
    )


def stop(state: LabState, store: Store) -> None:
    """End every node that is still the one we started; everything inside dies with it.

    Raises:
        LabError: a process did not die in time.
    """
    del store  # what the nodes wrote there is for people to read
    for node in state.nodes:
        for pid, ticks in ((node.pid, node.start_ticks), (node.holder, node.holder_ticks)):
            if ticks and kernel.start_ticks(pid) == ticks:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
    gone = kernel.wait_until(
        lambda: not any(_left(node) for node in state.nodes), timeout_s=DOWN_TIMEOUT_S
    )
    if not gone:
        left = ", ".join(f"{n.name} (pid {n.pid})" for n in state.nodes if _left(n))
        raise LabError(f"these nodes did not die within {DOWN_TIMEOUT_S} s: {left}")


def _left(node: NodeState) -> bool:
    return node.alive() or kernel.start_ticks(node.holder) == node.holder_ticks


def _with_nodes(state: LabState, nodes: Sequence[NodeState], *, ready: bool = False) -> LabState:
    return LabState(state.name, state.topology, state.runtime, tuple(nodes), ready)


def _hold(node: Node, logs: Path) -> tuple[NodeState, IO[str]]:
    """Start a node's holder; what is known of it, and a pipe that says when process 1 is ready."""
    ready_read, ready_write = os.pipe()
    script = PREPARE.format(
        logs=shlex.quote(str(logs)),
        name=shlex.quote(node.name),
        binds="\n".join(_bind(bind) for bind in node.binds),
        sysctls="\n".join(_sysctl(key, value) for key, value in node.sysctls.items()),
        python=shlex.quote(sys.executable),
        ready=ready_write,
    )
    unshare = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
    unshare += ["--propagation", "private", "sh", "-c", script]
    try:
        with (logs / f"{node.name}-init.log").open("ab") as log:
            # The shell leaves at once, so that the holder is an orphan that nobody here must reap.
            launched = subprocess.run(
                ["sh", "-c", f"{shlex.join(unshare)} >&2 & echo $!"],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                env=environment(node),
                pass_fds=(ready_write,),
                start_new_session=True,
            )
    except BaseException:
        os.close(ready_read)
        raise
    finally:
        os.close(ready_write)
    holder = int(launched.stdout)
    ticks = kernel.start_ticks(holder) or 0
    return NodeState(node.name, 0, 0, holder, ticks), os.fdopen(ready_read)


def _ready(node: NodeState, ready: IO[str], logs: Path) -> NodeState:
    """Wait until process 1 of a node serves."""
    log = logs / f"{node.name}-init.log"
    if not select.select([ready], [], [], READY_TIMEOUT_S)[0]:
        raise LabError(f"{node.name}: not ready within {READY_TIMEOUT_S} s; see {log}")
    if not ready.readline():
        said = log.read_text(errors="replace").splitlines()[-2:]
        raise LabError(f"{node.name}: cannot be started: {' '.join(said) or 'it said nothing'}")
    inside = kernel.children(node.holder)
    ticks = kernel.start_ticks(inside[0]) if inside else None
    if ticks is None:
        raise LabError(f"{node.name}: ended at once; see {log}")
    return NodeState(node.name, inside[0], ticks, node.holder, node.holder_ticks)


def _bind(bind: Bind) -> str:
    """Shell text that shows a node a file of the host's."""
    if not bind.target.startswith(WRITABLE):
        places = ", ".join(WRITABLE)
        raise LabError(f"bind to {bind.target}: nodes in namespaces have their own {places} only")
    if not bind.source.exists():
        raise LabError(f"bind of {bind.source}: there is no such file")
    source, target = shlex.quote(str(bind.source)), shlex.quote(bind.target)
    make = f"mkdir -p {target}"
    if not bind.source.is_dir():
        parent = shlex.quote(str(Path(bind.target).parent))
        make = f"mkdir -p {parent}; [ -e {target} ] || : >{target}"
    lines = [make, f"mount --bind {source} {target}"]
    if bind.read_only:
        lines.append(f"mount -o remount,ro,bind {target}")
    return "\n".join(lines)


def _sysctl(key: str, value: str) -> str:
    path = shlex.quote("/proc/sys/" + key.replace(".", "/"))
    return f"echo {shlex.quote(value)} >{path}"


def _run_exec(runtime: Runtime, node: str, command: Sequence[str]) -> None:
    done = runtime.exec(node, command)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise LabError(f"{node}: `{shlex.join(command)}` failed: {said}")
