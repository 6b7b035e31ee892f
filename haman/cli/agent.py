"""`haman agent`, for whoever asks it for help or gives it no configuration; see `agent_process`."""

import sys

import click

from haman.cli import agent_process


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
    sys.exit(agent_process.run(path))
