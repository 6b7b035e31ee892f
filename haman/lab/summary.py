"""What came of many drills: a table for terminals, JSON and JUnit for machines, one page for people. Pure."""

import html
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import msgspec

from haman.lab import report, strip
from haman.lab.compare import Compared
from haman.lab.probe import failures
from haman.lab.suite import Outcome
from haman.lab.verdict import judge, timeline

HEAD = ("", "drill", "topology", "outage", "failed", "lost", "two holders", "took")


def to_table(outcomes: Sequence[Outcome]) -> str:
    """One line per drill, and under it what was not as expected."""
    rows = [HEAD, *(_row(outcome) for outcome in outcomes)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = []
    for row, outcome in zip(rows, (None, *outcomes), strict=True):
        cells = [
            c.ljust(w) if i < 3 else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
        if outcome is not None:
            lines += [f"        {text}" for text in why(outcome)]
    took_s = sum(outcome.took_s for outcome in outcomes)
    lines += ["", f"{_count(outcomes)}, in {took_s:.0f} s"]
    return "\n".join(lines)


def why(outcome: Outcome) -> tuple[str, ...]:
    """What was not as expected, or not done or judged at all."""
    told = [text for text in (outcome.error, outcome.skipped) if text]
    left = [f"not judged: {', '.join(outcome.unjudged)}"] if outcome.unjudged else []
    return (*told, *outcome.broken, *left)


def all_well(outcomes: Sequence[Outcome]) -> bool:
    """Whether some drills were done, and all of those passed."""
    done = [outcome for outcome in outcomes if not outcome.skipped]
    return bool(done) and all(outcome.ok for outcome in done)


def _count(outcomes: Sequence[Outcome]) -> str:
    done = [outcome for outcome in outcomes if not outcome.skipped]
    left = f", {len(outcomes) - len(done)} skipped" if len(done) < len(outcomes) else ""
    return f"{sum(o.ok for o in done)} of {len(done)} drills passed{left}"


def to_json(outcomes: Sequence[Outcome], *, runtime: str, compared: Sequence[Compared] = ()) -> str:
    """All verdicts and records; `compared` with the model's."""
    document = {
        "runtime": runtime,
        "beside_sim": compared,
        "passed": all_well(outcomes),
        "drills": [
            {
                "name": outcome.drill.name,
                "topology": outcome.drill.topology,
                "passed": outcome.ok,
                "error": outcome.error,
                "skipped": outcome.skipped,
                "unjudged": outcome.unjudged,
                "took_s": outcome.took_s,
                "verdicts": judge(outcome.record) if outcome.record else (),
                "timeline": timeline(outcome.record) if outcome.record else (),
                "record": outcome.record,
            }
            for outcome in outcomes
        ],
    }
    return msgspec.json.encode(document).decode()


def to_junit(outcomes: Sequence[Outcome]) -> str:
    """As CI systems read it: a suite per topology, a case per drill."""
    root = ET.Element("testsuites", name="haman lab drills")
    for topology in dict.fromkeys(outcome.drill.topology for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.drill.topology == topology]
        suite = ET.SubElement(
            root,
            "testsuite",
            name=topology,
            tests=str(len(mine)),
            failures=str(sum(not o.ok and not o.error and not o.skipped for o in mine)),
            errors=str(sum(bool(o.error) for o in mine)),
            skipped=str(sum(bool(o.skipped) for o in mine)),
            time=f"{sum(o.took_s for o in mine):.1f}",
        )
        for outcome in mine:
            case = ET.SubElement(
                suite,
                "testcase",
                classname=f"drills.{topology}",
                name=outcome.drill.name,
                time=f"{outcome.took_s:.1f}",
            )
            if outcome.skipped:
                ET.SubElement(case, "skipped", message=outcome.skipped)
            elif outcome.error:
                ET.SubElement(case, "error", message=outcome.error)
            elif not outcome.ok:
                text = "\n".join(outcome.broken)
                ET.SubElement(case, "failure", message=outcome.broken[0]).text = text
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def to_html(outcomes: Sequence[Outcome], *, runtime: str) -> str:
    """One page that needs nothing else: the table, and every drill with its pictures."""
    kind = "ok" if all_well(outcomes) else "bad"
    head = "".join(f"<th>{cell}</th>" for cell in HEAD)
    rows = "".join(_html_row(outcome) for outcome in outcomes)
    parts = "".join(_section(outcome) for outcome in outcomes)
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>haman lab drills</title><style>{report.STYLE}{strip.STYLE}
details {{ margin: 10px 0; }} summary {{ cursor: pointer; font-weight: 600; }}</style>
<span class="badge {kind}">{_count(outcomes)}</span>
<h1>Drills</h1><p class="about">On {html.escape(runtime)}. Each has clients that connect all the time while the fault is there.</p>
<div class="card"><table><tr>{head}</tr>{rows}</table></div>
{parts}</html>
"""


def _mark(outcome: Outcome) -> str:
    if outcome.skipped:
        return "skip"
    return "ok" if outcome.ok else "FAIL"


def _row(outcome: Outcome) -> tuple[str, ...]:
    drill, record = outcome.drill, outcome.record
    mark = _mark(outcome)
    took = f"{outcome.took_s:.1f} s"
    if record is None:
        return (mark, drill.name, drill.topology, "-", "-", "-", "-", took)
    return (
        mark,
        drill.name,
        drill.topology,
        f"{record.outage.ms:.0f} ms",
        str(sum(failures(record.probe.attempts).values())),
        f"{len(record.probe.lost)}/{record.probe.established}",
        f"{record.dual_ms:.0f} ms" if record.tenures else "-",
        took,
    )


def _html_row(outcome: Outcome) -> str:
    mark, name, *cells = _row(outcome)
    kind = "bad" if mark == "FAIL" else "ok"
    link = f'<a href="#{html.escape(name)}">{html.escape(name)}</a>'
    rest = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return f'<tr><td class="{kind}">{mark}</td><td>{link}</td>{rest}</tr>'


def _section(outcome: Outcome) -> str:
    drill = outcome.drill
    state = {"ok": "passed", "FAIL": "failed", "skip": "skipped"}[_mark(outcome)]
    style = "bad" if state == "failed" else "about"
    refused = "".join(f'<p class="{style}">{html.escape(text)}</p>' for text in why(outcome))
    body = ""
    if outcome.record is not None:
        body = report.sections(outcome.record)
    shown = " open" if state == "failed" else ""
    return (
        f'<details id="{html.escape(drill.name)}"{shown}><summary>{html.escape(drill.name)}: {state}</summary>'
        f'<p class="about">{html.escape(drill.about)}</p>{refused}{body}</details>'
    )
