"""UDP sockets for BFD over one hop: RFC 5881 sections 4 and 5."""

import errno
import random
import socket
import sys
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from haman.core.bfd.packet import PORT, SOURCE_PORTS, TTL

IPAddress = IPv4Address | IPv6Address

_TRAFFIC_CLASS: Final = 0xC0  # internetwork control, as the field sends it
_PRIORITY_CONTROL: Final = 7  # TC_PRIO_CONTROL: first out of the local queue
_IP_RECVTTL: Final = 12
_DATAGRAM_BYTES: Final = 256  # a control packet has 24, with authentication some 50
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(4)
_DATAGRAMS_PER_READ: Final = 64
_PORTS_TRIED: Final = 64


class BfdListener:
    """Hears the control packets of every neighbour at one local address.

    Raises:
        OSError: the address is not there, or another program listens.
    """

    def __init__(self, local: IPAddress) -> None:
        self._socket = _opened(local)
        try:
            if local.version == 4:
                self._socket.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
            else:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            self._socket.bind((str(local), PORT))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """For epoll."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def receive(self) -> list[tuple[bytes, str, int]]:
        """What waits, at most 64 datagrams: payload, source address, TTL or hop limit.

        The TTL is -1 if the kernel did not tell it.

        Raises:
            OSError: an error that was pending, reported once.
        """
        received = []
        for _ in range(_DATAGRAMS_PER_READ):
            try:
                data, ancillary, _, sender = self._socket.recvmsg(_DATAGRAM_BYTES, _ANCILLARY_BYTES)
            except (BlockingIOError, InterruptedError):
                break
            # Only one option is set, so only its value can be there.
            ttl = int.from_bytes(ancillary[0][2], sys.byteorder) if ancillary else -1
            received.append((data, sender[0], ttl))
        return received


class BfdSender:
    """Sends the control packets of one session, from a port of its own, with TTL 255.

    Connected, so that the kernel says when nobody listens at the neighbour's.

    Raises:
        OSError: the local address is not there, or no route leads to the neighbour.
    """

    def __init__(self, local: IPAddress, neighbor: IPAddress) -> None:
        self._socket = _opened(local)
        option = self._socket.setsockopt
        try:
            option(socket.SOL_SOCKET, socket.SO_PRIORITY, _PRIORITY_CONTROL)
            if local.version == 4:
                option(socket.IPPROTO_IP, socket.IP_TTL, TTL)
                option(socket.IPPROTO_IP, socket.IP_TOS, _TRAFFIC_CLASS)
            else:
                option(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, TTL)
                option(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _TRAFFIC_CLASS)
            _bind_above(self._socket, local)
            self._socket.connect((str(neighbor), PORT))
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def send(self, packet: bytes) -> None:
        """Send one packet; never blocks.

        Raises:
            ConnectionRefusedError: of an earlier packet: nobody listens there. This one was not sent.
            OSError: link down, no route, queue full.
        """
        self._socket.send(packet)


def _opened(local: IPAddress) -> socket.socket:
    family = socket.AF_INET if local.version == 4 else socket.AF_INET6
    return socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)


def _bind_above(opened: socket.socket, local: IPAddress) -> None:
    """Take a free port of the range; a bounded number of tries, in a range of 16384."""
    for port in random.sample(SOURCE_PORTS, _PORTS_TRIED):
        try:
            opened.bind((str(local), port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return
    raise OSError(errno.EADDRINUSE, f"none of {_PORTS_TRIED} source ports is free")
