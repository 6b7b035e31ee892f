"""`haman drain` and `haman undrain`."""

import click

from haman.api import schema
from haman.api.client import Client
from haman.api.leftover import clients, counted, last_resorts, served
from haman.cli.command import Command
from haman.cli.reach import REFUSED, agent_options, fail, reach
from haman.cli.text import wait_until


@click.command(
    cls=Command,
    examples=(
        "haman drain --wait && systemctl restart haproxy && haman undrain",
        "haman drain lb2",
    ),
)
@click.argument("node", default="")
@click.option(
    "--wait",
    is_flag=True,
    help="Return when the node serves and announces nothing any more; exit 1 if nobody else can.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86_400),
    default=60.0,
    show_default=True,
    help="Seconds to wait, with --wait; then exit 1.",
)
@click.option("--force", is_flag=True, help="Even where the others could not carry the load.")
@click.option(
    "--plain", is_flag=True, help="Even where a VIP cannot be handed over: cuts its connections."
)
@agent_options
def drain(
    *,
    node: str,
    wait: bool,
    timeout: float,
    force: bool,
    plain: bool,
    socket_path: str,
    ssh: str | None,
) -> None:
    """Take a node out of service until `haman undrain`, over restarts; without NODE, this one."""
    with reach(socket_path, ssh) as client:
        done = client.act("drain", schema.Intent(node=node, force=force, plain=plain))
        click.echo(done.text)
        if not wait:
            return
        name = node or client.status().node
        if missing := wait_until(lambda: _awaited(client, name), timeout):
            fail(REFUSED, f"{missing} after {timeout:g} s; {name} stays drained")
        click.echo(_outcome(client.status(), name))


@click.command()
@click.argument("node", default="")
@agent_options
def undrain(*, node: str, socket_path: str, ssh: str | None) -> None:
    """Put a node back into service; without NODE, this one."""
    with reach(socket_path, ssh) as client:
        click.echo(client.act("undrain", schema.Intent(node=node)).text)


def _awaited(client: Client, name: str) -> str:
    """What is waited for: all that is served, but for what nobody else could take over."""
    found = client.status()
    held = served(found, name)
    if len(held) == len(last_resorts(found, name)):
        return ""
    connected = f", {counted(n)} connected" if (n := clients(found, name)) else ""
    return f"{name} still serves {', '.join(held)}{connected}"


def _outcome(found: schema.Status, name: str) -> str:
    """What became of the drain; exits where the node has to stay."""
    connected = f"; {counted(n)} still connected" if (n := clients(found, name)) else ""
    if stuck := last_resorts(found, name):
        text = f"{name} is drained, and stays the last resort for {', '.join(stuck)}, shut"
        fail(REFUSED, f"{text}: no other node announces it{connected}")
    return f"{name} serves nothing any more{connected}"
