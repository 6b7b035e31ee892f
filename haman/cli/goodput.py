"""Pictures of simulated runs: goodput and shedding over time, for terminals and as SVG. Pure."""

import html
from collections.abc import Sequence
from typing import Final

from haman.lab.chart import LEFT, RIGHT, TOP, TOPS, WIDTH, nice
from haman.lab.report import STYLE
from haman.sim.fleet.fleet import Run

BLOCKS: Final = " ▁▂▃▄▅▆▇█"
COLUMNS: Final = 72
PLOT: Final = 170
AXIS: Final = 34
POINTS_MAX: Final = 400
COLOURS: Final = {
    "naive": "#e5484d",
    "hysteresis": "#d98e2b",
    "weight": "#8e6bd8",
    "haman": "#18794e",
    "wanted": "#9ba1a6",
}


def bars(values: Sequence[float], top: float, columns: int = COLUMNS) -> str:
    """One line of blocks; each column is the mean of its part of the values."""
    if not values or top <= 0:
        return ""
    columns = min(columns, len(values))
    means = []
    for column in range(columns):
        part = values[column * len(values) // columns : (column + 1) * len(values) // columns]
        means.append(sum(part) / len(part))
    last = len(BLOCKS) - 1
    return "".join(BLOCKS[min(last, max(0, round(mean / top * last)))] for mean in means)


def in_terminal(run: Run) -> str:
    """Wanted, served and shedding of a run, each on one line, over the same time."""
    series = run.series
    top = max((*_smooth(series.wanted, series.span_s), 1.0))
    rows = [("wanted", series.wanted), ("served", series.served)]
    lines = [
        f"  {name:8}  {bars(values, top)}  up to {max(values, default=0.0) / series.span_s:,.0f}/s"
        for name, values in rows
    ]
    shedding = [float(count) for count in series.shedding]
    if any(shedding):
        most = max(shedding)
        lines.append(f"  shedding  {bars(shedding, most)}  up to {most:.0f} nodes")
    return "\n".join(lines)


def svg(runs: Sequence[Run], title: str, *, alone: bool = False) -> str:
    """Goodput of several policies over time, beside what clients wanted.

    Args:
        runs: of one scenario.
        title: above it.
        alone: a file of its own, with its style inside.
    """
    series = runs[0].series
    end_s = len(series.wanted) * series.span_s
    lines = [("wanted", series.wanted), *((run.policy, run.series.served) for run in runs)]
    # What naive policies make clients want again is theirs; the axis is that of the calmest.
    calm = min((run.series.wanted for run in runs), key=sum)
    lines[0] = ("wanted", calm)
    seen = sorted(_smooth(calm, series.span_s))
    top = nice(seen[int(0.98 * len(seen))] / series.span_s, TOPS)  # peaks may leave the plot
    height = TOP + PLOT + AXIS
    box = f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(title)}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {box}>']
    if alone:
        parts.append(
            "<style>svg{font:11px system-ui,sans-serif;background:#fbfbfa}text{fill:#1c2024}"
            ".title{font-size:13px;font-weight:600}.tick{fill:#687076}.grid{stroke:#e3e5e7}"
            ".axis{stroke:#687076}</style>"
        )
    parts.append(f'<text class="title" x="{LEFT}" y="16">{html.escape(title)}</text>')
    for place, (name, _) in enumerate(lines):
        left = WIDTH - RIGHT - 84 * (len(lines) - place)
        parts.append(
            f'<rect x="{left}" y="8" width="10" height="10" rx="2" fill="{COLOURS[name]}"/>'
            f'<text class="tick" x="{left + 15}" y="17">{name}</text>'
        )
    for quarter in range(5):
        y = TOP + PLOT * (1.0 - quarter / 4)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{top * quarter / 4:,.0f}/s</text>"
        )
    for name, values in lines:
        parts.append(_line(values, series.span_s, top, COLOURS[name]))
    step_s = nice(end_s / 10)
    for number in range(int(end_s / step_s) + 1):
        x = LEFT + (WIDTH - LEFT - RIGHT) * number * step_s / end_s
        anchor = "end" if x > WIDTH - 2 * RIGHT else "middle"
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{TOP + PLOT + 18}" text-anchor="{anchor}">'
            f"{number * step_s:g} s</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _smooth(values: Sequence[float], span_s: float) -> list[float]:
    """Means over 2 s or more, so many as can be seen."""
    size = max(1, round(2.0 / span_s), len(values) // POINTS_MAX)
    return [
        sum(values[i : i + size]) / len(values[i : i + size]) for i in range(0, len(values), size)
    ]


def _line(values: Sequence[float], span_s: float, top: float, colour: str) -> str:
    points = _smooth(values, span_s)
    width = WIDTH - LEFT - RIGHT
    path = " ".join(
        f"{LEFT + width * (i + 0.5) / len(points):.1f},"
        f"{TOP + PLOT * (1 - min(1.0, point / span_s / top)):.1f}"
        for i, point in enumerate(points)
    )
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>'


def page(charts: Sequence[str], rows: Sequence[Sequence[str]], titles: Sequence[str]) -> str:
    """One page that needs nothing else."""
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    cards = "".join(f'<div class="card">{chart}</div>' for chart in charts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>haman simulate</title>'
        f"<style>{STYLE}</style></head><body><h1>haman simulate</h1>"
        '<p class="about">The same load and faults under each policy.</p>'
        f'{cards}<div class="card"><table><tr>{head}</tr>{body}</table></div></body></html>\n'
    )
