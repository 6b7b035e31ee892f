"""What of a status is in sight, and found quickly: a fleet has thousands of members."""

import re
from dataclasses import dataclass, field

from haman.api.schema import Member, Node, Service, Status
from tui.matching import node_matches, service_matches

_WORDS = re.compile(r"(\D*)(\d{0,18})")


@dataclass(frozen=True, slots=True)
class Picture:
    """A status, as far as it passes the filter.

    Attributes:
        nodes: those in sight, by name, whichever agent answers: each puts itself first.
        services: those in sight, in the agent's order.
        found: whether anything passed; if nothing did, everything is in sight.
        members: by service, by node.
    """

    status: Status
    nodes: tuple[Node, ...]
    services: tuple[Service, ...]
    found: bool = True
    members: dict[str, dict[str, Member]] = field(default_factory=dict)

    def node(self, name: str) -> Node | None:
        """The node of this name; None if there is none in sight."""
        return next((n for n in self.nodes if n.name == name), None)

    def service(self, name: str) -> Service | None:
        """The service of this name; None if there is none in sight."""
        return next((s for s in self.services if s.name == name), None)

    def member(self, service: str, node: str) -> Member | None:
        """What a node is to a service; None if nothing."""
        return self.members.get(service, {}).get(node)


def picture(status: Status, query: str = "") -> Picture:
    """What passes `query`: nodes that match, services that match; all of a kind of which none does."""
    every = tuple(sorted(status.nodes, key=lambda n: _natural(n.name)))
    nodes = tuple(n for n in every if node_matches(query, n))
    services = tuple(s for s in status.services if service_matches(query, s))
    return Picture(
        status,
        nodes or every,
        services or status.services,
        bool(nodes or services or not query),
        {s.name: {m.node: m for m in s.members} for s in status.services},
    )


def _natural(name: str) -> tuple[tuple[str, int], ...]:
    """So that lb9 comes before lb10."""
    return tuple((word, int(digits or 0)) for word, digits in _WORDS.findall(name))
