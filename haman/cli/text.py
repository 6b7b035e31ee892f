"""Text for people: tables, colours where there is a terminal, waits that show what they wait for."""

import re
import sys
import time
from collections.abc import Callable, Sequence

import click

from haman.api import schema
from haman.api.times import NS_PER_S, duration, parse_iso

COLOURS = {
    "ok": "green",
    "in-service": "green",
    "active": "green",
    "full": "green",
    "tight": "yellow",
    "degraded": "yellow",
    "saturated": "yellow",
    "drained": "yellow",
    "starting": "yellow",
    "isolated": "yellow",
    "warning": "yellow",
    "unknown": "yellow",
    "released": "yellow",
    "reduced": "yellow",
    "shut": "yellow",
    "withdrawn": "yellow",
    "connecting": "yellow",
    "idle": "yellow",
    "stale": "red",
    "fault": "red",
    "down": "red",
    "conflict": "red",
    "insufficient": "red",
    "critical": "red",
}

_COLOUR = re.compile("(\x1b\\[[0-9;]*m)")


def paint(word: str) -> str:
    """Colour a word by what it means; click takes colours away where there is no terminal."""
    return click.style(word, fg=COLOURS.get(word))


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns; the last one is left as it is."""
    everything = [titles, *rows]
    widths = [max(len(click.unstyle(row[i])) for row in everything) for i in range(len(titles))]
    lines = []
    for row in everything:
        padded = [
            cell + " " * (width - len(click.unstyle(cell)))
            for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join([click.style(lines[0], dim=True), *lines[1:]])


def cut(line: str, width: int) -> str:
    """Shorten a line to `width` columns, colours apart; "…" stands for what is left out."""
    if len(click.unstyle(line)) <= width:
        return line
    kept, left = [], width - 1
    for place, part in enumerate(_COLOUR.split(line)):
        colour = place % 2
        kept.append(part if colour else part[: max(0, left)])
        left -= 0 if colour else len(part)
    return "".join(kept) + "…"


def percent(fraction: float | None) -> str:
    """Write 0.414 as 41 %; what is unknown as ?."""
    return "?" if fraction is None else f"{fraction * 100:.0f} %"


def age(since: str, at: str) -> str:
    """Write how long before `at` an instant was, both as the API gives them."""
    if not since:
        return ""
    return duration((parse_iso(at) - parse_iso(since)) / NS_PER_S)


def reasons(found: Sequence[schema.Reason]) -> str:
    """Join reasons to one line."""
    return "; ".join(r.text for r in found)


class Progress:
    """One line on a terminal that says what is being waited for; nothing elsewhere."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._shown:
            click.echo(f"\r\x1b[K{text}", nl=False, err=True)

    def clear(self) -> None:
        """Take the line away."""
        self.show("")


def wait_until(
    pending: Callable[[], str],
    timeout_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Ask `pending` what is still waited for, until it says "", or the time is up.

    Returns:
        "" when done, else what was still missing.
    """
    progress = Progress()
    start = clock()
    try:
        while (missing := pending()) and clock() - start < timeout_s:
            progress.show(f"{missing} ({duration(clock() - start)})")
            sleep(0.1)
    finally:
        progress.clear()
    return missing
