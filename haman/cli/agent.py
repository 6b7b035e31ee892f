"""`haman agent`: the engine, in the foreground."""

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from haman.config.model import Config
from haman.config.reader import read

if TYPE_CHECKING:
    from haman.engine.guard import Guard

NAME_BYTES_MAX = 107
"""Of an abstract socket, without its leading zero."""

inherited_guard: "Guard | None" = None
"""Forked by `haman.cli.main` before anything else was loaded."""


@click.command()
@click.option(
    "-c",
    "--config",
    "path",
    default="/etc/haman/haman.toml",
    show_default=True,
    type=click.Path(dir_okay=False),
    help="The configuration.",
)
def agent(path: str) -> None:
    """Run haman on this node, in the foreground."""
    from haman.cluster.keys import KeyFileError, read_key_file
    from haman.engine.guard import fork_guard
    from haman.engine.process import run

    config, problems = read(path)
    if config is None:
        for problem in problems:
            click.echo(str(problem), err=True)
        sys.exit(2)

    only = _claim(config.api.socket)
    if only is None:
        click.echo(
            f"haman agent: another agent runs here ({config.api.socket}); a second one would take "
            "its addresses away. Stop it first, or set [api] socket elsewhere",
            err=True,
        )
        sys.exit(1)

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
        status = run(config, command, inherited_guard or fork_guard(), load)
    except OSError as error:
        click.echo(
            f"haman agent: {error.strerror or error}: it needs CAP_NET_ADMIN and CAP_NET_RAW",
            err=True,
        )
        sys.exit(1)
    finally:
        only.close()
    sys.exit(status)


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
