"""What drills and benchmarks put on a node: TLS handshakes, slow clients, spinning processes. All end by themselves.

`python -m haman.lab.loads storm ADDRESS PORT CLIENTS SECONDS`: each client makes one full handshake
after the other. `crowd ADDRESS PORT CONNECTIONS SECONDS`: each connection sends a byte of a request
per second and never ends it. `hog PROCESSES SECONDS`: each takes what it gets of a core.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import sys
import threading
import time

CLIENTS_MAX, CONNECTIONS_MAX, PROCESSES_MAX, SECONDS_MAX = 64, 4000, 16, 900.0
PATIENCE_S = 5.0
DRIP_S = 1.0
REQUEST = b"GET / HTTP/1.1\r\nHost: lab\r\nX-Slow: "
FOREMOST = -20


def storm(address: str, port: int, clients: int, seconds: float) -> int:
    """Full handshakes, one after the other in each client; how many were done."""
    until = time.monotonic() + seconds
    done = [0] * clients
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def work(place: int) -> None:
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                with socket.create_connection((address, port), PATIENCE_S) as plain:
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    with context.wrap_socket(plain):
                        done[place] += 1
                continue
            time.sleep(0.01)  # it refuses: not another storm

    workers = [threading.Thread(target=work, args=(i,)) for i in range(clients)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done)


async def crowd(address: str, port: int, connections: int, seconds: float) -> int:
    """Requests that never end; how many connections stood at the end."""
    writers: list[asyncio.StreamWriter] = []

    async def join() -> None:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                writers.append((await asyncio.open_connection(address, port))[1])
                writers[-1].write(REQUEST)

    until = time.monotonic() + seconds
    for begun in range(0, connections, 100):
        await asyncio.gather(*(join() for _ in range(min(100, connections - begun))))
    while time.monotonic() < until:
        await asyncio.sleep(min(DRIP_S, max(0.0, until - time.monotonic())))
        for writer in writers:
            if not writer.is_closing():
                writer.write(b"x")
    standing = sum(not writer.is_closing() for writer in writers)
    for writer in writers:
        writer.transport.abort()
    return standing


def hog(processes: int, seconds: float) -> int:
    """Spin in so many processes, before all ordinary work; the first one alone returns."""
    until = time.monotonic() + seconds
    first = all(os.fork() for _ in range(processes - 1))
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, FOREMOST)
    while time.monotonic() < until:
        pass
    if not first:
        os._exit(0)
    return processes


def main() -> int:
    """Do what the arguments say, within the bounds."""
    try:
        got = _done(sys.argv[1:])
    except ValueError as error:
        print(f"{error}\n\n{__doc__}", file=sys.stderr)
        return 2
    print(f"{' '.join(sys.argv[1:])}: {got}", flush=True)
    return 0


def _done(arguments: list[str]) -> int:
    match arguments:
        case ["storm", address, port, clients, seconds]:
            return storm(address, int(port), min(int(clients), CLIENTS_MAX), _seconds(seconds))
        case ["crowd", address, port, connections, seconds]:
            wanted = min(int(connections), CONNECTIONS_MAX)
            return asyncio.run(crowd(address, int(port), wanted, _seconds(seconds)))
        case ["hog", processes, seconds]:
            return hog(min(int(processes), PROCESSES_MAX), _seconds(seconds))
        case _:
            raise ValueError("this is no load")


def _seconds(text: str) -> float:
    """One that were shorter than asked for would leave what is measured without its load.

    Raises:
        ValueError: it is too long.
    """
    seconds = float(text)
    if seconds > SECONDS_MAX:
        raise ValueError(f"a load of {text} s: {SECONDS_MAX:g} s is the most")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
