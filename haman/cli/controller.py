"""`haman controller`: the controller process, put together. The engine starts it, nobody else."""

import gc
import sys
from collections.abc import Sequence
from pathlib import Path

USAGE = 2
"""Exit status: of the command line, or of the configuration."""
REFUSED = 1


def main(arguments: Sequence[str]) -> int:
    """Run the controller on one end of the engine's socket pair.

    Args:
        arguments: `-c PATH --engine-fd NUMBER`, as `agent_process` and the engine write them.

    Returns:
        The exit status.
    """
    if len(arguments) != 4 or (arguments[0], arguments[2]) != ("-c", "--engine-fd"):
        print("haman controller: the agent starts it, nobody else", file=sys.stderr)
        return USAGE
    path, engine_fd = Path(arguments[1]), int(arguments[3])
    gc.disable()  # nothing of what is loaded is garbage: looking for it took a seventh of the load
    import asyncio
    import logging

    from haman.api.listener import SocketInUseError
    from haman.api.server import serve
    from haman.config.reader import read
    from haman.controller.ports import SystemClock
    from haman.controller.process import run

    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(name)s: %(levelname)s: %(message)s"
    )
    config, problems = read(path)
    # What was loaded stays, and no collection need walk it again; nor one now, for one object in twenty.
    gc.freeze()
    gc.enable()
    for problem in problems:
        print(problem, file=sys.stderr)
    if config is None:
        return USAGE
    try:
        return asyncio.run(run(config, path, engine_fd, SystemClock(), serve))
    except SocketInUseError as error:
        print(f"haman: {error}", file=sys.stderr)
        return REFUSED
