"""The host's interfaces and addresses as last heard from the kernel. No I/O.

Fed by full dumps and by the monitor's messages. A dump is taken by another thread while messages
go on arriving, so what arrived since it was asked for is applied again on top of it: messages carry
the whole state of one object, so the last one wins, whichever is older.
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from haman.core.words import Reason
from haman.system.netlink import (
    IFA_F_DADFAILED,
    IFA_F_SECONDARY,
    IFA_F_TENTATIVE,
    AddressAdded,
    AddressRemoved,
    InterfaceAddress,
    Link,
    LinkChanged,
    LinkRemoved,
    Message,
)

_REPLAY_MAX = 4096
_LINK_LOCAL = 253  # RT_SCOPE_LINK of linux/rtnetlink.h


class Interfaces:
    """What there is.

    Args:
        excluded: addresses that are never taken as a source: those of all VIPs.
    """

    def __init__(self, excluded: Iterable[str] = ()) -> None:
        self._excluded = frozenset(excluded)
        self._known_own: dict[tuple[int, int], tuple[InterfaceAddress, ...]] = {}
        self._known_sources: dict[tuple[int, int, bool], IPv4Address | IPv6Address | None] = {}
        self._links: dict[int, Link] = {}
        self._by_name: dict[str, int] = {}
        self._addresses: dict[InterfaceAddress, InterfaceAddress] = {}
        self._replay: list[Message] | None = None

    @property
    def excluded(self) -> frozenset[str]:
        """Addresses that are never taken as a source."""
        return self._excluded

    @excluded.setter
    def excluded(self, addresses: frozenset[str]) -> None:
        self._excluded = addresses
        self._forget()

    def _forget(self) -> None:
        """What was derived of addresses before is void."""
        self._known_own.clear()
        self._known_sources.clear()

    def dump_began(self) -> None:
        """A full dump was asked for: keep what arrives from now on."""
        self._replay = []

    def dump_ended(self, links: Iterable[Link], addresses: Iterable[InterfaceAddress]) -> bool:
        """Replace everything by the dump; False = it is void, ask for another one."""
        replay, self._replay = self._replay, None
        if replay is not None and len(replay) >= _REPLAY_MAX:
            return False
        self._links, self._by_name, self._addresses = {}, {}, {}
        self._forget()
        for link in links:
            self._apply(LinkChanged(link))
        for address in addresses:
            self._apply(AddressAdded(address))
        for message in replay or ():
            self._apply(message)
        return True

    def apply(self, message: Message) -> bool:
        """Take in what the monitor says.

        Returns:
            Whether it may matter to anything but the lease of a VIP's address: those are renewed all
            the time.
        """
        if self._replay is not None and len(self._replay) < _REPLAY_MAX:
            self._replay.append(message)
        match message:
            case LinkChanged(link):
                matters = self._links.get(link.index) != link
            case AddressAdded(address) | AddressRemoved(address):
                matters = address.address not in self._excluded
            case _:
                matters = True
        self._apply(message)
        return matters

    def _apply(self, message: Message) -> None:
        match message:
            case LinkChanged(link):
                old = self._links.get(link.index)
                if old is not None and old.name != link.name:
                    self._by_name.pop(old.name, None)
                self._links[link.index] = link
                self._by_name[link.name] = link.index
            case LinkRemoved(link):
                gone = self._links.pop(link.index, None)
                if gone is not None and self._by_name.get(gone.name) == gone.index:
                    del self._by_name[gone.name]
                for key in [k for k in self._addresses if k.ifindex == link.index]:
                    del self._addresses[key]
                self._forget()
            case AddressAdded(address):
                self._addresses[address.place] = address
                self._changed(address)
            case AddressRemoved(address):
                self._addresses.pop(address.place, None)
                self._changed(address)
            case _:
                pass  # answers to requests are not for the monitor

    def _changed(self, address: InterfaceAddress) -> None:
        # Those of services come by with each renewal, by the hundred, and are nobody's own.
        if address.address not in self._excluded:
            self._forget()

    def link(self, name: str) -> Link | None:
        """The interface of this name now."""
        return self._links.get(self._by_name.get(name, -1))

    def name(self, ifindex: int) -> str:
        """What the interface of this index is called now; "" if there is none."""
        link = self._links.get(ifindex)
        return link.name if link else ""

    def covers(self, place: InterfaceAddress) -> bool:
        """Whether a permanent address of the interface's own lies in the prefix of `place`."""
        return any(
            own.prefix == place.prefix and _network(own) == _network(place)
            for own in self._own(place.ifindex, place.family)
        )

    def on_link(self, name: str, address: IPv4Address | IPv6Address) -> bool:
        """Whether an address lies in a network that the interface has an address of its own in."""
        link = self.link(name)
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        own = self._own(link.index, family) if link is not None else ()
        return any(address in ip_network(f"{a.address}/{a.prefix}", strict=False) for a in own)

    def bearer(self, address: str) -> str:
        """The interface that has this address, as `inet_ntop` writes it; "" = none."""
        found = (a for a in self._addresses.values() if a.address == address)
        return next((self.name(a.ifindex) for a in found), "")

    def addresses(self, name: str) -> tuple[str, ...]:
        """The interface's own addresses, of both families, but for link-local ones."""
        link = self.link(name)
        families = (socket.AF_INET, socket.AF_INET6) if link is not None else ()
        own = (a for f in families for a in self._own(link.index if link else 0, f))
        return tuple(a.address for a in own if a.scope != _LINK_LOCAL)

    def trouble(self, name: str, tracked: Iterable[str] = ()) -> Reason | None:
        """Why a VIP on this interface cannot be served; None = it can."""
        for each in (name, *tracked):
            link = self.link(each)
            if link is None:
                return Reason("interface-absent", f"there is no interface {each}")
            if not link.up:
                return Reason("interface-down", f"interface {each} is down")
        return None

    def source(
        self, name: str, family: int, peers: Iterable[IPv4Address | IPv6Address] = ()
    ) -> IPv4Address | IPv6Address | None:
        """The address to send adverts from.

        IPv4: the primary address. IPv6: the link-local one (RFC 9568 section 5.1.2.1), but a global
        one towards unicast peers that are not link-local.

        Args:
            name: of the interface.
            family: 4 or 6.
            peers: unicast; empty = multicast.
        """
        link = self.link(name)
        if link is None:
            return None
        local = family == 6 and all(peer.is_link_local for peer in peers)
        key = (link.index, family, local)
        if key not in self._known_sources:
            self._known_sources[key] = self._source(*key)
        return self._known_sources[key]

    def _source(self, ifindex: int, family: int, local: bool) -> IPv4Address | IPv6Address | None:
        if family == 4:
            own = list(self._own(ifindex, socket.AF_INET))
            own.sort(key=lambda a: (bool(a.flags & IFA_F_SECONDARY), a.scope))
        else:
            known = self._own(ifindex, socket.AF_INET6)
            own = [a for a in known if (a.scope == _LINK_LOCAL) == local]
        return ip_address(own[0].address) if own else None

    def _own(self, ifindex: int, family: int) -> tuple[InterfaceAddress, ...]:
        key = (ifindex, family)
        if key not in self._known_own:
            self._known_own[key] = tuple(
                address
                for address in self._addresses.values()
                if address.ifindex == ifindex
                and address.family == family
                and address.address not in self._excluded
                and not address.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)
            )
        return self._known_own[key]


def _network(address: InterfaceAddress) -> int:
    packed = int.from_bytes(socket.inet_pton(address.family, address.address), "big")
    bits = 32 if address.family == socket.AF_INET else 128
    return packed >> (bits - address.prefix)
