"""The anycast benchmark as a table: agents side by side, and where haman is behind. Pure."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

from haman.lab.anycast_bench import ANNOUNCERS, DRAINED, Seen, Table
from haman.lab.anycast_peers import HAMAN, PEERS

Figures = Sequence[float | None]
GONE, FAILING = "router without the node", "last new connection that failed"
ABSENT = "–"


def to_markdown(table: Table) -> str:
    """The table: medians, the range behind them, and which of two agents is better."""
    names = [announcer.name for announcer in ANNOUNCERS]
    lines = [f"| event | {' | '.join(names)} | haman is |", "|---" * (len(names) + 2) + "|"]
    for trial, seen in table.seen.items():
        gone = {name: [s.route_ms for s in each] for name, each in seen.items()}
        lines.append(_row(f"{trial}: {GONE}", gone, _times))
        if trial == DRAINED:
            lines.append(_counts("the same: new connections that failed", seen, _failed))
            lines.append(_counts("the same: established connections lost", seen, _lost))
        else:
            failing = {name: [s.failing_ms for s in each] for name, each in seen.items()}
            lines.append(_row(f"the same: {FAILING}", failing, _times))
    lines.append(_row(f"operator's word, no load: {GONE}", table.withdrawn_ms, _times))
    cpu = {name: [spent.cpu_percent] for name, spent in table.costs.items()}
    memory = {name: [spent.pss_mb] for name, spent in table.costs.items()}
    lines.append(_row("CPU at rest, of a core", cpu, lambda f: f"{f[0] or 0:.2f} %"))
    lines.append(_row("memory at rest (PSS)", memory, lambda f: f"{f[0] or 0:.0f} MB"))
    return "\n".join(lines)


def standing(figures: Mapping[str, Figures]) -> str:
    """Of which peers haman is ahead, and which it is behind; less is better, ranges that overlap are even."""
    own = figures.get(HAMAN.name)
    if not own:
        return ABSENT
    words: dict[str, list[str]] = {}
    for peer in PEERS:
        if theirs := figures.get(peer.name):
            words.setdefault(_word(_known(own), _known(theirs)), []).append(peer.name)
    parts = (f"{word} {', '.join(words[word])}" for word in _WORDS if word in words)
    return "; ".join(parts) or ABSENT


_WORDS = ("**behind**", "even with", "ahead of")


def _word(own: Sequence[float], theirs: Sequence[float]) -> str:
    behind, even, ahead = _WORDS
    if min(own) > max(theirs):
        return behind
    return ahead if max(own) < min(theirs) else even


def _known(figures: Figures) -> list[float]:
    return [math.inf if figure is None else figure for figure in figures]


def _row(event: str, figures: Mapping[str, Figures], cell: Callable[[Figures], str]) -> str:
    cells = [cell(found) if (found := figures.get(a.name)) else ABSENT for a in ANNOUNCERS]
    return f"| {event} | {' | '.join(cells)} | {standing(figures)} |"


def _counts(
    event: str, seen: Mapping[str, Sequence[Seen]], count: Callable[[Seen], tuple[int, int]]
) -> str:
    """A row of counts over all repetitions; what is compared is their share."""
    sums = {
        name: [sum(part) for part in zip(*map(count, each), strict=True)]
        for name, each in seen.items()
    }
    cells = [f"{s[0]:,} of {s[1]:,}" if (s := sums.get(a.name)) else ABSENT for a in ANNOUNCERS]
    shares = {name: [part / max(1, whole)] for name, (part, whole) in sums.items()}
    return f"| {event} | {' | '.join(cells)} | {standing(shares)} |"


def _failed(seen: Seen) -> tuple[int, int]:
    return seen.failed, seen.tried


def _lost(seen: Seen) -> tuple[int, int]:
    return seen.lost, seen.established


def _times(figures: Figures) -> str:
    came = [figure for figure in figures if figure is not None]
    if not came:
        return "never"
    text = f"{statistics.median(came):.1f} ms"
    text += f" ({min(came):.1f}–{max(came):.1f}, n = {len(figures)})"
    missing = len(figures) - len(came)
    return f"{text}; never: {missing}" if missing else text
