"""Anycast in `status`: nodes × services with stances and weights, and routers that are in trouble."""

from collections.abc import Iterator

from haman.api import schema
from haman.api.plain import SESSION_DOWN
from haman.cli.text import age, paint, percent, reasons, table

WIDTH = 80
"""A table is at most so wide, if one service fits at all; what is more goes into another one."""
_ROUTERS = "ROUTERS"
_GAP = 2


def tables(found: schema.Status) -> list[str]:
    """Write what each node is to each anycast service; [] without any."""
    services = [s for s in found.services if s.kind == "anycast"]
    nodes = [n for n in found.nodes if any(m.node == n.name for s in services for m in s.members)]
    cells = {s.name: [_cell(s, n.name) for n in nodes] for s in services}
    first = max((len(n.name) for n in nodes), default=0)
    routers = max((len(_routers(n)) for n in nodes), default=0)
    room = WIDTH - max(first, len("NODE")) - _GAP - max(routers, len(_ROUTERS))
    written = []
    while services:
        shown = [services.pop(0)]
        left = room - _wide(shown[0], cells)
        while services and (left := left - _wide(services[0], cells)) >= 0:
            shown.append(services.pop(0))
        rows = [
            (n.name, *(paint_stance(cells[s.name][i]) for s in shown), _routers(n))
            for i, n in enumerate(nodes)
        ]
        written.append(table(("NODE", *(_title(s) for s in shown), _ROUTERS), rows))
    return written


def troubles(found: schema.Status) -> Iterator[str]:
    """Say which routers are in trouble and why, and what keeps nodes from full stance."""
    alerts = " ".join(alert.text for alert in found.alerts)
    for node in found.nodes:
        for neighbor in node.neighbors:
            if node.condition != "stale" and (text := _trouble(neighbor, found.at, alerts)):
                yield f"{node.name}: {text}"
    told = alerts + " ".join(r.text for s in found.services for r in s.reasons)
    told += " ".join(r.text for n in found.nodes for r in n.reasons)
    for service in found.services:
        for member in service.members:
            new = [r for r in member.reasons if r.text not in told and r.code != SESSION_DOWN]
            if member.stance not in {"", "full"} and new:
                yield f"{service.name} on {member.node} is {member.stance}: {reasons(new)}"


def holders(service: schema.Service, width: int) -> str:
    """Name the holders; count them, of those expected, where their names are wider than `width`."""
    names = ", ".join(service.holders)
    if service.kind == "anycast" and len(names) > width:
        return f"{len(service.holders)} of {service.expected}"
    return names or "-"


def paint_stance(cell: str) -> str:
    """Colour a cell by its first word."""
    word, space, rest = cell.partition(" ")
    return f"{paint(word)}{space}{rest}"


def _cell(service: schema.Service, node: str) -> str:
    member = next((m for m in service.members if m.node == node), None)
    if member is None:
        return "-"
    if member.share is None:
        return f"unknown (was {member.stance})" if member.stance else "unknown"
    left = f" ({member.connections_left} left)" if member.connections_left is not None else ""
    if not member.weight:
        return (member.stance or "unknown") + left
    weight = f"{member.weight}"
    if member.weight != member.full_weight:
        weight += f" of {member.full_weight}"
    heard = f", {percent(member.share)}" if member.routers else ", not heard"
    return f"{member.stance} {weight}{heard}{left}"


def _title(service: schema.Service) -> str:
    return f"{service.name}: weight, share"


def _wide(service: schema.Service, cells: dict[str, list[str]]) -> int:
    return _GAP + max(len(text) for text in (_title(service), *cells[service.name]))


def _routers(node: schema.Node) -> str:
    if not node.neighbors:
        return "-"
    if all(n.session == "unknown" for n in node.neighbors):
        return "unknown"
    up = sum(n.session == "up" for n in node.neighbors)
    deaf = [n for n in node.neighbors if n.session == "up" and n.bfd in {"down", "init"}]
    return f"{up} of {len(node.neighbors)} up{', BFD down' if deaf else ''}"


def _trouble(found: schema.Neighbor, at: str, alerts: str) -> str:
    """Say what is wrong with a router, less the reasons that an alert tells anyway; "" = nothing."""
    bfd = f"BFD {found.bfd}" if found.bfd in {"down", "init"} else ""
    if bfd and found.bfd_reason:
        bfd += f" ({found.bfd_reason})"
    if found.session == "up" and not found.reasons:
        return f"the session with {found.name} ({found.address}) is up, but {bfd}" if bfd else ""
    lasted = f" for {text}" if (text := age(found.since, at)) else ""
    new = [r for r in found.reasons if r.text not in alerts]
    why = f": {reasons(new)}" if new else ""
    too = f", {bfd}" if bfd else ""
    state = f"is {paint(found.session)}{lasted}{too}"
    return f"the session with {found.name} ({found.address}) {state}{why}"
