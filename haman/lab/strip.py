"""Two more pictures of a drill: what clients met in each 10 ms, and how loaded the nodes were. Pure."""

import html
from collections.abc import Sequence

from haman.lab.chart import LEFT, RIGHT, WIDTH, Frame
from haman.lab.probe import NS_PER_MS, OK
from haman.lab.verdict import Record

BIN_NS = 10 * NS_PER_MS
STRIP_HEIGHT = 26
LOAD_HEIGHT = 90
TOP, FOOT = 26, 20
COLOURS = 4
STYLE = """
svg .some { fill: var(--n1); } svg .load { fill: none; stroke-width: 1.8; }
svg .load0 { stroke: var(--n0); } svg .load1 { stroke: var(--n1); }
svg .load2 { stroke: var(--n2); } svg .load3 { stroke: var(--n3); }
"""


def strips(record: Record) -> tuple[str, ...]:
    """The pictures that there is something for."""
    return (outcomes(record), *((load(record),) if record.gauges else ()))


def outcomes(record: Record) -> str:
    """One stripe per 10 ms in which connections were tried: all served, some failed, or all failed."""
    frame = _frame(record)
    count = max(1, -(-(frame.end_ns - frame.start_ns) // BIN_NS))
    tried, failed = [0] * count, [0] * count
    for attempt in record.probe.attempts:
        place = min((attempt.start_ns - frame.start_ns) // BIN_NS, count - 1)
        tried[place] += 1
        failed[place] += attempt.outcome != OK
    kinds = [_kind(all_, bad) for all_, bad in zip(tried, failed, strict=True)]
    parts = []
    begin = 0
    for i in range(1, count + 1):
        if i < count and kinds[i] == kinds[begin]:
            continue
        left, right = (frame.x(frame.start_ns + edge * BIN_NS) for edge in (begin, i))
        if kinds[begin]:
            parts.append(
                f'<rect class="{kinds[begin]}" x="{left:.2f}" y="{TOP}" '
                f'width="{right - left:.2f}" height="{STRIP_HEIGHT}"/>'
            )
        begin = i
    title = "Clients, per 10 ms: all served (blue), some failed (amber), all failed (red)"
    return _svg(title, TOP + STRIP_HEIGHT + 8, parts, _marks(record, frame, TOP + STRIP_HEIGHT))


def load(record: Record) -> str:
    """The most used resource of each node, in percent of what it can carry."""
    frame = _frame(record)
    nodes = sorted({gauge.node for gauge in record.gauges})
    top = max(1.0, *(gauge.utilization for gauge in record.gauges))
    base = TOP + LOAD_HEIGHT
    parts = []
    for part in (0.0, 0.5, 1.0):
        y = base - LOAD_HEIGHT * part
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * top * part:.0f} %</text>'
        )
    for place, node in enumerate(nodes):
        mine = [gauge for gauge in record.gauges if gauge.node == node]
        points = " ".join(
            f"{frame.x(g.at_ns):.1f},{base - LOAD_HEIGHT * g.utilization / top:.1f}" for g in mine
        )
        most = max(mine, key=lambda gauge: gauge.utilization)
        said = f"{node}: at most {100 * most.utilization:.0f} % of {most.resource}"
        colour = place % COLOURS
        parts.append(
            f'<polyline class="load load{colour}" points="{points}"><title>{html.escape(said)}</title></polyline>'
            f'<text class="tick" x="{LEFT + 8 + 210 * place}" y="{base + 15}">'
            f'<tspan class="node{colour}">■</tspan> {html.escape(said)}</text>'
        )
    return _svg("Utilization", base + FOOT, parts, _marks(record, frame, base))


def _kind(tried: int, failed: int) -> str:
    if not tried:
        return ""
    if not failed:
        return "served"
    return "failed" if failed == tried else "some"


def _frame(record: Record) -> Frame:
    return Frame(record.probe.started_ns, record.probe.ended_ns, record.fault_ns)


def _marks(record: Record, frame: Frame, bottom: float) -> list[str]:
    return [
        f'<line class="fault" x1="{frame.x(s.start_ns):.1f}" x2="{frame.x(s.start_ns):.1f}" '
        f'y1="{TOP - 4}" y2="{bottom}"><title>{html.escape(s.text)}</title></line>'
        for s in record.steps
    ]


def _svg(title: str, height: float, *groups: Sequence[str]) -> str:
    inside = "\n".join(part for group in groups for part in group)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(title)}">'
        f'<text class="title" x="{LEFT}" y="16">{html.escape(title)}</text>{inside}</svg>'
    )
