"""Whether a node's own proxy serves, asked on the node itself: HTTP on 80, the echo on 7000."""

import socket

from haman.lab import kernel

HTTP = ("127.0.0.1", 80)
ECHO = ("127.0.0.1", 7000)
ANSWER_S = 1.0


def serves(pid: int) -> bool:
    """Whether the proxy beside process 1 of a node reaches a back end for both services."""
    return kernel.in_netns(pid, lambda: _answers() and _echoes())


def _answers() -> bool:
    try:
        with socket.create_connection(HTTP, ANSWER_S) as asked:
            asked.sendall(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")
            return asked.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _echoes() -> bool:
    try:
        with socket.create_connection(ECHO, ANSWER_S) as asked:
            asked.sendall(b"x")
            return asked.recv(1) == b"x"
    except OSError:
        return False
