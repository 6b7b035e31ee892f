"""One service in full: who serves or announces it, what each should get, and what happened."""

from rich.cells import cell_len
from textual.content import Content

from haman.api.plain import SESSION_DOWN
from haman.api.schema import Event, Member, Service, Status
from haman.core.words import Role, Stance
from tui.tenure import begins, strip, turns
from tui.views.lists import history_view
from tui.views.marks import QUIET, ROLES, SERVICE_STATES, WATCH, mark
from tui.views.matrix import unheard
from tui.views.routers import count_up
from tui.views.type import bar, fit, fit_name, moment, packed, paragraph, percent, since

NAME_MAX_W = 20
STANCE_W = 12
WEIGHT_W = 10
SHARE_MIN_W = 8
SHARE_MAX_W = 30
AGE_W = 5
ROUTERS_W = 16
MINIMAL_W = 10
LEAD = 0.04
"""Of the timeline, before the first thing that is known."""
_SPANS: dict[str, tuple[str, str]] = {
    Role.ACTIVE: ("━", "$success"),
    Stance.FULL: ("━", "$success"),
    Stance.REDUCED: ("╍", "$warning"),
    Stance.SHUT: ("┅", "$warning"),
    "": (" ", ""),
    "unknown": (" ", ""),
    "*": ("╋", "$warning"),
}
_QUIET_SPAN = ("─", "$track")
_SAID = frozenset({SESSION_DOWN, "stale", "no-report"})


def service_title(service: Service) -> str:
    """Its name, kind and mode."""
    kind = "VIP" if service.kind == "vip" else service.kind
    return f"{service.name} · {kind} · {service.mode}"


def service_view(
    status: Status,
    service: Service,
    history: tuple[Event, ...],
    width: int,
    events: tuple[Event, ...] = (),
) -> Content:
    """Its state and why, every node's part, who held it when, and its history, newest first.

    `events` are the journal, oldest first; `history` what of it concerns the service.
    """
    sign = mark(SERVICE_STATES, service.state)
    facts = [
        (f"{sign.glyph} {service.state}", f"bold {sign.style}"),
        (_held(service), "$foreground"),
        *((text, QUIET) for text in service.addresses or service.prefixes),
    ]
    parts = packed(facts, width)
    because = Content.styled("  because ", QUIET)
    parts += [paragraph(because, r.text, width, indent=10) for r in service.reasons]
    parts += [Content(""), _titles(service, width)]
    for member in service.members:
        parts.append(_member(status, service, member, width))
        parts += _because(service, member, width)
    parts += timeline(status, service, events, width)
    parts += history_view(history, width)
    return Content("\n").join(parts)


def timeline(
    status: Status, service: Service, events: tuple[Event, ...], width: int
) -> list[Content]:
    """Who held it when, a line per node; nothing where nothing is known."""
    start, end = begins(service, events), moment(status.at)
    if start is None or end is None or end <= start:
        return []
    start -= (end - start) * LEAD
    name_w, _ = _columns(service, width)
    room = max(MINIMAL_W, width - name_w - 4)
    left = f"{start:%H:%M:%S}" if start.date() == end.date() else f"{start:%d %b %H:%M}"
    right = f"{end:%H:%M:%S} UTC"
    title = fit("Held by", name_w + 4)
    rows = [
        Content(""),
        Content.styled(f"{title}{left}{right:>{max(0, room - len(left))}}", QUIET),
    ]
    for member in service.members:
        words = strip(turns(service, member, events), start, end, room)
        drawn = Content.assemble(*((_SPANS.get(w, _QUIET_SPAN)) for w in words)).simplify()
        name = Content.styled(f"  {fit_name(member.node, name_w)}  ", "bold $foreground")
        rows.append(name + drawn)
    return rows


def weight_text(member: Member) -> str:
    """The weight that is announced, and out of what if it is less."""
    if not member.weight:
        return "–"
    if member.full_weight and member.weight != member.full_weight:
        return f"{member.weight} of {member.full_weight}"
    return f"{member.weight}"


def _held(service: Service) -> str:
    if service.kind != "anycast":
        if service.state == "unknown" and not service.holders:
            return "nobody is known to hold it"
        return f"held by {', '.join(service.holders)}" if service.holders else "held by nobody"
    return f"{len(service.holders)} of {service.expected} announce"


def _columns(service: Service, width: int) -> tuple[int, int]:
    """How wide names and bars may be."""
    longest = max((cell_len(m.node) for m in service.members), default=4)
    name_w = min(max(longest, len("Node")), NAME_MAX_W)
    used = 2 + name_w + 2 + STANCE_W + WEIGHT_W + 1 + 6 + 2 + AGE_W + 2 + ROUTERS_W
    return name_w, min(SHARE_MAX_W, max(SHARE_MIN_W, width - used))


def _titles(service: Service, width: int) -> Content:
    name_w, share_w = _columns(service, width)
    if service.kind != "anycast":
        row = fit("Node", name_w + 2) + fit("Role", STANCE_W) + fit("Priority", WEIGHT_W) + "Since"
    else:
        row = fit("Node", name_w + 2) + fit("Stance", STANCE_W) + fit("Weight", WEIGHT_W + 1)
        title = (
            "Share of new connections"
            if share_w + 7 >= len("Share of new connections")
            else "Share"
        )
        row += fit(title, share_w + 8) + fit("Since", AGE_W + 2) + "Heard by"
    return Content.styled(f"  {row}", QUIET)


def _member(status: Status, service: Service, member: Member, width: int) -> Content:
    name_w, share_w = _columns(service, width)
    word = "unheard" if unheard(member) else member.role or member.stance or "unknown"
    sign = mark(ROLES, word)
    strong = "bold " if member.node in service.holders else ""
    node = next((n for n in status.nodes if n.name == member.node), None)
    stale = node is not None and node.condition == "stale"
    aged = since(member.since, status.at)
    parts: list[tuple[str, str] | Content] = [
        (f"{'?' if stale else sign.glyph} ", WATCH if stale else f"{strong}{sign.style}"),
        (fit_name(member.node, name_w) + "  ", "bold $foreground"),
        (fit(word, STANCE_W), QUIET if stale else f"{strong}{sign.style}"),
    ]
    if service.kind != "anycast":
        parts += [(fit(f"{member.priority or '–'}", WEIGHT_W), QUIET), (aged, QUIET)]
        return Content.assemble(*parts)
    parts += [
        (fit(weight_text(member), WEIGHT_W) + " ", "$foreground"),
        bar(member.share, share_w, style="$primary"),
        (f" {percent(member.share) if member.share is not None else '?':>5}  ", "$foreground"),
        (fit(aged, AGE_W + 2), QUIET),
    ]
    if stale or node is None:
        parts.append(("not heard", WATCH))
    else:
        tail = count_up(node) or f"{member.routers} routers"
        parts.append((tail, QUIET if member.routers else WATCH))
    return Content.assemble(*parts)


def _because(service: Service, member: Member, width: int) -> list[Content]:
    """Why it is so, unless the service's reasons or the line itself have just said it."""
    lead = Content.styled("    because ", QUIET)
    told = " ".join(r.text for r in service.reasons)
    return [
        paragraph(lead, reason.text, width, indent=12)
        for reason in member.reasons
        if reason.text not in told and reason.code not in _SAID
    ]
