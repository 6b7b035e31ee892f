"""A TLS client that makes handshakes in batches: full ones, or such that resume a session.

A batch goes in step: every connection sends its first message, then every one its second. The
server finds work for all of them at once, as it does under load, and its caches stay warm. One after
the other they cost it more: full ones a tenth, resumed ones of TLS 1.2 twice as much (HAProxy 2.6).

Each handshake is followed by a tiny request, for a TLS 1.3 server sends its tickets after the
handshake, with or after the first answer. Certificates are not verified: what they cost is asked.
"""

import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable

from haman.config.forms import split_host_port
from haman.core.frozen import dataclass

TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 1 << 16
READ_BYTES = 1 << 14


@dataclass(frozen=True, slots=True)
class Handshake:
    """One that succeeded.

    Attributes:
        protocol: "TLSv1.3", …
        certificate: of the server, in DER.
        resumed: without a key operation.
        session: to resume; None if the server gave none.
    """

    protocol: str
    certificate: bytes
    resumed: bool
    session: ssl.SSLSession | None


@dataclass(frozen=True, slots=True)
class HandshakeFailed:
    """One that did not, in words for people."""

    text: str


class _Connection:
    """One of a batch."""

    def __init__(self, plain: socket.socket, tls: Callable[..., ssl.SSLObject]) -> None:
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls(self._incoming, self._outgoing)
        self.done = False
        self._read = 0

    def fileno(self) -> int:
        return self._plain.fileno()

    def receive(self) -> None:
        """Take in what has come.

        Raises:
            BlockingIOError: nothing has.
        """
        if data := self._plain.recv(READ_BYTES):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def shake(self) -> None:
        """Go on as far as what has come allows, and send."""
        try:
            self._tls.do_handshake()
            self.done = True
        except ssl.SSLWantReadError:
            pass
        finally:
            self.send()

    def ask(self, request: bytes) -> None:
        """Send the request."""
        self.done = False
        self._tls.write(request)
        self.send()

    def drain(self) -> None:
        """Read the answer; servers that just close are as good as those that say goodbye."""
        try:
            while self._read < ANSWER_BYTES_MAX and (chunk := self._tls.read(READ_BYTES)):
                self._read += len(chunk)
            self.done = True
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            self.done = True

    def send(self) -> None:
        if self._outgoing.pending:
            self._plain.sendall(self._outgoing.read())

    def result(self) -> Handshake:
        return Handshake(
            protocol=self._tls.version() or "",
            certificate=self._tls.getpeercert(binary_form=True) or b"",
            resumed=bool(self._tls.session_reused),
            session=self._tls.session,
        )


class TlsClient:
    """Handshakes with any address, that can resume each other's sessions.

    Args:
        server_name: for SNI; "" = none is sent.
        protocol: the only one to offer; None = whatever is negotiated.
    """

    def __init__(self, server_name: str = "", protocol: ssl.TLSVersion | None = None) -> None:
        self._name = server_name
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        if protocol is not None:
            self._context.minimum_version = self._context.maximum_version = protocol

    def handshake(
        self, address: str, session: ssl.SSLSession | None = None
    ) -> Handshake | HandshakeFailed:
        """One handshake; as `batch`."""
        made = self.batch(address, (session,))
        return made if isinstance(made, HandshakeFailed) else made[0]

    def batch(
        self, address: str, sessions: Iterable[ssl.SSLSession | None]
    ) -> tuple[Handshake, ...] | HandshakeFailed:
        """Connect, shake hands, ask for "/" and read the answers, all in step.

        Args:
            address: "127.0.0.1:443".
            sessions: one for each connection, to offer; the server may decline and do a full
                handshake. None = ask for a full one.
        """
        deadline_s = time.monotonic() + TIMEOUT_S
        opened: list[socket.socket] = []
        try:
            connections = []
            for session in sessions:
                opened.append(socket.create_connection(split_host_port(address), TIMEOUT_S))
                connections.append(_Connection(opened[-1], self._wrapper(session)))
            self._in_step(connections, f"{self._name or address}", deadline_s)
            return tuple(connection.result() for connection in connections)
        except TimeoutError:
            return HandshakeFailed(f"{address}: no answer within {TIMEOUT_S:g} s")
        except ssl.SSLError as error:
            return HandshakeFailed(f"{address}: TLS handshake failed: {error.reason or error}")
        except OSError as error:
            return HandshakeFailed(f"{address}: {error.strerror or error}")
        finally:
            for plain in opened:
                plain.close()

    def _wrapper(self, session: ssl.SSLSession | None) -> Callable[..., ssl.SSLObject]:
        def wrap(incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
            name = self._name or None
            return self._context.wrap_bio(incoming, outgoing, server_hostname=name, session=session)

        return wrap

    def _in_step(self, connections: list[_Connection], host: str, deadline_s: float) -> None:
        for connection in connections:
            connection.shake()
        _exchange(connections, _Connection.shake, deadline_s)
        request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        for connection in connections:
            connection.ask(request)
        _exchange(connections, _Connection.drain, deadline_s)


def _exchange(
    connections: list[_Connection], step: Callable[[_Connection], None], deadline_s: float
) -> None:
    """Wait until all connections that are not done have something, then take the step with all.

    Raises:
        TimeoutError: they have not, at the deadline.
    """
    while waiting := [connection for connection in connections if not connection.done]:
        ready: list[_Connection] = []
        while len(ready) < len(waiting):
            quiet = [connection for connection in waiting if connection not in ready]
            left_s = deadline_s - time.monotonic()
            found = select.select(quiet, [], [], max(0.0, left_s))[0]
            if not found:
                raise TimeoutError
            for connection in found:
                connection.receive()
            ready += found
        for connection in ready:
            step(connection)
