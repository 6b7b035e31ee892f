"""A BGP router of the simplest kind: takes any session, and notes when it ends. Run in a namespace.

Arguments: address to listen on, file to which it writes "up" and "closed", each with the monotonic
clock, a line each.
"""

import contextlib
import os
import socket
import sys
import time
from pathlib import Path

MARKER = b"\xff" * 16
OPEN_TYPE, KEEPALIVE_TYPE = 1, 4


def message(kind: int, body: bytes = b"") -> bytes:
    return MARKER + (19 + len(body)).to_bytes(2, "big") + bytes([kind]) + body


def read(session: socket.socket) -> int:
    """Type of the next message; 0 = closed."""
    header = session.recv(19, socket.MSG_WAITALL)
    if len(header) < 19:
        return 0
    length = int.from_bytes(header[16:18], "big") - 19
    if length:
        session.recv(length, socket.MSG_WAITALL)
    return header[18]


def note(log: Path, what: str) -> None:
    with log.open("a") as out:
        out.write(f"{what} {time.monotonic()}\n")


def main() -> None:
    address, log = sys.argv[1], Path(sys.argv[2])
    # Its notes are held against what a real-time engine did: it must not wait for its turn either.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    listening = socket.create_server((address, 179))
    while True:
        session, _ = listening.accept()
        # RFC 4271 section 4.2: version 4, AS 65000, hold time 90 s, router id, no parameters.
        body = bytes([4]) + (65000).to_bytes(2, "big") + (90).to_bytes(2, "big")
        session.sendall(message(OPEN_TYPE, body + socket.inet_aton("10.77.0.12") + b"\0"))
        try:
            while kind := read(session):
                if kind == OPEN_TYPE:
                    session.sendall(message(KEEPALIVE_TYPE))
                    note(log, "up")
        except ConnectionError:
            pass
        note(log, "closed")
        session.close()


main()
