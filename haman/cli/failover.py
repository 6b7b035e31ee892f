"""`haman failover`."""

import click

from haman.api import schema
from haman.api.client import Client
from haman.cli.command import Command
from haman.cli.reach import REFUSED, agent_options, fail, reach
from haman.cli.text import wait_until


@click.command(
    cls=Command,
    examples=(
        "haman failover web",
        "haman failover web --to lb2 --wait",
    ),
)
@click.argument("vip")
@click.option("--to", metavar="NODE", default="", help="Who shall serve; else the best peer.")
@click.option("--wait", is_flag=True, help="Return when another node serves.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 3600),
    default=10.0,
    show_default=True,
    help="Seconds to wait, with --wait; then exit 1.",
)
@click.option("--force", is_flag=True, help="Even where the target could not carry the load.")
@click.option(
    "--plain", is_flag=True, help="Even where it cannot be handed over: cuts its connections."
)
@agent_options
def failover(
    *,
    vip: str,
    to: str,
    wait: bool,
    timeout: float,
    force: bool,
    plain: bool,
    socket_path: str,
    ssh: str | None,
) -> None:
    """Move a VIP to another node; both stay in service.

    Its connections stay where they are and are served to their end; new ones go to the other node.
    """
    with reach(socket_path, ssh) as client:
        before = _holders(client, vip)
        done = client.act("failover", schema.Intent(vip=vip, to=to, force=force, plain=plain))
        click.echo(done.text)
        if not wait:
            return

        def pending() -> str:
            now = _holders(client, vip)
            moved = now == (to,) if to else bool(now) and now != before
            return "" if moved else f"{vip} is served by {', '.join(now) or 'nobody'}"

        if missing := wait_until(pending, timeout):
            fail(REFUSED, f"{missing} after {timeout:g} s")
        click.echo(f"{vip} is served by {', '.join(_holders(client, vip))}")


def _holders(client: Client, vip: str) -> tuple[str, ...]:
    return next((s.holders for s in client.status().services if s.name == vip), ())
