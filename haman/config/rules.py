"""What must hold between fields of the configuration; a breach makes the file unusable.

Each rule looks at the whole typed configuration and notes what it finds. Fields that are bad
themselves hold placeholders, and what is said of them here is dropped (`Findings.add_rule`).
"""

import difflib
from collections.abc import Sequence
from ipaddress import ip_address

from haman.config.bgp_rules import check_bgp_rules
from haman.config.forms import split_host_port
from haman.config.model import Config, Peer, Proxy
from haman.config.vip_rules import check_vip_rules
from haman.config.walk import Findings, labels, repeats

UNITS = {
    "cpu": {"cores"},
    "tls": {"core-s/s", "full/s"},
    "connections": {"count"},
    "fds": {"count"},
    "ports": {"count"},
    "memory": {"bytes"},
    "hol": {"s"},
    "accept_queue": {"s"},
    "conntrack": {"count"},
    "nic": {"bytes/s"},
}
"""The resources there are, and the units in which their ceilings may be given."""

PROXY_KEYS = {
    "haproxy": ("socket",),
    "nginx": ("status",),
    "envoy": ("admin",),
    "caddy": ("admin",),
    "process": ("pidfile", "process"),
}
"""What each kind of proxy is observed by: one of these keys must be given."""


def check_rules(config: Config, findings: Findings) -> None:
    """Note every breach in `config`."""
    for rule in (
        _check_cluster,
        _check_proxy,
        _check_saturation,
        _check_service_names,
        check_vip_rules,
        check_bgp_rules,
    ):
        rule(config, findings)


def _labels(key: str, elements: Sequence[Peer]) -> list[str]:
    return labels(key, [{"name": e.name} for e in elements])


def _check_cluster(config: Config, findings: Findings) -> None:
    cluster = config.cluster
    if cluster.key_file and not cluster.listen:
        findings.add_rule(
            "is missing: with a key_file, the node must know where it listens for its peers",
            "cluster.listen",
            "cluster.key_file",
        )
    for first, place in repeats([p.name for p in cluster.peer]):
        findings.add_rule(
            f'"{cluster.peer[place].name}" is already the name of cluster.peer[{first + 1}]',
            f"cluster.peer[{place + 1}].name",
            f"cluster.peer[{first + 1}].name",
        )
    paths: dict[str, str] = {cluster.listen: "cluster.listen"} if cluster.listen else {}
    for peer, label in zip(cluster.peer, _labels("cluster.peer", cluster.peer), strict=True):
        if peer.name == config.node.name:
            findings.add_rule(
                f'"{peer.name}" is this node; list only the others', f"{label}.name", "node.name"
            )
        if not peer.addresses:
            findings.add_rule("must name at least one ADDRESS:PORT", f"{label}.addresses")
        for place, address in enumerate(peer.addresses, 1):
            here = f"{label}.addresses[{place}]"
            if address in paths:
                findings.add_rule(f"{address} is already {paths[address]}", here, paths[address])
            paths.setdefault(address, here)
            if cluster.listen and _family(address) != _family(cluster.listen):
                findings.add_rule(
                    f"{address} cannot be reached from {cluster.listen}: one is IPv4, the other IPv6",
                    here,
                    "cluster.listen",
                )


def _family(host_port: str) -> int:
    try:
        return ip_address(split_host_port(host_port)[0]).version
    except ValueError:
        return 0


def _check_proxy(config: Config, findings: Findings) -> None:
    proxy = config.proxy
    if proxy == Proxy():
        findings.add_rule("is missing: name the local proxy that haman watches", "proxy")
        return
    keys = PROXY_KEYS[proxy.kind]
    if not any(getattr(proxy, key) for key in keys):
        findings.add_rule(
            f"is missing: kind {proxy.kind} is observed by its {' or '.join(keys)}",
            f"proxy.{keys[0]}",
            "proxy.kind",
            *(f"proxy.{key}" for key in keys),
        )


def _check_saturation(config: Config, findings: Findings) -> None:
    common = config.saturation
    tables = [("saturation", common.soft, common.hard, common.recover)]
    for name, own in common.resource.items():
        label = f"saturation.resource.{name}"
        if name not in UNITS:
            close = difflib.get_close_matches(name, UNITS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(UNITS)}"
            findings.add_rule(f"no such resource; {hint}", label)
            continue
        if own.unit and own.unit not in UNITS[name]:
            units = " or ".join(sorted(UNITS[name]))
            findings.add_rule(f'must be {units}, not "{own.unit}"', f"{label}.unit")
        soft = common.soft if own.soft is None else own.soft
        hard = common.hard if own.hard is None else own.hard
        recover = common.recover if own.recover is None else own.recover
        if (own.soft, own.hard, own.recover) != (None, None, None):
            tables.append((label, soft, hard, recover))
    for label, soft, hard, recover in tables:
        common_keys = ("saturation.soft", "saturation.hard", "saturation.recover")
        if soft >= hard:
            findings.add_rule(
                f"soft ({soft:g}) must be below hard ({hard:g})",
                f"{label}.soft",
                f"{label}.hard",
                *common_keys[:2],
            )
        if recover >= soft:
            findings.add_rule(
                f"recover ({recover:g}) must be below soft ({soft:g})",
                f"{label}.recover",
                f"{label}.soft",
                common_keys[0],
                common_keys[2],
            )


def _check_service_names(config: Config, findings: Findings) -> None:
    keys = [f"vip[{place}].name" for place in range(1, len(config.vip) + 1)]
    keys += [f"anycast[{place}].name" for place in range(1, len(config.anycast) + 1)]
    names = [vip.name for vip in config.vip] + [service.name for service in config.anycast]
    for first, place in repeats(names):
        other = keys[first].removesuffix(".name")
        findings.add_rule(
            f'"{names[place]}" is already the name of {other}', keys[place], keys[first]
        )
