"""Two netlink sockets: one that asks and waits, one that listens.

`Requests` blocks for the kernel's answer, which may have to wait for the rtnl lock: it belongs to
the address worker, never to the real-time loop. `Monitor` never blocks.
"""

import contextlib
import errno
import socket
import struct
from collections.abc import Callable, Sequence

from haman.system import netlink
from haman.system.netlink import (
    Acknowledged,
    AddressAdded,
    DumpCompleted,
    InterfaceAddress,
    Link,
    LinkChanged,
    Message,
)

_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
_SO_RCVBUFFORCE = 33
_RECEIVE_BYTES = 65536
_DUMP_ATTEMPTS = 5
_ANSWER_TIMEOUT_S = 5


class NetlinkFailedError(OSError):
    """The kernel did not answer as the protocol says: a broken outside."""


def _open() -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    with contextlib.suppress(OSError):  # only error texts are lost (kernels < 4.12)
        opened.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        opened.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
    return opened


class Requests:
    """Asks the kernel and waits for its answer, at most 5 s. Not thread-safe: one owner."""

    def __init__(self) -> None:
        self._socket = _open()
        # The kernel's own timeout: with one of Python's, each call is two, and the interpreter is let go of
        # before both, for the loop to take.
        timeout = struct.pack("@ll", _ANSWER_TIMEOUT_S, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        self._sequence = 0

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def change(self, builds: Sequence[Callable[[int], bytes]]) -> list[Acknowledged]:
        """Send requests, each built for its sequence number, in one go; answers in their order.

        Raises:
            NetlinkFailedError: an answer is missing after 5 s, or could not be read.
        """
        answers: list[Acknowledged] = []
        batch = 32  # so that the answers of one batch surely fit into the receive buffer
        for start in range(0, len(builds), batch):
            answers += self._change(builds[start : start + batch])
        return answers

    def _change(self, builds: Sequence[Callable[[int], bytes]]) -> list[Acknowledged]:
        first = self._sequence + 1
        last = self._sequence = self._sequence + len(builds)
        requests = [build(sequence) for sequence, build in enumerate(builds, first)]
        # A refusal is told in any case; so whoever is not heard of when the last one is, was granted.
        requests[:-1] = [netlink.unacknowledged(request) for request in requests[:-1]]
        answers: dict[int, Acknowledged] = {}
        try:
            self._socket.send(b"".join(requests))
            while last not in answers:
                for message in netlink.parse(self._socket.recv(_RECEIVE_BYTES)):
                    if isinstance(message, Acknowledged) and message.sequence >= first:
                        answers[message.sequence] = message
        except (OSError, netlink.MalformedNetlinkError) as error:
            raise NetlinkFailedError(f"netlink request: {error}") from error
        return [answers.get(n, Acknowledged(n, 0)) for n in range(first, last + 1)]

    def links(self) -> tuple[Link, ...]:
        """All interfaces."""
        dumped = self._dump(netlink.dump_links)
        return tuple(m.link for m in dumped if isinstance(m, LinkChanged))

    def addresses(self) -> tuple[InterfaceAddress, ...]:
        """All addresses of both families."""
        dumped = self._dump(netlink.dump_addresses)
        return tuple(m.address for m in dumped if isinstance(m, AddressAdded))

    def _dump(self, build: Callable[[int], bytes]) -> list[Message]:
        dumped: list[Message] = []
        for _ in range(_DUMP_ATTEMPTS):
            self._sequence += 1
            try:
                self._socket.send(build(self._sequence))
                dumped, completed = self._receive_dump()
            except (OSError, netlink.MalformedNetlinkError) as error:
                raise NetlinkFailedError(f"netlink dump: {error}") from error
            if completed.consistent:
                break
        # A dump that stayed inconsistent is used all the same: the monitor will correct it.
        return dumped

    def _receive_dump(self) -> tuple[list[Message], DumpCompleted]:
        dumped: list[Message] = []
        while True:
            for message in netlink.parse(self._socket.recv(_RECEIVE_BYTES)):
                if isinstance(message, Acknowledged | DumpCompleted):
                    if message.sequence != self._sequence:
                        continue
                    if message.errno:
                        raise OSError(message.errno, "the kernel refused the dump")
                    if isinstance(message, DumpCompleted):
                        return dumped, message
                else:
                    dumped.append(message)


class Monitor:
    """Changes of links and addresses, as the kernel multicasts them.

    Args:
        receive_buffer_bytes: beyond it the kernel drops messages, which `read` reports.
    """

    def __init__(self, receive_buffer_bytes: int = 1 << 20) -> None:
        self._socket = _open()
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer_bytes)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._socket.setblocking(False)
        self._socket.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR))

    def fileno(self) -> int:
        """For epoll."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def read(self) -> list[Message] | None:
        """Changes since the last call, at most one datagram; empty = nothing more to read.

        None = messages were lost or unreadable: what is known is void until the next full dump.
        """
        try:
            return netlink.parse(self._socket.recv(_RECEIVE_BYTES))
        except BlockingIOError:
            return []
        except netlink.MalformedNetlinkError:
            return None
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return None
            raise
