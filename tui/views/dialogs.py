"""What the dialogs say."""

from collections.abc import Iterable

from textual.content import Content

from haman.api.schema import Done, Problem, Reason, Why
from tui.actions import Action
from tui.plans import Plan, progress
from tui.state import FleetState, Link
from tui.views.marks import BAD, GOOD, QUIET, ROLES, SERVICE_STATES, VERDICTS, WATCH, mark
from tui.views.type import clock, paragraph

UNSAFE = "unsafe"
MOVING = (
    ("arrows hjkl", "choose a node, or its part in one service"),
    ("Tab", "the next pane; arrows scroll, End follows"),
    ("mouse", "click to choose; drag marks text, Ctrl-C copies it"),
)

NUMBERS_MAX = 6
WIDTH_MIN, HEIGHT_MIN = 58, 14
"""Below this the page says so instead."""
TEXT_W = 64
"""Cells in a dialog's line, at 80 columns."""


def plan_view(plan: Plan) -> Content:
    """What will happen, and the N−1 numbers."""
    sign = mark(VERDICTS, plan.verdict)
    parts = [Content.styled("What will happen", QUIET)]
    parts += _items(plan.effects)
    if plan.verdict or plan.numbers:
        parts.append(Content(""))
        told = f"{sign.glyph} {plan.verdict}" if plan.verdict else ""
        title = "Headroom afterwards  " if plan.verdict else "Headroom"
        parts.append(Content.assemble((title, QUIET), (told, f"bold {sign.style}")))
    parts += _items(plan.numbers[:NUMBERS_MAX])
    if (more := len(plan.numbers) - NUMBERS_MAX) > 0:
        parts.append(Content.styled(f"  and {more} more; 3 shows them all", QUIET))
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


def help_view(actions: Iterable[Action], note: str = "") -> Content:
    """Every key; `note` stands above them."""
    rows = (
        [paragraph(Content(""), note, TEXT_W, indent=0).stylize(WATCH), Content("")] if note else []
    )
    rows += [_key(key, meaning) for key, meaning in MOVING]
    rows.append(Content(""))
    rows += [_key(a.key_shown, a.help) for a in actions]
    return Content("\n").join(rows)


def _key(key: str, meaning: str) -> Content:
    lead = Content.styled(f"{key:<12}", "bold $primary")
    return paragraph(lead, meaning, TEXT_W, indent=12)


def progress_view(state: FleetState) -> Content:
    """What was asked for, step by step, as it comes true."""
    doing = state.undertaking
    if doing is None or state.status is None:
        return Content("")
    answer = doing.answer
    if answer is None:
        rows = [Content.assemble(("◌ ", WATCH), "the agent is asked; it has not answered yet")]
    elif isinstance(answer, Problem):
        return problem_view(answer)
    else:
        rows = [paragraph(Content.styled("● ", GOOD), answer.text, TEXT_W)]
        rows += _reasons(answer.reasons)
    for step in progress(doing.plan, state.status):
        sign, style = ("● ", GOOD) if step.done else ("◌ ", WATCH)
        now = "" if step.done or not step.now else f"; now {step.now}"
        rows.append(paragraph(Content.styled(sign, style), f"{step.text}{now}", TEXT_W))
    if state.link is Link.LOST:
        rows.append(
            Content.styled("▲ the connection is lost: this is how it was last", f"bold {BAD}")
        )
    elif is_done(state):
        rows += [Content(""), Content.styled("Done.", f"bold {GOOD}")]
    return Content("\n").join(rows)


def is_done(state: FleetState) -> bool:
    """Whether what was asked for has come true."""
    doing, status = state.undertaking, state.status
    if doing is None or status is None or not isinstance(doing.answer, Done):
        return False
    return all(step.done for step in progress(doing.plan, status))


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


def small_view(width: int, height: int) -> Content:
    """Where nothing fits."""
    return Content(f"{width}×{height} is too small; haman needs {WIDTH_MIN}×{HEIGHT_MIN}.")


def _reasons(reasons: tuple[Reason, ...]) -> list[Content]:
    lead = Content.styled("  because ", QUIET)
    return [paragraph(lead, r.text, TEXT_W, indent=10) for r in reasons]


def _items(texts: tuple[str, ...]) -> list[Content]:
    return [paragraph(Content("  "), text, TEXT_W) for text in texts]
