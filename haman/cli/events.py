"""`haman events`: the journal, past and live."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import click
import msgspec

from haman.api import schema
from haman.api.client import Client
from haman.api.times import NS_PER_S, parse_iso
from haman.cli.command import Command
from haman.cli.reach import agent_options, reach

PAGE = 1000
LAST = 20
_AGO = re.compile(r"(\d{1,6})(s|m|h|d)")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Since(click.ParamType["tuple[int, int]"]):
    """A sequence number, an age (15m), or an ISO 8601 instant; the latter two become ns."""

    name = "since"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Give (sequence number, earliest instant in ns)."""
        text = str(value)
        if text.isdecimal() and len(text) <= 18:  # fits 64 bits
            return int(text), 0
        if found := _AGO.fullmatch(text):
            ago_s = int(found[1]) * _UNIT_S[found[2]]
            return 0, int(datetime.now(UTC).timestamp() - ago_s) * NS_PER_S
        try:
            return 0, parse_iso(text)
        except ValueError:
            return self.fail(
                f'"{text}" is neither a sequence number, nor an age like 15m or 2h, nor an '
                "instant like 2026-01-31T12:00:00Z",
                param,
                ctx,
            )


@click.command(
    cls=Command,
    examples=(
        "haman events --since 15m",
        "haman events --follow --json",
    ),
)
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option(
    "--since",
    type=Since(),
    metavar="SEQ|AGE|INSTANT",
    help=f"What came after this; without it, the last {LAST}.",
)
@click.option("--json", "as_json", is_flag=True, help="One event per line, as the API gives it.")
@agent_options
def events(
    *,
    follow: bool,
    since: tuple[int, int] | None,
    as_json: bool,
    socket_path: str,
    ssh: str | None,
) -> None:
    """What happened, and what happens."""
    with reach(socket_path, ssh) as client:
        last = 0
        for event in _past(client, since):
            last = event.seq
            _show(event, as_json=as_json)
        if not follow:
            return
        try:
            for event in client.follow(last):
                _show(event, as_json=as_json)
        except KeyboardInterrupt:
            return


def line(event: schema.Event, *, about: bool = True) -> str:
    """Write an event for people; without `about`, its service is known from around it.

    The instant may be given back to --since.
    """
    service = f" {event.service}" if about and event.service else ""
    told = "; ".join(r.text for r in event.reasons if r.text not in event.text)
    why = f" ({told})" if told else ""
    kind = click.style(event.type, bold=True)
    return f"{event.at} {event.node} {kind}{service}: {event.text}{why}"


def _past(client: Client, since: tuple[int, int] | None) -> Iterator[schema.Event]:
    if since is None:
        yield from client.events(-LAST, LAST)
        return
    seq, earliest_ns = since
    page = client.events(seq if not earliest_ns else -PAGE, PAGE)
    while page:
        for event in page:
            if parse_iso(event.at) >= earliest_ns:
                yield event
        if len(page) < PAGE:
            return
        page = client.events(page[-1].seq, PAGE)


def _show(event: schema.Event, *, as_json: bool) -> None:
    click.echo(msgspec.json.encode(event).decode() if as_json else line(event))
