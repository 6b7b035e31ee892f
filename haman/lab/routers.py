"""What the routers of a lab run: what `haman router-config` prints for the nodes of the topology."""

from haman.config.routers.bird import bird
from haman.config.routers.frr import frr, objections
from haman.config.routers.peering import NodeFile, peering
from haman.lab.files import write
from haman.lab.runtime import LabError
from haman.lab.services import configurations, router_configuration
from haman.lab.topology import Node, Topology

WRITERS = {"frr.conf": frr, "bird.conf": bird}


def prepare(topology: Topology) -> None:
    """Write the configuration of each router, where the topology binds it.

    A router gets the sessions of the nodes that name an address of its own as their neighbour.

    Raises:
        LabError: the nodes' configurations do not fit together.
    """
    known = [c for c in configurations(topology) if c.config.anycast]
    for node in topology.nodes:
        path = router_configuration(node)
        if path is None:
            continue
        own = addresses(node)
        files = [
            NodeFile(str(c.source), c.config, {})
            for c in known
            if c.config.bgp and any(n.address in own for n in c.config.bgp.neighbor)
        ]
        found, problems = peering(files)
        if found is None:
            raise LabError(
                "\n".join(map(str, problems)) or f"no node announces to the router {node.name}"
            )
        if path.name == "frr.conf" and (refused := objections(found)):
            raise LabError("\n".join(map(str, refused)))
        write(path, WRITERS[path.name](found))


def addresses(node: Node) -> frozenset[str]:
    """The addresses that a node's commands give it, without prefix length."""
    return frozenset(
        word.partition("/")[0]
        for words in node.exec
        for word in words
        if words[:2] == ("ip", "address") and "/" in word
    )
