"""The VRRP sockets, one per interface and family, opened anew when the interface is."""

import errno
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6

from haman.core.frames import arp_request, gratuitous_arp, unsolicited_na
from haman.core.vrrp.messages import AdvertisementReceived, SendAdvertisement
from haman.core.vrrp.packet import VrrpError, decode, encode
from haman.engine.interfaces import Interfaces
from haman.engine.loop import ADVERTS, Loop
from haman.engine.reporter import Reporter
from haman.system.netlink import IFF_NOARP, Link
from haman.system.sockets import Claimed, FrameSocket, NeighbourSocket, VrrpSocket, ip_packet

Wire = tuple[str, int]
"""Interface name, and family (4 or 6)."""

Packets = tuple[tuple[IPv4Address | IPv6Address, bytes], ...]
"""An advert as it goes out: destination and whole IP packet, one for each."""

_decoded = lru_cache(maxsize=64)(decode)
"""A router says the same all the time."""

_ETHERNET = 1
_MAC_BYTES = 6


def packets(advert: SendAdvertisement) -> Packets:
    """An advert as whole IP packets."""
    made = []
    for destination in advert.destinations:
        payload = encode(
            advert.advertisement,
            source=advert.source,
            destination=destination,
            checksum=advert.checksum,
        )
        made.append((destination, ip_packet(advert.source, destination, payload)))
    return tuple(made)


class Wires:
    """Sends and receives adverts, sends GARP and NA; what fails is counted and reported.

    Args:
        frame_fd: for `FrameSocket`.
    """

    def __init__(
        self,
        loop: Loop,
        interfaces: Interfaces,
        reporter: Reporter,
        *,
        frame_fd: int,
    ) -> None:
        self._loop = loop
        self._interfaces = interfaces
        self._reporter = reporter
        self._sockets: dict[Wire, VrrpSocket] = {}
        self._neighbours: dict[str, NeighbourSocket] = {}
        self._frames = FrameSocket(frame_fd)
        self._loop.watch(self._frames, lambda: self._claimed(self._frames.receive()))
        self.received: Callable[[Wire, AdvertisementReceived], None] = lambda _wire, _advert: None
        """Called with each readable advert and where it came in."""
        self.claimed: Callable[[Claimed], None] = lambda _: None
        """Called with each claim of an address of `listen`, or any IPv6 address, but own ones."""
        self.seen: Callable[[str, IPv4Address], None] = lambda _interface, _address: None
        """Called with the interface and the sender of ARP of an address of `listen`; before `claimed`."""
        self._packets: dict[tuple[Wire, int], tuple[SendAdvertisement, Packets]] = {}

    def sync(self, wanted: Iterable[Wire]) -> None:
        """Have a socket on each of these wires whose interface exists, and on no other."""
        links = {wire: self._interfaces.link(wire[0]) for wire in wanted}
        for wire, opened in list(self._sockets.items()):
            link = links.get(wire)
            if link is None or link.index != opened.ifindex:
                self._close(wire)
        for wire, link in links.items():
            if link is not None and wire not in self._sockets:
                self._open(wire, link)

    def listen(self, addresses: Iterable[IPv4Address]) -> None:
        """Hear in ARP who claims one of these; IPv6 is heard on every open wire."""
        try:
            self._frames.listen(tuple(addresses))
        except OSError as error:
            text = f"no ARP is heard, so no second holder of an address: {error.strerror}"
            self._reporter.noise("socket-failed", text, about="arp")

    def _claimed(self, claims: Iterable[Claimed], interface: str = "") -> None:
        for claim in claims:
            name = interface or claim.interface
            link = self._interfaces.link(name)
            if link is not None and claim.mac != link.mac:
                if isinstance(claim.address, IPv4Address):
                    self.seen(name, claim.address)
                self.claimed(Claimed(name, claim.address, claim.mac))

    def ready(self, wire: Wire) -> bool:
        """Whether the socket is open."""
        return wire in self._sockets

    def _open(self, wire: Wire, link: Link) -> None:
        family = AF_INET if wire[1] == 4 else AF_INET6
        try:
            opened = VrrpSocket(link.name, link.index, family)
        except OSError as error:
            text = f"no VRRP socket on {link.name} for IPv{wire[1]}: {error.strerror}"
            self._reporter.noise("socket-failed", text, about=link.name)
            return
        self._sockets[wire] = opened
        self._loop.watch(opened, lambda: self._read(wire))
        if family == AF_INET6:
            try:
                heard = self._neighbours[wire[0]] = NeighbourSocket(link.name)
            except OSError:  # told above for what matters more, or about to be
                return
            self._loop.watch(heard, lambda: self._claimed(heard.receive(), link.name))

    def _close(self, wire: Wire) -> None:
        opened: list[VrrpSocket | NeighbourSocket] = [self._sockets.pop(wire)]
        if wire[1] == 6 and (heard := self._neighbours.pop(wire[0], None)) is not None:
            opened.append(heard)
        for each in opened:
            self._loop.forget(each)
            each.close()

    def close(self) -> None:
        """Give all sockets back."""
        for wire in list(self._sockets):
            self._close(wire)
        self._loop.forget(self._frames)
        self._frames.close()

    # ---- adverts -------------------------------------------------------------------------------

    def packets(self, wire: Wire, advert: SendAdvertisement) -> Packets:
        """An advert as whole IP packets, one per destination; encoded once while it is the same."""
        vrid = advert.advertisement.vrid
        cached = self._packets.get((wire, vrid))
        if cached is not None and cached[0] is advert:
            return cached[1]
        encoded = packets(advert)
        if advert.advertisement.priority:  # farewells come once, and would push the other out
            self._packets[wire, vrid] = (advert, encoded)
        return encoded

    def send(self, wire: Wire, advert: SendAdvertisement) -> None:
        """Send an advert to each of its destinations."""
        opened = self._sockets.get(wire)
        if opened is None:
            self._reporter.counters["error:no-socket"] += 1
            return
        for destination, packet in self.packets(wire, advert):
            try:
                opened.send(packet, destination)
            except OSError as error:
                self._failed("advertisement", wire[0], error)
            else:
                self._reporter.counters["advertisements_sent"] += 1

    def _read(self, wire: Wire) -> object:
        opened = self._sockets[wire]
        try:
            datagrams = opened.receive()
        except OSError as error:
            # Pending errors of a raw socket (ENETDOWN …) are cleared by being read.
            self._failed("receiving", wire[0], error)
            return None
        for datagram in datagrams:
            source, destination = datagram.source, datagram.destination
            try:
                advertisement = _decoded(
                    datagram.payload, source=source, destination=destination, ttl=datagram.ttl
                )
            except VrrpError as error:
                self.discarded(error.reason, f"{wire[0]}: from {source}: {error}")
                continue
            self._reporter.counters["advertisements_received"] += 1
            self.received(wire, AdvertisementReceived(advertisement, source, destination))
        return ADVERTS

    def discarded(self, reason: str, text: str) -> None:
        """A packet was dropped."""
        self._reporter.counters[f"error:{reason}"] += 1
        self._reporter.noise("packet-dropped", text, about=reason, data={"reason": reason})

    # ---- announcements -------------------------------------------------------------------------

    def announce(self, interface: str, address: IPv4Address | IPv6Address) -> None:
        """One gratuitous ARP or unsolicited NA; nothing where nobody resolves addresses."""
        link = self._interfaces.link(interface)
        if link is None or link.kind != _ETHERNET or link.flags & IFF_NOARP:
            return
        if len(link.mac) != _MAC_BYTES:
            return
        if isinstance(address, IPv4Address):
            frame = gratuitous_arp(address, link.mac)
        else:
            frame = unsolicited_na(address, link.mac)
        try:
            self._frames.send(interface, frame)
        except OSError as error:
            self._failed("announcement", interface, error)
        else:
            self._reporter.counters["announcements_sent"] += 1

    def ask(self, interface: str, address: IPv4Address) -> None:
        """One ARP request for an address; nothing where there is no Ethernet."""
        link = self._interfaces.link(interface)
        if link is None or link.kind != _ETHERNET or len(link.mac) != _MAC_BYTES:
            return
        source = self._interfaces.source(interface, 4) or IPv4Address(0)
        assert isinstance(source, IPv4Address)
        try:
            self._frames.send(interface, arp_request(address, source, link.mac))
        except OSError as error:
            self._failed("request", interface, error)

    def _failed(self, what: str, interface: str, error: OSError) -> None:
        name = errno.errorcode.get(error.errno or 0, "unknown").lower()
        self._reporter.counters[f"error:{what}-{name}"] += 1
        text = f"{what} on {interface}: {error.strerror}"
        self._reporter.noise("send-failed", text, about=f"{interface} {name}")
