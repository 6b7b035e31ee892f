"""The fleet matrix: one row per node, one column per service, cut to the width there is."""

from dataclasses import dataclass
from functools import lru_cache

from rich.cells import cell_len
from textual.content import Content

from haman.api.schema import Member, Node, Resource, Service
from haman.core.words import Condition, Stance
from tui.picture import Picture
from tui.state import Cursor
from tui.trends import Trends
from tui.views.marks import CONDITIONS, QUIET, ROLES, SERVICE_STATES, WATCH, Mark, mark
from tui.views.type import bar, figure, fit, fit_name, heat, percent, since, sparkline

TITLE = "Binding resource"
GAP = 2
GUTTER = 2
CONDITION_W = 12
CELL_W = 22  # glyph, role, priority, since
CELL_SHORT_W = 16  # without since
AGED_W = 5
CELL_TINY_W = 8  # glyph and number
LOAD_MIN_W = 14
LOAD_ROOMY_W = 30
LOAD_ROOMIER_W = 12
"""The bar gets so much more before its trend is shown."""
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
PROXY = Extra("Proxy", 21)
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
    if room >= TREND.width + GAP + LOAD_ROOMIER_W:
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
) -> tuple[Content, ...]:
    """One node, cell by cell; `active` = the matrix has the keyboard, so the cursor is drawn full.

    Cells that say the same are the same object: what draws them may keep what it made of them.
    """
    here = node.name == cursor.node
    stale = node.condition == Condition.STALE
    ground = ("on $cursor" if active else "on $row") if here else ""
    head = _head(node.name, node.condition, plan.name_w, ground if not cursor.service else "", here)
    cells = [head, _load(node, plan.load_w)]
    if TREND in plan.extras:
        trend = sparkline(trends.of(node.name, node.binding), TREND.width)
        cells.append(Content.assemble(" " * GAP, (trend, "$secondary")))
    if stale:
        cells[1:] = [cell.stylize("dim") for cell in cells[1:]]
    for service in seen.services[plan.first : plan.first + plan.shown]:
        member = seen.member(service.name, node.name)
        pointed = ground if service.name == cursor.service else ""
        if member is None:
            cells.append(_cell("─", "$track", "", plan.cell_w, pointed))
            continue
        word, sign = _said(member)
        strong = member.node in service.holders
        style = f"bold {sign.style}" if strong else sign.style
        aged = since(member.since, seen.status.at) if plan.cell_w >= CELL_W else ""
        text = _cell_text(sign.glyph, word, _weight(member), plan.cell_w)
        cells.append(_cell(text, f"dim {style}" if stale else style, aged, plan.cell_w, pointed))
    cells += [
        Content.assemble(" " * GAP, _extra(extra, node))
        for extra in plan.extras
        if extra is not TREND
    ]
    return tuple(cells)


def service_at(seen: Picture, plan: Layout, column: int) -> str:
    """The service whose cell covers this column; "" = it belongs to the node itself."""
    left = GUTTER + plan.name_w + GAP + CONDITION_W + GAP + plan.load_w
    left += TREND.width + GAP if TREND in plan.extras else 0
    index = (column - left) // (plan.cell_w + GAP)
    return seen.services[plan.first + index].name if 0 <= index < plan.shown else ""


@lru_cache(maxsize=256)
def _head(name: str, condition: str, name_w: int, ground: str, here: bool) -> Content:
    sign = mark(CONDITIONS, condition)
    return Content.assemble(
        ("▌ " if here else "  ", "$primary" if ground != "on $row" else QUIET),
        (fit_name(name, name_w), f"bold $foreground {ground}".rstrip()),
        " " * GAP,
        (fit(f"{sign.glyph} {condition}", CONDITION_W), sign.style),
        " " * GAP,
    )


@lru_cache(maxsize=1024)
def _cell(text: str, style: str, aged: str, width: int, ground: str) -> Content:
    """What a node is to a service; `aged` = for how long, at the right edge."""
    room = width - (AGED_W if width >= CELL_W else 0)
    cell = Content.assemble(
        (fit(text, room), style),
        (f"{aged:>{width - room}}" if width > room else "", QUIET),
    )
    return Content(" " * GAP) + (cell.stylize(ground) if ground else cell)


def _cell_text(glyph: str, word: str, weight: str, width: int) -> str:
    if width < CELL_SHORT_W:
        return f"{glyph} {weight.strip() or word}"
    return f"{glyph} {word:<{10 if width >= CELL_W else 0}} {weight}"


def _said(member: Member) -> tuple[str, Mark]:
    if unheard(member):
        return "unheard", mark(ROLES, "unheard")
    word = member.role or member.stance or "unknown"
    return word, mark(ROLES, word)


def _load(node: Node, width: int) -> Content:
    resource = next((r for r in node.resources if r.name == node.binding), None)
    if resource is None or resource.utilization is None:
        return Content.styled(fit("unknown", width), QUIET)
    return load_line(resource, width, name_w=12 if width >= LOAD_ROOMY_W else 4)


def load_line(resource: Resource, width: int, name_w: int, *, bold: bool = False) -> Content:
    """Name, bar and percentage of one resource in exactly `width` cells."""
    found = (resource.name, resource.utilization, resource.soft, resource.hard)
    return _load_line(*found, width=width, name_w=name_w, bold=bold)


@lru_cache(maxsize=512)
def _load_line(
    name: str,
    ratio: float | None,
    soft: float | None,
    hard: float | None,
    *,
    width: int,
    name_w: int,
    bold: bool,
) -> Content:
    style = heat(ratio, soft, hard)
    value = percent(ratio)
    value_w = max(5, cell_len(value))
    return Content.assemble(
        (fit(name, name_w), "bold $foreground" if bold else "$foreground"),
        " ",
        bar(ratio, width - name_w - value_w - 2, soft, hard),
        " ",
        (f"{value:>{value_w}}", f"bold {style}" if bold else style),
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
    if extra in {PROXY, ENGINE} and node.connections is None and not node.resources:
        return Content.styled(fit("unknown", extra.width), QUIET)  # in the past, or never heard of
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
