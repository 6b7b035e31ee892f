"""Typography: figures, ages, bars and cutting to a width."""

from collections.abc import Iterable
from datetime import datetime
from textwrap import wrap

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from tui.views.marks import BAD, GOOD, QUIET, WATCH

SOFT = 0.75
HARD = 0.90
ELLIPSIS = "…"
RATIO_MAX = 9.995
"""From here on nobody wants the figure."""
MARKED_MIN_W = 10
NAME_CUT_MIN_W = 8
PARAGRAPH_MIN_W = 12
TEXT_MAX = 2000
"""Characters of one paragraph; more is cut."""

FIGURE_MAX = 1e15
_STEPS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "m"), (1.0, "s"))
_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k"))


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` cells: padded, or cut with an ellipsis."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + ELLIPSIS


def fit_name(name: str, width: int) -> str:
    """As `fit`, but cut in the middle: the names of a fleet differ at their ends."""
    if cell_len(name) <= width or width < NAME_CUT_MIN_W:
        return fit(name, width)
    tail = (width - 1) * 3 // 5
    return fit(name, width - tail).rstrip() + name[-tail:]


def age(seconds: float) -> str:
    """A span in one unit, cut down: 7 s → "7s", 125 s → "2m"."""
    for size, unit in _STEPS:
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return "0s"


def since(instant: str, now: str) -> str:
    """How long ago `instant` was at `now`, both RFC 3339; "" when either is not given."""
    then, here = moment(instant), moment(now)
    if then is None or here is None:
        return ""
    return age(max(0.0, (here - then).total_seconds()))


def moment(instant: str) -> datetime | None:
    """An RFC 3339 instant, or None for anything else; an agent's typo must not end the UI."""
    try:
        parsed = datetime.fromisoformat(instant)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else None


def clock(instant: str) -> str:
    """The time of day of an instant in its own zone, or dashes."""
    parsed = moment(instant)
    return parsed.strftime("%H:%M:%S") if parsed else "--:--:--"


def percent(ratio: float | None) -> str:
    """0.934 → "93 %"; an unknown ratio is unknown, never 0; far too much is just that."""
    if ratio is None:
        return "unknown"
    return f"{ratio * 100:.0f} %" if abs(ratio) < RATIO_MAX else ">999 %"


def figure(value: float | None) -> str:
    """A quantity in four or five characters: 0.41, 12.3, 9,321, 84.2k."""
    if value is None:
        return "?"
    if abs(value) >= FIGURE_MAX:
        return f"{value:.0e}"
    for size, unit in _SCALES:
        if abs(value) >= size:
            scale = size if unit != "k" else 1e3
            return f"{value / scale:.1f}{unit}"
    if round(value, 2) == int(value):
        return f"{int(value):,}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:,.1f}"


def heat(ratio: float | None, soft: float | None, hard: float | None) -> str:
    """The colour of a utilization against its thresholds (the defaults of the contract)."""
    if ratio is None:
        return QUIET
    if ratio >= (HARD if hard is None else hard):
        return BAD
    return WATCH if ratio >= (SOFT if soft is None else soft) else GOOD


def bar(
    ratio: float | None,
    width: int,
    soft: float | None = None,
    hard: float | None = None,
    *,
    style: str = "",
) -> Content:
    """A utilization as a heavy line on a thin track; `style` for what is no heat.

    Known thresholds are ticks in the track, if it is long enough; an unknown utilization is a dotted track. Readable
    without colour: heavy, thin and dotted differ in shape.
    """
    if ratio is None:
        return Content.styled("┄" * width, "$track")
    style = style or heat(ratio, soft, hard)
    halves = round(min(max(ratio, 0.0), 1.0) * width * 2)
    full, half = divmod(halves, 2)
    marks = (soft, hard) if width >= MARKED_MIN_W else ()
    ticks = {min(int(at * width), width - 1) for at in marks if at is not None}
    parts: list[tuple[str, str]] = []
    for cell in range(width):
        if cell < full:
            parts.append(("┻" if cell in ticks else "━", style))
        elif cell == full and half:
            parts.append(("╸", style))
        elif cell in ticks:
            parts.append(("┴", QUIET))
        else:
            parts.append(("─", "$track"))
    return Content.assemble(*parts).simplify()


def shares_bar(own: float, total: float, width: int, limit: float, style: str) -> Content:
    """What a node uses itself, and on top what is taken over, against the limit; 100 % is `width` cells.

    Own use, what comes on top and the limit differ in shape, not in colour alone.
    """
    first = min(width, round(max(0.0, own) * width))
    last = min(width, max(first, round(max(0.0, total) * width)))
    if total > own and last == first and last < width:
        last += 1  # what is little is seen all the same
    at = min(width - 1, int(limit * width))
    parts: list[tuple[str, str]] = []
    for cell in range(width):
        if cell == at:
            parts.append(("┃", "bold $foreground"))
        elif cell < first:
            parts.append(("━", "$primary"))
        elif cell < last:
            parts.append(("═", style))
        else:
            parts.append(("─", "$track"))
    parts.append(("▸" if total > 1 else " ", style))
    return Content.assemble(*parts).simplify()


SPARKS = "▁▂▃▄▅▆▇█"


def sparkline(trend: tuple[float | None, ...], width: int) -> str:
    """The newest `width` of a trend of utilizations, 0 to 100 %; a gap where it was unknown."""
    newest = trend[-width:] if width > 0 else ()
    top = len(SPARKS) - 1
    marks = (
        " " if each is None else SPARKS[min(max(int(each * len(SPARKS)), 0), top)]
        for each in newest
    )
    return f"{''.join(marks):>{max(width, 0)}}"


def packed(facts: Iterable[tuple[str, str]], width: int, gap: int = 2) -> list[Content]:
    """Facts side by side, on as many lines as `width` makes of them."""
    rows: list[Content] = []
    for text, style in facts:
        fact = Content.styled(text, style)
        if rows and rows[-1].cell_length + gap + fact.cell_length <= width:
            rows[-1] = rows[-1] + " " * gap + fact
        else:
            rows.append(fact)
    return rows


def paragraph(lead: Content, text: str, width: int, indent: int = 2) -> Content:
    """`lead` and then `text`, wrapped to `width`; further lines are indented."""
    width = max(width, lead.cell_length + PARAGRAPH_MIN_W)
    text = text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + ELLIPSIS
    rows = wrap(text, width, initial_indent=" " * lead.cell_length, subsequent_indent=" " * indent)
    if not rows:
        return lead
    return Content("\n").join([lead + rows[0][lead.cell_length :], *rows[1:]])
