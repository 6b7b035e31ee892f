"""The BGP neighbours of a node: sessions and BFD."""

from textual.content import Content

from haman.api.schema import Neighbor, Node
from haman.core.words import Severity
from tui.views.marks import QUIET, SESSIONS, SEVERITIES, mark
from tui.views.type import packed, paragraph, since

BFD_FINE = frozenset({"", "up", "admin-down"})


def is_well(found: Neighbor) -> bool:
    """The session is up and steady, and so is BFD if it should be."""
    return found.session == "up" and not found.reasons and found.bfd in BFD_FINE


def routers(node: Node, now: str, width: int) -> list[Content]:
    """Those that are well side by side, then each of the others with its reasons."""
    well = [n for n in node.neighbors if is_well(n)]
    rows = packed([("Routers", QUIET), *((_brief(n), "$success") for n in well)], width)
    if not node.neighbors:
        return []
    if not well:
        rows = []
    for neighbor in node.neighbors:
        if not is_well(neighbor):
            rows += _trouble(neighbor, now, width)
    return rows


def count_up(node: Node) -> str:
    """As in "1 of 2 routers"; "" for a node without."""
    if not node.neighbors:
        return ""
    up = sum(n.session == "up" for n in node.neighbors)
    noun = "router" if len(node.neighbors) == 1 else "routers"
    return f"{up} of {len(node.neighbors)} {noun}"


def _brief(found: Neighbor) -> str:
    bfd = f", BFD {found.bfd}" if found.bfd else ""
    return f"{mark(SESSIONS, found.session).glyph} {found.name} up{bfd}"


def _trouble(found: Neighbor, now: str, width: int) -> list[Content]:
    session, bfd = mark(SESSIONS, found.session), mark(SESSIONS, found.bfd)
    lasted = since(found.since, now)
    flaps = mark(SEVERITIES, Severity.WARNING)
    worst = session if found.session != "up" else flaps if found.bfd in BFD_FINE else bfd
    parts: list[tuple[str, str]] = [
        ("Router ", QUIET),
        (f"{worst.glyph} {found.name}", f"bold {worst.style}"),
        (f" {found.address}  ", QUIET),
        (f"BGP {found.session}", f"bold {session.style}"),
        (f" for {lasted}" if lasted else "", QUIET),
    ]
    if found.bfd:
        parts.append((f"  BFD {found.bfd}", f"bold {bfd.style}"))
    rows = [Content.assemble(*parts)]
    because = Content.styled("  because ", QUIET)
    texts = [r.text for r in found.reasons]
    texts += [f"BFD: {found.bfd_reason}"] if found.bfd_reason else []
    rows += [paragraph(because, text, width, indent=10) for text in texts]
    return rows
