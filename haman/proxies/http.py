"""One bounded GET to the admin interface of a proxy, over TCP or a unix socket.

As much of HTTP/1.1 as a GET to a proxy's own admin interface takes: one request per connection,
bodies by length, by chunks (Envoy, Caddy) or to the end of the stream. What does not fit within the
limits is refused, and what was cut short is never taken for whole (RFC 9112, sections 6 to 8).
"""

import asyncio
import re
import socket

from haman.config.endpoint import Endpoint
from haman.core.frozen import dataclass
from haman.proxies.asking import LIMIT_BYTES, READ_BYTES, MalformedError, RefusedStatusError

HEAD_BYTES = 16 << 10
OK = 200

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |$)")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
_LENGTH = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer with status 200.

    Attributes:
        server: the Server field, "" without one.
    """

    server: str
    body: bytes


def parse_response(raw: bytes, target: str = "/", *, ended: bool) -> Response | None:
    """Take an answer apart.

    Args:
        raw: everything received so far.
        target: that was asked for, for messages.
        ended: the other end has closed.

    Returns:
        None if there is more to come.

    Raises:
        MalformedError: it is no HTTP, or was cut short.
        RefusedStatusError: a status other than 200.
    """
    head, blank, body = raw.partition(b"\r\n\r\n")
    if not blank:
        if ended:
            raise MalformedError("the answer was cut short" if raw else "closed without an answer")
        if len(raw) > HEAD_BYTES or (len(raw) > len("HTTP/1.") and raw[:7] != b"HTTP/1."):
            raise MalformedError(f"{raw[:60]!r} is no HTTP")
        return None
    line, *fields = head.split(b"\r\n")
    status = _STATUS.match(line)
    if status is None:
        raise MalformedError(f"{line[:60]!r} is no HTTP")
    if int(status[1]) != OK:
        raise RefusedStatusError(int(status[1]), target)
    headers = _headers(fields)
    whole = _body(headers, body, ended=ended)
    return None if whole is None else Response(headers.get("server", ""), whole)


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise MalformedError(f"{name[:60]!r} is no header field")
        headers[name.lower()] = value.strip()
    return headers


def _body(headers: dict[str, str], body: bytes, *, ended: bool) -> bytes | None:
    coding = headers.get("transfer-encoding", "").lower()
    if coding:
        if coding != "chunked":
            raise MalformedError(f"transfer-encoding {coding[:60]!r} was not asked for")
        whole = _chunks(body)
    elif "content-length" in headers:
        length = headers["content-length"]
        if not _LENGTH.fullmatch(length):
            raise MalformedError(f"content-length is {length[:60]!r}")
        whole = body[: int(length)] if len(body) >= int(length) else None
    else:
        whole = body if ended else None
    if whole is None and ended:
        raise MalformedError("the answer was cut short")
    return whole


def _chunks(body: bytes) -> bytes | None:
    """The body behind chunked coding; None = the last chunk is not there yet."""
    whole = bytearray()
    while True:
        line, end, rest = body.partition(b"\r\n")
        if not end:
            return None
        size = _SIZE.fullmatch(line.partition(b";")[0].strip())
        if size is None:
            raise MalformedError(f"{line[:60]!r} is no chunk")
        length = int(size[0], 16)
        if length == 0:
            return bytes(whole)
        if len(rest) < length + 2:
            return None
        if rest[length : length + 2] != b"\r\n":
            raise MalformedError("a chunk is longer than it says")
        whole += rest[:length]
        body = rest[length + 2 :]


async def get(endpoint: Endpoint, target: str, host: str = "localhost") -> Response:
    """GET `target`; the caller bounds the time.

    Args:
        endpoint: where to.
        target: path and query.
        host: the Host field, for a unix socket only; some take "" alone, some anything but that.

    Raises:
        OSError, MalformedError, RefusedStatusError: it did not work out.
        OverflowError: more than LIMIT_BYTES came.
    """
    loop = asyncio.get_running_loop()
    family = socket.AF_UNIX if endpoint.path else _family(endpoint.host)
    where: str | tuple[str, int] = endpoint.path or (endpoint.host, endpoint.port)
    name = host if endpoint.path else str(endpoint)
    request = f"GET {target} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as asked:
        await loop.sock_connect(asked, where)
        await loop.sock_sendall(asked, request.encode("ascii"))
        raw = bytearray()
        while chunk := await loop.sock_recv(asked, READ_BYTES):
            raw += chunk
            if len(raw) > LIMIT_BYTES:
                raise OverflowError
            if (response := parse_response(bytes(raw), target, ended=False)) is not None:
                return response
        response = parse_response(bytes(raw), target, ended=True)
        if response is None:
            raise MalformedError("the answer was cut short")
        return response


def _family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
