"""The drill's report: text for terminals, one self-contained HTML page, and JSON. Pure."""

import html
from collections.abc import Sequence

import msgspec

from haman.lab import chart, strip
from haman.lab.probe import OK, failures, served_by
from haman.lab.verdict import Record, Verdict, judge, timeline

STYLE = """
:root { color-scheme: light dark; --bg: #fbfbfa; --fg: #1c2024; --dim: #687076; --line: #e3e5e7;
  --card: #fff; --ok: #18794e; --bad: #cd2b31; --served: #5b8def; --failed: #e5484d;
  --n0: #3e9b76; --n1: #d98e2b; --n2: #8e6bd8; --n3: #4a90a4; }
@media (prefers-color-scheme: dark) { :root { --bg: #131518; --fg: #e8eaed; --dim: #9ba1a6;
  --line: #2b2f33; --card: #1b1e22; --ok: #4cc38a; --bad: #ff6369; --served: #6d9bff; --failed: #ff6369; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1040px; padding: 32px 24px 64px; background: var(--bg);
  color: var(--fg); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 16px; margin: 32px 0 10px; }
.about { color: var(--dim); margin: 4px 0 0; }
.badge { float: right; padding: 4px 14px; border-radius: 99px; color: #fff; font-weight: 600; }
.badge.ok { background: var(--ok); } .badge.bad { background: var(--bad); }
.figures { display: flex; flex-wrap: wrap; gap: 12px; margin: 24px 0; }
.figure { flex: 1 1 150px; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; padding: 12px 16px; }
.figure b { display: block; font-size: 24px; font-weight: 650; font-variant-numeric: tabular-nums; }
.figure span { color: var(--dim); font-size: 13px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px; margin: 14px 0; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: 6px 12px; border-bottom: 1px solid var(--line);
  vertical-align: top; } tr:last-child td { border-bottom: 0; }
th { color: var(--dim); font-weight: 500; font-size: 13px; }
td.at { white-space: nowrap; text-align: right; font-variant-numeric: tabular-nums; width: 110px;
  color: var(--dim); } td.ok { color: var(--ok); } td.bad { color: var(--bad); font-weight: 600; }
pre { margin: 0; white-space: pre-wrap; font: 13px/1.5 ui-monospace, monospace; }
footer { color: var(--dim); font-size: 13px; margin-top: 32px; }
svg { width: 100%; height: auto; display: block; font: 11px system-ui, sans-serif; }
svg text { fill: var(--fg); } svg .title { font-size: 13px; font-weight: 600; }
svg .tick { fill: var(--dim); } svg .grid { stroke: var(--line); } svg .axis { stroke: var(--dim); }
svg .served { fill: var(--served); } svg .failed { fill: var(--failed); }
svg .miss { stroke: var(--failed); stroke-width: 1.5; fill: none; }
svg .gap { fill: var(--failed); opacity: .12; }
svg .fault { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 4 3; }
svg .empty { fill: var(--line); opacity: .45; } svg .address { fill: var(--fg); font-weight: 600; }
svg .node0 { fill: var(--n0); } svg .node1 { fill: var(--n1); }
svg .floor { opacity: .35; }
svg .node2 { fill: var(--n2); } svg .node3 { fill: var(--n3); }
"""


def to_text(record: Record) -> str:
    """The report for a terminal."""
    drill = record.drill
    lines = [f"drill {drill.name}" + (f": {drill.about}" if drill.about else ""), ""]
    lines += [f"  {at:+10.1f} ms  {text}" for at, text in timeline(record)]
    lines.append("")
    for said in record.said:
        lines += [f"  haman why {said.vip}, on {said.node}:", *_indented(said.text), ""]
    if record.routes and (by_node := _nodes_served(record)):
        lines += [f"  new connections served by {by_node}", ""]
    verdicts = judge(record)
    widths = [
        max((len(text) for text in column), default=0)
        for column in ([v.name for v in verdicts], [v.got for v in verdicts])
    ]
    lines += [
        f"  {'ok  ' if v.ok else 'FAIL'}  {v.name:{widths[0]}}  {v.got:{widths[1]}}  ({v.expected})"
        for v in verdicts
    ]
    lines.append(f"  the client's own worst lateness was {record.probe.late_ms_max:.1f} ms")
    return "\n".join(lines)


def to_json(record: Record) -> str:
    """The record and its verdicts, for machines."""
    document = {
        "passed": passed(judge(record)),
        "verdicts": judge(record),
        "outage_ms": round(record.outage.ms, 3),
        "failed_connections": failures(record.probe.attempts),
        "lost_established": len(record.probe.lost),
        "timeline": [{"at_ms": round(at, 3), "text": text} for at, text in timeline(record)],
        "record": record,
    }
    return msgspec.json.encode(document).decode()


def passed(verdicts: Sequence[Verdict]) -> bool:
    """Whether every expectation held."""
    return all(verdict.ok for verdict in verdicts)


def to_html(record: Record) -> str:
    """One page that needs nothing else: figures, charts, timeline, verdicts."""
    good = passed(judge(record))
    drill, state = record.drill, "passed" if good else "failed"
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{html.escape(drill.name)}: {state}</title><style>{STYLE}{strip.STYLE}</style>
<span class="badge {"ok" if good else "bad"}">{state}</span>
<h1>{html.escape(drill.name)}</h1><p class="about">{html.escape(drill.about)}</p>
{sections(record)}</html>
"""


def sections(record: Record) -> str:
    """What a page shows of one drill, below its title."""
    drill, probe = record.drill, record.probe
    failed = sum(failures(probe.attempts).values())
    served = sum(attempt.outcome == OK for attempt in probe.attempts)
    gap = (f"{record.outage.ms:.1f} ms", "longest gap for new connections")
    if record.routes:
        gap = (f"{record.failing_ms:.1f} ms", "until the last new connection that failed")
    by_node = _nodes_served(record)
    figures = (
        gap,
        (f"{served:,}", "new connections served"),
        (f"{failed:,}", "new connections failed"),
        (f"{len(probe.lost)} of {probe.established}", "long-lived connections lost"),
    )
    moments = "".join(
        f'<tr><td class="at">{at:+.1f} ms</td><td>{html.escape(text)}</td></tr>'
        for at, text in timeline(record)
    )
    said = "".join(
        f"<h2>haman why {html.escape(s.vip)}, on {html.escape(s.node)}</h2>"
        f'<div class="card"><pre>{html.escape(s.text)}</pre></div>'
        for s in record.said
    )
    pictures = (chart.overview(record), *strip.strips(record), chart.closeup(record))
    cards = "".join(f'<div class="card">{picture}</div>' for picture in pictures)
    return f"""<div class="figures">{"".join(f'<div class="figure"><b>{b}</b><span>{s}</span></div>' for b, s in figures)}</div>
{cards}
<h2>Expectations</h2><div class="card"><table>
<tr><th></th><th>what</th><th>seen</th><th>expected</th></tr>{"".join(map(_row, judge(record)))}</table></div>
<h2>Timeline</h2><div class="card"><table>{moments}</table></div>
{said}
<footer>{html.escape(record.at)}: lab {html.escape(drill.topology)}, {drill.load.new_per_s} new
connections per second and {probe.established} long-lived ones. The client's own worst lateness was
{probe.late_ms_max:.1f} ms. {f"New connections were served by {html.escape(by_node)}. " if by_node else ""}Addresses
and routes as the kernels reported them, on one clock.</footer>
"""


def _nodes_served(record: Record) -> str:
    """How many new connections each proxy served, where they said so; "" otherwise."""
    counts = served_by(record.probe.attempts)
    return ", ".join(f"{node} {count:,}" for node, count in counts.items() if node)


def _row(verdict: Verdict) -> str:
    cells = "".join(
        f"<td>{html.escape(text)}</td>" for text in (verdict.name, verdict.got, verdict.expected)
    )
    mark = '<td class="ok">held</td>' if verdict.ok else '<td class="bad">broken</td>'
    return f"<tr>{mark}{cells}</tr>"


def _indented(text: str) -> list[str]:
    return [f"    {line}".rstrip() for line in text.splitlines()]
