"""Why a TCP connection to a router does not come about: ExaBGP has no word for it, so it is tried.

A plain connection is opened from the session's own address and closed at once. It is plain on
purpose: with a wrong MD5 password both ends drop the other's segments without a word, and only an
unsigned attempt tells a router without BGP (refused), one without a password (accepted) and one that
is not there (silence) apart. Used while ExaBGP itself gets no connection, and rarely.
"""

import asyncio
import errno
import socket
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from haman.config.model import Neighbor

BGP_PORT: Final = 179
ANSWER_S: Final = 1.0
_TTL_SECURITY: Final = 255
_ARP_COMPLETE: Final = 0x2
_ARP_FIELDS: Final = 4


class Finding(StrEnum):
    """What an attempt found."""

    ADDRESS_MISSING = "address-missing"
    NO_ROUTE = "no-route"
    REFUSED = "tcp-refused"
    SILENT = "no-answer"
    SILENT_NEAR = "no-answer-near"
    """As SILENT, but the router answers ARP: it is there."""
    ANSWERS = "answers"
    ANSWERS_TTL = "answers-ttl-255"
    """Only to what was sent with TTL 255: it demands TTL security."""


async def diagnose(neighbor: Neighbor, port: int = BGP_PORT) -> Finding:
    """Try it; takes two seconds at most."""
    ttl = _TTL_SECURITY if neighbor.ttl_security else 0
    finding = await _attempt(neighbor, port, ttl)
    if finding is Finding.SILENT and not ttl:
        again = await _attempt(neighbor, port, _TTL_SECURITY)
        if again in {Finding.ANSWERS, Finding.REFUSED}:
            return Finding.ANSWERS_TTL if again is Finding.ANSWERS else again
    if finding is Finding.SILENT and _answers_arp(neighbor.address):
        return Finding.SILENT_NEAR
    return finding


async def _attempt(neighbor: Neighbor, port: int, ttl: int) -> Finding:
    six = ip_address(neighbor.address).version == 6
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM) as attempt:
        attempt.setblocking(False)
        if ttl and six:
            attempt.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
        elif ttl:
            attempt.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        try:
            attempt.bind((neighbor.local_address, 0))
        except OSError:
            return Finding.ADDRESS_MISSING
        try:
            async with asyncio.timeout(ANSWER_S):
                loop = asyncio.get_running_loop()
                await loop.sock_connect(attempt, (neighbor.address, port))
        except TimeoutError:
            return Finding.SILENT
        except OSError as error:
            # Whatever else the kernel says, it could not send: no route, a filter, link down.
            return Finding.REFUSED if error.errno == errno.ECONNREFUSED else Finding.NO_ROUTE
    return Finding.ANSWERS


def _answers_arp(address: str) -> bool:
    """The kernel knows its link-layer address; never so for IPv6, whose table is not in /proc."""
    try:
        lines = Path("/proc/thread-self/net/arp").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    for line in lines[1:]:
        fields = line.split()
        if len(fields) >= _ARP_FIELDS and fields[0] == address:
            return bool(int(fields[2], 16) & _ARP_COMPLETE)
    return False
