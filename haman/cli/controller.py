"""`haman controller`: the controller process, put together. The engine starts it, nobody else."""

import asyncio
import gc
import logging
import sys
from pathlib import Path

import click


@click.command(hidden=True)
@click.option("--config", "-c", "path", required=True, type=click.Path(path_type=Path))
@click.option("--engine-fd", required=True, type=click.IntRange(min=3))
def controller(*, path: Path, engine_fd: int) -> None:
    """Run the controller on one end of the engine's socket pair."""
    gc.disable()  # nothing of what is loaded is garbage: looking for it took a seventh of the load
    from haman.api.listener import SocketInUseError
    from haman.api.server import serve
    from haman.config.reader import read
    from haman.controller.ports import SystemClock
    from haman.controller.process import run

    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(name)s: %(levelname)s: %(message)s"
    )
    config, problems = read(path)
    gc.enable()
    for problem in problems:
        click.echo(problem, err=True)
    if config is None:
        from haman.cli.reach import USAGE  # the API's client comes with it

        sys.exit(USAGE)
    gc.collect()
    gc.freeze()  # what was imported stays: no collection need walk it again
    try:
        status = asyncio.run(run(config, path, engine_fd, SystemClock(), serve))
    except SocketInUseError as error:
        from haman.cli.reach import REFUSED, fail

        fail(REFUSED, str(error))
    else:
        sys.exit(status)
