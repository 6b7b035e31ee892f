"""The guard: asleep until the engine dies, then it lets go of the addresses in its stead.

It is forked before anything but this module is imported, needs only the standard library, and
shares one memory page range ("last words") with the engine, which keeps ready-made bytes in it:
adverts of priority 0, and netlink requests that remove addresses. So the guard knows no protocol.

States: asleep → (engine dead) → speaking → gone. An engine that ends in good order leaves an empty
page, and the guard goes without a word. Signals for the service do not end it: TERM, INT and HUP
are ignored and it leads its own session. Its memory is locked and its priority real-time (the
engine sets that, by pid), for the hour in which it is needed may be a bad one.

The page. The engine may be killed between any two bytes it writes, so there are two slots, written
in turn: ``sequence, length, crc32`` and then the records. The guard takes the slot with the higher
sequence whose checksum is right. A torn write thus leaves the words before it in force. That is
safe because the engine writes the page *before* it adds an address, and again only *after* the
kernel has confirmed a removal: what stands there always covers what the kernel holds, and removing
an address that is not there does nothing.

Addresses of anycast services are not in the page. A dead engine takes ExaBGP with it, but routers send
to this node until they have withdrawn its routes (61 to 87 ms, measured), and the proxy may well be
alive: without the address it could only refuse them. They stay until their lease is over, 10 to
15 s (`config.lease`).

It also keeps a reference to the engine's AF_PACKET socket, which it never uses. Were the engine's the
last one, its death would wait for an RCU grace period (packet_release in the kernel; measured: 2 to
16 ms) before anybody is told of it.

Run as a program (``guard.py MEMORY_FD ENGINE_PIDFD FRAME_FD``, `python -I -S`) it is the guard that
the engine starts when the first one died.
"""

import binascii
import contextlib
import mmap
import os
import select
import signal
import socket
import struct
import sys

SLOT_BYTES = 1 << 18
PAGE_BYTES = 2 * SLOT_BYTES
SLOT_HEADER = struct.Struct("=QII")
"""Sequence, length of the records, crc32 of sequence, length and records."""

RECORD = struct.Struct("=BxHI16s16s")
"""Kind, size of the bytes that follow, interface index, interface name, destination."""
KIND_REQUEST, KIND_IPV4, KIND_IPV6 = 0, 4, 6

_ANSWER_TIMEOUT_S = 1.0
_NLMSG_ERROR = 2
_GONE = (0, 19, 99)  # removed; ENODEV and EADDRNOTAVAIL: there was nothing to remove
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


class Guard:
    """The engine's hold on its guard.

    Attributes:
        pid: of the guard, a child of the engine.
        memory_fd: the page.
        engine_fd: pidfd of the engine, for the next guard.
        frame_fd: an AF_PACKET socket that hears nothing, for the engine; see above.
    """

    __slots__ = ("engine_fd", "frame_fd", "memory_fd", "pid")

    def __init__(self, pid: int, memory_fd: int, engine_fd: int, frame_fd: int) -> None:
        self.pid = pid
        self.memory_fd = memory_fd
        self.engine_fd = engine_fd
        self.frame_fd = frame_fd

    def restart(self) -> None:
        """Start another guard on the same page, as a fresh, small interpreter."""
        # dup2 onto itself makes a descriptor survive exec in the child alone.
        numbers = (self.memory_fd, self.engine_fd, self.frame_fd)
        keep = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in numbers]
        arguments = [sys.executable, "-I", "-S", __file__, *map(str, numbers)]
        self.pid = os.posix_spawn(sys.executable, arguments, {}, file_actions=keep, setsid=True)


def fork_guard() -> Guard:
    """Fork the guard of the calling process. Call it first of all, while the process is small.

    Raises:
        OSError: no raw sockets without CAP_NET_RAW.
    """
    frame_fd = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).detach()
    memory_fd = os.memfd_create("haman-last-words", os.MFD_CLOEXEC)
    os.ftruncate(memory_fd, PAGE_BYTES)
    engine_fd = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setsid()
            status = watch(memory_fd, engine_fd)
        finally:
            os._exit(status)
    return Guard(pid, memory_fd, engine_fd, frame_fd)


def watch(memory_fd: int, engine_fd: int) -> int:
    """Sleep until the engine is dead, then speak its last words. Returns the exit status."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    # /proc may be hidden: only the name in `ps` is lost.
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as comm:  # noqa: PTH123 - pathlib would double the guard's memory
        comm.write("haman-guard")
    _lock_memory()
    page = mmap.mmap(memory_fd, PAGE_BYTES, prot=mmap.PROT_READ)
    sockets = _open_sockets()
    speak(last_words(bytes(page)), sockets)  # a rehearsal: faults in what it needs in memory
    poll = select.poll()
    poll.register(engine_fd, select.POLLIN)
    while not poll.poll():
        pass  # interrupted
    records = last_words(page[:])
    if not records:
        return 0
    problems = speak(records, sockets)
    text = f"haman guard: the engine died; said {len(records)} last words"
    with contextlib.suppress(OSError):
        os.write(2, "\n".join([text, *problems, ""]).encode())
    return 1 if problems else 0


def last_words(page: bytes) -> list[tuple[int, int, bytes, bytes, bytes]]:
    """The records in force: kind, interface index, interface name, destination, bytes."""
    best, words = 0, b""
    for start in (0, SLOT_BYTES):
        sequence, length, checksum = SLOT_HEADER.unpack_from(page, start)
        begin = start + SLOT_HEADER.size
        if sequence <= best or length > SLOT_BYTES - SLOT_HEADER.size:
            continue
        text = page[begin : begin + length]
        if checksum == slot_checksum(sequence, text):
            best, words = sequence, text
    records = []
    offset = 0
    while offset + RECORD.size <= len(words):
        kind, size, ifindex, name, destination = RECORD.unpack_from(words, offset)
        offset += RECORD.size
        body = words[offset : offset + size]
        offset += size
        records.append((kind, ifindex, name.rstrip(b"\0"), destination, body))
    return records


def slot_checksum(sequence: int, text: bytes) -> int:
    """What `SLOT_HEADER` carries."""
    return binascii.crc32(text, binascii.crc32(struct.pack("=QI", sequence, len(text))))


def speak(
    records: list[tuple[int, int, bytes, bytes, bytes]], sockets: dict[int, socket.socket]
) -> list[str]:
    """Send everything, in order; returns what went wrong."""
    problems = []
    for kind, ifindex, name, destination, body in records:
        out = sockets.get(kind)
        if out is None:
            problems.append(f"no socket for kind {kind}")
            continue
        try:
            if kind == KIND_REQUEST:
                out.send(body)
                answer = out.recv(4096)
                code = -struct.unpack_from("=i", answer, 16)[0]
                if struct.unpack_from("=H", answer, 4)[0] == _NLMSG_ERROR and code not in _GONE:
                    problems.append(f"address not removed: {os.strerror(code)}")
                continue
            out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name + b"\0")
            if kind == KIND_IPV4:
                out.sendto(body, (socket.inet_ntop(socket.AF_INET, destination[:4]), 0))
            else:
                address = socket.inet_ntop(socket.AF_INET6, destination)
                out.sendto(body, (address, 0, 0, ifindex))
        except (OSError, struct.error) as error:
            problems.append(f"last words on {name.decode(errors='replace')}: {error}")
    return problems


def _open_sockets() -> dict[int, socket.socket]:
    sockets = {}
    raw = socket.IPPROTO_RAW  # implies that the IP header is in the packet, in both families
    for kind, family, protocol in (
        (KIND_REQUEST, socket.AF_NETLINK, socket.NETLINK_ROUTE),
        (KIND_IPV4, socket.AF_INET, raw),
        (KIND_IPV6, socket.AF_INET6, raw),
    ):
        try:
            opened = socket.socket(family, socket.SOCK_RAW, protocol)
        except OSError as error:
            os.write(2, f"haman guard: {error}; it cannot do all of its work\n".encode())
            continue
        opened.settimeout(_ANSWER_TIMEOUT_S)
        if kind == KIND_IPV4:
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        elif kind == KIND_IPV6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        sockets[kind] = opened
    return sockets


def _lock_memory() -> None:
    import ctypes  # noqa: PLC0415 - in the guard alone, after the fork

    # What is resident now, and what will be: pages still shared with the engine stay shared.
    ctypes.CDLL(None).mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)


if __name__ == "__main__":
    sys.exit(watch(int(sys.argv[1]), int(sys.argv[2])))
