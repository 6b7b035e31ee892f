"""The engine's side of the page that its guard reads; the layout is explained in `guard`."""

import mmap
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address

from haman.core.vrrp.messages import SendAdvertisement
from haman.engine import guard
from haman.engine.interfaces import Interfaces
from haman.engine.members import Member
from haman.engine.wires import Wires
from haman.system import netlink
from haman.system.netlink import InterfaceAddress

_TEXT_BYTES_MAX = guard.SLOT_BYTES - guard.SLOT_HEADER.size


def advert(
    interface: str, ifindex: int, destination: IPv4Address | IPv6Address, packet: bytes
) -> bytes:
    """A record: send this IP packet out of this interface."""
    name, to = interface.encode(), destination.packed
    return guard.RECORD.pack(destination.version, len(packet), ifindex, name, to) + packet


def farewells(
    adverts: Iterable[tuple[Member, SendAdvertisement]], interfaces: Interfaces, wires: Wires
) -> Iterator[bytes]:
    """Records: send these adverts, each to all of its destinations; without an interface, none."""
    for member, farewell in adverts:
        link = interfaces.link(member.interface)
        if link is not None:
            for destination, packet in wires.packets(member.wire, farewell):
                yield advert(link.name, link.index, destination, packet)


def removal(address: InterfaceAddress) -> bytes:
    """A record: remove this address."""
    request = netlink.delete_address(1, address)
    return guard.RECORD.pack(guard.KIND_REQUEST, len(request), address.ifindex, b"", b"") + request


class LastWords:
    """Writes the page."""

    def __init__(self, memory_fd: int) -> None:
        self._page = mmap.mmap(memory_fd, guard.PAGE_BYTES)
        self._sequence = 0

    def write(self, records: Sequence[bytes]) -> int:
        """Put these records in force; returns how many were left out because the page is full."""
        fitting: list[bytes] = []
        room = _TEXT_BYTES_MAX
        for record in records:
            room -= len(record)
            if room < 0:
                break
            fitting.append(record)
        text = b"".join(fitting)
        self._sequence += 1
        header = guard.SLOT_HEADER.pack(
            self._sequence, len(text), guard.slot_checksum(self._sequence, text)
        )
        start = self._sequence % 2 * guard.SLOT_BYTES
        # The checksum covers all of it, so it does not matter in which order the bytes land.
        self._page[start : start + len(header) + len(text)] = header + text
        return len(records) - len(fitting)

    def close(self) -> None:
        """Let go of the memory; the page stays with the guard."""
        self._page.close()
