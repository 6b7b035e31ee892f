"""Listens to what the kernels of several namespaces notify, on one clock: rtnetlink(7).

One thread waits for all sockets, so that instants compare without any offset. What can be read when it
wakes has one instant: the order of what two kernels said meanwhile is not known, and reading it, or
understanding it, takes longer than what is measured.
"""

import contextlib
import errno
import os
import select
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

from haman.lab import kernel

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
HEADER = struct.Struct("=IHHII")
RECEIVE_BYTES = 1 << 18
ANSWER_TIMEOUT_S = 2.0
ROUNDS = 16
"""Through all sockets under one instant: bounded, if some kernel never stops to notify."""


class Listener(ABC):
    """Listens to the namespaces of processes from `listen` to `end`; what is heard goes to `hear`.

    Attributes:
        overruns: times that a kernel dropped notifications; above 0 the record has holes.
    """

    def __init__(self, pids: Mapping[str, int], groups: int, name: str) -> None:
        self.overruns = 0
        self._routes: dict[int, tuple[str, socket.socket]] = {}
        for node, pid in pids.items():
            route = kernel.in_netns(pid, lambda: kernel.netlink_socket(groups))
            self._routes[route.fileno()] = (node, route)
        self._stop_read, self._stop_write = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, name=name, daemon=True)

    @abstractmethod
    def hear(self, node: str, data: bytes, now_ns: int) -> None:
        """Take the notifications of one namespace down."""

    def listen(self) -> None:
        """Begin to listen; what was notified since the sockets were made comes first."""
        self._thread.start()

    def end(self) -> None:
        """End listening and close all sockets."""
        self._stop_write.send(b"\0")
        self._thread.join()
        for _, route in self._routes.values():
            route.close()
        self._stop_read.close()
        self._stop_write.close()

    def _listen(self) -> None:
        in_real_time()
        poll = select.epoll()
        with poll:
            poll.register(self._stop_read, select.EPOLLIN)
            for fd in self._routes:
                poll.register(fd, select.EPOLLIN)
            ended = False
            while not ended:
                ready = {fd for fd, _ in poll.poll()}
                now = time.monotonic_ns()
                ended = self._stop_read.fileno() in ready
                for node, data in self._receive():
                    self.hear(node, data, now)

    def _receive(self) -> list[tuple[str, bytes]]:
        """All that can be read, until nothing more has come to any socket meanwhile."""
        received: list[tuple[str, bytes]] = []
        for _ in range(ROUNDS):
            before = len(received)
            for node, route in self._routes.values():
                try:
                    received.append((node, route.recv(RECEIVE_BYTES)))
                except BlockingIOError:
                    continue
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    self.overruns += 1  # the report says that its record has a hole
            if len(received) == before:
                break
        return received


def in_real_time(priority: int = 1) -> None:
    """Schedule this thread, but nothing that it starts, before all ordinary work."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(priority))


def dump(route: socket.socket, kind: int, body: bytes) -> Iterator[bytes]:
    """All answers to one dump request."""
    request = HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
    route.send(request + body)
    route.settimeout(ANSWER_TIMEOUT_S)
    while True:
        data = route.recv(RECEIVE_BYTES)
        yield data
        if any(kind in {NLMSG_DONE, NLMSG_ERROR} for kind, _, _ in messages(data)):
            return


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, flags and the whole of each message."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, *_ = HEADER.unpack_from(data, offset)
        if length < HEADER.size:
            return
        yield kind, flags, data[offset : offset + length]
        offset += (length + 3) & ~3
