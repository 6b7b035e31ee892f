"""What this host makes impossible or doubtful in `[bgp]` and `[[anycast]]` tables."""

import difflib
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from haman.config.bgp_rules import anycast_labels, neighbor_labels
from haman.config.facts import Facts
from haman.config.lease import CONTROLLER_START_S, PATIENCE_LEAST_S
from haman.config.model import Anycast, Bfd, Bgp, Config
from haman.config.reader import Problem
from haman.core.alerts import LATENESS_SHARE

FAST_MS = 100
"""BFD or adverts below this need the real-time policy to survive a busy host."""

_BLACKHOLE = {"blackhole", "65535:666"}

Found = Iterator[tuple[str, str]]


def impossible(config: Config, facts: Facts, path: str = "haman.toml") -> tuple[Problem, ...]:
    """Give the problems of a configuration that the reader has accepted, on the host of `facts`.

    A session from an address that the host does not have is never tried: ExaBGP stays idle and says
    nothing (measured).
    """
    if facts.addresses is None or config.bgp is None:
        return ()
    own = {ip_address(address) for address in facts.addresses}
    return tuple(
        Problem(
            path,
            f"{label}.local_address",
            f"{neighbor.local_address} is no address of this host: the session with "
            f"{neighbor.address} would never begin",
        )
        for neighbor, label in zip(config.bgp.neighbor, neighbor_labels(config), strict=True)
        if ip_address(neighbor.local_address) not in own
    )


def bgp_warnings(config: Config, facts: Facts) -> Found:
    """Key and message of what is legal and yet doubtful."""
    neighbors = config.bgp.neighbor if config.bgp else ()
    if config.bgp and not config.anycast:
        yield "bgp", "has no effect without an anycast service"
    if config.bgp:
        yield from _lease(config.bgp)
    for neighbor, label in zip(neighbors, neighbor_labels(config), strict=True):
        if neighbor.bfd is None:
            yield (
                f"{label}.bfd",
                (
                    f"is missing: a node that falls silent costs its clients {neighbor.hold_time_s} s, "
                    "the hold time; with BFD it is a fraction of a second"
                ),
            )
        else:
            yield from _bfd(neighbor.bfd, f"{label}.bfd", config, facts)
            if neighbor.ttl_security:
                text = "with bfd: FRR cannot have both with one neighbor; BIRD can"
                yield f"{label}.ttl_security", text
    families: set[int] = {ip_address(neighbor.address).version for neighbor in neighbors}
    for service, label in zip(config.anycast, anycast_labels(config), strict=True):
        yield from _service(service, label, families, facts)


def _lease(bgp: Bgp) -> Found:
    least_s = PATIENCE_LEAST_S + CONTROLLER_START_S
    for key, end_s in (
        ("lease_shut_s", bgp.lease_shut_s),
        ("lease_withdraw_s", bgp.lease_withdraw_s),
    ):
        if 0 < end_s < least_s:
            yield (
                f"bgp.{key}",
                (
                    f"({end_s:g}) is over before a controller that hangs is replaced: routers would leave a "
                    f"node that serves; use {least_s} or more, or 0 for never"
                ),
            )


def _bfd(bfd: Bfd, label: str, config: Config, facts: Facts) -> Found:
    detection_ms = bfd.interval_ms * bfd.multiplier
    key = f"{label}.interval_ms"
    if bfd.interval_ms < FAST_MS and not config.engine.realtime_priority:
        yield (
            key,
            (
                f"is below {FAST_MS} with engine.realtime_priority = 0: a busy host will send late, and "
                "its routers will turn away from it"
            ),
        )
    late_ms = facts.lateness_p99_ms
    if late_ms is not None and late_ms > bfd.interval_ms * LATENESS_SHARE:
        yield (
            key,
            (
                f"is too fast for this host: its engine is {late_ms:.1f} ms late in 1 of 100 wake-ups; "
                f"use {-(-late_ms / LATENESS_SHARE // 10) * 10:.0f} or more"
            ),
        )
    if bfd.multiplier == 1:
        text = f"of 1 takes one lost packet for a dead node, after {detection_ms} ms; use 3"
        yield f"{label}.multiplier", text


def _service(service: Anycast, label: str, families: set[int], facts: Facts) -> Found:
    for place, community in enumerate(service.community, 1):
        if community in _BLACKHOLE:
            text = f'"{community}" asks routers to discard what is sent to the service (RFC 7999)'
            yield f"{label}.community[{place}]", text
    for place, text in enumerate(service.prefixes, 1):
        prefix = ip_network(text)
        if prefix.version not in families:
            yield (
                f"{label}.prefixes[{place}]",
                f"{prefix} is announced to nobody: no bgp.neighbor is IPv{prefix.version}",
            )
        if prefix.prefixlen < prefix.max_prefixlen:
            yield (
                f"{label}.prefixes[{place}]",
                (
                    f"{prefix} is announced, but no address of it is put on {service.interface}: only "
                    f"/{prefix.max_prefixlen} is; see to it that the proxy has those that clients use"
                ),
            )
    if facts.interfaces is not None and service.interface not in facts.interfaces:
        close = difflib.get_close_matches(service.interface, facts.interfaces, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        yield f"{label}.interface", f'this host has no interface "{service.interface}"{hint}'
