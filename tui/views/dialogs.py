"""What the dialogs say."""

from textual.content import Content

from haman.api.schema import Problem, Reason, Why
from tui.fleet import FleetState, Link
from tui.plans import Plan
from tui.views.marks import BAD, GOOD, QUIET, ROLES, SERVICE_STATES, VERDICTS, WATCH, mark
from tui.views.type import clock, paragraph

UNSAFE = "unsafe"

KEYS = (
    ("arrows hjkl", "choose a node, or its part in one service"),
    ("enter", "all about the node or service chosen; Esc closes"),
    ("tab", "next pane; arrows scroll it"),
    ("", ""),
    ("d", "drain the node: out of service until undrain"),
    ("u", "undrain the node"),
    ("f", "fail the VIP over: off its holder, or to the node chosen"),
    ("p", "pause or resume automatic moves; faults always move"),
    ("", ""),
    ("w", "why: who serves, since when, and why not the others"),
    ("e", "events; End follows them, scrolling up stays"),
    ("t", "light or dark"),
    ("?", "these keys"),
    ("q", "quit; haman goes on without this screen"),
)
TEXT_W = 66
"""Cells in a dialog's line, at 80 columns."""


def plan_view(plan: Plan) -> Content:
    """What will happen, and the N−1 numbers."""
    sign = mark(VERDICTS, plan.verdict)
    parts = [Content.styled("What will happen", QUIET)]
    parts += _items(plan.effects)
    parts += [
        Content(""),
        Content.assemble(
            ("Afterwards  ", QUIET), (f"{sign.glyph} {plan.verdict}", f"bold {sign.style}")
        ),
    ]
    parts += _items(plan.numbers)
    return Content("\n").join(parts)


def refusal_view(plan: Plan, problem: Problem) -> Content:
    """Why the agent refused; and, if it was for safety, how to insist."""
    parts = [
        paragraph(
            Content.styled("✖ refused by the agent  ", f"bold {BAD}"), problem.message, TEXT_W
        ),
        *_reasons(problem.reasons),
    ]
    if problem.code == UNSAFE:
        parts += [
            Content(""),
            Content.assemble(
                ("To do it all the same, type ", WATCH),
                (plan.typed, "bold $foreground"),
                (" and press Enter.", WATCH),
            ),
        ]
    return Content("\n").join(parts)


def why_view(why: Why) -> Content:
    """Who serves, since when, because of what; why not the others; the story."""
    sign = mark(SERVICE_STATES, why.state)
    parts = [
        paragraph(Content.styled(f"{sign.glyph} ", f"bold {sign.style}"), why.text, TEXT_W),
    ]
    for member in why.members:
        role = mark(ROLES, member.role or member.stance)
        head = Content.styled(f"{role.glyph} ", GOOD if member.serves else QUIET)
        parts += [Content(""), paragraph(head, member.text, TEXT_W)]
    if why.events:
        parts += [Content(""), Content.styled("The story", QUIET)]
        parts += [
            paragraph(
                Content.assemble((f"  {clock(e.at)}  ", QUIET), (f"{e.node}  ", "bold")),
                e.text,
                TEXT_W,
                indent=12,
            )
            for e in why.events
        ]
    return Content("\n").join(parts)


def problem_view(problem: Problem) -> Content:
    """A question that the agent could not answer."""
    head = paragraph(Content.styled("✖ ", f"bold {BAD}"), problem.message, TEXT_W)
    return Content("\n").join([head, *_reasons(problem.reasons)])


def help_view() -> Content:
    """Every key."""
    return Content("\n").join(
        [Content.assemble((f"{key:<13}", "bold $primary"), (meaning, "")) for key, meaning in KEYS]
    )


def absent_view(state: FleetState, place: str) -> Content:
    """Before the first answer: what we wait for, and how to reach it."""
    if state.link is Link.CONNECTING:
        return Content.assemble(("◌ ", WATCH), (f"Asking the agent at {place}", "$foreground"))
    wait_s = max(0, round(state.retry_at_s - state.now_s))
    again = f"asking again in {wait_s} s" if wait_s else "asking again now"
    tries = f"{state.attempts} attempts" if state.attempts > 1 else "1 attempt"
    hints = (
        ("is it running?", "systemctl status haman"),
        ("another socket", "haman tui --socket PATH"),
        ("another machine", "haman tui --ssh USER@HOST"),
    )
    parts = [
        Content.styled("✖ The agent cannot be reached", f"bold {BAD}"),
        Content(""),
        Content.assemble(("at       ", QUIET), (place, "bold $foreground")),
        Content.assemble(("problem  ", QUIET), (state.problem, "$foreground")),
        Content.assemble(("now      ", QUIET), (f"{again}, after {tries}", "$foreground")),
        Content(""),
        *(
            Content.assemble((f"{what:<17}", QUIET), (command, "$primary"))
            for what, command in hints
        ),
    ]
    return Content("\n").join(parts)


def _reasons(reasons: tuple[Reason, ...]) -> list[Content]:
    lead = Content.styled("  because ", QUIET)
    return [paragraph(lead, r.text, TEXT_W, indent=10) for r in reasons]


def _items(texts: tuple[str, ...]) -> list[Content]:
    return [paragraph(Content("  "), text, TEXT_W) for text in texts]
