"""The mesh's datagrams on an asyncio UDP socket; as thin as can be."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from haman.cluster.mesh import Address
from haman.config.forms import split_host_port

log = logging.getLogger(__name__)

OnDatagram = Callable[[bytes, Address], None]


class UdpTransport(asyncio.DatagramProtocol):
    """A bound socket. `send` never blocks: what the kernel cannot take now is dropped and counted."""

    def __init__(self) -> None:
        self._on_datagram: OnDatagram | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._full = False
        self.errors: Counter[str] = Counter()
        """Errors that the network answered, by their text; they concern single datagrams."""

    async def bind(self, listen: str, on_datagram: OnDatagram) -> None:
        """Bind to `listen`, "host:port" or "[v6]:port".

        Args:
            listen: an address of this host.
            on_datagram: called from the loop with each datagram and where it came from.

        Raises:
            OSError: the address is not on this host, or in use.
        """
        self._on_datagram = on_datagram
        loop = asyncio.get_running_loop()
        where = split_host_port(listen)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=where)

    @property
    def address(self) -> Address:
        """What is bound."""
        if self._transport is None:
            raise RuntimeError("the transport is not bound")
        host, port, *_ = self._transport.get_extra_info("sockname")
        return host, port

    def send(self, datagram: bytes, address: Address) -> None:
        """Send or drop."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._full:
            self.errors["send buffer full"] += 1
            return
        self._transport.sendto(datagram, address)

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        """See asyncio: more than 64 KiB wait for the kernel."""
        self._full = True

    def resume_writing(self) -> None:
        """See asyncio."""
        self._full = False

    def datagram_received(
        self, data: bytes, addr: tuple[str, int] | tuple[str, int, int, int]
    ) -> None:
        """See asyncio; IPv6 addresses come with flow label and scope, which say nothing here."""
        if self._on_datagram is not None:
            self._on_datagram(data, (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """See asyncio: a peer's port is closed, or no route; VRRP does not depend on it."""
        text = getattr(exc, "strerror", None) or str(exc)
        self.errors[text] += 1
        if self.errors[text] == 1:
            log.warning("peer datagrams: %s", text)
