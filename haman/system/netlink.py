"""The part of rtnetlink that an address owner needs, as bytes in and values out.

Messages and attributes: rtnetlink(7), netlink(7), linux/if_addr.h, linux/if_link.h. No socket is
opened here (`netlink_socket` does that). Whatever the bytes, `parse` raises nothing but
`MalformedNetlinkError`.
"""

import socket
import struct
import sys
from collections.abc import Iterator

from haman.core.frozen import dataclass

# Message types and flags: netlink(7), linux/rtnetlink.h.
NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN = 2, 3, 4
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR = 0x1, 0x4, 0x10
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLM_F_REPLACE, NLM_F_CREATE, NLM_F_DUMP = 0x100, 0x400, 0x300
NLMSGERR_ATTR_MSG = 1

IFLA_ADDRESS, IFLA_IFNAME, IFLA_OPERSTATE = 1, 3, 16
IFA_ADDRESS, IFA_LOCAL, IFA_CACHEINFO, IFA_FLAGS, IFA_PROTO = 1, 2, 6, 8, 11

IFA_F_SECONDARY, IFA_F_NODAD, IFA_F_DADFAILED, IFA_F_DEPRECATED = 0x01, 0x02, 0x08, 0x20
IFA_F_TENTATIVE, IFA_F_PERMANENT, IFA_F_NOPREFIXROUTE = 0x40, 0x80, 0x200

IFF_UP, IFF_LOOPBACK, IFF_RUNNING, IFF_NOARP = 0x1, 0x8, 0x40, 0x80
OPERSTATE_UNKNOWN, OPERSTATE_UP = 0, 6

ADDRESS_MARK = 0x68
"""IFA_PROTO of every address that haman adds (kernels ≥ 5.18; older ones ignore it)."""

FOREVER_S = 0xFFFFFFFF

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_LINK = struct.Struct("=BxHiII")
_AF_BRIDGE = 7
_ADDRESS = struct.Struct("=BBBBI")
_CACHEINFO = struct.Struct("=IIII")
_SIZE_OF = {socket.AF_INET: 4, socket.AF_INET6: 16}
_NLA_TYPE_MASK = 0x3FFF


class MalformedNetlinkError(ValueError):
    """Bytes that are no netlink message."""


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface.

    Attributes:
        kind: ARPHRD_* of linux/if_arp.h; 1 = Ethernet, 772 = loopback.
        flags: IFF_* of netdevice(7).
        operstate: RFC 2863 as in linux/if.h; 6 = up, 0 = unknown (drivers that never say).
        mac: link-layer address; empty where there is none.
    """

    index: int
    name: str
    kind: int
    flags: int
    operstate: int = OPERSTATE_UNKNOWN
    mac: bytes = b""

    @property
    def up(self) -> bool:
        """Administratively up, and able to carry packets as far as the driver knows."""
        carrier = self.operstate == OPERSTATE_UP or (
            self.operstate == OPERSTATE_UNKNOWN and bool(self.flags & IFF_RUNNING)
        )
        return bool(self.flags & IFF_UP) and carrier

    @property
    def loopback(self) -> bool:
        """Whether it is `lo`."""
        return bool(self.flags & IFF_LOOPBACK)


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address on an interface.

    Attributes:
        family: AF_INET or AF_INET6.
        address: as `inet_ntop` writes it.
        flags: IFA_F_*.
        protocol: IFA_PROTO; `ADDRESS_MARK` = added by haman, 0 = unknown.
        valid_s: lifetime left; `FOREVER_S` = permanent.
    """

    ifindex: int
    family: int
    address: str
    prefix: int
    scope: int = 0
    flags: int = 0
    protocol: int = 0
    valid_s: int = FOREVER_S

    @property
    def place(self) -> "InterfaceAddress":
        """Only what identifies it: interface, address and prefix length."""
        return InterfaceAddress(self.ifindex, self.family, self.address, self.prefix)


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """The link exists and is as shown."""

    link: Link


@dataclass(frozen=True, slots=True)
class LinkRemoved:
    """The link is gone."""

    link: Link


@dataclass(frozen=True, slots=True)
class AddressAdded:
    """The address exists and is as shown."""

    address: InterfaceAddress


@dataclass(frozen=True, slots=True)
class AddressRemoved:
    """The address is gone."""

    address: InterfaceAddress


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The kernel's answer to the request `sequence`; `errno` 0 = done."""

    sequence: int
    errno: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class DumpCompleted:
    """The end of a dump; `consistent` False = the tables changed meanwhile, dump again."""

    sequence: int
    consistent: bool = True
    errno: int = 0


Message = LinkChanged | LinkRemoved | AddressAdded | AddressRemoved | Acknowledged | DumpCompleted


def new_address(
    sequence: int,
    address: InterfaceAddress,
    *,
    lease_s: int,
    prefix_route: bool = True,
) -> bytes:
    """RTM_NEWADDR that adds `address` or, if it is there, renews its lifetime.

    Args:
        sequence: echoed in the acknowledgement.
        address: only ifindex, family, address, prefix and scope are used.
        lease_s: valid lifetime, 1 s resolution; the kernel removes the address when it lapses.
        prefix_route: let the kernel add the route to the prefix (IPv6); see `addresses.py`.
    """
    packed = _packed(address)
    flags = 0
    preferred_s = lease_s
    if address.family == socket.AF_INET6:
        # No duplicate address detection: it would keep the address unusable for a second, and the
        # election has just settled who holds it. Deprecated from the start: the node must never
        # choose an address that moves as the source of its own connections (RFC 4862, 5.5.4).
        flags |= IFA_F_NODAD
        preferred_s = 0
        if not prefix_route:
            flags |= IFA_F_NOPREFIXROUTE
    body = _ADDRESS.pack(
        address.family, address.prefix, flags & 0xFF, address.scope, address.ifindex
    )
    body += _attribute(IFA_LOCAL, packed) + _attribute(IFA_ADDRESS, packed)
    body += _attribute(IFA_CACHEINFO, _CACHEINFO.pack(preferred_s, lease_s, 0, 0))
    body += _attribute(IFA_FLAGS, struct.pack("=I", flags))
    body += _attribute(IFA_PROTO, bytes((ADDRESS_MARK,)))
    kind = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE
    return _message(RTM_NEWADDR, kind, sequence, body)


def delete_address(sequence: int, address: InterfaceAddress) -> bytes:
    """RTM_DELADDR for exactly this address and prefix length."""
    packed = _packed(address)
    body = _ADDRESS.pack(address.family, address.prefix, 0, 0, address.ifindex)
    body += _attribute(IFA_LOCAL, packed) + _attribute(IFA_ADDRESS, packed)
    return _message(RTM_DELADDR, NLM_F_REQUEST | NLM_F_ACK, sequence, body)


def unacknowledged(request: bytes) -> bytes:
    """The same request, of which the kernel says nothing unless it refuses it."""
    flags = int.from_bytes(request[6:8], sys.byteorder) & ~NLM_F_ACK
    return request[:6] + flags.to_bytes(2, sys.byteorder) + request[8:]


def dump_links(sequence: int) -> bytes:
    """RTM_GETLINK for all links."""
    body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return _message(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, sequence, body)


def dump_addresses(sequence: int) -> bytes:
    """RTM_GETADDR for all addresses of both families."""
    body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return _message(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, sequence, body)


def parse(data: bytes) -> list[Message]:
    """What one datagram of the kernel says; types of no interest are left out.

    Raises:
        MalformedNetlinkError: a length points outside the datagram, or a field is too short.
    """
    messages: list[Message] = []
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            raise MalformedNetlinkError(
                f"netlink message of {length} bytes at {offset} of {len(data)}"
            )
        message = _parse_one(kind, flags, sequence, data[offset + _HEADER.size : offset + length])
        if message is not None:
            messages.append(message)
        offset += _aligned(length)
    if offset < len(data):
        raise MalformedNetlinkError(f"{len(data) - offset} bytes after the last netlink message")
    return messages


def _parse_one(kind: int, flags: int, sequence: int, body: bytes) -> Message | None:
    if kind in (RTM_NEWLINK, RTM_DELLINK):
        link = _parse_link(body)
        said = LinkChanged if kind == RTM_NEWLINK else LinkRemoved
        return None if link is None else said(link)
    if kind in (RTM_NEWADDR, RTM_DELADDR):
        address = _parse_address(body)
        if address is None:
            return None
        return AddressAdded(address) if kind == RTM_NEWADDR else AddressRemoved(address)
    if kind == NLMSG_ERROR:
        return _parse_error(flags, sequence, body)
    if kind == NLMSG_DONE:
        errno = _signed(body[:4]) if body else 0
        return DumpCompleted(sequence, not flags & NLM_F_DUMP_INTR, -errno)
    return None


def _parse_link(body: bytes) -> Link | None:
    if len(body) < _LINK.size:
        raise MalformedNetlinkError(f"link message of {len(body)} bytes")
    family, kind, index, flags, _ = _LINK.unpack_from(body)
    if family == _AF_BRIDGE:
        # About the port of a bridge, not the link: one that leaves its bridge is "deleted" there.
        return None
    name, operstate, mac = "", OPERSTATE_UNKNOWN, b""
    for attribute, value in _attributes(body, _LINK.size):
        if attribute == IFLA_IFNAME:
            name = value.rstrip(b"\0").decode("utf-8", "surrogateescape")
        elif attribute == IFLA_OPERSTATE and value:
            operstate = value[0]
        elif attribute == IFLA_ADDRESS:
            mac = value
    return Link(index, name, kind, flags, operstate, mac)


def _parse_address(body: bytes) -> InterfaceAddress | None:
    if len(body) < _ADDRESS.size:
        raise MalformedNetlinkError(f"address message of {len(body)} bytes")
    family, prefix, flags, scope, ifindex = _ADDRESS.unpack_from(body)
    if family not in _SIZE_OF:
        return None
    packed, local, protocol, valid_s = b"", b"", 0, FOREVER_S
    for attribute, value in _attributes(body, _ADDRESS.size):
        if attribute == IFA_ADDRESS:
            packed = value
        elif attribute == IFA_LOCAL:
            local = value  # differs from IFA_ADDRESS (the peer's) on point-to-point links
        elif attribute == IFA_FLAGS:
            flags = _unsigned(value)
        elif attribute == IFA_CACHEINFO and len(value) >= _CACHEINFO.size:
            valid_s = _CACHEINFO.unpack_from(value)[1]
        elif attribute == IFA_PROTO and value:
            protocol = value[0]
    packed = local or packed
    if len(packed) != _SIZE_OF[family]:
        raise MalformedNetlinkError(f"address of {len(packed)} bytes in family {family}")
    text = socket.inet_ntop(family, packed)
    return InterfaceAddress(ifindex, family, text, prefix, scope, flags, protocol, valid_s)


def _parse_error(flags: int, sequence: int, body: bytes) -> Acknowledged:
    errno = -_signed(body[:4])
    text = ""
    if flags & NLM_F_ACK_TLVS:
        # The request is echoed after the error code: its header only if the reply is capped.
        echoed = _HEADER.size
        if not flags & NLM_F_CAPPED and len(body) >= 4 + _HEADER.size:
            echoed = max(_HEADER.unpack_from(body, 4)[0], _HEADER.size)
        for attribute, value in _attributes(body, 4 + _aligned(echoed)):
            if attribute == NLMSGERR_ATTR_MSG:
                text = value.rstrip(b"\0").decode("utf-8", "replace")
    return Acknowledged(sequence, errno, text)


def _attributes(body: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    while offset + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < _ATTRIBUTE.size or offset + length > len(body):
            raise MalformedNetlinkError(
                f"attribute {kind} of {length} bytes at {offset} of {len(body)}"
            )
        yield kind & _NLA_TYPE_MASK, body[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(length)


def _signed(value: bytes) -> int:
    if len(value) != 4:
        raise MalformedNetlinkError(f"integer of {len(value)} bytes")
    return int(struct.unpack("=i", value)[0])


def _unsigned(value: bytes) -> int:
    return _signed(value) & 0xFFFFFFFF


def _packed(address: InterfaceAddress) -> bytes:
    return socket.inet_pton(address.family, address.address)


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body
