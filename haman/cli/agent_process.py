"""`haman agent`: the engine, in the foreground.

Nothing of click is loaded here: an engine has no use for it, and it takes a fifth of the start.
"""

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from haman.config.model import Config
from haman.config.reader import read

if TYPE_CHECKING:
    from haman.engine.guard import Guard

NAME_BYTES_MAX = 107
"""Of an abstract socket, without its leading zero."""

inherited_guard: "Guard | None" = None
"""Forked by `haman.cli.main` before anything else was loaded."""


def run(path: str) -> int:
    """Run it until it is told to end; the exit status.

    Args:
        path: of the configuration.
    """
    from haman.cluster.keys import KeyFileError, read_key_file
    from haman.engine.guard import fork_guard
    from haman.engine.process import Engine

    config, problems = read(path)
    if config is None:
        for problem in problems:
            _say(str(problem))
        return 2

    only = _claim(config.api.socket)
    if only is None:
        _say(
            f"haman agent: another agent runs here ({config.api.socket}); a second one would take "
            "its addresses away. Stop it first, or set [api] socket elsewhere"
        )
        return 1

    def load() -> tuple[Config | None, tuple[str, ...]]:
        anew, why_not = read(path)
        if anew is not None and anew.cluster.key_file:
            try:
                read_key_file(Path(anew.cluster.key_file))
            except KeyFileError as error:
                return None, (str(error),)
        return anew, tuple(str(problem) for problem in why_not)

    command = [sys.executable, "-m", "haman.cli", "controller"]
    command += ["-c", os.path.abspath(path), "--engine-fd"]  # noqa: PTH100 - keeps symbolic links
    try:
        guard = inherited_guard or fork_guard()
        return Engine(config, command, guard, load, environment=os.environ).run()
    except OSError as error:
        _say(f"haman agent: {error.strerror or error}: it needs CAP_NET_ADMIN and CAP_NET_RAW")
        return 1
    finally:
        only.close()


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _claim(socket_path: str) -> socket.socket | None:
    """Claim to be the agent of this network namespace and API socket; None = another one is.

    The name is abstract: the kernel frees it with the process, however that ends.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind("\0" + f"haman-agent:{socket_path}"[-NAME_BYTES_MAX:])
    except OSError:
        claim.close()
        return None
    return claim
