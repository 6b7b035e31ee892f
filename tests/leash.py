"""What tests start in sessions of their own, held: nothing outlives the tests, even if they are killed.

`hold` tells a process of its own, which reads until this process ends, however that happens, and then
kills every group that was not given back. The kernel's own way (PR_SET_PDEATHSIG) does not do: it ends
with a change of user, and routers change theirs.
"""

import atexit
import functools
import subprocess
import sys
from typing import IO

_WATCH = """
import os, signal, sys
held = set()
for line in sys.stdin:
    (held.add if line[0] == "+" else held.discard)(int(line[1:]))
for group in held:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


def hold(group: int) -> None:
    """Kill this process group when the tests end, unless it is given back before."""
    _tell(f"+{group}\n")


def give_back(group: int) -> None:
    """The group was waited for: its number may be another's soon."""
    _tell(f"-{group}\n")


def _tell(line: str) -> None:
    pipe = _watcher()
    pipe.write(line)
    pipe.flush()


@functools.cache
def _watcher() -> IO[str]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _WATCH],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdin
    atexit.register(_end, process)
    return process.stdin


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.close()
    process.wait(5)
