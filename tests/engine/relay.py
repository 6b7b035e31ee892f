"""A controller that hands every message on, both ways. Arguments: socket path, descriptor."""

import contextlib
import select
import signal
import socket
import sys


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # ends when the engine has closed its end
    engine = socket.socket(fileno=int(sys.argv[2]))
    test = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    test.connect(sys.argv[1])
    engine.setblocking(True)
    other = {engine: test, test: engine}
    while True:
        for readable in select.select([engine, test], [], [])[0]:
            data = readable.recv(1 << 18)
            if not data:
                return
            other[readable].send(data)


with contextlib.suppress(ConnectionError):  # either side may end first
    main()
