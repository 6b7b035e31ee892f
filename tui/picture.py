"""What of a status is in sight, and found quickly: a fleet has thousands of members."""

from dataclasses import dataclass, field

from haman.api.schema import Member, Node, Service, Status
from tui.matching import node_matches, service_matches


@dataclass(frozen=True, slots=True)
class Picture:
    """A status, as far as it passes the filter.

    Attributes:
        nodes: those in sight, in the agent's order.
        services: those in sight, likewise.
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
    nodes = tuple(n for n in status.nodes if node_matches(query, n))
    services = tuple(s for s in status.services if service_matches(query, s))
    return Picture(
        status,
        nodes or status.nodes,
        services or status.services,
        bool(nodes or services or not query),
        {s.name: {m.node: m for m in s.members} for s in status.services},
    )
