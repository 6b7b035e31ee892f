"""Raw sockets: VRRP in both families, Ethernet frames, and who claims an address on a link.

What is sent carries its own IP header, made by `ip_packet`: the same bytes serve the engine now
and its guard later, and the source address, which the checksum covers, is ours to choose.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from haman.core.frozen import dataclass
from haman.system.native import libc

IPAddress = IPv4Address | IPv6Address

_VRRP: Final = 112
_TTL: Final = 255
_TRAFFIC_CLASS: Final = 0xC0  # internetwork control, as the field sends it
_PRIORITY_CONTROL: Final = 7  # TC_PRIO_CONTROL: first out of the local queue
_GROUPS: Final = {socket.AF_INET: "224.0.0.18", socket.AF_INET6: "ff02::12"}

_IP_HDRINCL, _IP_MULTICAST_ALL = 3, 49
_IPV6_HDRINCL, _IPV6_MULTICAST_ALL = 36, 29

_V4 = struct.Struct("!BBHHHBBH4s4s")
_V6 = struct.Struct("!IHBB16s16s")
_NA = struct.Struct("!BBHI16sBB6s")  # with the option that tells the link-layer address
_NEIGHBOR_ADVERTISEMENT: Final = 136
_HOP_LIMIT: Final = 255
_ICMPV6_FILTER, _SO_ATTACH_FILTER, _ETH_P_ARP = 1, 26, 0x0806
_ARP_BYTES: Final = 42
_LINK_ADDRESS = struct.Struct("=HHi12x")  # sockaddr_ll
_WATCHED_MAX: Final = 400  # up to 40 bytes each, once translated; optmem_max may be 20 KiB
_BPF_LOAD_WORD, _BPF_JUMP_EQUAL, _BPF_RETURN = 0x20, 0x15, 0x06
_RECEIVE_BYTES: Final = 2048
_DATAGRAMS_PER_READ: Final = 64


@dataclass(frozen=True, slots=True)
class Datagram:
    """A VRRP payload as it came in."""

    source: IPAddress
    destination: IPAddress
    ttl: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """Somebody said on the link that it has an address; `interface` "" = where the socket listens."""

    interface: str
    address: IPAddress
    mac: bytes


def ip_packet(source: IPAddress, destination: IPAddress, payload: bytes) -> bytes:
    """A whole IP packet around a VRRP payload; the kernel fills in the IPv4 header checksum."""
    if source.version == 4:
        length = _V4.size + len(payload)
        fixed = (0x45, _TRAFFIC_CLASS, length, 0, 0, _TTL, _VRRP, 0)
        return _V4.pack(*fixed, source.packed, destination.packed) + payload
    first = 6 << 28 | _TRAFFIC_CLASS << 20
    ends = (source.packed, destination.packed)
    return _V6.pack(first, len(payload), _VRRP, _TTL, *ends) + payload


class VrrpSocket:
    """VRRP of one family on one interface: hears the multicast group and unicast.

    Own adverts are not heard (no multicast loop), nor groups that other programs joined.

    Raises:
        OSError: no permission, or no such interface.
    """

    def __init__(self, interface: str, ifindex: int, family: socket.AddressFamily) -> None:
        self.family = family
        self.ifindex = ifindex
        self._last: tuple[IPAddress | None, tuple[str | int, ...]] = (None, ())
        self._socket = socket.socket(family, socket.SOCK_RAW, _VRRP)
        try:
            self._set_up(interface)
        except OSError:
            self._socket.close()
            raise

    def _set_up(self, interface: str) -> None:
        option = self._socket.setsockopt
        self._socket.setblocking(False)
        option(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        option(socket.SOL_SOCKET, socket.SO_PRIORITY, _PRIORITY_CONTROL)
        group = socket.inet_pton(self.family, _GROUPS[self.family])
        if self.family == socket.AF_INET:
            level = socket.IPPROTO_IP
            option(level, _IP_HDRINCL, 1)
            option(level, _IP_MULTICAST_ALL, 0)
            option(level, socket.IP_MULTICAST_LOOP, 0)
            membership = group + bytes(4) + struct.pack("=i", self.ifindex)
            option(level, socket.IP_ADD_MEMBERSHIP, membership)
        else:
            level = socket.IPPROTO_IPV6
            option(level, _IPV6_HDRINCL, 1)
            option(level, _IPV6_MULTICAST_ALL, 0)
            option(level, socket.IPV6_MULTICAST_LOOP, 0)
            option(level, socket.IPV6_RECVPKTINFO, 1)
            option(level, socket.IPV6_RECVHOPLIMIT, 1)
            option(level, socket.IPV6_JOIN_GROUP, group + struct.pack("=i", self.ifindex))

    def fileno(self) -> int:
        """For epoll."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the socket back, and leave the group."""
        self._socket.close()

    def send(self, packet: bytes, destination: IPAddress) -> None:
        """Send what `ip_packet` made; never blocks.

        Raises:
            OSError: link down, no route, no permission, queue full.
        """
        if destination is not self._last[0]:  # to spell one takes as long as to send to it
            scope = (0, self.ifindex) if self.family == socket.AF_INET6 else ()
            self._last = (destination, (str(destination), 0, *scope))
        self._socket.sendto(packet, socket.MSG_DONTWAIT, self._last[1])

    def receive(self) -> list[Datagram]:
        """What waits, at most 64 datagrams.

        Raises:
            OSError: the interface is gone or down (reported once by the kernel).
        """
        received: list[Datagram] = []
        for _ in range(_DATAGRAMS_PER_READ):
            try:
                data, ancillary, _, sender = self._socket.recvmsg(_RECEIVE_BYTES, 128)
            except (BlockingIOError, InterruptedError):
                break
            datagram = (
                _from_ipv4(data)
                if self.family == socket.AF_INET
                else _from_ipv6(data, ancillary, sender)
            )
            if datagram is not None:
                received.append(datagram)
        return received


def _from_ipv4(data: bytes) -> Datagram | None:
    # The kernel checked the header before it gave the packet to a raw socket.
    header = (data[0] & 0x0F) * 4 if data else 0
    if header < _V4.size or len(data) < header:
        return None
    total = int.from_bytes(data[2:4], "big")
    source, destination = IPv4Address(data[12:16]), IPv4Address(data[16:20])
    return Datagram(source, destination, data[8], data[header:total])


def _from_ipv6(
    data: bytes, ancillary: list[tuple[int, int, bytes]], sender: tuple[str, int, int, int]
) -> Datagram | None:
    destination, ttl = None, None
    for level, kind, value in ancillary:
        if level != socket.IPPROTO_IPV6:
            continue
        if kind == socket.IPV6_PKTINFO:
            destination = IPv6Address(value[:16])
        elif kind == socket.IPV6_HOPLIMIT:
            ttl = struct.unpack("=i", value[:4])[0]
    if destination is None or ttl is None:
        return None
    return Datagram(IPv6Address(sender[0].partition("%")[0]), destination, ttl, data)


class NeighbourSocket:
    """Hears who says where an IPv6 address lives: neighbour advertisements on one interface.

    Raises:
        OSError: no such interface, or not allowed.
    """

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        try:
            self._socket.setblocking(False)
            option = self._socket.setsockopt
            option(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
            option(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            passed = bytearray(b"\xff" * 32)  # a set bit blocks that type
            passed[_NEIGHBOR_ADVERTISEMENT // 8] &= ~(1 << _NEIGHBOR_ADVERTISEMENT % 8) & 0xFF
            option(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, bytes(passed))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """For epoll."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def receive(self) -> list[Claimed]:
        """What waits, at most 64 of them; one that left its link (hop limit) is no neighbour's."""
        received = []
        for _ in range(_DATAGRAMS_PER_READ):
            try:
                data, ancillary, _, _ = self._socket.recvmsg(_RECEIVE_BYTES, 64)
            except OSError:
                break
            hops = [struct.unpack("=i", v[:4])[0] for _, kind, v in ancillary]
            if hops == [_HOP_LIMIT] and len(data) >= _NA.size and data[24:26] == b"\x02\x01":
                received.append(Claimed("", IPv6Address(data[8:24]), data[26:32]))
        return received


class FrameSocket:
    """Sends whole Ethernet frames, and hears ARP of the addresses it is told.

    Args:
        number: descriptor of an AF_PACKET socket of protocol 0, which receives nothing at first;
            taken over.
    """

    def __init__(self, number: int) -> None:
        self._socket = socket.socket(fileno=number)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, _PRIORITY_CONTROL)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def send(self, interface: str, frame: bytes) -> None:
        """Send one frame.

        Raises:
            OSError: link down or gone, queue full.
        """
        self._socket.sendto(frame, (interface, 0))

    def fileno(self) -> int:
        """For epoll."""
        return self._socket.fileno()

    def listen(self, addresses: Sequence[IPv4Address]) -> None:
        """Hear who says in ARP that it has one of these, on any interface; the kernel filters.

        At most 400; of more, none is heard.

        Raises:
            OSError: the kernel refuses.
        """
        known = addresses if len(addresses) <= _WATCHED_MAX else ()
        program = _sender_filter([int(address) for address in known])
        buffer = ctypes.create_string_buffer(program)
        code = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, code)
        if known:
            # All interfaces: index 0, for which Python's bind has no word.
            place = _LINK_ADDRESS.pack(socket.AF_PACKET, socket.htons(_ETH_P_ARP), 0)
            if libc.bind(self._socket.fileno(), place, len(place)):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))

    def receive(self) -> list[Claimed]:
        """What waits, at most 64 of them."""
        received = []
        for _ in range(_DATAGRAMS_PER_READ):
            try:
                data, sender = self._socket.recvfrom(128)
            except OSError:
                break
            if len(data) >= _ARP_BYTES:
                received.append(Claimed(sender[0], IPv4Address(data[28:32]), data[22:28]))
        return received


def _sender_filter(addresses: Sequence[int]) -> bytes:
    """Classic BPF: frames whose ARP sender address is one of these."""
    steps = [(_BPF_LOAD_WORD, 0, 0, 28)]
    for address in addresses:
        steps += [(_BPF_JUMP_EQUAL, 0, 1, address), (_BPF_RETURN, 0, 0, _RECEIVE_BYTES)]
    steps.append((_BPF_RETURN, 0, 0, 0))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
