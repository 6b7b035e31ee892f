"""The two lines on top: the cluster and our link to it, and what the loss of a node would do."""

from rich.cells import cell_len
from textual.content import Content

from tui.fleet import FleetState, Link
from tui.views.marks import BAD, GOOD, QUIET, VERDICTS, WATCH, mark
from tui.views.type import age, fit, fit_name
from tui.views.words import count, loss, mode


def heading(state: FleetState, place: str, width: int) -> Content:
    """Cluster, mode and size on the left; pause, who answers and the link on the right."""
    right = _right(state, width)
    room = width - right.cell_length - 3
    status = state.status
    if status is None:
        left = Content.assemble((" haman ", "bold $primary"), (fit(place, max(0, room - 7)), QUIET))
    else:
        sizes = f"{count(len(status.nodes), 'node')} · {count(len(status.services), 'service')}"
        shape = mode(status)
        name_w = max(4, room - len(shape) - 5)
        if cell_len(status.cluster) + len(shape) + len(sizes) + 8 > room:
            sizes = ""
        left = Content.assemble(
            " ",
            (fit(status.cluster, min(cell_len(status.cluster), name_w)), "bold $primary"),
            "  ",
            (shape, "bold $foreground"),
            (f"  {sizes}" if sizes else "", QUIET),
        )
    gap = width - left.cell_length - right.cell_length - 1
    return Content.assemble(left, " " * max(1, gap), right, " ")


def _right(state: FleetState, width: int) -> Content:
    parts: list[tuple[str, str]] = []
    status = state.status
    if state.pending:
        parts.append((f"◌ {fit_name(state.pending, min(cell_len(state.pending), 24))}  ", WATCH))
    if status is not None:
        if status.paused:
            parts.append((" ‖ paused ", f"bold $background on {WATCH}"))
            parts.append(("  ", ""))
        name = fit_name(status.node, min(cell_len(status.node), max(8, width // 5)))
        parts.append((name, "$foreground"))
        parts.append((" answered  " if state.link is Link.LOST else " answers  ", QUIET))
    link = state.link
    if link is Link.LIVE:
        parts.append(("● live", GOOD))
    elif link is Link.CONNECTING:
        parts.append(("◌ connecting", WATCH))
    elif link is Link.ABSENT:
        parts.append(("✖ not reachable", f"bold {BAD}"))
    else:
        parts.append((f"▲ reconnecting for {age(state.age_s)}", f"bold {BAD}"))
    return Content.assemble(*parts)


def headroom(state: FleetState, width: int) -> Content:
    """N−1: the verdict, and the worst case in words."""
    status = state.status
    if status is None:
        return Content("")
    sign = mark(VERDICTS, status.headroom.verdict)
    stale = state.link is Link.LOST
    lead = Content.assemble(
        (" N−1  ", QUIET),
        (f"{sign.glyph} {status.headroom.verdict}", QUIET if stale else f"bold {sign.style}"),
        "  ",
    )
    label = f"stale: {age(state.age_s)} old " if stale else ""
    room = width - lead.cell_length - len(label) - 1
    text = fit(loss(status, room), room)
    return Content.assemble(
        lead, (text, QUIET if stale else "$foreground"), " ", (label, f"bold {BAD}")
    )
