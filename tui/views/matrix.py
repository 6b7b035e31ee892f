"""The fleet matrix: one row per node, one column per service, cut to the width there is."""

from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content
from textual.style import Style

from haman.api.schema import Member, Node, Resource, Service
from haman.core.words import Condition, Stance
from tui.picture import Picture
from tui.state import Cursor
from tui.trends import Trends
from tui.views.marks import CONDITIONS, QUIET, ROLES, SERVICE_STATES, WATCH, mark
from tui.views.type import bar, figure, fit, fit_name, heat, percent, since, sparkline

TITLE = "Binding resource"
GAP = 2
GUTTER = 2
CONDITION_W = 12
CELL_W = 22  # glyph, role, priority, since
CELL_SHORT_W = 16  # without since
CELL_TINY_W = 8  # glyph and number
LOAD_MIN_W = 14
LOAD_ROOMY_W = 30
LOAD_MAX_W = 44
NAME_MAX_W = 24
NAME_NARROW_W = 10
NAME_ROOMY_W = 32
NARROW_W, ROOMY_W = 100, 160


@dataclass(frozen=True, slots=True)
class Extra:
    """A column shown only where there is room to spare."""

    title: str
    width: int


TREND = Extra("Last minute", 15)
CONNECTIONS = Extra("Clients", 8)
PROXY = Extra("Proxy", 20)
ENGINE = Extra("Engine p99", 10)
VERSION = Extra("haman", 9)
EXTRAS = (CONNECTIONS, PROXY, ENGINE, VERSION)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the columns share the width; services [first, first + shown) are in sight."""

    name_w: int
    load_w: int
    cell_w: int
    first: int
    shown: int
    extras: tuple[Extra, ...]


def layout(seen: Picture, cursor: Cursor, width: int) -> Layout:
    """Share `width` cells among the columns, keeping the cursor's service in sight."""
    longest = max((cell_len(n.name) for n in seen.nodes), default=4)
    most = NAME_NARROW_W if width < NARROW_W else NAME_MAX_W if width < ROOMY_W else NAME_ROOMY_W
    name_w = min(max(longest, 4), most)
    room = width - GUTTER - name_w - GAP - CONDITION_W - GAP - LOAD_MIN_W
    services = len(seen.services)
    widths = (CELL_W, CELL_SHORT_W, CELL_TINY_W)
    cell_w = next((w for w in widths if services * (w + GAP) <= room), CELL_SHORT_W)
    shown = min(services, max(1, room // (cell_w + GAP)))
    names = [s.name for s in seen.services]
    at = names.index(cursor.service) if cursor.service in names else 0
    first = min(max(0, at - shown + 1), services - shown)
    room -= shown * (cell_w + GAP)
    extras = []
    if room >= TREND.width + GAP:
        extras.append(TREND)
        room -= TREND.width + GAP
    load_w = min(LOAD_MAX_W, LOAD_MIN_W + max(0, room))
    room -= load_w - LOAD_MIN_W
    for extra in EXTRAS:
        if room >= extra.width + GAP:
            extras.append(extra)
            room -= extra.width + GAP
    return Layout(name_w, load_w, cell_w, first, shown, tuple(extras))


def header(seen: Picture, plan: Layout) -> Content:
    """The names of the columns; a service in trouble says so here."""
    parts: list[Content | tuple[str, str]] = [
        (" " * GUTTER, ""),
        (fit("Node", plan.name_w + GAP), QUIET),
        (fit("Condition", CONDITION_W + GAP), QUIET),
        (fit(TITLE if plan.load_w > len(TITLE) else "Binding", plan.load_w), QUIET),
    ]
    if TREND in plan.extras:
        parts.append((" " * GAP + fit(TREND.title, TREND.width), QUIET))
    last = plan.first + plan.shown
    for index, service in enumerate(seen.services[plan.first : last], plan.first):
        before = f"‹{plan.first} " if plan.first and index == plan.first else ""
        hidden = len(seen.services) - last
        after = f" {hidden}›" if hidden and index == last - 1 else ""
        parts.append((" " * GAP, ""))
        parts.append((before, WATCH))
        parts.append(_service_title(service, plan.cell_w - len(before) - len(after)))
        parts.append((after, WATCH))
    parts.extend(
        (fit("", GAP) + fit(extra.title, extra.width), QUIET)
        for extra in plan.extras
        if extra is not TREND
    )
    return Content.assemble(*parts)


def _service_title(service: Service, width: int) -> Content:
    count = f" {len(service.holders)}/{service.expected}" if service.kind == "anycast" else ""
    if service.state in {"ok", "unknown"}:
        name = fit(service.name, min(cell_len(service.name), max(4, width - len(count))))
        return Content.assemble((name, "bold $foreground"), (fit(count, width - len(name)), QUIET))
    sign = mark(SERVICE_STATES, service.state)
    tail = f" {service.state}"
    if cell_len(service.name) + 2 + len(tail) > width:
        tail = ""  # the glyph says it, and the page of the service in full
    if cell_len(service.name) + 2 + len(tail) + len(count) <= width:
        tail += count
    name = fit(service.name, min(cell_len(service.name), max(3, width - 2 - len(tail))))
    return Content.styled(fit(f"{sign.glyph} {name}{tail}", width), f"bold {sign.style}")


def row(
    seen: Picture, node: Node, cursor: Cursor, plan: Layout, trends: Trends, *, active: bool
) -> Content:
    """One node; `active` = the matrix has the keyboard, so the cursor is drawn full."""
    here = node.name == cursor.node
    on_node = here and not cursor.service
    condition = mark(CONDITIONS, node.condition)
    stale = node.condition == Condition.STALE
    name = Content.styled(fit_name(node.name, plan.name_w), "bold $foreground")
    head = Content.assemble(
        ("▌ " if here else "  ", "$primary" if active else QUIET),
        name,
        " " * GAP,
        (fit(f"{condition.glyph} {node.condition}", CONDITION_W), condition.style),
        " " * GAP,
    )
    load = _load(node, plan.load_w)
    if TREND in plan.extras:
        trend = trends.of(node.name, node.binding)
        load += Content.assemble(" " * GAP, (sparkline(trend, TREND.width), "$secondary"))
    if stale:
        load = load.stylize("dim")
    line = _pointed(Content.assemble(head, load), node.name, "")
    if on_node:
        line = line.stylize("on $cursor" if active else "on $row", GUTTER, GUTTER + plan.name_w)
    for service in seen.services[plan.first : plan.first + plan.shown]:
        member = seen.member(service.name, node.name)
        cell = _cell(service, member, seen.status.at, plan.cell_w)
        if stale:
            cell = cell.stylize("dim")
        if here and service.name == cursor.service:
            cell = cell.stylize("on $cursor" if active else "on $row")
        line += _pointed(Content(" " * GAP) + cell, node.name, service.name)
    for extra in plan.extras:
        if extra is not TREND:
            line += Content.assemble(" " * GAP, _extra(extra, node))
    return line


def _pointed(content: Content, node: str, service: str) -> Content:
    """Tell a mouse click on this text what it points at."""
    return content.stylize(Style.from_meta({"node": node, "service": service}))


def _load(node: Node, width: int) -> Content:
    resource = next((r for r in node.resources if r.name == node.binding), None)
    if resource is None or resource.utilization is None:
        return Content.styled(fit("unknown", width), QUIET)
    return load_line(resource, width, name_w=12 if width >= LOAD_ROOMY_W else 4)


def load_line(resource: Resource, width: int, name_w: int, *, bold: bool = False) -> Content:
    """Name, bar and percentage of one resource in exactly `width` cells."""
    ratio = resource.utilization
    style = heat(ratio, resource.soft, resource.hard)
    value = percent(ratio)
    value_w = max(5, cell_len(value))
    return Content.assemble(
        (fit(resource.name, name_w), "bold $foreground" if bold else "$foreground"),
        " ",
        bar(ratio, width - name_w - value_w - 2, resource.soft, resource.hard),
        " ",
        (f"{value:>{value_w}}", f"bold {style}" if bold else style),
    )


def _cell(service: Service, member: Member | None, now: str, width: int) -> Content:
    if member is None:
        return Content.styled(fit("─", width), "$track")
    word = member.role or member.stance or "unknown"
    sign = mark(ROLES, word)
    if unheard(member):
        word, sign = "unheard", mark(ROLES, "unheard")
    strong = member.node in service.holders
    style = f"bold {sign.style}" if strong else sign.style
    weight = _weight(member)
    if width < CELL_SHORT_W:
        return Content.styled(fit(f"{sign.glyph} {weight or word}", width), style)
    short = width < CELL_W
    text = f"{sign.glyph} {word:<{0 if short else 10}} {weight}"
    aged = "" if short else since(member.since, now)
    return Content.assemble(
        (fit(text, width - (0 if short else 5)), style),
        ("" if short else f"{aged:>5}", QUIET),
    )


def unheard(member: Member) -> bool:
    """It announces, and no router hears it; a node that is not heard itself is another matter."""
    announces = member.stance not in {"", Stance.WITHDRAWN} and member.share is not None
    return announces and not member.routers


def _weight(member: Member) -> str:
    number = member.weight if member.stance else member.priority
    return f"{number:>3}" if number else ""


def _extra(extra: Extra, node: Node) -> Content:
    if extra is CONNECTIONS:
        text = "unknown" if node.connections is None else figure(node.connections)
        return Content.styled(f"{text:<{extra.width}}", QUIET)
    if extra is PROXY:
        return Content.assemble(proxy(node, extra.width))
    if extra is ENGINE:
        late = node.engine.lateness_p99_ms
        return Content.styled(fit(f"{late:.1f} ms", extra.width), QUIET)
    return Content.styled(fit(node.version or "unknown", extra.width), QUIET)


def proxy(node: Node, width: int = 0) -> tuple[str, str]:
    """The proxy of a node and whether it runs, in `width` cells (0 = as many as it takes)."""
    name = f"{node.proxy.kind} {node.proxy.version}".strip() or "proxy"
    state = "up" if node.proxy.up else "down"
    if width:
        name = fit(name, min(cell_len(name), width - len(state) - 3))
    text = f"{'●' if node.proxy.up else '✖'} {name} {state}"
    return (fit(text, width) if width else text, QUIET if node.proxy.up else "$error")
