"""Giving up every address of a configuration in one go, without an engine.

VIPs first and at once. Then an ExaBGP that has outlived its engine is ended, and only when routers
have had the time to withdraw do the anycast addresses go, and whatever else bears haman's mark.
"""

import time
from socket import AF_INET, AF_INET6

from haman.config.model import Config
from haman.core.vrrp.group import Group
from haman.engine import exabgp
from haman.engine.addresses import Reconciler
from haman.engine.claims import Claim, anycast_claims, every_address
from haman.engine.ending import SETTLE_NS
from haman.engine.interfaces import Interfaces
from haman.engine.members import Member, members, read_passwords
from haman.engine.wires import packets
from haman.system.netlink import ADDRESS_MARK, InterfaceAddress
from haman.system.netlink_socket import Requests
from haman.system.signalling import end_processes
from haman.system.sockets import VrrpSocket


def give_up(config: Config) -> tuple[list[str], list[str]]:
    """Say priority 0 for every VIP that is held here, and remove every service's address.

    Returns:
        What was done and what failed, as lines.

    Raises:
        OSError: the kernel cannot be talked to.
    """
    requests = Requests()
    try:
        routers, services = members(config, read_passwords(config)), anycast_claims(config)
        claims: tuple[Claim, ...] = (*routers.values(), *services.values())
        interfaces = Interfaces(str(a.ip) for claim in claims for a in claim.addresses)
        there = requests.addresses()
        interfaces.dump_ended(requests.links(), there)
        done: list[str] = []
        failed: list[str] = []
        for member in routers.values():
            link = interfaces.link(member.interface)
            names = {str(a.ip) for a in member.addresses}
            if link and any(a.ifindex == link.index and a.address in names for a in there):
                _say_farewell(member, interfaces, link.index, done, failed)
        vips, anycast = every_address(routers.values()), every_address(services.values())
        tails = {address for _, address in vips}  # on `lo`, of a handover
        at_once, later = [], []
        for address in there:
            known = (interfaces.name(address.ifindex), address.address)
            marked = address.protocol == ADDRESS_MARK
            if known in vips or (marked and address.address in tails):
                at_once.append(address.place)
            elif known in anycast or marked:
                later.append(address.place)
        reconciler = Reconciler(requests)
        _remove(at_once, reconciler, interfaces, done, failed)
        ended = end_processes(exabgp.arguments(config.api.socket), exabgp.END_WITHIN_NS / 1e9)
        done += [f"ExaBGP, process {pid}: ended" for pid in ended]
        if later:
            time.sleep(SETTLE_NS / 1e9)
        _remove(later, reconciler, interfaces, done, failed)
    finally:
        requests.close()
    return done, failed


def _remove(
    places: list[InterfaceAddress],
    reconciler: Reconciler,
    interfaces: Interfaces,
    done: list[str],
    failed: list[str],
) -> None:
    stuck = {refusal.place: refusal.text for refusal in reconciler.remove(places)}
    for place in places:
        text = f"{interfaces.name(place.ifindex)}: {place.address}/{place.prefix}"
        if place in stuck:
            failed.append(f"{text}: not removed: {stuck[place]}")
        else:
            done.append(f"{text}: removed")


def _say_farewell(
    member: Member, interfaces: Interfaces, ifindex: int, done: list[str], failed: list[str]
) -> None:
    """Send priority 0; an interface that is down has nobody to tell."""
    vip = member.vip
    source = interfaces.source(vip.interface, member.family, member.peers)
    if source is None or interfaces.trouble(vip.interface) is not None:
        return
    group = Group(vip.name, {member.key: member.router(source, None)}, 0)
    family = AF_INET if member.family == 4 else AF_INET6
    try:
        wire = VrrpSocket(vip.interface, ifindex, family)
        try:
            for destination, packet in packets(group.farewells()[member.key]):
                wire.send(packet, destination)
        finally:
            wire.close()
    except OSError as error:
        failed.append(f"{vip.name}: no farewell on {vip.interface}: {error.strerror}")
    else:
        done.append(f"{vip.name}: said priority 0 on {vip.interface} (IPv{member.family})")
