"""The frames that tell a link where an address lives now: gratuitous ARP, unsolicited NA.

Whole Ethernet frames, so that both kinds go out through one AF_PACKET socket.
"""

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

BROADCAST_MAC: Final = b"\xff" * 6
ALL_NODES: Final = IPv6Address("ff02::1")
ALL_NODES_MAC: Final = bytes.fromhex("333300000001")
MAC_BYTES: Final = 6

ETHERTYPE_ARP: Final = 0x0806
ETHERTYPE_IPV6: Final = 0x86DD
ARP_REQUEST: Final = 1
ARP_REPLY: Final = 2

NEXT_HEADER_ICMPV6: Final = 58
NEIGHBOR_ADVERTISEMENT: Final = 136
TARGET_LINK_LAYER_ADDRESS: Final = 2
FLAG_ROUTER: Final = 0x80000000
FLAG_OVERRIDE: Final = 0x20000000
# Network control, as VRRP itself: an announcement lost in a full queue is an outage.
TRAFFIC_CLASS: Final = 0xC0
HOP_LIMIT: Final = 255


def gratuitous_arp(address: IPv4Address, mac: bytes, *, reply: bool = False) -> bytes:
    """A broadcast ARP frame with sender = target = `address` (RFC 5227 section 3, RFC 9568 8.1.2).

    Args:
        address: the address that moved.
        mac: of the interface, 6 bytes.
        reply: the reply form, which some switches and hosts need. Its target MAC is the sender's,
            since a reply has no unknown target; a request's is zero.

    Raises:
        ValueError: `mac` is not 6 bytes.
    """
    _check(mac)
    arp = struct.pack(
        "!HHBBH6s4s6s4s",
        1,  # Ethernet
        0x0800,
        MAC_BYTES,
        4,
        ARP_REPLY if reply else ARP_REQUEST,
        mac,
        address.packed,
        mac if reply else bytes(MAC_BYTES),
        address.packed,
    )
    return _ethernet(BROADCAST_MAC, mac, ETHERTYPE_ARP) + arp


def arp_request(target: IPv4Address, source: IPv4Address, mac: bytes) -> bytes:
    """A broadcast ARP frame that asks who has `target`.

    Args:
        target: asked for.
        source: who asks; 0.0.0.0 teaches nobody anything (RFC 5227 section 2.1.1).
        mac: of the interface, 6 bytes.

    Raises:
        ValueError: `mac` is not 6 bytes.
    """
    _check(mac)
    fields = (
        1,
        0x0800,
        MAC_BYTES,
        4,
        ARP_REQUEST,
        mac,
        source.packed,
        bytes(MAC_BYTES),
        target.packed,
    )
    arp = struct.pack("!HHBBH6s4s6s4s", *fields)
    return _ethernet(BROADCAST_MAC, mac, ETHERTYPE_ARP) + arp


def unsolicited_na(
    address: IPv6Address, mac: bytes, *, source: IPv6Address | None = None, router: bool = False
) -> bytes:
    """An unsolicited neighbour advertisement to ff02::1 (RFC 4861 sections 4.4 and 7.2.6).

    Override is set, so that neighbours replace what they have; Solicited is not.

    Args:
        address: the address that moved.
        mac: of the interface, 6 bytes; goes into the target link-layer address option.
        source: of the IPv6 packet; None = `address` itself.
        router: the R flag. RFC 9568 section 8.2.3 wants it set; on a node that does not forward it
            makes hosts take the node for a router (keepalived sets it only where forwarding is on).

    Raises:
        ValueError: `mac` is not 6 bytes.
    """
    _check(mac)
    origin = address if source is None else source
    flags = FLAG_OVERRIDE | (FLAG_ROUTER if router else 0)
    option = struct.pack("!BB6s", TARGET_LINK_LAYER_ADDRESS, 1, mac)  # length in units of 8 bytes
    body = struct.pack("!I16s", flags, address.packed) + option
    length = 4 + len(body)
    # A ones' complement sum of 16-bit words is the number as a whole modulo 0xffff.
    total = (
        (NEIGHBOR_ADVERTISEMENT << 8)
        + int.from_bytes(body, "big")
        + int(origin)
        + int(ALL_NODES)
        + length
        + NEXT_HEADER_ICMPV6
    )
    icmp = struct.pack("!BBH", NEIGHBOR_ADVERTISEMENT, 0, -total % 0xFFFF) + body
    header = struct.pack(
        "!IHBB16s16s",
        6 << 28 | TRAFFIC_CLASS << 20,
        length,
        NEXT_HEADER_ICMPV6,
        HOP_LIMIT,
        origin.packed,
        ALL_NODES.packed,
    )
    return _ethernet(ALL_NODES_MAC, mac, ETHERTYPE_IPV6) + header + icmp


def _ethernet(destination: bytes, source: bytes, ethertype: int) -> bytes:
    return destination + source + ethertype.to_bytes(2, "big")


def _check(mac: bytes) -> None:
    if len(mac) != MAC_BYTES:
        raise ValueError(f"a MAC address has {MAC_BYTES} bytes, not {len(mac)}")
