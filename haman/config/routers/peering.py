"""One router's side of the BGP sessions of one or several nodes, read from their configurations. Pure.

Which neighbour of each file is the router is said by name. Without names every file must leave no
doubt: at most one neighbour per address family, and the same name in all of them. Two sessions are
the same router's only if they agree on its AS, and if the router can tell the nodes apart.
"""

import ipaddress
from collections.abc import Mapping, Sequence

from haman.config.model import Bfd, Bgp, Config, Neighbor
from haman.config.reader import Problem
from haman.config.walk import labels
from haman.core.frozen import dataclass

PREFIXES_SPARE = 16
PATHS_SPARE = 8


@dataclass(frozen=True, slots=True)
class Session:
    """One node, as the router sees it.

    Attributes:
        node: its name.
        path: of its configuration.
        key: of the neighbour in it.
        neighbor: what the node calls the router.
        address: the node's, of family `version`, 4 or 6; it is the next hop of what it announces.
        local_as: the node's.
        password_file: on the node; "" = no TCP MD5.
        password: what the router must be told; None = not to be shown.
    """

    node: str
    path: str
    key: str
    neighbor: str
    version: int
    address: str
    local_as: int
    hold_time_s: int
    ttl_security: bool
    bfd: Bfd | None
    password_file: str
    password: str | None

    @property
    def keepalive_s(self) -> int:
        """A third of the hold time (RFC 4271 section 10)."""
        return max(1, self.hold_time_s // 3)


@dataclass(frozen=True, slots=True)
class Peering:
    """All sessions of one router with the nodes.

    Attributes:
        router_as: the router's.
        router_id: one of its addresses that the nodes use; "" where they use IPv6 alone.
        prefixes: all that the nodes announce, each with the next hops of the nodes that do; none
            where no session of its family is configured.
    """

    router_as: int
    router_id: str
    sessions: tuple[Session, ...]
    prefixes: Mapping[str, tuple[str, ...]]

    @property
    def versions(self) -> tuple[int, ...]:
        """The address families in which something is announced."""
        return tuple(version for version in (4, 6) if self.announced(version))

    @property
    def nodes(self) -> tuple[str, ...]:
        """Their names, in the order of the files."""
        return tuple(dict.fromkeys(session.node for session in self.sessions))

    def of(self, version: int) -> tuple[Session, ...]:
        """The sessions of one address family."""
        return tuple(session for session in self.sessions if session.version == version)

    def announced(self, version: int) -> Mapping[str, tuple[str, ...]]:
        """The prefixes of one family that come over a session, with their next hops."""
        return {
            prefix: hops
            for prefix, hops in self.prefixes.items()
            if hops and ipaddress.ip_network(prefix).version == version
        }

    def prefix_limit(self, version: int) -> int:
        """As many prefixes as one node may send before the router suspects a mistake."""
        return max(PREFIXES_SPARE, 2 * len(self.announced(version)))

    def path_limit(self, version: int) -> int:
        """Next hops that one prefix may have at once."""
        return max(PATHS_SPARE, len(self.of(version)))


@dataclass(frozen=True, slots=True)
class NodeFile:
    """A node's configuration and where it was read.

    Attributes:
        passwords: what the password files hold, by path; a file that is not in it is not shown.
    """

    path: str
    config: Config
    passwords: Mapping[str, str]


def peering(
    files: Sequence[NodeFile], names: Sequence[str] = ()
) -> tuple[Peering | None, tuple[Problem, ...]]:
    """The router's side of what the files configure.

    Args:
        files: one per node.
        names: what the files call the router; a file may use several of them, one per session.

    Returns:
        The peering and no problems, or None and every problem with its file and key.
    """
    problems: list[Problem] = []
    chosen = [found for file in files for found in _choose(file, names, problems)]
    for name in names:
        if not any(name == neighbor.name for _, _, neighbor, _ in chosen):
            paths = ", ".join(file.path for file in files)
            problems.append(Problem(paths, "bgp.neighbor", f'none is called "{name}"'))
    if not names:
        _check_same_name(chosen, problems)
    _check_nodes(files, problems)
    _check_router(chosen, problems)
    if problems or not chosen:
        return None, tuple(problems)
    found = tuple(_session(*one) for one in chosen)
    prefixes = _prefixes(files, found)
    used = {ipaddress.ip_network(prefix).version for prefix, hops in prefixes.items() if hops}
    sessions = tuple(session for session in found if session.version in used)
    if not sessions:
        what = "no prefix is of the address family of a session with this router"
        return None, tuple(Problem(file.path, "anycast", what) for file in files)
    addresses = (ipaddress.ip_address(neighbor.address) for _, _, neighbor, _ in chosen)
    router_id = next((str(a) for a in addresses if isinstance(a, ipaddress.IPv4Address)), "")
    return Peering(chosen[0][2].peer_as, router_id, sessions, prefixes), ()


Chosen = tuple[NodeFile, Bgp, Neighbor, str]
"""A neighbour, where it stands, and its key."""


def _choose(file: NodeFile, names: Sequence[str], problems: list[Problem]) -> list[Chosen]:
    """The neighbours of a file that are the router."""
    bgp = file.config.bgp
    if bgp is None or not bgp.neighbor:
        key = "bgp" if bgp is None else "bgp.neighbor"
        problems.append(Problem(file.path, key, "is missing: this node has no router to talk to"))
        return []
    if not file.config.anycast:
        problems.append(Problem(file.path, "anycast", "is missing: this node announces nothing"))
        return []
    keys = labels("bgp.neighbor", [{"name": neighbor.name} for neighbor in bgp.neighbor])
    every = [(file, bgp, n, key) for n, key in zip(bgp.neighbor, keys, strict=True)]
    if names:
        found = [chosen for chosen in every if chosen[2].name in names]
        if not found:
            known = ", ".join(neighbor.name for neighbor in bgp.neighbor)
            wanted = " or ".join(names)
            problems.append(
                Problem(file.path, "bgp.neighbor", f"none is called {wanted}; there is {known}")
            )
        return found
    for version in (4, 6):
        same = [n.name for n in bgp.neighbor if _version(n.address) == version]
        if len(same) > 1:
            problems.append(
                Problem(
                    file.path,
                    "bgp.neighbor",
                    f"names several routers of IPv{version}: {', '.join(same)}; "
                    "say with --neighbor which one is meant",
                )
            )
    return every


def _check_same_name(chosen: Sequence[Chosen], problems: list[Problem]) -> None:
    first: dict[int, Chosen] = {}
    for file, bgp, neighbor, key in chosen:
        known = first.setdefault(_version(neighbor.address), (file, bgp, neighbor, key))
        if known[0] is not file and known[2].name != neighbor.name:
            problems.append(
                Problem(
                    file.path,
                    f"{key}.name",
                    f'"{neighbor.name}" may be another router than "{known[2].name}" of '
                    f"{known[0].path}; if it is the same, say --neighbor {known[2].name} "
                    f"--neighbor {neighbor.name}",
                )
            )


def _check_nodes(files: Sequence[NodeFile], problems: list[Problem]) -> None:
    """Nodes that share a name or a router id are one node to the router, or to people."""
    names: dict[str, NodeFile] = {}
    ids: dict[str, NodeFile] = {}
    for file in files:
        name, bgp = file.config.node.name, file.config.bgp
        if (other := names.setdefault(name, file)) is not file:
            problems.append(
                Problem(file.path, "node.name", f'"{name}" is already that of {other.path}')
            )
        if bgp and (other := ids.setdefault(bgp.router_id, file)) is not file:
            problems.append(
                Problem(
                    file.path,
                    "bgp.router_id",
                    f"{bgp.router_id} is already that of {other.path}; "
                    "a router refuses the second session with it",
                )
            )


def _check_router(chosen: Sequence[Chosen], problems: list[Problem]) -> None:
    """One router has one AS, and knows each of its peers by another address."""
    peers: dict[str, Chosen] = {}
    for file, bgp, neighbor, key in chosen:
        head_file, _, head, head_key = chosen[0]
        if neighbor.peer_as != head.peer_as:
            problems.append(
                Problem(
                    file.path,
                    f"{key}.peer_as",
                    f"{neighbor.peer_as} is not {head.peer_as}, as {head_key}.peer_as of "
                    f"{head_file.path} says: these are two routers; choose one with --neighbor",
                )
            )
        address = str(ipaddress.ip_address(neighbor.local_address))
        other = peers.setdefault(address, (file, bgp, neighbor, key))
        if other[2] is not neighbor:
            problems.append(
                Problem(
                    file.path,
                    f"{key}.local_address",
                    f"{address} is already {other[3]}.local_address of {other[0].path}: "
                    "a router has one session with an address; choose one with --neighbor",
                )
            )


def _session(file: NodeFile, bgp: Bgp, neighbor: Neighbor, key: str) -> Session:
    return Session(
        node=file.config.node.name,
        path=file.path,
        key=key,
        neighbor=neighbor.name,
        version=_version(neighbor.address),
        address=str(ipaddress.ip_address(neighbor.local_address)),
        local_as=bgp.local_as,
        hold_time_s=neighbor.hold_time_s,
        ttl_security=neighbor.ttl_security,
        bfd=neighbor.bfd,
        password_file=neighbor.password_file,
        password=file.passwords.get(neighbor.password_file) if neighbor.password_file else None,
    )


def _prefixes(
    files: Sequence[NodeFile], sessions: Sequence[Session]
) -> Mapping[str, tuple[str, ...]]:
    hops: dict[str, list[str]] = {}
    for file in files:
        for text in (prefix for service in file.config.anycast for prefix in service.prefixes):
            network = ipaddress.ip_network(text)
            hops.setdefault(str(network), []).extend(
                session.address
                for session in sessions
                if session.node == file.config.node.name and session.version == network.version
            )
    return {prefix: tuple(dict.fromkeys(found)) for prefix, found in hops.items()}


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version
