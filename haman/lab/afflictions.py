"""Faults of a node itself: what runs short there, fills up, or is configured wrong."""

import math
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from haman.lab.drill import Step
from haman.lab.inside import background, must, remember
from haman.lab.runtime import LabError, Runtime
from haman.lab.services import CONFIGURATION

STATE = "/var/lib/haman"
STATE_BYTES_MAX = 64 << 20
BALLAST = f"{STATE}/ballast"
AGENT = "-o -f 'haman(.cli)? agent'"


def limit(runtime: Runtime, step: Step, pid: int) -> None:
    """A process of a node gets a lower limit; the hard one stays, so that it can be taken back."""
    own = _number_inside(pid)
    flag = f"--{step.limit}"
    now = must(
        runtime, step.node, ["prlimit", "--pid", own, flag, "--output", "SOFT", "--noheadings"]
    )
    remember(runtime, step.node, f"prlimit --pid {own} {flag}={now}: 2>/dev/null")
    must(runtime, step.node, ["prlimit", "--pid", own, f"{flag}={step.value}:"])


def sysctl(runtime: Runtime, step: Step) -> str:
    """A parameter of a node's kernel is changed."""
    path = "/proc/sys/" + step.key.replace(".", "/")
    now = must(runtime, step.node, ["cat", path])
    remember(runtime, step.node, f"echo {shlex.quote(now)} >{path}")
    must(runtime, step.node, ["sh", "-c", f"echo {shlex.quote(step.value)} >{path}"])
    return f"{step.key} is {step.value} on {step.node}"


def fill(runtime: Runtime, step: Step) -> str:
    """The file system of the agent's state is full; it must be one of its own, and small."""
    size = runtime.exec(step.node, ["stat", "-f", "-c", "%b %S", STATE]).stdout.split()
    mounted = runtime.exec(step.node, ["mountpoint", "-q", STATE]).returncode == 0
    if not mounted or math.prod(map(int, size)) > STATE_BYTES_MAX:
        raise LabError(f"fill: {STATE} of {step.node} is no small file system of its own")
    remember(runtime, step.node, f"rm -f {BALLAST}")
    runtime.exec(step.node, ["dd", "if=/dev/zero", f"of={BALLAST}", "bs=4k"])
    return f"the disk of {step.node} is full"


def configure(runtime: Runtime, step: Step) -> str:
    """The node's haman.toml says something else, and its agent reads it again."""
    text = runtime.path(step.node, CONFIGURATION).read_text()
    for old, new in step.replace.items():
        if old not in text:
            raise LabError(f"configure: {CONFIGURATION} of {step.node} does not say {old!r}")
        text = text.replace(old, new)
    changed = "/run/lab/haman.toml"
    runtime.path(step.node, changed).write_text(text)
    # Ended, not told to read again: not all that a file says can change while an agent runs. And killed,
    # for an agent that ends in order serves its tail first.
    remember(runtime, step.node, f"umount {CONFIGURATION}; pkill -KILL {AGENT}")
    must(
        runtime,
        step.node,
        ["sh", "-c", f"mount --bind {changed} {CONFIGURATION} && pkill -HUP {AGENT}"],
    )
    return f"{step.node} is configured: {', '.join(' '.join(new.split()) for new in step.replace.values())}"


def hog(runtime: Runtime, step: Step) -> str:
    """Something else on the machine takes the cores."""
    words = ["python3", "-m", "haman.lab.loads", "hog", str(step.count), f"{step.for_s:g}"]
    background(runtime, step.node, words)
    return f"{step.count} processes spin on {step.node} for {step.for_s:g} s"


def _number_inside(pid: int) -> str:
    """The number that a process has in its own PID namespace; proc_pid_status(5)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return line.split()[-1]
    return str(pid)


VERBS: Mapping[str, Callable[[Runtime, Step], str]] = {
    "sysctl": sysctl,
    "fill": fill,
    "configure": configure,
    "hog": hog,
}
