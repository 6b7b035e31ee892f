"""The headroom page: who is lost, and every survivor's resources before and after, against the ceiling."""

from textual.content import Content

from haman.api.schema import Figure, Node, Problem, Scenario, Status, Survivor
from tui.state import Cursor, Loss
from tui.views.dialogs import problem_view
from tui.views.marks import BAD, CONDITIONS, PHASES, QUIET, VERDICTS, WATCH, mark
from tui.views.type import fit, fit_name, heat, paragraph, percent, shares_bar
from tui.views.words import count, listing

NAME_W = 12
RESOURCE_W = 13
PHASE_W = 8
VALUE_W = 6
BAR_MIN_W = 8
BAR_MAX_W = 60
TIGHT = 0.75
"""From here on a survivor would alert."""
_PHASE_TEXT = {
    "steady": "for as long as it lasts",
    "step": "at once",
    "storm": "all clients shake hands anew",
}


def choice(node: Node, cursor: Cursor, loss: Loss, width: int, *, active: bool) -> Content:
    """One node to lose or to keep."""
    here = node.name == cursor.node
    lost = node.name in loss.nodes
    condition = mark(CONDITIONS, node.condition)
    name_w = max(4, width - 2 - 9 - 2)
    line = Content.assemble(
        ("▌ " if here else "  ", "$primary" if active else QUIET),
        ("[✖] lost " if lost else "[ ] kept ", f"bold {BAD}" if lost else QUIET),
        (f"{condition.glyph} ", condition.style),
        (fit_name(node.name, name_w), "bold $foreground"),
    )
    return line.stylize("on $cursor" if active else "on $row", 2) if here else line


def verdict_view(status: Status, loss: Loss, width: int) -> Content:
    """What the loss comes to, in words."""
    if not loss.nodes:
        return Content.styled("Space counts the node under the cursor as lost.", QUIET)
    lost = listing(loss.nodes)
    verb = "is" if len(loss.nodes) == 1 else "are"
    if loss.answered != loss.nodes or loss.answer is None:
        return Content.styled(f"◌ asking what happens if {lost} {verb} lost", WATCH)
    if isinstance(loss.answer, Problem):
        return problem_view(loss.answer)
    found = loss.answer
    sign = mark(VERDICTS, found.verdict)
    lead = Content.styled(f"{sign.glyph} {found.verdict}  ", f"bold {sign.style}")
    rest = [n.name for n in status.nodes if n.name not in loss.nodes]
    text = (
        f"if {lost} {verb} lost, {count(len(rest), 'node')} {'stays' if len(rest) == 1 else 'stay'}"
    )
    if found.survivable_connections is not None:
        now = sum(n.connections or 0 for n in status.nodes if n.name in loss.nodes)
        text += f"; {found.survivable_connections:,} connections can be survived, {now:,} there now"
    if found.drain_s is not None:
        text += f"; handshakes of all of them take {found.drain_s:.2f} s"
    rows = [paragraph(lead, text, width)]
    if not found.survivors:
        because = Content.styled("  because ", QUIET)
        rows += [paragraph(because, r.text, width, indent=10) for r in found.reasons]
    return Content("\n").join(rows)


def survivors_view(found: Scenario, width: int) -> Content:
    """Each survivor, worst first: every resource in each phase, and what binds."""
    rows: list[Content] = []
    for survivor in found.survivors:
        if rows:
            rows.append(Content(""))
        rows += _survivor(survivor, width)
    return Content("\n").join(rows)


def _survivor(survivor: Survivor, width: int) -> list[Content]:
    rows = [Content.styled(survivor.node, "bold $foreground")]
    if not survivor.figures:
        text = "counts as full: it is not heard" if not survivor.resource else "no figures are told"
        return [*rows, Content.styled(f"  {text}", WATCH)]
    bar_w = min(BAR_MAX_W, max(BAR_MIN_W, width - PHASE_W - RESOURCE_W - 2 * VALUE_W - 3 - 9))
    for phase in PHASES:
        figures = sorted(
            (f for f in survivor.figures if f.phase == phase),
            key=lambda f: -1.0 if f.after is None else f.after / f.limit,
            reverse=True,
        )
        for index, figure in enumerate(figures):
            binds = (figure.resource, figure.phase) == (survivor.resource, survivor.phase)
            lead = fit(phase if index == 0 else "", PHASE_W)
            rows.append(_figure(figure, lead, bar_w, width, binds=binds))
    return rows


def _figure(figure: Figure, lead: str, bar_w: int, width: int, *, binds: bool) -> Content:
    head = Content.assemble((lead, QUIET), (fit(figure.resource, RESOURCE_W), "$foreground"))
    if figure.after is None:
        problem = figure.problem or "cannot be told"
        room = max(0, width - head.cell_length - 2)
        return Content.assemble(head, ("? ", WATCH), (fit(problem, room), QUIET))
    style = heat(figure.after, TIGHT, figure.limit)
    tail = " ◂ binds" if binds else ""
    return Content.assemble(
        head,
        (f"{percent(figure.before):>{VALUE_W}}", QUIET),
        " ",
        shares_bar(figure.before or 0.0, figure.after, bar_w, figure.limit, style),
        (f"{percent(figure.after):>{VALUE_W}}", f"bold {style}" if binds else style),
        (tail, "bold $foreground"),
    )


def legend(width: int) -> Content:
    """How to read the bars."""
    text = "  ".join(f"{phase}: {_PHASE_TEXT[phase]}" for phase in PHASES)
    signs = Content.assemble(
        ("before ", QUIET),
        ("━━", "$primary"),
        (" taken over ", QUIET),
        ("══", "$foreground"),
        (" limit ", QUIET),
        ("┃", "$foreground"),
    )
    room = width - signs.cell_length - 3
    return Content.assemble(signs, "   ", (fit(text, room), QUIET)) if room > 20 else signs
