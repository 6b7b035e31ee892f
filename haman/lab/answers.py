"""Who answers for an address on the link: a client's ARP requests, a thousand a second, and the replies.

The oracle of a handover: at each instant one node answers, and never two. The requests carry the
client's own address, so its cache learns from the replies what any client's would.
"""

import bisect
import contextlib
import itertools
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from ipaddress import IPv4Address

from msgspec import Struct

from haman.core.frames import BROADCAST_MAC
from haman.lab import kernel
from haman.lab.listening import in_real_time
from haman.lab.probe import NS_PER_MS
from haman.lab.prober import PRIORITY

ETH_P_ARP = 0x0806
EVERY_NS = NS_PER_MS
_ARP = struct.Struct("!6s6sHHHBBH6s4s6s4s")
_REPLY = 2


class Reply(Struct, frozen=True, array_like=True):
    """One reply; `mac` of who says that it has the address."""

    at_ns: int
    mac: str


class Answers:
    """Asks from a namespace until it is stopped.

    Args:
        pid: of a process of the client.
        interface: of the client, on the link.
        own: an IPv4 address of the client's.
        address: asked for, IPv4.
    """

    def __init__(self, pid: int, interface: str, own: str, address: str) -> None:
        def make() -> socket.socket:
            opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP))
            opened.bind((interface, ETH_P_ARP))
            opened.setblocking(False)
            return opened

        self._socket = kernel.in_netns(pid, make)
        mac = self._socket.getsockname()[4]
        own_ip, self._target = IPv4Address(own).packed, IPv4Address(address).packed
        self._request = _ARP.pack(
            *(BROADCAST_MAC, mac, ETH_P_ARP, 1, 0x0800, 6, 4, 1),
            *(mac, own_ip, bytes(6), self._target),
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="answers", daemon=True)
        self.replies: list[Reply] = []
        """In the order in which they came; whole after `stop`."""
        self.asked_ns: list[int] = []
        """When each question was asked; likewise."""

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> list[Reply]:
        """End it; every reply."""
        self._stopping.set()
        self._thread.join()
        self._socket.close()
        return self.replies

    def _ask(self) -> None:
        in_real_time(PRIORITY)
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        next_ns = time.monotonic_ns()
        while not self._stopping.is_set():
            now_ns = time.monotonic_ns()
            if now_ns >= next_ns:
                next_ns = max(next_ns + EVERY_NS, now_ns)
                with contextlib.suppress(OSError):  # the queue is full: the next one will do
                    self._socket.send(self._request)
                    self.asked_ns.append(now_ns)
            poll.poll(max(0, next_ns - time.monotonic_ns()) / NS_PER_MS)
            self._receive()

    def _receive(self) -> None:
        while True:
            try:
                data = self._socket.recv(256)
            except BlockingIOError:
                return
            now_ns = time.monotonic_ns()
            if len(data) < _ARP.size:
                continue
            fields = _ARP.unpack_from(data)
            if fields[7] == _REPLY and fields[9] == self._target:
                self.replies.append(Reply(now_ns, fields[8].hex(":")))


def doubled(replies: list[Reply]) -> int:
    """Replies of a node after another one had begun to answer in its place: those too many.

    A move is seen by the first reply of another node; until the next move every reply is to be that
    one's.
    """
    count, holder, moved_ns = 0, "", 0
    for reply in replies:
        if not holder or reply.mac == holder:
            holder = holder or reply.mac
        elif reply.at_ns - moved_ns < MOVES_APART_NS and moved_ns:
            count += 1
        else:
            holder, moved_ns = reply.mac, reply.at_ns
    return count


def taken_over_ns(replies: Sequence[Reply]) -> int | None:
    """When another node than the first one began to answer; None = nobody else did."""
    return next((reply.at_ns for reply in replies if reply.mac != replies[0].mac), None)


MOVES_APART_NS = 1000 * NS_PER_MS
"""Nobody moves an address back within this time: who answers so soon is a second one."""


def longest_silence_ms(replies: list[Reply], asked_ns: list[int]) -> float:
    """The longest span in which a question waited and nobody answered, in ms.

    Not simply the longest without a reply: who does not ask, because the machine gave it no time, learns
    nothing of who would have answered.
    """
    longest = 0
    for before, after in itertools.pairwise(replies):
        place = bisect.bisect_right(asked_ns, before.at_ns)
        if place < len(asked_ns) and asked_ns[place] < after.at_ns:
            longest = max(longest, after.at_ns - asked_ns[place])
    return longest / NS_PER_MS
