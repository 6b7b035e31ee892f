"""What must hold between the fields of `[[vip]]` tables: RFC 9568 (version 3), RFC 3768 (version 2)."""

from ipaddress import ip_address

from haman.config.forms import address_family, host_addresses
from haman.config.model import Config, Vip
from haman.config.walk import Findings, labels, repeats

V3_INTERVAL_MAX_MS = 40_950
"""RFC 9568 section 5.2.7: twelve bits of centiseconds."""

ADVERT_ADDRESSES_MAX = {4: 255, 6: 90}
"""The count field holds 255 (RFC 9568 section 5.2.5); 90 IPv6 addresses fill a 1500 byte packet."""


def check_vip_rules(config: Config, findings: Findings) -> None:
    """Note every breach in the VIPs of `config`."""
    _check_virtual_routers(config, findings)
    _check_vip_addresses(config, findings)
    _check_groups(config, findings)


def vip_labels(config: Config) -> list[str]:
    """Key of each `[[vip]]`, in order."""
    return labels("vip", [{"name": vip.name} for vip in config.vip])


def _check_virtual_routers(config: Config, findings: Findings) -> None:
    routers: dict[tuple[str, int, int], str] = {}
    for vip, label in zip(config.vip, vip_labels(config), strict=True):
        families: set[int] = {a.version for a in host_addresses(vip.addresses)}
        for family in sorted(families):
            other = routers.setdefault((vip.interface, vip.vrid, family), label)
            if other != label:
                findings.add_rule(
                    f"{vip.vrid} is already the IPv{family} virtual router of {other} "
                    f"on {vip.interface}",
                    f"{label}.vrid",
                    f"{label}.interface",
                    f"{other}.vrid",
                    f"{other}.interface",
                )
        _check_version(vip, label, families, findings)
        _check_unicast_peers(vip, label, families, findings)
        if vip.gateway and address_family(vip.gateway) != 4:
            findings.add_rule("the gateway is asked by ARP: an IPv4 address", f"{label}.gateway")


def _check_version(vip: Vip, label: str, families: set[int], findings: Findings) -> None:
    version, interval = f"{label}.version", f"{label}.advert_interval_ms"
    if vip.version == 2:
        if 6 in families:
            findings.add_rule("VRRP version 2 has no IPv6; use version 3", version)
        if vip.advert_interval_ms % 1000:
            findings.add_rule(
                f"VRRP version 2 counts whole seconds, and {vip.advert_interval_ms} is none; "
                "use version 3",
                interval,
                version,
            )
        return
    if vip.advert_interval_ms % 10 or vip.advert_interval_ms > V3_INTERVAL_MAX_MS:
        findings.add_rule(
            f"VRRP version 3 counts steps of 10 up to {V3_INTERVAL_MAX_MS}, not "
            f"{vip.advert_interval_ms}",
            interval,
            version,
        )
    if vip.auth_password_file:
        findings.add_rule(
            "VRRP version 3 has no authentication (RFC 9568 section 8)",
            f"{label}.auth_password_file",
            version,
        )


def _check_unicast_peers(vip: Vip, label: str, families: set[int], findings: Findings) -> None:
    own = {a.ip for a in host_addresses(vip.addresses)}
    given = {address_family(p) for p in vip.unicast_peers}
    for place, peer in enumerate(vip.unicast_peers, 1):
        here = f"{label}.unicast_peers[{place}]"
        family = address_family(peer)
        if family and families and family not in families:
            findings.add_rule(f"{peer} is IPv{family}, and no address of the VIP is", here)
        if family and ip_address(peer) in own:
            findings.add_rule(f"{peer} is the VIP itself", here)
    for _, place in repeats(vip.unicast_peers):
        peer = vip.unicast_peers[place]
        findings.add_rule(f"{peer} stands there twice", f"{label}.unicast_peers[{place + 1}]")
    for family in sorted(families - given if vip.unicast_peers else ()):
        findings.add_rule(
            f"no IPv{family} peer, though the VIP has IPv{family} addresses",
            f"{label}.unicast_peers",
        )


def _check_vip_addresses(config: Config, findings: Findings) -> None:
    holders: dict[object, str] = {}
    for vip, label in zip(config.vip, vip_labels(config), strict=True):
        if not vip.addresses:
            findings.add_rule("must name at least one address", f"{label}.addresses")
        for place, text in enumerate(vip.addresses, 1):
            here = f"{label}.addresses[{place}]"
            for address in host_addresses((text,)):
                if address.ip in holders:
                    findings.add_rule(f"{address.ip} is already {holders[address.ip]}", here)
                holders.setdefault(address.ip, here)
        for family, most in ADVERT_ADDRESSES_MAX.items():
            count = sum(a.version == family for a in host_addresses(vip.addresses))
            if count > most:
                findings.add_rule(
                    f"{count} IPv{family} addresses do not fit into one advert (at most {most})",
                    f"{label}.addresses",
                )


def _check_groups(config: Config, findings: Findings) -> None:
    """Check that VIPs which move together have one mind about preemption."""
    leaders: dict[str, tuple[Vip, str]] = {}
    for vip, label in zip(config.vip, vip_labels(config), strict=True):
        if not vip.group:
            continue
        leader, other = leaders.setdefault(vip.group, (vip, label))
        for key in ("preempt", "preempt_delay_s"):
            mine, theirs = getattr(vip, key), getattr(leader, key)
            if mine != theirs:
                findings.add_rule(
                    f'must be as in {other}: VIPs of the group "{vip.group}" move together',
                    f"{label}.{key}",
                    f"{other}.{key}",
                )
