"""What the routers of a lab run: what `haman router-config` prints for the nodes of the topology."""

from haman.config.routers.bird import bird
from haman.config.routers.frr import frr, objections
from haman.config.routers.peering import NodeFile, peering
from haman.lab.files import write
from haman.lab.runtime import LabError
from haman.lab.services import configurations, router_configuration
from haman.lab.topology import Topology

WRITERS = {"frr.conf": frr, "bird.conf": bird}


def prepare(topology: Topology) -> None:
    """Write the configuration of each router, where the topology binds it.

    Raises:
        LabError: the nodes' configurations do not fit together.
    """
    paths = [path for path in map(router_configuration, topology.nodes) if path is not None]
    if not paths:
        return
    files = [NodeFile(str(known.source), known.config, {}) for known in configurations(topology)]
    found, problems = peering([file for file in files if file.config.anycast])
    if found is None:
        raise LabError("\n".join(map(str, problems)) or "no node announces to the lab's router")
    if refused := objections(found) if any(path.name == "frr.conf" for path in paths) else ():
        raise LabError("\n".join(map(str, refused)))
    for path in paths:
        write(path, WRITERS[path.name](found))
