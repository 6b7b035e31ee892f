"""The drill's pictures, as SVG text: what clients saw over time, and who held what. Pure.

Colours and fonts come from the classes of the page that holds them (`report`).
"""

import html
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from haman.lab.probe import NS_PER_MS, OK, Attempt, Span
from haman.lab.verdict import Record

WIDTH = 960
LEFT, RIGHT = 84, 16
PLOT_HEIGHT = 190
BAND_HEIGHT, BAND_GAP = 20, 6
TOP, AXIS_HEIGHT = 30, 34
BINS = 150
BIN_MIN_NS = 20 * NS_PER_MS
CLOSEUP_BEFORE_NS = 25 * NS_PER_MS
CLOSEUP_MIN_NS = 60 * NS_PER_MS
DOTS_MAX = 3000
LATENCY_FLOOR_MS = 2.0
STEPS = (1, 2, 2.5, 5, 10)
TOPS = (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10)  # quarters of these are short to write
LEGEND = (("served", "served"), ("failed", "failed"))


@dataclass(frozen=True, slots=True)
class Frame:
    """A span of time drawn from left to right; `zero_ns` is what the axis counts from."""

    start_ns: int
    end_ns: int
    zero_ns: int

    def x(self, at_ns: float) -> float:
        """Where an instant is, clipped to the plot."""
        part = (at_ns - self.start_ns) / (self.end_ns - self.start_ns)
        return LEFT + min(max(part, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)


def overview(record: Record) -> str:
    """New connections per second, served and failed, over the whole drill, above who held what."""
    probe = record.probe
    frame = Frame(probe.started_ns, probe.ended_ns, record.fault_ns)
    # Whole numbers of attempts per bin, or the bars beat against the rate.
    interval_ns = 1_000_000_000 // record.drill.load.new_per_s
    wanted_ns = max(BIN_MIN_NS, (frame.end_ns - frame.start_ns) // BINS)
    width_ns = -(-wanted_ns // interval_ns) * interval_ns
    bins = math.ceil((frame.end_ns - frame.start_ns) / width_ns)
    served, failed = [0] * bins, [0] * bins
    for attempt in probe.attempts:
        index = min((attempt.start_ns - frame.start_ns) // width_ns, bins - 1)
        (served if attempt.outcome == OK else failed)[index] += 1
    per_s = 1e9 / width_ns
    top = nice(max(a + b for a, b in zip(served, failed, strict=True)) * per_s, TOPS)
    base = TOP + PLOT_HEIGHT

    def bar(i: int, low: int, high: int, kind: str) -> str:
        left = frame.x(frame.start_ns + i * width_ns)
        right = frame.x(frame.start_ns + (i + 1) * width_ns)
        y = base - PLOT_HEIGHT * high * per_s / top
        height = PLOT_HEIGHT * (high - low) * per_s / top
        width = max(right - left - 0.6, 0.6)
        return f'<rect class="{kind}" x="{left:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'

    parts = [_grid(top, lambda value: f"{value:g}/s")]
    parts += [bar(i, 0, n, "served") for i, n in enumerate(served) if n]
    parts += [bar(i, served[i], served[i] + n, "failed") for i, n in enumerate(failed) if n]
    who = "where the router sends them" if record.routes else "who has the address"
    return _figure(record, frame, parts, f"New connections per second, and {who}")


def closeup(record: Record) -> str:
    """Each new connection around the longest gap: when it was tried, how long it took."""
    gap = record.outage
    if record.routes:  # where some are served all the time, the span in which others failed
        last_ns = record.fault_ns + int(record.failing_ms * NS_PER_MS)
        gap = Span(record.fault_ns, min(last_ns, record.probe.ended_ns))
    span = max(gap.end_ns - gap.start_ns, CLOSEUP_MIN_NS)
    start = max(min(gap.start_ns, record.fault_ns) - CLOSEUP_BEFORE_NS, record.probe.started_ns)
    end = min(max(gap.end_ns, record.fault_ns) + span // 2, record.probe.ended_ns)
    frame = Frame(start, end, record.fault_ns)
    shown = [a for a in record.probe.attempts if start <= a.start_ns <= end][:DOTS_MAX]
    slowest = max((_latency_ms(a) for a in shown if a.outcome == OK), default=1.0)
    top = nice(max(slowest, LATENCY_FLOOR_MS), TOPS)
    base = TOP + PLOT_HEIGHT
    shade = (
        f'<rect class="gap" x="{frame.x(gap.start_ns):.1f}" y="{TOP}" '
        f'width="{frame.x(gap.end_ns) - frame.x(gap.start_ns):.1f}" height="{PLOT_HEIGHT}"/>'
    )
    parts = [shade, _grid(top, lambda value: f"{value:g} ms")]
    for attempt in shown:
        x = frame.x(attempt.start_ns)
        if attempt.outcome == OK:
            y = base - PLOT_HEIGHT * min(_latency_ms(attempt) / top, 1.0)
            parts.append(f'<circle class="served" cx="{x:.1f}" cy="{y:.1f}" r="2.2"/>')
        else:
            parts.append(
                f'<path class="miss" d="M{x - 3:.1f} {base - 9}l6 6m0-6l-6 6">'
                f"<title>{html.escape(attempt.outcome)}</title></path>"
            )
    name = "some failed for" if record.routes else "gap"
    title = f"Around the fault: each new connection, its time to be served; {name} {gap.ms:.1f} ms"
    return _figure(record, frame, parts, title)


def nice(value: float, steps: Sequence[float] = STEPS) -> float:
    """The next round number at or above a value: one of `steps`, times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in steps if step * power >= value * 0.999)


def _latency_ms(attempt: Attempt) -> float:
    return (attempt.end_ns - attempt.start_ns) / NS_PER_MS


def _figure(record: Record, frame: Frame, plot: Sequence[str], title: str) -> str:
    rows = (*_held(record), *_routed(record))
    bands_top = TOP + PLOT_HEIGHT + 14
    axis = bands_top + len(rows) * (BAND_HEIGHT + BAND_GAP) + 4
    height = axis + AXIS_HEIGHT
    nodes = sorted({row.node for row in rows})
    bands = [
        _band(frame, bands_top + i * (BAND_HEIGHT + BAND_GAP), row, nodes.index(row.node) % 4)
        for i, row in enumerate(rows)
    ]
    return "\n".join(
        (
            f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(title)}">',
            f'<text class="title" x="{LEFT}" y="16">{html.escape(title)}</text>',
            *_legend(),
            *plot,
            *bands,
            _axis(frame, axis),
            *_marks(record, frame, axis),
            "</svg>",
        )
    )


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a band; `part` of its height is filled, and only outlined for the floor."""

    start_ns: int
    end_ns: int
    title: str
    part: float = 1.0
    floor: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A band below the plot: what one node is to one address or prefix."""

    node: str
    text: str
    pieces: tuple[Piece, ...]


def _held(record: Record) -> list[Row]:
    """Who held which address."""
    return [
        Row(
            node,
            address,
            tuple(
                Piece(span.start_ns, span.end_ns, f"{node} has {address}")
                for span in spans
                if span.node == node
            ),
        )
        for address, spans in record.tenures.items()
        for node in sorted({span.node for span in spans})
    ]


def _routed(record: Record) -> list[Row]:
    """To whom the router sent which prefix; a band is as high as the node's share."""
    rows = []
    for prefix, spans in record.routes.items():
        pieces: dict[str, list[Piece]] = {}
        for span in spans:
            top = max((hop.weight for hop in span.route.hops), default=1)
            total = sum(hop.weight for hop in span.route.hops)
            for hop in span.route.hops:
                text = f"{hop.node} gets {100 * hop.weight / total:.0f} % of {prefix}"
                text += ", by the floor" if span.route.floor else ""
                part = hop.weight / top
                pieces.setdefault(hop.node, []).append(
                    Piece(span.start_ns, span.end_ns, text, part, span.route.floor)
                )
        rows += [Row(node, prefix, tuple(found)) for node, found in sorted(pieces.items())]
    return rows


def _band(frame: Frame, y: float, row: Row, colour: int) -> str:
    parts = [
        f'<text class="tick" x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{html.escape(row.node)}</text>'
    ]
    parts.append(
        f'<rect class="empty" x="{LEFT}" y="{y}" width="{WIDTH - LEFT - RIGHT}" height="{BAND_HEIGHT}"/>'
    )
    for piece in row.pieces:
        left, right = frame.x(piece.start_ns), frame.x(piece.end_ns)
        if right - left <= 0:
            continue
        high = BAND_HEIGHT * piece.part
        kind = f"node{colour} floor" if piece.floor else f"node{colour}"
        parts.append(
            f'<rect class="{kind}" x="{left:.1f}" y="{y + BAND_HEIGHT - high:.1f}" rx="3" '
            f'width="{right - left:.1f}" height="{high:.1f}">'
            f"<title>{html.escape(piece.title)}</title></rect>"
        )
    parts.append(
        f'<text class="address" x="{LEFT + 8}" y="{y + 14}">{html.escape(row.text)}</text>'
    )
    return "".join(parts)


def _grid(top: float, name: Callable[[float], str]) -> str:
    parts = []
    for i in range(5):
        y = TOP + PLOT_HEIGHT * (1 - i / 4)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(
            f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{name(top * i / 4)}</text>'
        )
    return "".join(parts)


def _legend() -> list[str]:
    parts = []
    for i, (kind, name) in enumerate(LEGEND):
        x = WIDTH - RIGHT - 70 * (len(LEGEND) - i) + 14
        parts.append(f'<rect class="{kind}" x="{x}" y="7" width="10" height="10" rx="2"/>')
        parts.append(f'<text class="tick" x="{x + 15}" y="16">{name}</text>')
    return parts


def _axis(frame: Frame, y: float) -> str:
    """Ticks in whole steps, counted from the fault."""
    span_ms = (frame.end_ns - frame.start_ns) / NS_PER_MS
    step_ms = nice(span_ms / 10)
    first = math.ceil((frame.start_ns - frame.zero_ns) / NS_PER_MS / step_ms)
    parts = [f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>']
    for i in itertools.count(first):
        at_ms = i * step_ms
        at_ns = frame.zero_ns + at_ms * NS_PER_MS
        if at_ns > frame.end_ns:
            break
        seconds = step_ms >= 100
        label = f"{at_ms / 1000:+g} s" if seconds else f"{at_ms:+g} ms"
        x = frame.x(at_ns)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 5}"/>')
        anchor = "end" if x > WIDTH - RIGHT - 14 else "middle"
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{y + 19}" text-anchor="{anchor}">'
            f"{'fault' if i == 0 else label}</text>"
        )
    return "".join(parts)


def _marks(record: Record, frame: Frame, bottom: float) -> list[str]:
    parts = []
    for step in record.steps:
        if frame.start_ns <= step.start_ns <= frame.end_ns:
            x = frame.x(step.start_ns)
            parts.append(
                f'<line class="fault" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{bottom}">'
                f"<title>{html.escape(step.text)}</title></line>"
            )
    return parts
