"""The two lines on top: the cluster and our link to it, and what the loss of a node would do."""

from rich.cells import cell_len
from textual.content import Content

from haman.api.schema import SCHEMA_VERSION, Status
from tui.state import FleetState, Link
from tui.views.marks import BAD, GOOD, QUIET, VERDICTS, WATCH, mark
from tui.views.type import age, clock, fit, fit_name
from tui.views.words import count, loss, mode

PENDING_W = 24
WHY_MIN_W = 110


def heading(state: FleetState, place: str, width: int) -> Content:
    """Cluster, mode and size on the left; pause, who answers and the link on the right."""
    right = _right(state, width)
    room = width - right.cell_length - 3
    seen = state.picture
    if seen is None:
        left = Content.assemble((" haman ", "bold $primary"), (fit(place, max(0, room - 7)), QUIET))
    else:
        left = _left(seen.status, room)
    gap = width - left.cell_length - right.cell_length - 1
    return Content.assemble(left, " " * max(1, gap), right, " ")


def _left(status: Status, room: int) -> Content:
    sizes = f"{count(len(status.nodes), 'node')} · {count(len(status.services), 'service')}"
    shape = mode(status)
    name_w = max(4, room - len(shape) - 5)
    if cell_len(status.cluster) + len(shape) + len(sizes) + 8 > room:
        sizes = ""
    return Content.assemble(
        " ",
        (fit(status.cluster, min(cell_len(status.cluster), name_w)), "bold $primary"),
        "  ",
        (shape, "bold $foreground"),
        (f"  {sizes}" if sizes else "", QUIET),
    )


def _right(state: FleetState, width: int) -> Content:
    parts: list[tuple[str, str]] = []
    status = state.status
    parts += _under_way(state)
    if state.read_only:
        parts.append((f"{_watching(state, width)}  ", QUIET))
    if status is not None:
        if status.schema != SCHEMA_VERSION:
            parts.append((f"▲ API {status.schema}, not {SCHEMA_VERSION}  ", WATCH))
        if state.picture and state.picture.status.paused:
            parts.append((" ‖ paused ", f"bold $background on {WATCH}"))
            parts.append(("  ", ""))
        name = fit_name(status.node, min(cell_len(status.node), max(8, width // 5)))
        parts.append((name, "$foreground"))
        parts.append((" answered  " if state.link is Link.LOST else " answers  ", QUIET))
    if state.moment:
        parts.append((" ◂ the past ", f"bold $background on {WATCH}"))
        parts.append((" ", ""))
    link = state.link
    if link is Link.LIVE:
        parts.append(("● live", GOOD if state.moment is None else QUIET))
    elif link is Link.CONNECTING:
        parts.append(("◌ connecting", WATCH))
    elif link is Link.ABSENT:
        parts.append(("✖ not reachable", f"bold {BAD}"))
    else:
        parts.append((f"▲ reconnecting for {age(state.age_s)}", f"bold {BAD}"))
    return Content.assemble(*parts)


def _watching(state: FleetState, width: int) -> str:
    """That nothing can be changed from here, and why, where there is room."""
    if not state.read_only_because or width < WHY_MIN_W:
        return "read-only"
    text = f"read-only: {state.read_only_because}"
    return fit(text, min(cell_len(text), width // 2 - 10))


def _under_way(state: FleetState) -> list[tuple[str, str]]:
    """What was asked for and has not ended."""
    parts = []
    doing, run = state.undertaking, state.run
    if doing and doing.answer is None:
        text = doing.plan.title.lower()
        parts.append((f"◌ {fit_name(text, min(cell_len(text), PENDING_W))}  ", WATCH))
    if run and run.goes_on:
        name = run.order.offer.name
        parts.append((f"▸ {fit_name(name, min(cell_len(name), PENDING_W))}  ", "bold $primary"))
    return parts


def headroom(state: FleetState, width: int) -> Content:
    """N−1: the verdict, and the worst case in words; of the past, which moment it is."""
    status = state.status
    if status is None:
        return Content("")
    if state.moment:
        event = state.moment.event
        lead = Content.styled(f" As it stood at {clock(event.at)} UTC  ", f"bold {WATCH}")
        room = width - lead.cell_length - 1
        text, hint = f"after: {event.text}", " · [ and ] step, Esc returns to now"
        text += hint if cell_len(text + hint) <= room else ""
        return Content.assemble(lead, (fit(text, room), "$foreground"))
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
