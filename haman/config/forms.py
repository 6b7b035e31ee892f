"""What a single text of the configuration must look like, form by form.

Each form is a function from the text to what is wrong with it, None if nothing is. Host names are
not addresses anywhere: a node must not depend on DNS in the moment it takes over.
"""

import re
from collections.abc import Callable
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
    ip_network,
)

SUN_PATH_MAX = 107
"""Bytes in a unix socket's path (unix(7): sun_path holds 108 with the final NUL)."""

IFNAME_MAX = 15
"""Characters in an interface name (linux/if.h: IFNAMSIZ holds 16 with the final NUL)."""

NAME_MAX = 64
PORT_MAX = 65_535

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PORT = re.compile(r"[0-9]{1,5}")
_COMMUNITY = re.compile(r"[0-9]{1,10}(:[0-9]{1,10}){1,2}")
_WELL_KNOWN_COMMUNITIES = {"graceful-shutdown", "no-export", "no-advertise", "blackhole"}


def split_host_port(text: str) -> tuple[str, int]:
    """Split "192.0.2.1:80" or "[2001:db8::1]:80" into address and port.

    Raises:
        ValueError: with what is wrong, as an operator wants to read it.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or not 1 <= int(port) <= PORT_MAX:
        raise ValueError('must be ADDRESS:PORT, as in "192.0.2.1:4710" or "[2001:db8::1]:4710"')
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ValueError("only IPv6 addresses stand in brackets")
    elif ":" in host:
        raise ValueError(f"write an IPv6 address in brackets: [{host}]:{port}")
    _parse_address(host)
    return host, int(port)


def host_addresses(addresses: tuple[str, ...]) -> tuple[IPv4Interface | IPv6Interface, ...]:
    """Parse addresses with prefix lengths, leaving out those that the reader has complained of."""
    return tuple(ip_interface(text) for text in addresses if _host_address(text) is None)


def address_family(text: str) -> int:
    """Give 4 or 6, or 0 for what is no address."""
    try:
        return ip_address(text).version
    except ValueError:
        return 0


def _parse_address(text: str) -> IPv4Address | IPv6Address:
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f'"{text}" is not an IP address (host names are not looked up)') from None
    if isinstance(address, IPv6Address) and address.scope_id:
        raise ValueError(f'"{text}" has a zone; give the address alone')
    return address


def _name(text: str) -> str | None:
    if _NAME.fullmatch(text) and len(text) <= NAME_MAX:
        return None
    return (
        f'"{text}" is not a name: use up to {NAME_MAX} letters, digits, "-", "_" and ".", '
        "beginning with a letter or digit"
    )


def _interface(text: str) -> str | None:
    bad = text in {"", ".", ".."} or len(text.encode()) > IFNAME_MAX
    if bad or any(c in "/:" or c.isspace() or not c.isprintable() for c in text):
        return f'"{text}" is not an interface name (1 to {IFNAME_MAX} characters, no "/")'
    return None


def _address(text: str) -> str | None:
    try:
        _parse_address(text)
    except ValueError as problem:
        return str(problem)
    return None


def _router_id(text: str) -> str | None:
    try:
        if int(IPv4Address(text)):
            return None
    except ValueError:
        pass
    return f'"{text}" is not a router id: four numbers like an IPv4 address, not all zero'


def _host_address(text: str) -> str | None:
    """Say what is wrong with an address that shall stand on an interface."""
    host, slash, length = text.partition("/")
    try:
        address = _parse_address(host)
    except ValueError as problem:
        return str(problem)
    if not slash:
        return (
            f'"{text}" has no prefix length: write {text}/{address.max_prefixlen} or the subnet\'s'
        )
    if not length.isdecimal() or int(length) > address.max_prefixlen:
        return f'"/{length}" is not a prefix length of an IPv{address.version} address'
    return _unservable(ip_interface(f"{host}/{length}"))


def _unservable(address: IPv4Interface | IPv6Interface) -> str | None:
    if address.ip.is_multicast or address.ip.is_unspecified or address.ip.is_loopback:
        return f'"{address.ip}" cannot be served: it is multicast, loopback or unspecified'
    network = address.network
    if address.version == 4 and network.prefixlen < 31:  # RFC 3021: a /31 has neither
        if address.ip == network.network_address:
            return f'"{address}" is the network itself, not an address in it'
        if address.ip == network.broadcast_address:
            return f'"{address}" is the broadcast address of its network'
    return None


def _prefix(text: str) -> str | None:
    if "/" not in text:
        return f'"{text}" has no prefix length, as in "192.0.2.100/32"'
    try:
        ip_network(text)
    except ValueError:
        pass
    else:
        return None
    try:
        return f'"{text}" has host bits set: write {ip_interface(text).network}'
    except ValueError:
        return f'"{text}" is not a prefix, as in "192.0.2.100/32"'


def _host_port(text: str) -> str | None:
    try:
        split_host_port(text)
    except ValueError as problem:
        return str(problem)
    return None


def _file_path(text: str) -> str | None:
    if not text.startswith("/") or "\0" in text:
        return f'"{text}" is not an absolute path'
    return None


def _socket_path(text: str) -> str | None:
    if len(text.encode()) > SUN_PATH_MAX:
        return f"the path is longer than a unix socket's may be ({SUN_PATH_MAX} bytes)"
    return _file_path(text)


def _endpoint(text: str) -> str | None:
    """Say what is wrong with an http URL or "unix:/path[:/url-path]"."""
    if text.startswith("unix:/"):
        return _socket_path(text.removeprefix("unix:").partition(":")[0])
    if re.fullmatch(r"https?://[^\s/]+(/\S*)?", text):
        return None
    return f'"{text}" is neither an http URL nor unix:/PATH'


def _url_path(text: str) -> str | None:
    if text.startswith("/") and text.isprintable() and " " not in text:
        return None
    return f'"{text}" is not a URL path: it begins with "/" and has no spaces'


def _community(text: str) -> str | None:
    if text in _WELL_KNOWN_COMMUNITIES:
        return None
    numbers = [int(n) for n in text.split(":")] if _COMMUNITY.fullmatch(text) else []
    top = {2: 0xFFFF, 3: 0xFFFFFFFF}.get(len(numbers), -1)
    if all(n <= top for n in numbers) and numbers:
        return None
    return f'"{text}" is not a community: use "65001:100", or "65001:1:2" for a large one'


FORMS: dict[str, Callable[[str], str | None]] = {
    "name": _name,
    "interface": _interface,
    "address": _address,
    "router-id": _router_id,
    "host-address": _host_address,
    "prefix": _prefix,
    "host-port": _host_port,
    "file-path": _file_path,
    "socket-path": _socket_path,
    "endpoint": _endpoint,
    "url-path": _url_path,
    "community": _community,
}
"""By the name that the model gives in `Meta(extra={"form": …})`."""
