"""What a node that leaves still serves, and whom."""

from collections.abc import Collection

from haman.api import schema

_SERVING = {"active", "tail"}


def served(found: schema.Status, name: str, beside: Collection[str] = ()) -> list[str]:
    """List what a node serves or announces: "web (tail)", "edge (shut)"; and of anycast, a tail.

    Args:
        found: the cluster.
        name: of the node.
        beside: services that are left out.
    """
    return [
        f"{s.name} ({_part(m)})"
        for s in found.services
        for m in s.members
        if m.node == name
        and s.name not in beside
        and (m.role in _SERVING or _announced(m) or m.connections_left is not None)
    ]


def _part(member: schema.Member) -> str:
    return member.role or (member.stance if _announced(member) else "tail")


def _announced(member: schema.Member) -> bool:
    """Whether it announces an anycast service, in whichever stance."""
    return member.stance not in {"", "withdrawn"}


def last_resorts(found: schema.Status, name: str) -> list[str]:
    """Name the anycast services that a node announces shut, as nobody announces them better."""
    return [
        s.name
        for s in found.services
        for m in s.members
        if m.node == name and m.stance == "shut" and name in s.holders
    ]


def clients(found: schema.Status, name: str) -> int:
    """Count the clients that are connected to a node; 0 where that is not known."""
    return next((n.connections or 0 for n in found.nodes if n.name == name), 0)


def counted(number: int) -> str:
    """Write 1 client, 2 clients."""
    return f"{number} client" if number == 1 else f"{number} clients"


def left(found: schema.Status, name: str) -> str:
    """Say what is left on a drained node: services, then clients; "" = nothing."""
    number = clients(found, name)
    return ", ".join([*served(found, name), *([counted(number)] if number else [])])
