"""VRRP advertisements as bytes: RFC 9568 (version 3), RFC 3768 and RFC 2338 (version 2).

```
version 3: ver|type vrid prio count  rsvd|centiseconds checksum  addresses
version 2: ver|type vrid prio count  auth-type seconds checksum  addresses  8 bytes of auth data
```

The IP header is not part of it: the caller gives source, destination and TTL, for the checks of
section 7.1 and the pseudo-header.

Strict in what is sent. In what is received, exactly what a peer may disagree about without harm
is tolerated and reported: the form of the version 3 checksum over IPv4.
"""

import struct
from dataclasses import field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from haman.core.frozen import dataclass

IPAddress = IPv4Address | IPv6Address

V2: Final = 2
V3: Final = 3
IPV4: Final = 4
IPV6: Final = 6
PROTOCOL: Final = 112
GROUP_V4: Final = IPv4Address("224.0.0.18")
GROUP_V6: Final = IPv6Address("ff02::12")
TTL: Final = 255
TYPE_ADVERTISEMENT: Final = 1
AUTH_NONE: Final = 0
AUTH_PASSWORD: Final = 1
AUTH_HEADER: Final = 2
AUTH_BYTES: Final = 8
HEAD: Final = struct.Struct("!BBBBHH")

# Sixteen-bit ones' complement sums are sums modulo this, since 2**16 is 1 modulo it; so are those
# of whole packets taken as one big-endian number.
ONES: Final = 0xFFFF

# The unit of the interval field is also its least legal value: 0 is never sent, nor accepted.
MIN_INTERVAL_NS: Final = {V2: 1_000_000_000, V3: 10_000_000}
MAX_INTERVAL_NS: Final = {V2: 255_000_000_000, V3: 40_950_000_000}


class VrrpError(Exception):
    """A packet that is not to be processed.

    Attributes:
        reason: short hyphenated code for metrics: length, version, type, ttl, vrid, count,
            interval, auth-type, auth-header, checksum.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Checksum(StrEnum):
    """What the version 3 checksum covers over IPv4 (over IPv6 there is but one form).

    PSEUDO_HEADER is the reading of RFC 5798 that keepalived and FRR send by default; RFC9568
    leaves the pseudo-header out; PSEUDO_HEADER_GROUP is what keepalived up to 1.3.6 sent to
    unicast peers: the pseudo-header of the multicast group. It is recognized, and never configured.
    """

    PSEUDO_HEADER = "pseudo-header"
    RFC9568 = "rfc9568"
    PSEUDO_HEADER_GROUP = "pseudo-header-group"


@dataclass(frozen=True, slots=True)
class Advertisement:
    """One advertisement.

    Attributes:
        version: 2 or 3.
        vrid: 1-255.
        priority: 0 (the sender lets go) to 255 (it owns the addresses).
        addresses: at least one, all of one family.
        interval_ns: of the sender; see `MIN_INTERVAL_NS` and `MAX_INTERVAL_NS`.
        auth_type: 0, or in version 2 also 1 (plain text).
        auth_data: up to 8 bytes, without the trailing zeros.
        checksum: the form found on receipt (version 3 over IPv4); not part of equality.
    """

    version: int
    vrid: int
    priority: int
    addresses: tuple[IPAddress, ...]
    interval_ns: int
    auth_type: int = 0
    auth_data: bytes = b""
    checksum: Checksum | None = field(default=None, compare=False)

    @property
    def departed(self) -> bool:
        """The sender has let go, and its kernel has confirmed that the addresses are off: haman says so.

        By the longest interval there is, which with priority 0 means nothing to others (RFC 9568 section 6.4.2:
        the timer becomes Skew_Time, whatever it says).
        """
        return self.priority == 0 and self.interval_ns == MAX_INTERVAL_NS[V3]


def encode(
    advertisement: Advertisement,
    *,
    source: IPAddress,
    destination: IPAddress,
    checksum: Checksum = Checksum.PSEUDO_HEADER,
) -> bytes:
    """The advert as the payload of an IP packet; over IPv6 with the full checksum as well.

    Raises:
        ValueError: a field that the wire format cannot carry.
    """
    version = advertisement.version
    unit = MIN_INTERVAL_NS.get(version)
    if unit is None:
        raise ValueError(f"there is no VRRP version {version} to encode")
    interval, remainder = divmod(advertisement.interval_ns, unit)
    if remainder or not 0 < advertisement.interval_ns <= MAX_INTERVAL_NS[version]:
        raise ValueError(f"VRRPv{version} cannot carry {advertisement.interval_ns} ns")
    if not advertisement.addresses or {a.version for a in advertisement.addresses} != {
        source.version
    }:
        raise ValueError(f"an advert from {source} needs addresses, and of its family only")
    if len(advertisement.auth_data) > AUTH_BYTES:
        raise ValueError(f"the authentication data is longer than {AUTH_BYTES} bytes")

    # In both versions bytes 4-5 are one big-endian number: the 4 reserved bits of version 3 are
    # the high ones of its interval, version 2 has the authentication type above the seconds.
    middle = interval if version == V3 else advertisement.auth_type << 8 | interval
    try:
        head = HEAD.pack(
            version << 4 | TYPE_ADVERTISEMENT,
            advertisement.vrid,
            advertisement.priority,
            len(advertisement.addresses),
            middle,
            0,
        )
    except struct.error as error:
        raise ValueError(f"{advertisement} does not fit the wire format: {error}") from error
    tail = b"".join(a.packed for a in advertisement.addresses)
    if version == V2:
        tail += advertisement.auth_data.ljust(AUTH_BYTES, b"\0")
    packet = head + tail
    total = int.from_bytes(packet, "big")
    if version == V3:
        total += _pseudo_header(checksum, source, destination, len(packet))
    return head[:6] + (-total % ONES).to_bytes(2, "big") + tail


def decode(
    data: bytes,
    *,
    source: IPAddress,
    destination: IPAddress,
    ttl: int,
    minimum_ttl: int | None = None,
) -> Advertisement:
    """Check and read a VRRP payload (RFC 9568 section 7.1, RFC 3768 section 7.1).

    Args:
        data: the IP payload.
        source: of the IP packet.
        destination: of the IP packet; decides with the source about the pseudo-header.
        ttl: TTL or hop limit received.
        minimum_ttl: None = 255 for multicast, which thereby cannot come from beyond the link, and
            no check for unicast, whose peers may be behind routers (as keepalived).

    Raises:
        VrrpError: and nothing else, whatever the bytes.
    """
    if minimum_ttl is None:
        minimum_ttl = TTL if destination.is_multicast else 0
    if ttl < minimum_ttl:
        raise VrrpError("ttl", f"TTL {ttl}, expected at least {minimum_ttl}: not from this link")
    version, vrid, priority, count, middle = _head(data, source)
    width = source.max_prefixlen // 8
    form = _verify(data, version, source, destination)
    if vrid == 0:
        raise VrrpError("vrid", "VRID 0, legal are 1-255")
    if count == 0:
        raise VrrpError("count", "no address in the advert (erratum to section 7.1)")

    auth_type, auth_data = 0, b""
    if version == V2:
        auth_type, middle = middle >> 8, middle & 0xFF
        auth_data = _authentication(auth_type, data[-AUTH_BYTES:])
    interval_ns = (middle & 0x0FFF) * MIN_INTERVAL_NS[version]
    if interval_ns == 0:
        raise VrrpError("interval", "advertisement interval 0 (erratum to section 7.1)")
    address = IPv4Address if source.version == IPV4 else IPv6Address
    return Advertisement(
        version=version,
        vrid=vrid,
        priority=priority,
        addresses=tuple(
            address(data[at : at + width])
            for at in range(HEAD.size, HEAD.size + count * width, width)
        ),
        interval_ns=interval_ns,
        auth_type=auth_type,
        auth_data=auth_data,
        checksum=form,
    )


def _head(data: bytes, source: IPAddress) -> tuple[int, int, int, int, int]:
    """Version, VRID, priority, count and the two bytes before the checksum; the length is right."""
    if len(data) < HEAD.size:
        raise VrrpError("length", f"{len(data)} bytes, a VRRP header has {HEAD.size}")
    first, vrid, priority, count, middle, _ = HEAD.unpack_from(data)
    version = first >> 4
    if version not in MIN_INTERVAL_NS or (version == V2 and source.version == IPV6):
        raise VrrpError("version", f"VRRP version {version} over IPv{source.version}")
    if first & 0x0F != TYPE_ADVERTISEMENT:
        raise VrrpError("type", f"VRRP packet type {first & 0x0F}, expected 1 (advertisement)")
    # The RFC asks for at least this length. What is longer has a trailer of an extension that
    # this node cannot check (keepalived's auth_hmac), and such peers drop what has none.
    expected = HEAD.size + count * source.max_prefixlen // 8
    expected += AUTH_BYTES if version == V2 else 0
    if len(data) != expected:
        raise VrrpError("length", f"{len(data)} bytes, {count} addresses need {expected}")
    return version, vrid, priority, count, middle


def _pseudo_header(
    checksum: Checksum, source: IPAddress, destination: IPAddress, length: int
) -> int:
    """What the pseudo-header adds to the version 3 checksum, modulo `ONES`."""
    if source.version == IPV4:
        if checksum is Checksum.RFC9568:
            return 0
        if checksum is Checksum.PSEUDO_HEADER_GROUP:
            destination = GROUP_V4
    return int(source) + int(destination) + PROTOCOL + length


def _verify(
    data: bytes, version: int, source: IPAddress, destination: IPAddress
) -> Checksum | None:
    """Check the checksum; the form found where there are several."""
    total = int.from_bytes(data, "big")
    if version == V2 or source.version == IPV6:
        if version == V3:
            total += _pseudo_header(Checksum.PSEUDO_HEADER, source, destination, len(data))
        if total % ONES == 0:
            return None
    else:
        for form in Checksum:
            if (total + _pseudo_header(form, source, destination, len(data))) % ONES == 0:
                return form
    raise VrrpError("checksum", f"invalid VRRPv{version} checksum 0x{data[6:8].hex()}")


def _authentication(auth_type: int, field_data: bytes) -> bytes:
    """The password of a version 2 advert, b"" if it has none (RFC 2338 section 5.3.6)."""
    if auth_type == AUTH_NONE:
        return b""
    if auth_type == AUTH_PASSWORD:
        return field_data.rstrip(b"\0")
    if auth_type == AUTH_HEADER:
        raise VrrpError(
            "auth-header", "authentication by IP AH is not supported: use type PASS, or none"
        )
    raise VrrpError("auth-type", f"authentication type {auth_type} does not exist")
