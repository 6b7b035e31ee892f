"""What must hold between the fields of `[bgp]` and `[[anycast]]` tables."""

import itertools
import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from haman.config.forms import address_family, host_addresses
from haman.config.model import Config
from haman.config.vip_rules import vip_labels
from haman.config.walk import Findings, labels, repeats

MD5_BYTES_MAX = 80
"""TCP_MD5SIG_MAXKEYLEN of linux/tcp.h."""
_GRACEFUL_SHUTDOWN = {"graceful-shutdown", "65535:0"}
_PRINTABLE = re.compile(rb"[ -~]+")


def check_bgp_rules(config: Config, findings: Findings) -> None:
    """Note every breach in BGP neighbours and anycast services of `config`."""
    _check_neighbors(config, findings)
    _check_lease(config, findings)
    _check_services(config, findings)
    _check_prefixes(config, findings)


def neighbor_labels(config: Config) -> list[str]:
    """Key of each `[[bgp.neighbor]]`, in order."""
    neighbors = config.bgp.neighbor if config.bgp else ()
    return labels("bgp.neighbor", [{"name": neighbor.name} for neighbor in neighbors])


def anycast_labels(config: Config) -> list[str]:
    """Key of each `[[anycast]]`, in order."""
    return labels("anycast", [{"name": service.name} for service in config.anycast])


def md5_problem(content: bytes) -> str | None:
    """Say what is wrong with the content of a `password_file`, None if nothing is.

    One line: what the kernel takes for TCP MD5, and what ExaBGP's configuration can carry.
    """
    password = content.rstrip(b"\r\n")
    if not password:
        return "is empty"
    if not _PRINTABLE.fullmatch(password) or set(password) & set(b"\"'"):
        return "holds a quote, or a character that is not printable ASCII: choose another password"
    if len(password) > MD5_BYTES_MAX:
        return f"holds {len(password)} characters; TCP MD5 takes {MD5_BYTES_MAX} at most"
    return None


def _check_neighbors(config: Config, findings: Findings) -> None:
    neighbors = config.bgp.neighbor if config.bgp else ()
    for first, place in repeats([n.name for n in neighbors]):
        findings.add_rule(
            f'"{neighbors[place].name}" is already the name of bgp.neighbor[{first + 1}]',
            f"bgp.neighbor[{place + 1}].name",
        )
    moving = {
        address.ip: label
        for vip, label in zip(config.vip, vip_labels(config), strict=True)
        for address in host_addresses(vip.addresses)
    }
    sessions: dict[tuple[str, str], str] = {}
    for neighbor, label in zip(neighbors, neighbor_labels(config), strict=True):
        here, there = f"{label}.local_address", f"{label}.address"
        family = address_family(neighbor.local_address)
        if neighbor.address == neighbor.local_address:
            findings.add_rule("is the neighbor's own address", here, there)
        elif address_family(neighbor.address) != family:
            findings.add_rule(f"is not of the family of {neighbor.address}", here, there)
        elif family and ip_address(neighbor.local_address) in moving:
            vip = moving[ip_address(neighbor.local_address)]
            findings.add_rule(f"is an address of {vip}, which moves; use one that stays", here)
        ends = (neighbor.local_address, neighbor.address)
        if ends in sessions:
            findings.add_rule(f"{neighbor.address} is already {sessions[ends]}", there, here)
        sessions.setdefault(ends, label)


def _check_lease(config: Config, findings: Findings) -> None:
    bgp = config.bgp
    if bgp is None or not bgp.lease_withdraw_s or bgp.lease_withdraw_s > bgp.lease_shut_s:
        return
    findings.add_rule(
        f"({bgp.lease_withdraw_s:g}) must be more than lease_shut_s ({bgp.lease_shut_s:g}): routes are "
        "shut before they are withdrawn; 0 = never",
        "bgp.lease_withdraw_s",
        "bgp.lease_shut_s",
    )


def _check_services(config: Config, findings: Findings) -> None:
    if config.anycast and (config.bgp is None or not config.bgp.neighbor):
        key = "bgp" if config.bgp is None else "bgp.neighbor"
        findings.add_rule("is missing: anycast services need a router to announce to", key)
    for service, label in zip(config.anycast, anycast_labels(config), strict=True):
        if not service.prefixes:
            findings.add_rule("must name at least one prefix", f"{label}.prefixes")
        for place, community in enumerate(service.community, 1):
            if community in _GRACEFUL_SHUTDOWN:
                findings.add_rule(
                    f'"{community}" says that a node is shut, which haman sends itself when it is so',
                    f"{label}.community[{place}]",
                )
        steps = (service.weight, *service.reduced_weights)
        if any(lower >= higher for higher, lower in itertools.pairwise(steps)):
            findings.add_rule(
                f"must go down from the weight, step by step: {', '.join(map(str, steps))}",
                f"{label}.reduced_weights",
                f"{label}.weight",
            )


def _check_prefixes(config: Config, findings: Findings) -> None:
    vips = [
        (address.ip, f"{label}.addresses[{place}]")
        for vip, label in zip(config.vip, vip_labels(config), strict=True)
        for place, address in enumerate(host_addresses(vip.addresses), 1)
    ]
    before: dict[IPv4Network | IPv6Network, str] = {}
    for service, label in zip(config.anycast, anycast_labels(config), strict=True):
        for place, text in enumerate(service.prefixes, 1):
            here = f"{label}.prefixes[{place}]"
            prefix = _prefix(text)
            if prefix is None:
                continue  # the reader has said so
            if unservable := _unservable(prefix):
                findings.add_rule(f"{prefix} cannot be announced: it is {unservable}", here)
            for address, there in vips:
                if address in prefix:
                    findings.add_rule(f"{prefix} holds the VIP {address} ({there})", here, there)
            for other, there in before.items():
                if other == prefix:
                    findings.add_rule(f"{prefix} is already {there}", here, there)
                elif other.version == prefix.version and _overlap(other, prefix):
                    findings.add_rule(f"{prefix} overlaps {other} ({there})", here, there)
            before.setdefault(prefix, here)


def _prefix(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None


def _unservable(prefix: IPv4Network | IPv6Network) -> str:
    if not prefix.prefixlen:
        return "the default route"
    kinds = {
        "multicast": prefix.is_multicast,
        "loopback": prefix.is_loopback,
        "link-local": prefix.is_link_local,
        "unspecified": prefix.is_unspecified,
    }
    return next((kind for kind, so in kinds.items() if so), "")


def _overlap(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    longer, shorter = sorted((one, other), key=lambda prefix: -prefix.prefixlen)
    return longer.network_address in shorter
