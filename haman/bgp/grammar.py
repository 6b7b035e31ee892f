"""The only lines that ExaBGP is ever told, and the only lines of its RIB that are understood.

ExaBGP finds its commands by substring, wherever they stand in a line: `community [
graceful-shutdown ]` holds "shutdown " and ends the daemon, "reset ", "restart ", "reload " and
"version " are no better. So a line is put together here from the fixed words below, from integers
and from `ipaddress` objects; no text from a configuration, a message or a router gets into one.

Weight goes out as the link bandwidth extended community (draft-ietf-idr-link-bandwidth, RFC 10005),
which counts in bytes per second as an IEEE 754 single: one unit of weight is 1 Mbit/s, so weight
100 reads "100.000 Mbps" in FRR. Routers use only the ratios. Every weight up to 1,000,000 survives
the rounding. Its AS number has 16 bits: a 4-byte AS is sent as AS_TRANS, 23456 (RFC 6793).
"""

import re
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from haman.core.announcements import Announcement
from haman.core.frozen import dataclass

Prefix = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
Community = tuple[int, ...]
"""Two numbers of 16 bits (RFC 1997), or three of 32 (RFC 8092)."""

SHOW_ROUTES: Final = "show adj-rib out extensive"
SHOW_NEIGHBORS: Final = "show neighbor json"

GRACEFUL_SHUTDOWN: Final = (65535, 0)
"""RFC 8326, always as numbers."""
BYTES_PER_WEIGHT: Final = 125_000
MAX_WEIGHT: Final = 1_000_000
MAX_COMMUNITIES: Final = 32

_AS_TRANS: Final = 23456
_MAX_U16, _MAX_U32 = 0xFFFF, 0xFFFFFFFF
_BANDWIDTH: Final = 0x4004
"""Type and subtype: non-transitive, AS-specific, link bandwidth."""
_WELL_KNOWN: Final = {
    "no-export": (65535, 65281),
    "no-advertise": (65535, 65282),
    "no-export-subconfed": (65535, 65283),
    "nopeer": (65535, 65284),
    "no-peer": (65535, 65284),
    "blackhole": (65535, 666),
    "graceful-shutdown": GRACEFUL_SHUTDOWN,
}


@dataclass(frozen=True, slots=True)
class Route:
    """One prefix and all its attributes; numbers and nothing else.

    Attributes:
        weight: None = no link bandwidth is sent.
        communities: without GRACEFUL_SHUTDOWN, which is `shut`; sorted, each once.
    """

    prefix: Prefix
    shut: bool = False
    weight: int | None = None
    med: int | None = None
    communities: tuple[Community, ...] = ()


def routes(announcement: Announcement) -> tuple[Route, ...]:
    """One route per prefix.

    Raises:
        ValueError: something in it is not a prefix, a number in range, or a community.
    """
    weight, med = announcement.weight, announcement.med
    if weight is not None and not 0 <= _integer(weight) <= MAX_WEIGHT:
        raise ValueError(f"weight {weight} is not within 0 and {MAX_WEIGHT}")
    if med is not None and not 0 <= _integer(med) <= _MAX_U32:
        raise ValueError(f"MED {med} is not within 0 and {_MAX_U32}")
    if len(announcement.communities) > MAX_COMMUNITIES:
        raise ValueError(f"more than {MAX_COMMUNITIES} communities")
    communities = {community(text) for text in announcement.communities} - {GRACEFUL_SHUTDOWN}
    return tuple(
        Route(ip_network(text), announcement.shut, weight, med, tuple(sorted(communities)))
        for text in announcement.prefixes
    )


def _integer(value: int) -> int:
    if type(value) is not int:  # True is an int, and no weight
        raise ValueError(f"{value!r} is not an integer")
    return value


def community(text: str) -> Community:
    """The numbers of "asn:value", or of a large "asn:value:value".

    Raises:
        ValueError: it is neither.
    """
    if not re.fullmatch(r"[0-9]{1,10}(:[0-9]{1,10}){1,2}", text):
        raise ValueError(f'"{text[:40]}" is not a community')
    numbers = tuple(int(number) for number in text.split(":"))
    if max(numbers) > (_MAX_U16 if len(numbers) == len(GRACEFUL_SHUTDOWN) else _MAX_U32):
        raise ValueError(f'"{text}" has a number that is too large')
    return numbers


def announce(route: Route, neighbors: Sequence[Address], local_as: int) -> str:
    """The line that announces a route to these neighbours, or changes its attributes in place.

    Args:
        route: what is announced.
        neighbors: at least one, of the route's family; ExaBGP's word for "all of them" is not used,
            for it would offer IPv6 routes to IPv4 sessions.
        local_as: the number in the link bandwidth community.
    """
    words = [_to(neighbors), f"announce route {route.prefix} next-hop self"]
    if route.med is not None:
        words.append(f"med {route.med:d}")
    standard = [c for c in route.communities if len(c) == len(GRACEFUL_SHUTDOWN)]
    large = [c for c in route.communities if len(c) != len(GRACEFUL_SHUTDOWN)]
    if route.shut:
        standard.append(GRACEFUL_SHUTDOWN)
    if standard:
        words.append(f"community [ {' '.join(_colons(c) for c in standard)} ]")
    if large:
        words.append(f"large-community [ {' '.join(_colons(c) for c in large)} ]")
    if route.weight is not None:
        number = local_as if local_as <= _MAX_U16 else _AS_TRANS
        bandwidth = route.weight * BYTES_PER_WEIGHT
        words.append(f"extended-community [ bandwidth:{number:d}:{bandwidth:d} ]")
    return " ".join(words)


def withdraw(prefix: Prefix, neighbors: Sequence[Address]) -> str:
    """The line that withdraws a prefix from these neighbours, at least one, of its family."""
    return f"{_to(neighbors)} withdraw route {prefix} next-hop self"


def _to(neighbors: Sequence[Address]) -> str:
    return " , ".join(f"neighbor {neighbor}" for neighbor in neighbors)


def _colons(numbers: Community) -> str:
    return ":".join(f"{number:d}" for number in numbers)


@dataclass(frozen=True, slots=True)
class RibLine:
    """One line of the answer to `SHOW_ROUTES`.

    Attributes:
        route: None = ExaBGP holds the prefix with attributes that are never announced here.
    """

    neighbor: Address
    local_as: int
    prefix: Prefix
    route: Route | None


_RIB_LINE: Final = re.compile(
    r"neighbor (?P<neighbor>\S+) .*\blocal-as (?P<local_as>\d+) .*"
    r"\bipv[46] unicast (?P<prefix>\S+) next-hop \S+(?P<rest>.*)"
)
_ATTRIBUTE: Final = re.compile(
    r" (?P<key>med|community|large-community|extended-community)"
    r" (?:\[ (?P<several>[^\]]*) \]|(?P<one>\S+))"
)


def rib_line(line: str) -> RibLine | None:
    """What a line of the answer to `SHOW_ROUTES` says; None if it is no such line."""
    found = _RIB_LINE.fullmatch(line)
    if found is None:
        return None
    try:
        neighbor = ip_address(found["neighbor"])
        prefix = ip_network(found["prefix"])
        local_as = int(found["local_as"])
    except ValueError:
        return None
    try:
        route = _attributes(prefix, found["rest"])
    except (ValueError, struct.error):
        route = None
    return RibLine(neighbor, local_as, prefix, route)


def _attributes(prefix: Prefix, text: str) -> Route | None:
    med: int | None = None
    weight: int | None = None
    communities: set[Community] = set()
    at = 0
    while found := _ATTRIBUTE.match(text, at):
        at = found.end()
        values = (found["several"] or found["one"]).split()
        if found["key"] == "med":
            med = int(values[0])
        elif found["key"] == "extended-community":
            weight = _weight(values)
        else:
            communities |= {_WELL_KNOWN.get(value) or community(value) for value in values}
    if at != len(text):
        return None  # an attribute that nobody here announces
    shut = GRACEFUL_SHUTDOWN in communities
    return Route(prefix, shut, weight, med, tuple(sorted(communities - {GRACEFUL_SHUTDOWN})))


def _weight(values: Sequence[str]) -> int:
    """Of a link bandwidth community as ExaBGP prints it: eight bytes in hexadecimal."""
    (value,) = values
    octets = bytes.fromhex(value.removeprefix("0x"))
    kind: int
    bandwidth: float
    kind, _, bandwidth = struct.unpack(">HHf", octets)
    if kind != _BANDWIDTH:
        raise ValueError(f"{value} is not a link bandwidth")
    return round(bandwidth / BYTES_PER_WEIGHT)
