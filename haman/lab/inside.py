"""Acting inside a node so that it can be taken back: by this process, or by another after a crash.

What undoes a fault is written down in the node before the fault is done, as one line of shell in
`/run/lab/undo`, the last one first. `undo` runs them all.
"""

import shlex
from collections.abc import Sequence

from haman.lab.runtime import LabError, Runtime

UNDO = "/run/lab/undo"


def must(runtime: Runtime, node: str, command: Sequence[str] | str) -> str:
    """Run a command inside a node; what it printed.

    Raises:
        LabError: it failed, with what it said.
    """
    words = shlex.split(command) if isinstance(command, str) else list(command)
    done = runtime.exec(node, words)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise LabError(f"{node}: `{shlex.join(words)}` failed: {said}")
    return done.stdout.strip()


def remember(runtime: Runtime, node: str, line: str) -> None:
    """Note what takes back that which is about to be done; noted twice, it is run once."""
    path = runtime.path(node, UNDO)
    known = path.read_text().splitlines() if path.exists() else []
    if line not in known:
        path.write_text("\n".join((line, *known, "")))


def undo(runtime: Runtime, node: str) -> bool:
    """Take back all that was noted; whether there was anything."""
    path = runtime.path(node, UNDO)
    if not path.exists():
        return False
    runtime.exec(node, ["sh", UNDO])  # what is gone already needs no undoing: no failure
    path.unlink(missing_ok=True)
    return True


def background(runtime: Runtime, node: str, words: Sequence[str]) -> None:
    """Start a command that goes on by itself; its output goes to the node's logs."""
    log = f"/run/lab/logs/{node}-load.log"
    script = f"{shlex.join(words)} >>{log} 2>&1 </dev/null & echo $$"
    group = must(runtime, node, ["setsid", "sh", "-c", script])
    remember(runtime, node, f"kill -s KILL -- -{group} 2>/dev/null")
