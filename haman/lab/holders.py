"""Who has which address, when: what the kernels of all nodes say, on one clock.

One thread listens to the address notifications (rtnetlink(7), RTNLGRP_IPV4_IFADDR and
RTNLGRP_IPV6_IFADDR) of every node's namespace, so that instants compare without any offset. It is
an oracle outside the agent: it does not ask haman who holds what.
"""

import contextlib
import errno
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Mapping

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from haman.lab import kernel
from haman.lab.tenure import AddressChanged

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x10, 0x100
HEADER = struct.Struct("=IHHII")
LOOPBACK_INDEX = 1
RECEIVE_BYTES = 1 << 18
ANSWER_TIMEOUT_S = 2.0


def addresses_now(pids: Mapping[str, int]) -> Mapping[str, frozenset[str]]:
    """The addresses of each node's interfaces, loopback left out."""
    held = {}
    for node, pid in pids.items():
        with kernel.in_netns(pid, lambda: kernel.netlink_socket(0)) as route:
            held[node] = frozenset(_dump(route))
    return held


class Watch:
    """Listens to all nodes from `start` to `stop`; `changes` holds what it heard, in order."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR
        self._routes: dict[int, tuple[str, socket.socket]] = {}
        self.changes: list[AddressChanged] = []
        self.overruns = 0
        for node, pid in pids.items():
            route = kernel.in_netns(pid, lambda: kernel.netlink_socket(groups))
            self._routes[route.fileno()] = (node, route)
        self._held: dict[str, frozenset[str]] = {}
        self._stop_read, self._stop_write = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, name="holders", daemon=True)

    def start(self, pids: Mapping[str, int]) -> None:
        """Take the present state down as the first changes, and listen."""
        now = time.monotonic_ns()
        for node, addresses in addresses_now(pids).items():
            self._held[node] = addresses
            self.changes += [AddressChanged(now, node, text, present=True) for text in addresses]
        # Both threads: what is noted late is noted wrong, and one would wait for the other's lock.
        _in_real_time()
        self._thread.start()

    def stop(self) -> list[AddressChanged]:
        """End listening; everything heard."""
        self._stop_write.send(b"\0")
        self._thread.join()
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        for _, route in self._routes.values():
            route.close()
        self._stop_read.close()
        self._stop_write.close()
        return self.changes

    def _listen(self) -> None:
        _in_real_time()
        poll = select.epoll()
        with poll:
            poll.register(self._stop_read, select.EPOLLIN)
            for fd in self._routes:
                poll.register(fd, select.EPOLLIN)
            while True:
                ready = poll.poll()
                now = time.monotonic_ns()
                for fd, _ in ready:
                    if fd == self._stop_read.fileno():
                        return
                    self._hear(*self._routes[fd], now)

    def _hear(self, node: str, route: socket.socket, now: int) -> None:
        try:
            data = route.recv(RECEIVE_BYTES)
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                self.overruns += 1  # the report says that its record has a hole
            return
        for kind, text in _addresses(data):
            present = kind == RTM_NEWADDR
            held = self._held[node]
            if (text in held) != present:  # a renewed lifetime is a RTM_NEWADDR too
                self._held[node] = held | {text} if present else held - {text}
                self.changes.append(AddressChanged(now, node, text, present))


def _in_real_time() -> None:
    """Schedule this thread, but nothing that it starts, before all ordinary work."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def _dump(route: socket.socket) -> Iterator[str]:
    request = HEADER.pack(HEADER.size + 8, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
    route.send(request + bytes(8))
    route.settimeout(ANSWER_TIMEOUT_S)
    while True:
        data = route.recv(RECEIVE_BYTES)
        yield from (text for _, text in _addresses(data))
        if any(kind in {NLMSG_DONE, NLMSG_ERROR} for kind, _ in _messages(data)):
            return


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, offset)
        if length < HEADER.size:
            return
        yield kind, data[offset : offset + length]
        offset += (length + 3) & ~3


def _addresses(data: bytes) -> Iterable[tuple[int, str]]:
    for kind, body in _messages(data):
        if kind not in {RTM_NEWADDR, RTM_DELADDR}:
            continue
        message = ifaddrmsg(body)
        message.decode()
        if message["index"] == LOOPBACK_INDEX:
            continue  # a tail's address on lo serves what was there before; it is not held
        text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        if text:
            yield kind, text
