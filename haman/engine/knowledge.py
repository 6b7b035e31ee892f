"""What a node knows of connections in a tail, made exact: the part of it that sockets tell.

A table remembers each SYN for FRESH_S by itself (`known_rules`). For as long as a connection has a socket
here it is in the set `known`, which is made after each look at the sockets. A client's port may be used again
while a tail is on, for a connection to another node, and a node that still held it for known would
reset it: of 300 connections 6 and 28 were lost so, in two of eight drains, with 1,000 new ones a second.

Connections that are there already are

    known    they are served here.
    kept     the same, when the first rules come; as they were, when others do.
    unknown  when the first rules come: their clients have gone elsewhere and may use the ports again.
             As they were, when others do.

Who takes back what he gave keeps what he knows: it is served in his own tail, and were it to come by the other
node alone, that one's end would cut it (91 of 14,000 were lost so).

Part of `steerer`, whose word on imports holds here, too.
"""

import socket
from collections.abc import Callable

from haman.system.inet_diag import InetDiag

KNOWN, UNKNOWN, KEPT = "known", "unknown", "kept"
FRESH_S = 10
"""Until then its socket was looked at twice, though a look at half a million takes a second."""
LEARN_AT_ONCE = 2000


class Look:
    """The sockets as they are now, of each address that is asked for."""

    def __init__(self, diag: InetDiag) -> None:
        self._diag = diag
        self._found: dict[str, tuple[dict[bytes, bytes], int]] = {}

    def sockets(self, address: str) -> dict[bytes, bytes]:
        """By connection, as `InetDiag.connections` has them.

        Raises:
            SockDiagError: the kernel refused.
        """
        return self._at(address)[0]

    def served(self, address: str) -> int:
        """How many of them have not come to their end.

        Raises:
            SockDiagError: the kernel refused.
        """
        return self._at(address)[1]

    def _at(self, address: str) -> tuple[dict[bytes, bytes], int]:
        if address not in self._found:
            sockets, count = {}, 0
            for connection, cookie, served in self._diag.connections(address):
                sockets[connection] = cookie
                count += served
            self._found[address] = (sockets, count)
        return self._found[address]


class Knowledge:
    """What one table has in its set `known`.

    Args:
        table: its name in commands, with the family.
        addresses: whose connections those are.
        run: carries out commands of nftables, whole or not at all.
    """

    def __init__(
        self, table: str, addresses: tuple[str, ...], run: Callable[[str], object]
    ) -> None:
        self._table = table
        self._run = run
        self._known: dict[str, set[bytes]] = {address: set() for address in addresses}
        self._seen: dict[str, set[bytes]] = {}
        """By the look before."""
        self._aside: dict[str, dict[bytes, bytes]] = {}
        """Those that are not to be known; with the same port, but another socket, they are."""

    def begin(self, look: Look, *, former: str) -> None:
        """Know all that is there, or nothing of it.

        Raises:
            NftablesError, SockDiagError: the kernel refused.
        """
        for address in self._known:
            sockets = look.sockets(address)
            self._aside[address] = dict(sockets) if former == UNKNOWN else {}
            self._seen[address] = set() if former == UNKNOWN else set(sockets)
            self._know(address, self._seen[address])

    def renew(self, look: Look) -> None:
        """Know what two looks had, and nothing that both had not.

        What lives for less is known by its SYN; and a dump may miss a socket while others come and go.

        Raises:
            NftablesError, SockDiagError: the kernel refused.
        """
        for address, known in self._known.items():
            aside, seen = self._aside[address], self._seen[address]
            sockets = look.sockets(address).items()
            here = {each for each, cookie in sockets if aside.get(each) != cookie}
            self._know(address, (known & (here | seen)) | (here & seen))
            self._seen[address] = here

    def _know(self, address: str, wanted: set[bytes]) -> None:
        known = self._known[address]
        for verb, each in (("add", wanted - known), ("delete", known - wanted)):
            left = list(each)
            while left:
                some, left = left[:LEARN_AT_ONCE], left[LEARN_AT_ONCE:]
                texts = ", ".join(element(connection, address) for connection in some)
                self._run(f"{verb} element {self._table} known {{ {texts} }}")
                known.symmetric_difference_update(some)


def element(connection: bytes, address: str) -> str:
    """A connection to `address`, as `InetDiag.connections` gives it, in a set of connections."""
    remote, ports = connection[:-4], connection[-4:]
    text = socket.inet_ntop(socket.AF_INET if len(remote) == 4 else socket.AF_INET6, remote)
    port, local = int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big")
    return f"{text} . {port} . {address} . {local}"
