"""What a run was, as a report: from its journal alone, for machines (JSON) and people (Markdown)."""

from collections.abc import Mapping
from datetime import datetime

import msgspec
from msgspec import Struct

from haman.playbook.journal import EndedLine, GivenLine, Record, ResumedLine, WorsenedLine
from haman.playbook.plan import Mark, Plan


class TaskReport(Struct, frozen=True):
    """A task: `seconds` of its last attempt, which waits before it are part of."""

    key: str
    node: str
    title: str
    outcome: str
    attempts: int
    began: str = ""
    seconds: float | None = None
    text: str = ""


class RunReport(Struct, frozen=True):
    """A whole run. `verdict` "" = it goes on, or was cut off."""

    run: str
    playbook: str
    about: str
    by: str
    at: str
    ended: str
    verdict: str
    text: str
    parameters: Mapping[str, str | int | float | bool]
    nodes: tuple[str, ...]
    forced: bool
    resumed: int
    worsened: tuple[str, ...]
    tasks: tuple[TaskReport, ...]


def report(record: Record, plan: Plan) -> RunReport:
    """Put a report together.

    Args:
        record: the journal.
        plan: brought to its end.
    """
    began: dict[str, str] = {}
    ended: dict[str, EndedLine] = {}
    for line in record.lines:
        if isinstance(line, GivenLine):
            began[line.key] = line.at
        elif isinstance(line, EndedLine):
            ended[line.key] = line
    tasks = []
    for lane in plan.snapshot().lanes:
        for view in lane.tasks:
            key, last = view.task.key, ended.get(view.task.key)
            over = last is not None and view.mark is not Mark.RUNNING
            tasks.append(
                TaskReport(
                    key=key,
                    node=view.task.node,
                    title=view.task.title,
                    outcome=view.mark.value,
                    attempts=view.attempt,
                    began=began.get(key, ""),
                    seconds=_seconds(began[key], last.at)
                    if over and last and key in began
                    else None,
                    text=last.text if last is not None else "",
                )
            )
    header, finish = record.header, record.finish
    return RunReport(
        run=header.run,
        playbook=header.playbook.name,
        about=header.playbook.about,
        by=header.by,
        at=header.at,
        ended=finish.at if finish is not None else "",
        verdict=finish.verdict.value if finish is not None else "",
        text=finish.text if finish is not None else "",
        parameters=header.parameters,
        nodes=header.nodes,
        forced=header.force,
        resumed=sum(isinstance(line, ResumedLine) for line in record.lines),
        worsened=tuple(r for x in record.lines if isinstance(x, WorsenedLine) for r in x.reasons),
        tasks=tuple(tasks),
    )


def to_json(found: RunReport) -> str:
    """For machines."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"


def to_markdown(found: RunReport) -> str:
    """For people."""
    values = ", ".join(f"{name} = {value}" for name, value in found.parameters.items()) or "none"
    forced = "; forced below N−1" if found.forced else ""
    lines = [
        f"# {found.playbook}: {found.verdict or 'not ended'}",
        "",
        found.about,
        "",
        f"- run {found.run}, by {found.by}, {found.at} to {found.ended or '?'}",
        f"- nodes {', '.join(found.nodes)}; parameters: {values}{forced}",
    ]
    if found.text:
        lines.append(f"- why: {found.text}")
    lines += [f"- got worse meanwhile: {reason}" for reason in found.worsened]
    lines += ["", "| node | task | outcome | attempts | seconds | |", "|---|---|---|---|---|---|"]
    for task in found.tasks:
        if task.outcome == Mark.PENDING.value:
            continue
        seconds = "" if task.seconds is None else f"{task.seconds:.2f}"
        cells = (task.node or "-", task.title, task.outcome, str(task.attempts), seconds, task.text)
        lines.append(
            "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"
        )
    return "\n".join(lines) + "\n"


def _seconds(began: str, ended: str) -> float:
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
