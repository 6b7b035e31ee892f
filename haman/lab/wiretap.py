"""Adverts and gratuitous ARP on a link, each with the instant at which the kernel took it in.

The kernel's stamps (SO_TIMESTAMPNS, socket(7)) do not depend on when this process gets to read: on a
machine whose every core is busy that would say more of the reader than of what it reads.
"""

import ctypes
import select
import socket
import struct
import threading
from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import NamedTuple, Self

from haman.lab import kernel

_ETH_P_ALL, _ETH_P_IP, _ETH_P_ARP, _VRRP = 0x0003, 0x0800, 0x0806, 112
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 26, 33, 35
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_BUFFER_BYTES = 64 << 20
"""Some 40,000 frames: what one listening brings, though nobody reads meanwhile."""
_NS_PER_S = 1_000_000_000
_TIMESPEC = struct.Struct("@ll")
_ETHERNET = struct.Struct("!6s6sH")
_LOAD_HALF, _LOAD_BYTE, _JUMP_EQUAL, _RETURN = 0x28, 0x30, 0x15, 0x06
_FILTER = (
    (_LOAD_HALF, 0, 0, 12),
    (_JUMP_EQUAL, 4, 0, _ETH_P_ARP),
    (_JUMP_EQUAL, 0, 2, _ETH_P_IP),
    (_LOAD_BYTE, 0, 0, 23),
    (_JUMP_EQUAL, 1, 0, _VRRP),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, 0xFFFF),
)
"""Classic BPF: ARP, and IPv4 with protocol 112."""


class Frame(NamedTuple):
    """An Ethernet frame; `at_ns` of the wall clock."""

    at_ns: int
    data: bytes


class Advert(NamedTuple):
    """An advert over IPv4."""

    at_ns: int
    mac: str
    vrid: int
    priority: int


class Claim(NamedTuple):
    """A gratuitous ARP: `mac` says that it has the address."""

    at_ns: int
    mac: str
    address: str


class Tap:
    """Listens from `with` to its end on an interface of a node.

    Args:
        pid: of a process of the node.
        interface: of the node.

    Attributes:
        frames: in the order in which they came; whole after the end.
        lost: frames that found no room in the buffer; known after the end.
    """

    def __init__(self, pid: int, interface: str) -> None:
        self.frames: list[Frame] = []
        self.lost = 0
        self._socket = kernel.in_netns(pid, lambda: _opened(interface))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, name="wiretap", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, with all that has come in until now."""
        self._ended.set()
        self._thread.join()
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self.lost = struct.unpack("@II", statistics)[1]
        self._socket.close()

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        ending = False
        while not ending:
            ending = self._ended.is_set()  # looked at first: what came before it is still read
            poll.poll(0 if ending else 50)
            while (frame := self._receive()) is not None:
                self.frames.append(frame)

    def _receive(self) -> Frame | None:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(512, 64)
        except BlockingIOError:
            return None
        stamps = (value for _, kind, value in ancillary if kind == _SO_TIMESTAMPNS)
        seconds, ns = _TIMESPEC.unpack(next(stamps))
        return Frame(seconds * _NS_PER_S + ns, data)


def _opened(interface: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    program = b"".join(struct.pack("=HBBI", *step) for step in _FILTER)
    buffer = ctypes.create_string_buffer(program)
    code = struct.pack("@HP", len(_FILTER), ctypes.addressof(buffer))
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, code)
    opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    opened.setblocking(False)
    opened.bind((interface, _ETH_P_ALL))
    return opened


def adverts(frames: Iterable[Frame]) -> list[Advert]:
    """The adverts among them."""
    found = []
    for at_ns, data in frames:
        _, mac, kind = _ETHERNET.unpack_from(data)
        if kind == _ETH_P_IP:
            begin = _ETHERNET.size + (data[_ETHERNET.size] & 0x0F) * 4
            found.append(Advert(at_ns, mac.hex(":"), data[begin + 1], data[begin + 2]))
    return found


def claims(frames: Iterable[Frame]) -> list[Claim]:
    """The gratuitous ARP among them: sender and target are one address."""
    found = []
    for at_ns, data in frames:
        _, mac, kind = _ETHERNET.unpack_from(data)
        if kind == _ETH_P_ARP and data[28:32] == data[38:42]:
            found.append(Claim(at_ns, mac.hex(":"), str(IPv4Address(data[28:32]))))
    return found
