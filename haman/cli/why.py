"""`haman why`: the story of a service."""

import click
import msgspec

from haman.api.times import parse_iso
from haman.cli.command import Command
from haman.cli.events import line
from haman.cli.reach import agent_options, reach
from haman.cli.text import paint


@click.command(
    cls=Command,
    examples=("haman why web",),
)
@click.argument("service")
@click.option("--json", "as_json", is_flag=True, help="As the API gives it.")
@agent_options
def why(*, service: str, as_json: bool, socket_path: str, ssh: str | None) -> None:
    """Why a service is where it is, and not elsewhere."""
    with reach(socket_path, ssh) as client:
        found = client.why(service)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    click.echo(found.text.replace(found.state, paint(found.state), 1))
    for member in found.members:
        click.echo(f"  {member.text}")
    if found.events:
        click.echo("\nWhat happened last, as this node saw it:")
        for event in sorted(found.events, key=lambda e: (parse_iso(e.at), e.seq)):
            click.echo(f"  {line(event, about=False)}")
