"""The self-probe: is the local proxy able to take a new client now, and how long does that take.

A process that lives may still be deaf: stopped, stuck, or out of something. A TLS probe does a full
handshake each time (no session is kept), because that is what new clients wait for: a bare
connection is taken by the kernel and answered in 0.2 ms while clients wait half a second. The
certificate is not verified: the question is whether the proxy serves, and an expired certificate
served by this node would be served by its peer just as well.
"""

import asyncio
import os
import ssl
import time
from dataclasses import dataclass

from haman.config.forms import split_host_port
from haman.config.model import Probe

NS_PER_S = 1_000_000_000
STATUS_LINE_BYTES = 8192
BAD_STATUS = 400
CLOSE_S = 0.5
LAST_STEPS = 3
"""Turns of the loop that asyncio needs to close an aborted TLS connection."""


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
        self._closing: asyncio.StreamWriter | None = None

    async def probe(self) -> Answered | NotAnswered:
        """One probe; whatever the proxy does, an answer or a reason within the time-out."""
        begun_ns = time.monotonic_ns()
        timeout_ms = self._settings.timeout_ms
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                problem = await self._ask()
        except TimeoutError:
            return self._failed(f"no answer within {timeout_ms} ms", timeout_ms / 1000)
        except ssl.SSLError as error:
            return self._failed(f"TLS handshake failed: {error.reason or error}")
        except OSError as error:
            # asyncio puts "Connect call failed" in the place of the system's text
            return self._failed(os.strerror(error.errno) if error.errno else "connection closed")
        if problem:
            return self._failed(problem)
        return Answered((time.monotonic_ns() - begun_ns) / NS_PER_S)

    def _failed(self, why: str, waited_s: float | None = None) -> NotAnswered:
        return NotAnswered(f"{self._settings.address}: {why}", waited_s)

    async def _ask(self) -> str:
        """Connect, shake hands, and ask for the path if there is one; what is wrong, or ""."""
        if self._tls is None:
            reader, writer = await asyncio.open_connection(
                self._host, self._port, limit=STATUS_LINE_BYTES
            )
        else:
            reader, writer = await asyncio.open_connection(
                self._host,
                self._port,
                limit=STATUS_LINE_BYTES,
                ssl=self._tls,
                server_hostname="",
                ssl_shutdown_timeout=CLOSE_S,
            )
        try:
            return await self._get(reader, writer) if self._settings.path else ""
        finally:
            writer.close()  # says goodbye to the proxy meanwhile, so that it logs no error
            self._closing = writer

    async def close(self) -> None:
        """Let go of connections that are still being closed."""
        if self._closing is not None:
            self._closing.transport.abort()
        for _ in range(LAST_STEPS):
            await asyncio.sleep(0)

    async def _get(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        path = self._settings.path
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {self._settings.address}\r\n"
            "User-Agent: haman-probe\r\nConnection: close\r\n\r\n".encode()
        )
        try:
            line = await reader.readuntil(b"\r\n")
        except asyncio.IncompleteReadError:
            return f"GET {path}: closed without an answer"
        except asyncio.LimitOverrunError:
            return f"GET {path}: no HTTP"
        version, _, rest = line.decode("latin-1").partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/") or not (status.isascii() and status.isdigit()):
            return f"GET {path}: no HTTP"
        return f"GET {path}: status {status}" if int(status) >= BAD_STATUS else ""


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
