"""`haman drain` and `haman undrain`."""

import click

from haman.api import schema
from haman.api.client import Client
from haman.cli.command import Command
from haman.cli.reach import REFUSED, agent_options, fail, reach
from haman.cli.text import wait_until

SERVING = {"active", "tail"}


@click.command(
    cls=Command,
    examples=(
        "haman drain --wait && systemctl restart haproxy && haman undrain",
        "haman drain lb2",
    ),
)
@click.argument("node", default="")
@click.option("--wait", is_flag=True, help="Return when the node serves nothing any more.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86_400),
    default=60.0,
    show_default=True,
    help="Seconds to wait, with --wait; then exit 1.",
)
@click.option("--force", is_flag=True, help="Even where the others could not carry the load.")
@agent_options
def drain(
    *, node: str, wait: bool, timeout: float, force: bool, socket_path: str, ssh: str | None
) -> None:
    """Take a node out of service until `haman undrain`, over restarts; without NODE, this one."""
    with reach(socket_path, ssh) as client:
        done = client.act("drain", schema.Intent(node=node, force=force))
        click.echo(done.text)
        if not wait:
            return
        name = node or client.status().node
        if missing := wait_until(lambda: _still_serves(client, name), timeout):
            fail(REFUSED, f"{missing} after {timeout:g} s; {name} stays drained")
        click.echo(f"{name} serves nothing any more")


@click.command()
@click.argument("node", default="")
@agent_options
def undrain(*, node: str, socket_path: str, ssh: str | None) -> None:
    """Put a node back into service; without NODE, this one."""
    with reach(socket_path, ssh) as client:
        click.echo(client.act("undrain", schema.Intent(node=node)).text)


def _still_serves(client: Client, name: str) -> str:
    found = client.status()
    held = [
        f"{s.name} ({m.role})"
        for s in found.services
        for m in s.members
        if m.node == name and m.role in SERVING
    ]
    if not held:
        return ""
    clients = next((n.connections for n in found.nodes if n.name == name), None)
    left = f", {clients} clients connected" if clients is not None else ""
    return f"{name} still serves {', '.join(held)}{left}"
