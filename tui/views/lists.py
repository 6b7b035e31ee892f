"""Alerts and events: one line each."""

from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content

from haman.api.schema import Alert, Event, Status
from haman.core.words import Severity
from tui.past import is_past
from tui.views.marks import QUIET, SEVERITIES, mark
from tui.views.type import clock, fit, fit_name, paragraph, since

ORDER: dict[str, int] = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}
NAME_NARROW_W = 8
NAME_WIDE_W = 24
TYPE_W = 19
WIDE_W = 100

_EVENT_STYLES = {
    "conflict-detected": "$error",
    "peer-lost": "$error",
    "bgp-session-down": "$error",
    "exabgp-died": "$error",
    "lease-expired": "$error",
    "relay-lost": "$error",
    "bfd-down": "$warning",
    "announcement-refused": "$warning",
    "engine-late": "$warning",
    "permit-denied": "$warning",
    "operator-drained": "$warning",
    "vip-acquired": "$success",
    "bgp-session-up": "$success",
    "bfd-up": "$success",
    "relay-connected": "$success",
    "peer-found": "$success",
}


def sorted_alerts(status: Status) -> tuple[Alert, ...]:
    """Most severe first, then the longest standing."""
    return tuple(sorted(status.alerts, key=lambda a: (ORDER.get(a.severity, 3), a.since)))


def alerts_view(status: Status, width: int) -> Content:
    """Every alert: severity, what about, since, text."""
    if is_past(status):
        return Content.styled("Alerts are in no journal.", QUIET)
    if not status.alerts:
        return Content.styled("Nothing needs attention.", QUIET)
    return Content("\n").join([_alert(a, status.at, width) for a in sorted_alerts(status)])


def _alert(alert: Alert, now: str, width: int) -> Content:
    sign = mark(SEVERITIES, alert.severity)
    about = " ".join(word for word in (alert.node, alert.service) if word)
    lasted = since(alert.since, now)
    lead = Content.assemble(
        (f"{sign.glyph} {alert.severity}", f"bold {sign.style}"),
        (f" {lasted}" if lasted else "", QUIET),
        (f"  {about}" if about else "", "bold $foreground"),
        "  ",
    )
    text = alert.text.removeprefix(f"{alert.node}: ") if alert.node else alert.text
    return paragraph(lead, text, width)


@dataclass(frozen=True, slots=True)
class Columns:
    """How wide the columns of the events must be to hold the names that occur."""

    node_w: int = 4
    service_w: int = 0


def columns(events: tuple[Event, ...]) -> Columns:
    """Wide enough for every name in `events`."""
    return Columns(
        node_w=max((cell_len(e.node) for e in events), default=4),
        service_w=max((cell_len(e.service) for e in events), default=0),
    )


def event_line(event: Event, plan: Columns, width: int) -> Content:
    """One event, cut to `width`."""
    most = NAME_WIDE_W if width >= WIDE_W else NAME_NARROW_W
    lead = Content.assemble(
        (clock(event.at), QUIET),
        "  ",
        (fit_name(event.node, min(plan.node_w, most)), "$foreground"),
        "  ",
        (fit_name(event.service, min(plan.service_w, most)), "bold $foreground"),
        "  " if plan.service_w else "",
        (fit(event.type, TYPE_W), _EVENT_STYLES.get(event.type, "$foreground")),
        "  ",
    )
    text = event.text
    for reason in event.reasons:
        if reason.text not in text:
            text += f" · {reason.text}"
    return Content.assemble(lead, (fit(text, max(0, width - lead.cell_length)), "$foreground"))


def event_view(event: Event, width: int) -> Content:
    """One event in full: when, where, what, why, and the numbers behind it."""
    lead = Content.assemble(
        (f"{event.at}  ", QUIET),
        (f"{event.node}  ", "bold"),
        (f"{event.service}  " if event.service else "", "bold"),
    )
    rows = [paragraph(lead, event.text, width)]
    because = Content.styled("  because ", QUIET)
    rows += [paragraph(because, r.text, width, indent=10) for r in event.reasons]
    if event.data:
        told = "  ".join(f"{key}={value}" for key, value in event.data.items())
        rows.append(paragraph(Content.styled("  ", QUIET), told, width).stylize(QUIET))
    return Content("\n").join(rows)


def history_view(events: tuple[Event, ...], width: int) -> list[Content]:
    """What happened to one thing, newest first, wrapped."""
    rows = [Content(""), Content.styled("History, newest first · UTC", QUIET)]
    if not events:
        rows.append(Content.styled("  Nothing among the events that are kept here.", QUIET))
    for event in events:
        text = event.text
        for reason in event.reasons:
            if reason.text not in text:
                text += f" · {reason.text}"
        lead = Content.assemble((f"  {clock(event.at)}  ", QUIET), (f"{event.node}  ", "bold"))
        rows.append(paragraph(lead, text, width, indent=12))
    return rows
