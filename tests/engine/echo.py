"""A server that answers each byte with its name, on port 7000 of every address, both families.

Argument: the name, one letter. One epoll; a connection ends when its client ends it.
"""

import select
import socket
import sys


def main() -> None:
    name = sys.argv[1].encode()
    listening = socket.create_server(
        ("::", 7000), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512
    )
    listening.setblocking(False)
    poll = select.epoll()
    poll.register(listening, select.EPOLLIN)
    known: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == listening.fileno():
                accepted, _ = listening.accept()
                accepted.setblocking(False)
                known[accepted.fileno()] = accepted
                poll.register(accepted, select.EPOLLIN)
                continue
            try:
                data = known[fd].recv(512)
            except OSError:
                data = b""
            if data:
                known[fd].send(name * len(data))
            else:
                known.pop(fd).close()


main()
