"""`haman headroom`: would the rest carry the load."""

import sys
import textwrap
from collections.abc import Iterator

import click
import msgspec

from haman.api import schema
from haman.api.times import duration
from haman.cli.command import Command
from haman.cli.reach import REFUSED, agent_options, reach
from haman.cli.status import headroom_line
from haman.cli.text import paint, percent, table

TITLES = ("LOST", "VERDICT", "BINDS", "SURVIVABLE", "DRAIN")
WIDTH = 80
NAMED_MAX = 3
"""Nodes of one loss that are named; a site may have many."""
REASONS_MAX = 3
"""Of one loss, worst survivor first."""


@click.command(
    cls=Command,
    examples=(
        "haman headroom",
        "haman headroom --without lb1 --without lb2",
        "haman headroom --without lb1 --check && haman drain lb1",
    ),
)
@click.option(
    "--without",
    metavar="NODE",
    multiple=True,
    help="The node that is lost; repeated: they are lost together.",
)
@click.option("--json", "as_json", is_flag=True, help="As the API gives it.")
@click.option("--check", is_flag=True, help="Exit 1 unless the verdict is ok or tight.")
@agent_options
def headroom(
    *, without: tuple[str, ...], as_json: bool, check: bool, socket_path: str, ssh: str | None
) -> None:
    """Would the rest carry the load without a node.

    Each loss is judged in three phases: steady (rates add up), step (connections, descriptors and
    memory arrive at once) and storm (all lost clients shake hands anew, within half of their
    timeout). SURVIVABLE is how many clients the lost nodes may have for step and storm to pass, DRAIN
    how long the handshakes take now.
    """
    with reach(socket_path, ssh) as client:
        found = client.scenario(without) if without else client.headroom()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    elif isinstance(found, schema.Scenario):
        click.echo(_shown((found,)))
    else:
        click.echo(headroom_line(found))
        click.echo(f"\n{_shown(found.scenarios)}")
    if check and found.verdict not in {"ok", "tight"}:
        sys.exit(REFUSED)


def _shown(scenarios: tuple[schema.Scenario, ...]) -> str:
    """A row for each loss, and below the table why."""
    told = table(TITLES, [_row(scenario) for scenario in scenarios])
    whys = [line for scenario in scenarios for line in _why(scenario)]
    return "\n\n".join([told, "\n".join(whys)] if whys else [told])


def _row(scenario: schema.Scenario) -> tuple[str, ...]:
    binds = "-"
    if scenario.survivors:
        worst = scenario.survivors[0]
        what = f"{worst.resource or 'load'} {percent(worst.utilization)} {worst.phase}"
        binds = f"{worst.node} {what}"
    most, drain_s = scenario.survivable_connections, scenario.drain_s
    return (
        _names(scenario.lost),
        paint(scenario.verdict),
        binds,
        "-" if most is None else str(most),
        "-" if drain_s is None else duration(drain_s),
    )


def _names(lost: tuple[str, ...]) -> str:
    more = len(lost) - NAMED_MAX
    return ", ".join(lost[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _why(scenario: schema.Scenario) -> Iterator[str]:
    for reason in scenario.reasons[:REASONS_MAX]:
        yield from textwrap.wrap(reason.text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    if (more := len(scenario.reasons) - REASONS_MAX) > 0:
        yield f"  and {more} more"
