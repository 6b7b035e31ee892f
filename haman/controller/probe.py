"""The self-probe: is the local proxy able to take a new client now, and how long does that take.

A process that lives may still be deaf: stopped, stuck, or out of something. A TLS probe does a full
handshake each time (no session is kept), because that is what new clients wait for: a bare
connection is taken by the kernel and answered in 0.2 ms while clients wait half a second. The
certificate is not verified: the question is whether the proxy serves, and an expired certificate
served by this node would be served by its peer just as well.

The loop's own streams would take three times as much CPU time for it, most of it for buffers.
"""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from haman.config.forms import split_host_port
from haman.config.model import Probe
from haman.core.frozen import dataclass

NS_PER_S = 1_000_000_000
STATUS_LINE_BYTES = 8192
READ_BYTES = 16384
BAD_STATUS = 400

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answered:
    """The proxy answered, `latency_s` after it was asked."""

    latency_s: float


@dataclass(frozen=True, slots=True)
class NotAnswered:
    """The proxy did not answer as it should.

    Attributes:
        text: one line for people.
        waited_s: for an answer that did not come; None when something else was wrong.
    """

    text: str
    waited_s: float | None = None


class Prober:
    """One probe at a time against one address."""

    def __init__(self, settings: Probe) -> None:
        self._settings = settings
        self.interval_s = settings.interval_ms / 1000
        self.tls = settings.tls
        self.path = settings.path
        self._host, self._port = split_host_port(settings.address)
        self._tls = _context() if settings.tls else None
        self._parted: _Connection | None = None
        """The connection of the last probe, while the proxy says its own goodbye."""

    async def probe(self) -> Answered | NotAnswered:
        """One probe; whatever the proxy does, an answer or a reason within the time-out."""
        begun_ns = time.monotonic_ns()
        timeout_ms = self._settings.timeout_ms
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                problem = await self._ask()
        except TimeoutError:
            return self._failed(f"no answer within {timeout_ms} ms", timeout_ms / 1000)
        except ssl.SSLEOFError:
            return self._failed("connection closed")
        except ssl.SSLError as error:
            return self._failed(f"TLS handshake failed: {error.reason or error}")
        except OSError as error:
            # asyncio puts "Connect call failed" in the place of the system's text.
            return self._failed(os.strerror(error.errno) if error.errno else "connection closed")
        if problem:
            return self._failed(problem)
        return Answered((time.monotonic_ns() - begun_ns) / NS_PER_S)

    def _failed(self, why: str, waited_s: float | None = None) -> NotAnswered:
        return NotAnswered(f"{self._settings.address}: {why}", waited_s)

    async def _ask(self) -> str:
        """Connect, shake hands, and ask for the path if there is one; what is wrong, or ""."""
        self.close()
        connection = await _Connection.open(self._host, self._port, self._tls)
        try:
            problem = await self._get(connection) if self._settings.path else ""
        except BaseException:
            connection.close()
            raise
        connection.part()
        self._parted = connection
        return problem

    def close(self) -> None:
        """Let go of the last connection."""
        if self._parted is not None:
            self._parted.close()
            self._parted = None

    async def _get(self, connection: "_Connection") -> str:
        path = self._settings.path
        await connection.send(
            f"GET {path} HTTP/1.1\r\nHost: {self._settings.address}\r\n"
            "User-Agent: haman-probe\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n" not in answer:
            if len(answer) > STATUS_LINE_BYTES:
                return f"GET {path}: no HTTP"
            chunk = await connection.receive()
            if not chunk:
                return f"GET {path}: closed without an answer"
            answer += chunk
        line = answer.partition(b"\r\n")[0]
        version, _, rest = line.decode("latin-1").partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/") or not (status.isascii() and status.isdigit()):
            return f"GET {path}: no HTTP"
        return f"GET {path}: status {status}" if int(status) >= BAD_STATUS else ""


class _Connection:
    """To the proxy, with TLS or without; the caller bounds the time of all that waits."""

    def __init__(self, plain: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.wrap_bio(self._incoming, self._outgoing) if tls is not None else None

    @classmethod
    async def open(cls, host: str, port: int, tls: ssl.SSLContext | None) -> "_Connection":
        """Connect, and shake hands.

        Raises:
            OSError: the proxy does not take the connection, or breaks it off.
            ssl.SSLError: it does not shake hands.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        plain = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(plain, (host, port))
            connection = cls(plain, tls)
            if connection._tls is not None:
                await connection._go_on(connection._tls.do_handshake)
        except BaseException:
            plain.close()
            raise
        return connection

    async def send(self, request: bytes) -> None:
        """Send all of it.

        Raises:
            OSError: the connection is broken.
        """
        if self._tls is None:
            await asyncio.get_running_loop().sock_sendall(self._plain, request)
        else:
            await self._go_on(partial(self._tls.write, request))

    async def receive(self) -> bytes:
        """Some of what the proxy says; b"" = it says no more.

        Raises:
            OSError: the connection is broken.
        """
        if self._tls is None:
            return await asyncio.get_running_loop().sock_recv(self._plain, READ_BYTES)
        try:
            return await self._go_on(partial(self._tls.read, READ_BYTES))
        except ssl.SSLEOFError:
            return b""

    async def _go_on(self, step: Callable[[], T]) -> T:
        """Take a step of TLS, with as much going to and fro as it needs."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await loop.sock_sendall(self._plain, self._outgoing.read())
                if chunk := await loop.sock_recv(self._plain, READ_BYTES):
                    self._incoming.write(chunk)
                else:
                    self._incoming.write_eof()
            else:
                await loop.sock_sendall(self._plain, self._outgoing.read())
                return result

    def part(self) -> None:
        """Say goodbye, so that the proxy logs no error; its own is not waited for."""
        with suppress(OSError):
            if self._tls is not None:
                with suppress(ssl.SSLError):
                    self._tls.unwrap()
                self._plain.send(self._outgoing.read())
            self._plain.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Give the socket back."""
        self._plain.close()


def _context() -> ssl.SSLContext:
    """Nothing is verified, so that no authorities are loaded: they take a megabyte."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
