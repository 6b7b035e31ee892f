"""The node under the cursor, in full."""

from textual.content import Content

from haman.api.plain import SESSION_DOWN, amount
from haman.api.schema import Event, Member, Node, Reason, Resource, Service, Status
from haman.core.words import Condition
from tui.past import is_past
from tui.trends import Trend, Trends
from tui.views.lists import history_view
from tui.views.marks import CONDITIONS, QUIET, ROLES, WATCH, mark
from tui.views.matrix import load_line, proxy, unheard
from tui.views.routers import routers
from tui.views.service import weight_text
from tui.views.type import age, figure, packed, paragraph, percent, since, sparkline

LINE_MAX_W = 56
LINE_MIN_W = 28
DETAIL_W = 46
TREND_MIN_W = 90
TREND_W = 20
OLD_SAMPLE_S = 2.0


def node_title(node: Node) -> str:
    """Its name, site and version."""
    about = (f"Node {node.name}", node.site, f"haman {node.version}" if node.version else "")
    return " · ".join(word for word in about if word)


def node_view(
    status: Status, node: Node, service: Service | None, trends: Trends, width: int
) -> Content:
    """What it is and why, its resources, and what it is to the service under the cursor."""
    parts = [*_facts(node, status, width), *(_because(r, width) for r in node.reasons)]
    member = next((m for m in service.members if m.node == node.name), None) if service else None
    if service and member:
        parts.append(_member(service, member, status.at))
        parts.extend(_member_because(node, member, width))
    parts.extend(routers(node, status.at, width))
    if node.resources:
        parts.extend(
            _resource(r, trends.of(node.name, r.name), width, binding=r.name == node.binding)
            for r in _fullest(node)
        )
    elif not is_past(status):
        parts.append(Content.styled("No resource is measured yet: utilization unknown.", QUIET))
    return Content("\n").join(parts)


def node_detail(
    status: Status, node: Node, history: tuple[Event, ...], trends: Trends, width: int
) -> Content:
    """What it is and why, its resources, routers and counters, its part in every service, its history."""
    parts = [node_view(status, node, None, trends, width)]
    parts += _origins(node, width)
    parts += _counters(node, width) if not is_past(status) else []
    parts.append(Content(""))
    for service in status.services:
        member = next((m for m in service.members if m.node == node.name), None)
        if member:
            parts.append(_member(service, member, status.at))
            parts.extend(_member_because(node, member, width))
    parts += history_view(history, width)
    return Content("\n").join(parts)


def _origins(node: Node, width: int) -> list[Content]:
    """What the ceilings are and where the use was found, for those of which it is said."""
    told = [r for r in node.resources if r.origin or r.detail]
    if not told:
        return []
    rows = [Content(""), Content.styled("Ceilings, and where the use was found", QUIET)]
    for resource in told:
        lead = Content.styled(f"  {resource.name:<13}", "$foreground")
        text = " · ".join(word for word in (resource.origin, resource.detail) if word)
        rows.append(paragraph(lead, text, width, indent=15))
    return rows


def _counters(node: Node, width: int) -> list[Content]:
    """What its engine counted on the wire; only the node that answers tells."""
    counters = node.engine.counters
    if not counters:
        return []
    facts = [
        (f"{name.replace('_', ' ')} {count:,}", WATCH if _is_trouble(name) and count else QUIET)
        for name, count in sorted(counters.items())
    ]
    return [Content(""), Content.styled("Counted by the engine since its start", QUIET)] + [
        Content("  ") + row for row in packed(facts, width - 2)
    ]


def _is_trouble(counter: str) -> bool:
    return counter.startswith(("error:", "bfd_discarded:")) or "overrun" in counter


def _facts(node: Node, status: Status, width: int) -> list[Content]:
    condition = mark(CONDITIONS, node.condition)
    facts: list[tuple[str, str]] = [
        (f"{condition.glyph} {node.condition}", f"bold {condition.style}")
    ]
    if node.name != status.node and node.age_ms >= OLD_SAMPLE_S * 1000:
        facts.append((f"heard {age(node.age_ms / 1000)} ago", "bold $error"))
    if node.drained and node.condition != Condition.DRAINED:
        facts.append(("○ drained by the operator", WATCH))
    if is_past(status):
        return packed([*facts, ("its figures are in no journal", QUIET)], width)
    facts.append(proxy(node))
    if node.connections is None:
        facts.append(("clients unknown", QUIET))
    else:
        word = "client" if node.connections == 1 else "clients"
        facts.append((f"{figure(node.connections)} {word}", QUIET))
    late = f"engine p99 {node.engine.lateness_p99_ms:.1f} ms"
    facts.append((late, QUIET) if node.engine.realtime else (f"{late}, not real-time", WATCH))
    if not node.engine.guard:
        facts.append(("✖ no guard", "bold $error"))
    return packed(facts, width)


def _because(reason: Reason, width: int) -> Content:
    return paragraph(Content.styled("  because ", QUIET), reason.text, width, indent=10)


def _member_because(node: Node, member: Member, width: int) -> list[Content]:
    """Why, unless the node itself or its routers say it already."""
    told = {r.text for r in node.reasons}
    return [
        _because(r, width) for r in member.reasons if r.code != SESSION_DOWN and r.text not in told
    ]


def _member(service: Service, member: Member, now: str) -> Content:
    word = member.role or member.stance
    sign = mark(ROLES, word)
    parts: list[tuple[str, str]] = [
        (f"{sign.glyph} {word}", f"bold {sign.style}"),
        (f" for {service.name}", "$foreground"),
    ]
    if number := member.weight if member.stance else member.priority:
        told = f"weight {weight_text(member)}" if member.stance else f"priority {number}"
        parts.append((f"  {told}", QUIET))
    if unheard(member):
        parts.append(("  no router hears it", WATCH))
    elif member.share:
        parts.append((f"  {percent(member.share)} of new connections", QUIET))
    if lasted := since(member.since, now):
        parts.append((f"  for {lasted}", QUIET))
    addresses = ", ".join(service.addresses or service.prefixes)
    parts.append((f"  {addresses}", QUIET))
    return Content.assemble(*parts)


def _used_of(used: float | None, ceiling: float, unit: str) -> str:
    """Both with their units, or with the one that they share: "0.41 of 1.8 core-s/s"."""
    of = amount(ceiling, unit)
    shown = "unknown" if used is None else amount(used, unit)
    number, _, its = shown.partition(" ")
    same = its.removesuffix("s") == of.partition(" ")[2].removesuffix("s")
    return f"{number if same else shown} of {of}"


def _fullest(node: Node) -> list[Resource]:
    """The fullest first, as in `haman top`: the binding one is seen on the smallest terminal."""
    unknown = -1.0
    return sorted(
        node.resources,
        key=lambda r: unknown if r.utilization is None else r.utilization,
        reverse=True,
    )


def _resource(resource: Resource, trend: Trend, width: int, *, binding: bool) -> Content:
    room = width - DETAIL_W - (TREND_W + 2 if width >= TREND_MIN_W else 0)
    line_w = min(LINE_MAX_W, max(LINE_MIN_W, room))
    detail: list[tuple[str, str]] = [("  ", "")]
    if resource.ceiling is None:
        used = "" if resource.used is None else f"{amount(resource.used, resource.unit)}, "
        detail.append((f"{used}{resource.problem or 'ceiling unknown'}", QUIET))
    else:
        figures = _used_of(resource.used, resource.ceiling, resource.unit)
        detail.append((f"{figures}  {resource.confidence}", QUIET))
    if resource.exhausted_in_s is not None:
        detail.append((f"  ▲ full in {age(resource.exhausted_in_s)}", f"bold {WATCH}"))
    if binding:
        detail.append(("  ◂ binding", "bold $foreground"))
    if resource.age_ms >= OLD_SAMPLE_S * 1000:
        detail.append((f"  {age(resource.age_ms / 1000)} old", WATCH))
    line = load_line(resource, line_w, name_w=12, bold=binding)
    if width >= TREND_MIN_W:
        line += Content.styled(f"  {sparkline(trend, TREND_W)}", "$secondary")
    return Content.assemble(line, *detail)
