"""`haman pause` and `haman resume`."""

import click

from haman.api import schema
from haman.cli.reach import agent_options, reach


@click.command()
@agent_options
def pause(*, socket_path: str, ssh: str | None) -> None:
    """Hold all automatic moves but faults, on every node, until `haman resume`."""
    with reach(socket_path, ssh) as client:
        click.echo(client.act("pause", schema.Intent()).text)


@click.command()
@agent_options
def resume(*, socket_path: str, ssh: str | None) -> None:
    """Let automatic moves go on."""
    with reach(socket_path, ssh) as client:
        click.echo(client.act("resume", schema.Intent()).text)
