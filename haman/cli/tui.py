"""`haman tui`: the fleet on one screen, live."""

import asyncio
import sys

import click

from haman.cli.command import Command
from haman.cli.reach import REFUSED, agent_options, fail, socket_of


@click.command(
    cls=Command,
    examples=("haman tui", "haman tui --ssh ops@lb2.example.net", "haman tui --light"),
)
@click.option("--light", is_flag=True, help="Colours for a light terminal; key t changes them.")
@agent_options
def tui(socket_path: str, ssh: str | None, *, light: bool) -> None:
    """Watch the fleet and act on it, on one screen."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fail(REFUSED, "tui needs a terminal; `haman status` prints the same, --watch repeats it")
    with socket_of(socket_path, ssh) as path:
        place = f"{ssh}:{socket_path}" if ssh else socket_path
        sys.exit(asyncio.run(_show(path, place, light=light)))


async def _show(path: str, place: str, *, light: bool) -> int:
    from haman.api.async_client import AsyncClient
    from tui.app import FleetApp

    app = FleetApp(AsyncClient(path), place, light=light)
    await app.run_async()
    return app.return_code or 0
