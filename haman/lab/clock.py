"""A wall clock that jumps, for the processes of one node's agent alone.

All nodes of a lab share the host's clock, which no drill may touch. So the agent of the node is
started again before the drill begins, with a `time` module that adds an offset to the wall clock; the
jump is another offset in the file that it reads with every look. Monotonic time stays as it is, also
in the kernel's timers: libfaketime shifts the absolute ones of CLOCK_MONOTONIC too.
"""

import shlex
import time
from datetime import datetime

import tomli

from haman.lab import agent, kernel
from haman.lab.drill import Drill, Step
from haman.lab.init import LIST
from haman.lab.inside import must, remember
from haman.lab.runtime import LabError, Runtime

FOLDER = "/run/lab/wall"
OFFSET = f"{FOLDER}/ahead_s"
FAKED = f"{FOLDER}/processes.toml"
WIDTH = 16
AGENT = "agent"
"""Its name in the node's list of processes."""
RESTART_S = 15.0
FOLLOWS_S = 5.0
NEAR_S = 60.0
"""What tells a clock that jumped from one that did not."""
STOP = "pkill -KILL -o -f 'haman(.cli)? agent'"
"""The engine: its guard lets go of what it held, and nobody waits for a tail."""
ENDED = "while pgrep -f 'haman(.cli)? agent' >/dev/null; do sleep 0.05; done"
CUSTOMIZE = f"""
import os
import time

offset = os.open({OFFSET!r}, os.O_RDONLY)
true_ns = time.time_ns


def time_ns():
    return true_ns() + int(os.pread(offset, {WIDTH}, 0)) * 1_000_000_000


time.time_ns = time_ns
time.time = lambda: time_ns() / 1e9
"""
"""Python imports `sitecustomize` before all else. The file stays open: an agent confines itself."""


def prepare(runtime: Runtime, drill: Drill) -> None:
    """Have the agents whose clocks will jump read the offset.

    Raises:
        LabError: an agent does not come back.
    """
    for node in sorted({step.node for step in drill.step if step.fault == "clock"}):
        _start_again(runtime, node)


def jump(runtime: Runtime, step: Step) -> str:
    """The wall clock of a node's agent is another one from now on, and its agent says so.

    Raises:
        LabError: the agent does not follow.
    """
    _write(runtime, step.node, step.by_s)
    if not kernel.wait_until(lambda: _follows(runtime, step.node, step.by_s), FOLLOWS_S):
        raise LabError(f"clock: the agent of {step.node} does not tell the time that it was given")
    return f"the wall clock of {step.node} is {step.by_s:+d} s off from now on"


def _follows(runtime: Runtime, node: str, by_s: int) -> bool:
    told = agent.status(runtime, node)
    if told is None:
        return False
    ahead_s = datetime.fromisoformat(told.at).timestamp() - time.time()
    return abs(ahead_s - by_s) < NEAR_S


def _start_again(runtime: Runtime, node: str) -> None:
    listed = runtime.path(node, str(LIST)).read_text()
    runtime.path(node, FOLDER).mkdir(exist_ok=True)
    runtime.path(node, f"{FOLDER}/sitecustomize.py").write_text(CUSTOMIZE)
    runtime.path(node, FAKED).write_text(_faked(listed, node))
    _write(runtime, node, 0)
    end = f"{STOP}; timeout 10 sh -c {shlex.quote(ENDED)}"
    remember(runtime, node, f"umount {LIST} && {{ {end}; rm -rf {FOLDER}; }}")
    must(runtime, node, ["sh", "-c", f"mount --bind {FAKED} {LIST}; {end}; kill -HUP 1"])
    if not kernel.wait_until(lambda: agent.answers(runtime, node), RESTART_S, poll_s=0.1):
        raise LabError(f"clock: the agent of {node} does not come back; see its log")


def _faked(listed: str, node: str) -> str:
    """The node's list of processes, where the agent has another command."""
    entries = tomli.loads(listed).get("process", [])
    command = next((entry["command"] for entry in entries if entry["name"] == AGENT), None)
    if command is None or _array(command) not in listed:
        raise LabError(f"clock: {LIST} of {node} has no {AGENT} with its command on one line")
    path = f"export PYTHONPATH={FOLDER}${{PYTHONPATH:+:$PYTHONPATH}}; exec {shlex.join(command)}"
    return listed.replace(_array(command), _array(["sh", "-c", path]))


def _array(words: list[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


def _write(runtime: Runtime, node: str, by_s: int) -> None:
    """In place, and of the same width: the agent has the file open, and may read at any time."""
    path = runtime.path(node, OFFSET)
    with path.open("r+" if path.exists() else "w") as file:
        file.write(f"{by_s:+d}".ljust(WIDTH))
