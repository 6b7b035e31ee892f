"""Dumps of TCP sockets by sock_diag(7), and the connections to one address: see `sockdiag` for the rest.

Needs nothing but small parts of the standard library: the process that keeps the rules of tails reads
this one, and a planned move waits for its start.
"""

import socket
import struct
from collections.abc import Iterator

_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST_DUMP = 0x301
_INET_DIAG_REQ_BYTECODE = 1
_BC_S_COND = 7

LISTEN = 1 << 10
CONNECTION = sum(1 << state for state in (1, 3, 4, 5, 8, 9, 11, 12))
"""Every state of an accepted connection but TIME_WAIT: its client has closed, and may use the port again."""
_FIN_WAIT_2 = 5

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI2s46x")
_ATTRIBUTE = struct.Struct("=HH")
OPERATION = struct.Struct("=BBH")
"""One of the kernel's byte code, by which it filters."""
_CONDITION = struct.Struct("=BBxxi")
_LENGTH_KIND = struct.Struct("=IH")
AT_SPORT, AT_DPORT, AT_SOURCE, AT_DESTINATION = 20, 22, 24, 40
_AT_STATE, _AT_COOKIE, _AT_EXPIRES, _AT_INODE, _AT_END = 17, 60, 68, 84, 88
_DONE_BYTES = 20
_DONE = _LENGTH_KIND.pack(_DONE_BYTES, _NLMSG_DONE)
_ERROR = _LENGTH_KIND.pack(0, _NLMSG_ERROR)[4:]
_RECEIVE_BYTES = 1 << 16
FAMILIES = (socket.AF_INET, socket.AF_INET6)


class SockDiagError(OSError):
    """The kernel refused, or did not answer as the protocol says."""


class InetDiag:
    """One netlink socket, of the network namespace in which it was opened.

    Raises:
        OSError: no sock_diag in this kernel.
    """

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG)
        self._sequence = 0

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def connections(self, address: str) -> Iterator[tuple[bytes, bytes, bool]]:
        """The connections to a local address: which one, which socket, and whether it is served.

        A connection is remote address, remote port and local port, as packets have them: 4 or 16 bytes,
        and 2 each. A socket has 8 bytes that no other one ever has. One that its program has closed, and
        that only waits for the client's FIN, is not served. IPv4 also where an IPv6 socket serves it. The
        kernel filters.

        Raises:
            SockDiagError: the kernel refused.
        """
        own_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = socket.inet_pton(own_family, address)
        size = len(packed)
        bytecode = _address_filter(own_family, packed)
        for family in (own_family,) if size == 16 else FAMILIES:
            begin = AT_DESTINATION + (0 if family == own_family else 12)
            for data, offset in messages(self.dump(family, CONNECTION, bytecode)):
                at = offset + begin
                ports = data[offset + AT_DPORT : offset + AT_SOURCE]
                connection = (
                    data[at : at + size] + ports + data[offset + AT_SPORT : offset + AT_DPORT]
                )
                served = data[offset + _AT_STATE] != _FIN_WAIT_2 or data[
                    offset + _AT_INODE : offset + _AT_END
                ] != bytes(4)
                yield connection, data[offset + _AT_COOKIE : offset + _AT_EXPIRES], served

    def listens(self, port: int) -> bool:
        """Whether a TCP socket of either family listens on this port, at whatever address.

        Raises:
            SockDiagError: the kernel refused.
        """
        dumps = (self.dump(family, LISTEN, port=port) for family in FAMILIES)
        return any(True for dump in dumps for _ in messages(dump))

    def dump(
        self, family: int, states: int, bytecode: bytes = b"", port: int = 0
    ) -> Iterator[bytes]:
        """The datagrams of one dump, of all local ports or one.

        Raises:
            SockDiagError: the kernel refused.
        """
        self._sequence += 1
        body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, states, port.to_bytes(2))
        if bytecode:
            body += _ATTRIBUTE.pack(4 + len(bytecode), _INET_DIAG_REQ_BYTECODE) + bytecode
        head = (16 + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, self._sequence, 0)
        try:
            self._drain()
            self._socket.send(_HEADER.pack(*head) + body)
            while True:
                data = self._socket.recv(_RECEIVE_BYTES)
                yield data
                if _is_last(data):
                    return
        except OSError as error:
            raise SockDiagError(error.errno, f"sock_diag: {error.strerror or error}") from error

    def _drain(self) -> None:
        """Leave nothing of a dump that was given up."""
        try:
            while self._socket.recv(_RECEIVE_BYTES):
                continue
        except BlockingIOError:
            return


def messages(datagrams: Iterator[bytes] | list[bytes]) -> Iterator[tuple[bytes, int]]:
    """Where each socket's message begins.

    Raises:
        SockDiagError: the kernel refused.
    """
    for data in datagrams:
        offset, end = 0, len(data)
        while offset + _HEADER.size <= end:
            length, kind = _LENGTH_KIND.unpack_from(data, offset)
            if kind == _NLMSG_ERROR:
                number = -struct.unpack_from("=i", data, offset + 16)[0]
                raise SockDiagError(number, "sock_diag: the kernel refused the dump")
            if kind == _NLMSG_DONE:
                break
            if length < _AT_END or offset + length > end:
                raise SockDiagError(0, f"sock_diag: a message of {length} bytes")
            yield data, offset
            offset += (length + 3) & ~3


def _address_filter(family: int, packed: bytes) -> bytes:
    """Local address, as byte code: the operation, and the condition that it carries."""
    condition = _CONDITION.pack(family, len(packed) * 8, -1) + packed
    size = OPERATION.size + len(condition)
    return OPERATION.pack(_BC_S_COND, size, size + 4) + condition


def _is_last(data: bytes) -> bool:
    """Whether the dump ends with it: a last message of 20 bytes, or nothing but an error."""
    return data[-_DONE_BYTES:].startswith(_DONE) or data[4:6] == _ERROR
