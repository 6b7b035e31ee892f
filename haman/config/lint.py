"""What is legal in a configuration, and yet probably not what the operator wants.

Pure: what only the host or the running cluster knows comes in as `Facts`.
"""

import difflib
from collections.abc import Mapping
from ipaddress import ip_interface

from haman.config.bgp_lint import FAST_MS, Found, bgp_warnings
from haman.config.endpoint import parse_endpoint
from haman.config.facts import Facts
from haman.config.forms import host_addresses
from haman.config.lease import LEASE_MIN_S, derived_lease_s, take_over_ms
from haman.config.model import Config, Vip
from haman.config.reader import Problem
from haman.config.rules import PROXY_KEYS
from haman.config.vip_rules import vip_labels
from haman.core.alerts import LATENESS_SHARE

_BY_THE_KERNEL = {"cpu", "fds", "ports", "memory", "hol", "accept_queue", "conntrack", "nic"}

MEASURED = {
    "haproxy": {*_BY_THE_KERNEL, "tls", "connections"},
    "nginx": {*_BY_THE_KERNEL, "tls", "connections"},
    "envoy": {*_BY_THE_KERNEL, "tls", "connections"},
    "caddy": _BY_THE_KERNEL,
    "process": _BY_THE_KERNEL,
}
"""Resources that this version measures, per kind of proxy."""


def lint(
    config: Config, facts: Facts | None = None, path: str = "haman.toml"
) -> tuple[Problem, ...]:
    """Give warnings on a configuration that the reader has accepted."""
    known = facts or Facts()
    found = [
        *_cluster(config),
        *_proxy(config),
        *_saturation(config),
        *_services(config),
        *_engine(config, known),
        *_groups(config),
        *bgp_warnings(config, known),
        *_handover(config, known),
        *known.unreadable.items(),
    ]
    for vip, label in zip(config.vip, vip_labels(config), strict=True):
        found += _vip(vip, label)
        found += _vip_in_cluster(vip, label, known)
        if known.interfaces is not None:
            found += _vip_on_host(vip, label, known.interfaces)
    return tuple(Problem(path, key, f"warning: {message}") for key, message in found)


def _cluster(config: Config) -> Found:
    cluster = config.cluster
    if not cluster.peer:
        yield "cluster.peer", "is empty: with one node in the cluster, nobody takes over"
    elif not cluster.key_file:
        yield (
            "cluster.key_file",
            (
                "is missing: without reports from its peers a node takes over later, and headroom is "
                "not known (make one with `haman keygen`)"
            ),
        )
    if cluster.listen and not cluster.key_file:
        yield "cluster.listen", "has no effect without cluster.key_file"
    if config.saturation.max_shedding > len(cluster.peer) > 0:
        yield "saturation.max_shedding", "lets every node of the cluster shed at once"


def _proxy(config: Config) -> Found:
    proxy = config.proxy
    wanted = {*PROXY_KEYS[proxy.kind], "pidfile", "process"}
    for key in ("socket", "status", "admin"):
        where = getattr(proxy, key)
        if where and key not in wanted:
            yield f"proxy.{key}", f'has no effect with kind "{proxy.kind}"'
        elif where and key != "socket":
            try:
                parse_endpoint(where)
            except ValueError as error:
                yield f"proxy.{key}", f"cannot be asked: {error}"
    if proxy.probe is None:
        yield "proxy.probe", "is missing: a proxy that lives but does not answer goes unnoticed"
    elif proxy.probe.timeout_ms >= proxy.probe.interval_ms:
        yield (
            "proxy.probe.timeout_ms",
            f"is not below interval_ms ({proxy.probe.interval_ms}): a deaf proxy is noticed late",
        )


def _saturation(config: Config) -> Found:
    common = config.saturation
    if common.hard >= 1:
        yield "saturation.hard", "can hardly be reached: at 1 the resource has run out already"
    measured = MEASURED.get(config.proxy.kind)
    for name, own in common.resource.items():
        label = f"saturation.resource.{name}"
        if own.hard is not None and own.hard >= 1:
            yield f"{label}.hard", "can hardly be reached: at 1 the resource has run out already"
        if own.unit and own.ceiling is None:
            yield f"{label}.unit", "has no effect without a ceiling"
        if own.act and measured is not None and name not in measured:
            yield (
                label,
                (
                    f'cannot be reached: this version does not measure {name} of kind "'
                    f'{config.proxy.kind}"'
                ),
            )


def _services(config: Config) -> Found:
    if not config.vip and not config.anycast:
        yield "vip", "is missing: this node serves nothing"


def _engine(config: Config, facts: Facts) -> Found:
    lease_s = config.engine.lease_s
    slowest_ms = max((take_over_ms(vip) for vip in config.vip), default=0)
    derived_s = max((derived_lease_s(vip) for vip in config.vip), default=LEASE_MIN_S)
    if lease_s and (lease_s * 1000 <= slowest_ms or lease_s < LEASE_MIN_S):
        yield (
            "engine.lease_s",
            (
                f"is shorter than a take-over ({slowest_ms / 1000:g} s at most): a stalled engine would "
                f"lose its addresses before a peer has them; use {derived_s}, or 0"
            ),
        )
    for vip, label in zip(config.vip, vip_labels(config), strict=True):
        if vip.advert_interval_ms < FAST_MS and not config.engine.realtime_priority:
            yield (
                f"{label}.advert_interval_ms",
                (
                    f"is below {FAST_MS} with engine.realtime_priority = 0: a busy host will send late, "
                    "and its peers will take over"
                ),
            )
        late_ms = facts.lateness_p99_ms
        if late_ms is not None and late_ms > vip.advert_interval_ms * LATENESS_SHARE:
            yield (
                f"{label}.advert_interval_ms",
                (
                    f"is too fast for this host: its engine is {late_ms:.1f} ms late in 1 of 100 "
                    f"wake-ups; use {_round_up(late_ms / LATENESS_SHARE)} or more"
                ),
            )


def _handover(config: Config, facts: Facts) -> Found:
    if config.vip and config.cluster.peer and facts.nftables is False:
        yield (
            "vip",
            (
                "cannot be handed over by this host: libnftables is not installed (Debian: nftables); "
                "planned moves are refused, or cut connections with --plain"
            ),
        )


def _round_up(interval_ms: float) -> int:
    return int(-(-interval_ms // 10)) * 10


def _groups(config: Config) -> Found:
    members: dict[str, list[tuple[Vip, str]]] = {}
    for vip, label in zip(config.vip, vip_labels(config), strict=True):
        if vip.group:
            members.setdefault(vip.group, []).append((vip, label))
    for group, vips in members.items():
        first, label = vips[0]
        if len(vips) == 1:
            close = difflib.get_close_matches(group, [g for g in members if g != group], n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            yield f"{label}.group", f'nothing else is in the group "{group}"{hint}'
        for vip, other in vips[1:]:
            if vip.priority != first.priority:
                yield (
                    f"{other}.priority",
                    (
                        f'differs from {label}, though both are in the group "{group}": give the '
                        "VIPs of a group one priority per node"
                    ),
                )


def _vip(vip: Vip, label: str) -> Found:
    families = {a.version for a in host_addresses(vip.addresses)}
    if not vip.preempt and vip.preempt_delay_s:
        yield f"{label}.preempt_delay_s", "has no effect with preempt = false"
    if vip.checksum == "rfc9568" and (vip.version == 2 or families == {6}):
        yield f"{label}.checksum", "only concerns IPv4 in version 3; it has no effect here"
    if vip.auth_password_file:
        yield (
            f"{label}.auth_password_file",
            "is sent in clear text with every advert: it guards against mistakes, not attacks",
        )


def _vip_in_cluster(vip: Vip, label: str, facts: Facts) -> Found:
    for node, priority in facts.priorities.get(vip.name, {}).items():
        if priority == vip.priority:
            yield (
                f"{label}.priority",
                (
                    f"{priority} is also the priority of {node}: who serves is left to chance; "
                    "give each node its own"
                ),
            )
    if stranger := facts.strangers.get(vip.name):
        yield (
            f"{label}.vrid",
            f"{vip.vrid} is used on the wire by {stranger}, which is no node of this cluster",
        )


def _vip_on_host(vip: Vip, label: str, interfaces: Mapping[str, tuple[str, ...]]) -> Found:
    for name in (vip.interface, *vip.track_interfaces):
        if name not in interfaces:
            key = "interface" if name == vip.interface else "track_interfaces"
            close = difflib.get_close_matches(name, interfaces, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            yield f"{label}.{key}", f'this host has no interface "{name}"{hint}'
    networks = [ip_interface(text).network for text in interfaces.get(vip.interface, ())]
    if not networks:
        return
    for place, address in enumerate(host_addresses(vip.addresses), 1):
        if not any(address.ip in network for network in networks):
            yield (
                f"{label}.addresses[{place}]",
                (
                    f"{address.ip} is in no network of {vip.interface} "
                    f"({', '.join(map(str, networks))}): its neighbours may not find it"
                ),
            )
