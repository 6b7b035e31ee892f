"""Who else serves an anycast service, and whether anybody is connected to them."""

from collections.abc import Iterable

from haman.core.reports import PeerView
from haman.core.words import Condition, Stance, Utilization

SERVING = (Stance.FULL, Stance.REDUCED)
STRAY_PER_S = 1.0
"""New connections that nobody misses: of a monitoring system, and haman's own at the edge of a mean."""


def servers(name: str, peers: tuple[PeerView, ...]) -> tuple[str, ...]:
    """The peers that serve this service, by name: fresh, not in fault, heard in every family."""
    found = []
    for peer in peers:
        if not peer.fresh or peer.report is None or peer.report.condition is Condition.FAULT:
            continue
        said = peer.report.service(name)
        if said is not None and said.stance in SERVING and said.carried:
            found.append(peer.name)
    return tuple(sorted(found))


def unladen(
    serving: Iterable[str], peers: tuple[PeerView, ...], resources: Iterable[Utilization]
) -> bool:
    """Whether nobody is connected to this node or to those that serve, and hardly anybody comes.

    What is not known is not nothing. A moment without connections alone says little where they are short.

    Args:
        serving: names, of `servers`.
        peers: all that are configured.
        resources: of this node.
    """
    own = next((r.used for r in resources if r.name == "connections"), None)
    reports = {peer.name: peer.report for peer in peers}
    return own == 0 and all(
        report is not None
        and report.connections == 0
        and report.new_connections_per_s is not None
        and report.new_connections_per_s <= STRAY_PER_S
        for report in map(reports.get, serving)
    )
