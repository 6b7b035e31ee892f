"""Giving up every address of a configuration in one go, without an engine."""

from socket import AF_INET, AF_INET6

from haman.config.model import Config
from haman.core.vrrp.group import Group
from haman.engine.addresses import Orders, Reconciler
from haman.engine.interfaces import Interfaces
from haman.engine.members import Member, members, read_passwords
from haman.engine.wires import packets
from haman.system.netlink import InterfaceAddress
from haman.system.netlink_socket import Requests
from haman.system.sockets import VrrpSocket


def give_up(config: Config) -> tuple[list[str], list[str]]:
    """Say priority 0 for every VIP that is held here, and remove every VIP's address.

    Returns:
        What was done and what failed, as lines.

    Raises:
        OSError: the kernel cannot be talked to.
    """
    requests = Requests()
    try:
        every = members(config, read_passwords(config))
        interfaces = Interfaces(str(a.ip) for m in every.values() for a in m.addresses)
        there = requests.addresses()
        interfaces.dump_ended(requests.links(), there)
        done: list[str] = []
        failed: list[str] = []
        for member in every.values():
            link = interfaces.link(member.vip.interface)
            names = {str(a.ip) for a in member.addresses}
            if link and any(a.ifindex == link.index and a.address in names for a in there):
                _say_farewell(member, interfaces, link.index, done, failed)
        configured = frozenset(
            (m.vip.interface, str(a.ip)) for m in every.values() for a in m.addresses
        )
        answer = Reconciler(requests).reconcile(
            Orders(1, {}, configured, verify=True, initial=True)
        )
    finally:
        requests.close()
    done += [f"{_text(place, interfaces)}: removed" for place in answer.strays]
    failed += [
        f"{_text(refusal.place, interfaces)}: not removed: {refusal.text}"
        for refusal in answer.stuck
    ]
    return done, failed


def _say_farewell(
    member: Member, interfaces: Interfaces, ifindex: int, done: list[str], failed: list[str]
) -> None:
    """Send priority 0; an interface that is down has nobody to tell."""
    vip = member.vip
    source = interfaces.source(vip.interface, member.family, member.peers)
    if source is None or interfaces.trouble(vip.interface) is not None:
        return
    group = Group(vip.name, {member.key: member.router(source, None)}, 0)
    family = AF_INET if member.family == 4 else AF_INET6  # noqa: PLR2004 - the family
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


def _text(place: InterfaceAddress, interfaces: Interfaces) -> str:
    return f"{interfaces.name(place.ifindex)}: {place.address}/{place.prefix}"
