"""`haman status`: the cluster in two tables."""

import time

import click
import msgspec

from haman.api import schema
from haman.api.leftover import left
from haman.api.times import duration
from haman.cli import anycast
from haman.cli.command import Command
from haman.cli.reach import agent_options, reach
from haman.cli.text import age, paint, percent, reasons, table

NODE_TITLES = ("NODE", "CONDITION", "PROXY", "CLIENTS", "BUSIEST", "HEARD", "SERVICES")
LACKS_MAX = 4
"""Of the reasons why a service is not ok; a fleet may have very many."""
ADDRESSES_W = 40
HOLDERS_W = 24


@click.command(
    cls=Command,
    examples=(
        "haman status",
        "haman status --watch --ssh ops@lb2",
        "haman status --json | jq -r '.services[].holders[]'",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="As the API gives it.")
@click.option("--watch", is_flag=True, help="Again and again, until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between looks, with --watch.",
)
@agent_options
def status(
    *, as_json: bool, watch: bool, interval: float, socket_path: str, ssh: str | None
) -> None:
    """Who serves, in which condition, with what room left."""
    with reach(socket_path, ssh) as client:
        if not watch:
            found = client.status()
            click.echo(_json(found, pretty=True) if as_json else render(found))
            return
        try:
            while True:
                found = client.status()
                if as_json:
                    click.echo(_json(found, pretty=False))
                else:
                    click.clear()
                    click.echo(render(found))
                time.sleep(interval)
        except KeyboardInterrupt:
            return


def render(found: schema.Status) -> str:
    """Write a status for people."""
    mode = f", {found.mode}" if found.mode else ""
    paused = click.style(", paused", fg="yellow") if found.paused else ""
    head = f"{found.cluster or 'haman'}, as {found.node} knows it at {found.at[11:19]} UTC"
    blocks = [f"{head}{mode}{paused}"]
    if found.services:
        rows = [row for s in found.services for row in _service_rows(s, found.at)]
        blocks.append(table(("SERVICE", "STATE", "HOLDER", "SINCE", "ADDRESSES"), rows))
        blocks += ["\n".join(lacks)] if (lacks := _lacks(found)) else []
    rows = [_node_row(n, found) for n in found.nodes]
    titles: tuple[str, ...] = NODE_TITLES
    if found.services and all(s.kind == "anycast" for s in found.services):
        titles, rows = titles[:-1], [row[:-1] for row in rows]  # all of it is in the next table
    blocks.append(table(titles, rows))
    blocks += anycast.tables(found)
    if notes := [*_notes(found), *anycast.troubles(found)]:
        blocks.append("\n".join(notes))
    blocks.append(headroom_line(found.headroom))
    if found.alerts:
        blocks.append("\n".join(f"{paint(a.severity)}: {a.text} ({a.code})" for a in found.alerts))
    return "\n\n".join(blocks)


def headroom_line(found: schema.Headroom) -> str:
    """Write N-1 in one line."""
    line = f"N-1: {paint(found.verdict)}"
    worst = found.worst
    if worst is None:
        return line
    lost = ", ".join(worst.lost)
    if not worst.survivor:
        return f"{line}: without {lost} nobody is left"
    if worst.utilization is None:
        return f"{line}: without {lost}, what {worst.survivor} would carry is not known"
    if not worst.resource:
        return f"{line}: without {lost}, {worst.survivor} would have to serve, and it is not heard"
    where = f"{worst.resource} at {percent(worst.utilization)}"
    return f"{line}: without {lost}, {worst.survivor} has {where} ({worst.phase})"


def _lacks(found: schema.Status) -> list[str]:
    """Why services are not ok."""
    told = []
    for service in found.services:
        if service.reasons:
            more = len(service.reasons) - LACKS_MAX
            tail = f"; and {more} more" if more > 0 else ""
            why = reasons(service.reasons[:LACKS_MAX])
            told.append(f"{service.name} is {service.state}: {why}{tail}")
    return told


def _notes(found: schema.Status) -> list[str]:
    """Why nodes are in their conditions, except what an alert says anyway."""
    alerts = [alert.text for alert in found.alerts]
    told = []
    for node in found.nodes:
        said = [r.text for r in node.reasons if not any(r.text in text for text in alerts)]
        if node.drained and node.condition != "stale" and (rest := left(found, node.name)):
            said.append(f"still there: {rest}")
        if node.permits is not None and node.permits.granted_to:
            said.append(_room(node, node.permits))
        if said:
            told.append(f"{node.name}: {'; '.join(said)}")
    return told


def _room(node: schema.Node, permits: schema.Permits) -> str:
    units = {r.name: r.unit for r in node.resources}
    parts = [f"{n} {v:.3g} {units.get(n, '')}".rstrip() for n, v in permits.reserved.items() if v]
    missing = f" ({', '.join(parts)} not arrived yet)" if parts else ""
    return f"holds room for {permits.granted_to}{missing}"


def _service_rows(service: schema.Service, at: str) -> list[tuple[str, ...]]:
    """One row; one for each address where there is no room for all side by side."""
    held = [m.since for m in service.members if m.node in service.holders]
    if service.kind == "anycast" and held:  # since the announcements are as they are
        held = [max(m.since for m in service.members)]
    addresses = service.addresses or service.prefixes
    joined = " ".join(addresses)
    lines = [joined] if len(joined) <= ADDRESSES_W else [*addresses]
    head = (
        service.name,
        paint(service.state),
        anycast.holders(service, HOLDERS_W),
        age(next(iter(held), ""), at) or "-",
    )
    return [(*head, lines[0]), *(("", "", "", "", line) for line in lines[1:])]


def _node_row(node: schema.Node, found: schema.Status) -> tuple[str, ...]:
    binding = next((r for r in node.resources if r.name == node.binding), None)
    roles = [
        f"{s.name} {paint(m.role or 'unknown')}"
        + (f" {m.priority}" if m.priority else "")
        + (f" ({m.connections_left} left)" if m.connections_left is not None else "")
        for s in found.services
        for m in s.members
        if m.node == node.name and s.kind != "anycast"
    ]
    version = node.proxy.version.partition("-")[0]  # without the distribution's suffix
    proxy = " ".join(part for part in (node.proxy.kind, version) if part)
    heard = "here" if node.name == found.node else f"{duration(node.age_ms / 1000)} ago"
    if any(r.code == "no-report" for r in node.reasons):
        heard = "never"
    return (
        node.name,
        paint(node.condition),
        f"{proxy or '-'}{'' if node.proxy.up or not proxy else ', down'}",
        "-" if node.connections is None else str(node.connections),
        f"{binding.name} {percent(binding.utilization)}" if binding else "-",
        heard,
        ", ".join(roles) or "-",
    )


def _json(found: schema.Status, *, pretty: bool) -> str:
    data = msgspec.json.encode(found)
    return (msgspec.json.format(data, indent=2) if pretty else data).decode()
