"""What the nodes of a topology serve, as their own configuration files say."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from haman.config import reader
from haman.config.forms import split_host_port
from haman.config.model import Config
from haman.lab.runtime import LabError
from haman.lab.topology import Node, Topology

CONFIGURATION = "/etc/haman/haman.toml"
ROUTER_CONFIGURATIONS = ("/etc/frr/frr.conf", "/etc/bird/bird.conf")


@dataclass(frozen=True, slots=True)
class Vip:
    """A floating address set of the lab.

    Attributes:
        addresses: without prefix length, as the configuration orders them.
        nodes: who is configured for it, highest priority first.
    """

    name: str
    addresses: tuple[str, ...]
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Anycast:
    """A prefix set that several nodes of the lab announce.

    Attributes:
        prefixes: as the router's kernel writes them, in the order of the configuration.
        nodes: who is configured for it, in the order of the topology.
    """

    name: str
    prefixes: tuple[str, ...]
    nodes: tuple[str, ...]

    @property
    def address(self) -> str:
        """The first address of the first prefix: what clients ask for."""
        return str(ipaddress.ip_network(self.prefixes[0])[0])


@dataclass(frozen=True, slots=True)
class Services:
    """All that a lab serves.

    Attributes:
        routers: the nodes that the anycast prefixes are announced to.
        next_hops: which node each address is that the router forwards to.
    """

    vips: tuple[Vip, ...] = ()
    anycasts: tuple[Anycast, ...] = ()
    routers: tuple[str, ...] = ()
    next_hops: Mapping[str, str] = field(default_factory=dict)

    @property
    def nodes(self) -> tuple[str, ...]:
        """All that serve something."""
        vips = (node for vip in self.vips for node in vip.nodes)
        anycasts = (node for anycast in self.anycasts for node in anycast.nodes)
        return tuple(dict.fromkeys((*vips, *anycasts)))


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """A node's configuration, and the file of the checkout that it is in."""

    node: str
    source: Path
    config: Config


def services_of(topology: Topology) -> Services:
    """What the nodes' configurations say they share.

    Raises:
        LabError: a node's configuration cannot be used.
    """
    claims: dict[str, list[tuple[int, str]]] = {}
    addresses: dict[str, tuple[str, ...]] = {}
    announcers: dict[str, list[str]] = {}
    prefixes: dict[str, tuple[str, ...]] = {}
    next_hops: dict[str, str] = {}
    for known in configurations(topology):
        for vip in known.config.vip:
            claims.setdefault(vip.name, []).append((-vip.priority, known.node))
            addresses[vip.name] = tuple(
                str(ipaddress.ip_interface(address).ip) for address in vip.addresses
            )
        for anycast in known.config.anycast:
            announcers.setdefault(anycast.name, []).append(known.node)
            prefixes[anycast.name] = tuple(
                str(ipaddress.ip_network(prefix)) for prefix in anycast.prefixes
            )
        for neighbor in known.config.bgp.neighbor if known.config.bgp else ():
            next_hops[str(ipaddress.ip_address(neighbor.local_address))] = known.node
    return Services(
        tuple(
            Vip(name, addresses[name], tuple(node for _, node in sorted(claim)))
            for name, claim in claims.items()
        ),
        tuple(Anycast(name, prefixes[name], tuple(by)) for name, by in announcers.items()),
        tuple(node.name for node in topology.nodes if router_configuration(node)),
        next_hops,
    )


def configurations(topology: Topology) -> tuple[NodeConfig, ...]:
    """The configuration of each node that has one.

    Raises:
        LabError: one cannot be used.
    """
    found = []
    for node in topology.nodes:
        source = next((b.source for b in node.binds if b.target == CONFIGURATION), None)
        if source is None:
            continue
        try:
            text = source.read_text()
        except OSError as error:
            raise LabError(f"{source}: cannot be read: {error.strerror}") from error
        config, problems = _parsed(text, str(source), node.name)
        if config is None:
            raise LabError("\n".join(map(str, problems)))
        found.append(NodeConfig(node.name, source, config))
    return tuple(found)


@cache
def _parsed(text: str, source: str, name: str) -> tuple[Config | None, Sequence[object]]:
    """Once for each file: keys, routers and services all come from the same ones."""
    return reader.parse(text, source, hostname=name)


def login_hosts(topology: Topology) -> tuple[str, ...]:
    """Names and addresses of the nodes that run haman, for known_hosts.

    Raises:
        LabError: a node's configuration cannot be used.
    """
    found: dict[str, None] = {}
    for known in configurations(topology):
        cluster = known.config.cluster
        others = (text for peer in cluster.peer for text in peer.addresses)
        heard = [split_host_port(text)[0] for text in (cluster.listen, *others) if text]
        found |= dict.fromkeys((known.node, *heard))
    return tuple(found)


def router_configuration(node: Node) -> Path | None:
    """The file that a router node is bound to run; None for any other node."""
    return next((b.source for b in node.binds if b.target in ROUTER_CONFIGURATIONS), None)
