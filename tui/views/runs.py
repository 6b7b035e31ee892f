"""Playbooks and drills: what there is, what one would do, how a run goes, and how it went."""

from textual.content import Content

from haman.api import runs
from haman.api.times import duration
from tui.run_plans import RunPlan
from tui.runs import Run, lane_mark
from tui.state import FleetState
from tui.views.marks import BAD, GOOD, PLAIN, QUIET, VERDICTS, WATCH, Mark, mark
from tui.views.type import fit, fit_name, paragraph

KIND_W = 13
TITLE_MAX_W = 46
TOOK_W = 8
NUMBERS_MAX = 4
SIGNS: dict[str, Mark] = {
    "pending": PLAIN,
    "running": Mark("▸", "bold $primary"),
    "done": Mark("●", GOOD),
    "skipped": Mark("○", QUIET),
    "passed over": Mark("▲", WATCH),
    "failed": Mark("✖", BAD),
    "unknown": Mark("?", WATCH),
}


def offer_line(offer: runs.Offer, name_w: int, width: int, *, here: bool, active: bool) -> Content:
    """One playbook or drill in the list."""
    name = fit_name(offer.name, name_w)
    wrong = bool(offer.problems)
    about = f"cannot be used: {offer.problems[0]}" if wrong else offer.about
    kind = "playbook" if offer.kind == "playbook" else f"drill {offer.lab}".strip()
    room = width - 2 - name_w - 2 - KIND_W - 1
    line = Content.assemble(
        ("▌ " if here else "  ", "$primary" if active else QUIET),
        (f"{name}  ", "bold $foreground"),
        (f"{fit(kind, KIND_W)} ", QUIET),
        (fit(about, max(0, room)), BAD if wrong else "$foreground"),
    )
    return line.stylize("on $cursor" if active else "on $row", 2) if here else line


def offers_note(state: FleetState) -> Content:
    """What stands there while there is no list, or an empty one."""
    if state.offers_problem:
        lead = Content.styled("✖ ", f"bold {BAD}")
        return paragraph(lead, f"what can be run is not known: {state.offers_problem}", 72)
    if state.offers_problem == "":
        return Content.styled("◌ asking what can be run", WATCH)
    text = f"nothing matches {state.offers_query}" if state.offers_query else "nothing can be run"
    return Content.styled(text, QUIET)


def offer_view(offer: runs.Offer, width: int) -> Content:
    """What it is, what it wants to know, what it would do."""
    if offer.problems:
        parts = [Content.styled("It cannot be used:", f"bold {BAD}")]
        return Content("\n").join(
            parts + [paragraph(Content("  "), p, width) for p in offer.problems]
        )
    parts = [paragraph(Content(""), offer.about, width, indent=0), Content("")]
    parts += words_view(offer.words, width)
    if offer.parameters:
        parts += [Content(""), Content.styled("Parameters", QUIET)]
        name_w = max(len(p.name) for p in offer.parameters)
        for one in offer.parameters:
            lead = Content.styled(f"  {one.name:<{name_w}}  ", "bold $foreground")
            parts.append(paragraph(lead, parameter_told(one), width, indent=name_w + 4))
    return Content("\n").join(parts)


def parameter_told(one: runs.Parameter) -> str:
    """What a parameter is for, of which type, and what it is if nobody says."""
    kind = "one of " + ", ".join(one.choices) if one.choices else _KINDS.get(one.type, one.type)
    bounds = [f"at least {one.min:g}"] if one.min is not None else []
    bounds += [f"at most {one.max:g}"] if one.max is not None else []
    default = "must be given" if one.default is None else f"[{one.default}]"
    told = ", ".join([kind, *bounds])
    return f"{default}  {one.about} ({told})" if one.about else f"{default}  {told}"


_KINDS = {"whole": "a whole number", "number": "a number", "flag": "true or false"}


def words_view(words: tuple[str, ...], width: int) -> list[Content]:
    """Lines of a program, each with the indentation it came with."""
    rows = []
    for line in words:
        text = line.lstrip()
        indent = len(line) - len(text)
        lead = Content(" " * indent)
        rows.append(paragraph(lead, text, width, indent=min(indent + 4, width // 2)))
    return rows


def run_plan_view(plan: RunPlan, width: int) -> Content:
    """Headroom first, then whom it concerns, then every step."""
    parts: list[Content] = []
    if plan.verdict:
        sign = mark(VERDICTS, plan.verdict)
        whom = f"without {', '.join(plan.loss)}" if len(plan.loss) <= NUMBERS_MAX else "meanwhile"
        parts.append(
            Content.assemble(
                (f"Headroom {whom}  ", QUIET),
                (f"{sign.glyph} {plan.verdict}", f"bold {sign.style}"),
            )
        )
        parts += [paragraph(Content("  "), n, width) for n in plan.numbers[:NUMBERS_MAX]]
        if (more := len(plan.numbers) - NUMBERS_MAX) > 0:
            parts.append(Content.styled(f"  and {more} more; 3 shows them all", QUIET))
        parts.append(Content(""))
    parts.append(Content.styled("What will happen", QUIET))
    parts += [paragraph(Content("  "), text, width) for text in plan.effects]
    if given := [f"{n} = {v}" for n, v in plan.order.values]:
        parts.append(paragraph(Content("  "), f"With {', '.join(given)}.", width))
    parts.append(Content(""))
    return Content("\n").join(parts + words_view(plan.words, width))


def run_title(run: Run) -> str:
    """What stands over a run."""
    what = f"Check of {run.order.offer.name}" if run.order.only_check else run.order.offer.name
    return f"{what} · {run.name}" if run.name else what


def run_head(run: Run, now_s: float, width: int) -> Content:
    """How it goes, or how it ended and what may be done now."""
    over, tasks = run.counts
    took = duration(max(0.0, (run.ended_s if run.ended_s is not None else now_s) - run.began_s))
    done = f"{over} of {tasks} steps, {took}" if tasks else took
    if run.goes_on and run.finished is None:
        word, style = ("stopping", WATCH) if run.stopping else ("running", "bold $primary")
        rows = [Content.assemble((f"▸ {word}  ", style), (done, "$foreground"))]
        if run.stopping:
            text = "it ends after what is under way; what waits ends at once"
            rows[0] = rows[0] + Content.styled(f"  {text}", QUIET)
        if run.told:
            rows.append(paragraph(Content.styled("  ", QUIET), run.told, width))
        return Content("\n").join(rows)
    return Content("\n").join(_ending(run, done, width))


def _ending(run: Run, done: str, width: int) -> list[Content]:
    end = run.finished
    if end is None:
        lead = Content.styled("✖ it ended before its end  ", f"bold {BAD}")
        why = run.complaint or f"its program ended with status {run.status} and did not say why"
        again = f"; haman playbook resume {run.name} goes on" if run.name else ""
        lines = [line.removeprefix("haman: ") for line in why.splitlines()]
        return [paragraph(lead, "; ".join(lines) + again, width)]
    sign = Mark("●", GOOD) if end.ok else Mark("✖", BAD)
    rows = [
        Content.assemble(
            (f"{sign.glyph} {end.verdict}  ", f"bold {sign.style}"), (done, "$foreground")
        )
    ]
    if run.goes_on and run.told:
        rows[0] = rows[0] + Content.styled(f"  {run.told}", QUIET)
    if end.text:
        rows.append(paragraph(Content("  "), end.text, width))
    if end.resume:
        text = f"{end.resume} goes on; with --roll-back it takes everything back"
        rows.append(paragraph(Content.styled("  ", QUIET), text, width))
    if run.report:
        files = f"; {run.report.files[0]}" if run.report.files else ""
        rows.append(
            paragraph(Content("  "), f"v shows the report, x writes it to a file{files}", width)
        )
    return rows


def lane_line(lane: runs.Lane, run: Run, width: int, *, open_: bool) -> Content:
    """A node, or what is done once: how far it is, and how long it took."""
    sign = mark(SIGNS, lane_mark(lane))
    over = sum(t.mark not in {"pending", "running"} for t in lane.tasks)
    took_s = sum(run.seconds.get(t.key, 0.0) for t in lane.tasks)
    count = f"{over}/{len(lane.tasks)}" if lane_mark(lane) != "pending" else f"{len(lane.tasks)}"
    took = duration(took_s) if took_s else ""
    tail = f"  {count} steps  {took}".rstrip()
    name = fit_name(lane.name, min(len(lane.name), max(4, width - len(tail) - 4)))
    return Content.assemble(
        ("▾ " if open_ else "▹ ", QUIET),
        (f"{sign.glyph} ", sign.style),
        (name, "bold $foreground"),
        (tail, QUIET),
    )


def task_line(task: runs.Task, run: Run, title_w: int, width: int, now_s: float) -> Content:
    """A step: what it is, how long it takes, what came of it."""
    sign = mark(SIGNS, task.mark)
    seconds = run.seconds.get(task.key)
    if task.mark == "running":
        seconds = max(0.0, now_s - run.begun_s.get(task.key, now_s))
    took = duration(seconds) if seconds is not None and task.mark != "pending" else ""
    again = f"attempt {task.attempt}" if task.attempt > 1 else ""
    text = ": ".join(part for part in (again, task.text) if part)
    room = width - 6 - title_w - 1 - TOOK_W - 2
    return Content.assemble(
        "    ",
        (f"{sign.glyph} ", sign.style),
        (fit(task.title, title_w), QUIET if task.mark == "pending" else "$foreground"),
        " ",
        (f"{took:>{TOOK_W}}", QUIET),
        "  ",
        (fit(text, max(0, room)), sign.style if task.mark in {"failed", "unknown"} else QUIET),
    )


def title_width(run: Run, width: int) -> int:
    """Cells for the titles of steps."""
    longest = max((len(t.title) for lane in run.lanes for t in lane.tasks), default=0)
    return min(longest, TITLE_MAX_W, max(12, width * 3 // 5 - TOOK_W))


def output_view(run: Run, task: runs.Task | None, width: int) -> Content:
    """The last of what a step said; and what the program wrote that belongs to no step."""
    key = task.key if task else ""
    lines = run.output.get(key, ()) or run.output.get("", ())
    if not lines:
        text = task.text if task and task.text else "it has said nothing"
        return paragraph(Content(""), text, width, indent=0).stylize(QUIET)
    return Content("\n").join([paragraph(Content(""), line, width, indent=2) for line in lines])
