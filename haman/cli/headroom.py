"""`haman headroom`: would the rest carry the load."""

import sys

import click
import msgspec

from haman.api import schema
from haman.cli.command import Command
from haman.cli.reach import REFUSED, agent_options, reach
from haman.cli.status import headroom_line
from haman.cli.text import paint, percent, reasons, table


@click.command(
    cls=Command,
    examples=(
        "haman headroom",
        "haman headroom --without lb1 --check && haman drain lb1",
    ),
)
@click.option(
    "--without", metavar="NODE", multiple=True, help="The node that is lost; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="As the API gives it.")
@click.option("--check", is_flag=True, help="Exit 1 unless the verdict is ok or tight.")
@agent_options
def headroom(
    *, without: tuple[str, ...], as_json: bool, check: bool, socket_path: str, ssh: str | None
) -> None:
    """Would the rest carry the load without a node."""
    with reach(socket_path, ssh) as client:
        found = client.scenario(without) if without else client.headroom()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    elif isinstance(found, schema.Scenario):
        click.echo(_table((found,)))
    else:
        click.echo(headroom_line(found))
        click.echo(f"\n{_table(found.scenarios)}")
    if check and found.verdict not in {"ok", "tight"}:
        sys.exit(REFUSED)


def _table(scenarios: tuple[schema.Scenario, ...]) -> str:
    rows = [
        (
            ", ".join(s.lost),
            paint(s.verdict),
            "; ".join(
                f"{v.node} {v.resource or 'load'} {percent(v.utilization)} {v.phase}"
                for v in s.survivors
            )
            or "-",
            reasons(s.reasons),
        )
        for s in scenarios
    ]
    return table(("LOST", "VERDICT", "SURVIVORS", "WHY"), rows)
