"""`haman top`: this node's resources, one line each, the binding one marked."""

import shutil
import sys
import time
from collections import deque

import click

from haman.api import schema
from haman.api.leftover import counted
from haman.api.plain import amount
from haman.api.times import duration
from haman.cli.command import Command
from haman.cli.reach import REFUSED, agent_options, fail, reach
from haman.cli.text import cut, paint, percent, reasons, table

LOOKS = 30
"""How many looks the trend remembers."""
STEADY = 0.02
"""Less than this much utilization between the older and the newer looks is no trend."""
TREND_LOOKS = 4
SPARKS = "▁▂▃▄▅▆▇█"
BAR_WIDTH = 10


@click.command(
    cls=Command,
    examples=("haman top", "haman top --ssh ops@lb2", "haman top --once | grep tls"),
)
@click.option("--once", is_flag=True, help="Print it once; so does everything but a terminal.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between looks.",
)
@agent_options
def top(*, once: bool, interval: float, socket_path: str, ssh: str | None) -> None:
    """Watch the resources of this node: how full, of what, and where the ceiling comes from.

    The binding resource, the one that will run out first, is marked. Until Ctrl-C; --once, and
    everything that is no terminal, prints it once.
    """
    trends = Trends()
    with reach(socket_path, ssh) as client:
        if once or not sys.stdout.isatty():
            click.echo(render(client.status(), trends))
            return
        try:
            while True:
                found = client.status()
                trends.add(own(found))
                width = shutil.get_terminal_size().columns
                shown = render(found, trends, width)
                click.clear()
                click.echo(shown)
                time.sleep(interval)
        except KeyboardInterrupt:
            return


def own(found: schema.Status) -> schema.Node:
    """The node whose agent answered."""
    node = next((n for n in found.nodes if n.name == found.node), None)
    return node or fail(REFUSED, f"the agent of {found.node} does not tell of its own node")


class Trends:
    """The last looks at each resource."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[float]] = {}

    def add(self, node: schema.Node) -> None:
        """Take in one look; a resource that is unknown now begins anew."""
        known = {r.name: r.utilization for r in node.resources if r.utilization is not None}
        self._seen = {name: self._seen.get(name, deque(maxlen=LOOKS)) for name in known}
        for name, utilization in known.items():
            self._seen[name].append(utilization)

    def words(self, name: str) -> str:
        """A sparkline and an arrow; "" before there are enough looks."""
        seen = list(self._seen.get(name, ()))
        if len(seen) < TREND_LOOKS:
            return ""
        half = len(seen) // 2
        change = sum(seen[-half:]) / half - sum(seen[:half]) / half
        arrow = "→" if abs(change) < STEADY else "↑" if change > 0 else "↓"
        top_spark = len(SPARKS) - 1
        line = "".join(SPARKS[min(top_spark, int(u * len(SPARKS)))] for u in seen[-10:])
        return f"{line} {arrow}"


def render(found: schema.Status, trends: Trends, width: int | None = None) -> str:
    """The node's line, its resources, fullest first, and what is wrong with it.

    Lines of the table end at `width`: a live view must not wrap. What matters is said below it.
    """
    node = own(found)
    proxy = " ".join(part for part in (node.proxy.kind, node.proxy.version) if part) or "no proxy"
    clients = "" if node.connections is None else f", {counted(node.connections)}"
    why = f": {reasons(node.reasons)}" if node.reasons else ""
    head = f"{node.name} {paint(node.condition)}{why} · {proxy}{clients} · {found.at[11:19]} UTC"
    ordered = sorted(node.resources, key=lambda r: -1.0 if r.utilization is None else r.utilization)
    rows = [_row(r, trends, binding=r.name == node.binding) for r in reversed(ordered)]
    blocks = [head]
    if rows:
        titles = ("", "RESOURCE", "", "", "USED", "CEILING", "TREND", "ORIGIN", "WHERE")
        lines = table(titles, rows).splitlines()
        blocks.append("\n".join(lines if width is None else (cut(line, width) for line in lines)))
        blocks += ["\n".join(notes)] if (notes := _notes(node)) else []
    else:
        blocks.append("no resource is sensed yet")
    alerts = [a for a in found.alerts if a.node == node.name]
    if alerts:
        blocks.append("\n".join(f"{paint(a.severity)}: {a.text} ({a.code})" for a in alerts))
    return "\n\n".join(blocks)


def _notes(node: schema.Node) -> list[str]:
    """What the binding resource's ceiling is, and why others are unknown."""
    told = []
    for resource in node.resources:
        if resource.name == node.binding and resource.ceiling is not None:
            ceiling = amount(resource.ceiling, resource.unit)
            told.append(f"{resource.name} runs out first, at {ceiling} ({_origin(resource)})")
    unknown = (r for r in node.resources if r.utilization is None and r.problem)
    return told + [f"{r.name} is unknown: {r.problem}" for r in unknown]


def _row(resource: schema.Resource, trends: Trends, *, binding: bool) -> tuple[str, ...]:
    trend = trends.words(resource.name)
    if resource.exhausted_in_s is not None:
        trend = f"{trend or '↑'} used up in {duration(resource.exhausted_in_s)}"
    return (
        click.style("▶", bold=True) if binding else "",
        resource.name,
        _bar(resource),
        percent(resource.utilization),
        "unknown" if resource.used is None else amount(resource.used, resource.unit),
        amount(resource.ceiling, resource.unit) if resource.ceiling is not None else "unknown",
        trend,
        _origin(resource),
        resource.detail,
    )


def _origin(resource: schema.Resource) -> str:
    """How well the ceiling is known, and what it is: "measured: RLIMIT_NOFILE"."""
    if resource.ceiling is None:
        return ""
    known = resource.confidence
    return f"{known}: {resource.origin}" if resource.origin else known


def _bar(resource: schema.Resource) -> str:
    """How full, coloured by the node's own thresholds."""
    used = resource.utilization
    if used is None:
        return "·" * BAR_WIDTH
    filled = min(BAR_WIDTH, round(BAR_WIDTH * used))
    over = "red" if resource.hard is not None and used >= resource.hard else None
    if over is None and resource.soft is not None and used >= resource.soft:
        over = "yellow"
    return click.style("█" * filled, fg=over or "green") + "·" * (BAR_WIDTH - filled)
