"""HAProxy's stats socket: one connection per question, two commands in it.

A connection that is kept (`prompt`) saves nothing, and after a reload stays with the dying worker.
`show stat -1 1 -1` lists frontends only: all of them with servers costs HAProxy's thread
milliseconds. What is not read, because it lies (measured with 2.6): SslRate and CumSslConns count
accepts and not handshakes (the latter, those to servers as well: it is `begun`); SslFrontendSessionReuse_pct is made of them; Idle_pct is a mean over
threads and blind to CPU quotas; MaxSslConns is a high-water mark; CumConns counts this very
question, so that accepted connections are the sum of `conn_tot`; PoolUsed sees nothing of what
OpenSSL allocates.

The socket speaks for the worker that serves; those that only finish their connections after a
reload are asked in `haproxy_workers`.

HAProxy management guide, 9.1 (CSV format) and 9.3 (show info, show stat).
"""

import asyncio
import csv
import socket
from collections.abc import Callable
from dataclasses import dataclass

from haman.proxies.answers import Answer, Unavailable
from haman.proxies.asking import LIMIT_BYTES, READ_BYTES, TIMEOUT_S, MalformedError, bounded

COMMANDS = b"show info;show stat -1 1 -1\n"


def parse_info(text: str) -> dict[str, str]:
    """`show info`: one "Name: value" per line.

    Raises:
        MalformedError: a line is something else.
    """
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if not colon:
            raise MalformedError(f"show info: {line[:60]!r} is no field")
        fields[name] = value.strip()
    return fields


def parse_stat(text: str) -> list[dict[str, str]]:
    """`show stat`: CSV rows by the names in the header, whatever their order and number.

    Raises:
        MalformedError: no header, or a row of another length.
    """
    if not text.startswith("# "):
        raise MalformedError(f"show stat: {text[:60]!r} is no header")
    try:
        header, *rows = csv.reader(text[2:].splitlines(), strict=True)
    except csv.Error as error:
        raise MalformedError(f"show stat: {error}") from error
    for row in rows:
        if len(row) != len(header):
            raise MalformedError(f"show stat: {len(row)} fields in a row of {len(header)}")
    return [dict(zip(header, row, strict=True)) for row in rows]


def parse(text: str) -> Answer:
    """Both answers, as they come over the socket: each ends with an empty line.

    Raises:
        MalformedError: cut short, or not HAProxy's.
    """
    info_text, between, stat_text = text.partition("\n\n")
    if not between or not stat_text.endswith("\n\n"):
        raise MalformedError("the answer was cut short")
    info = parse_info(info_text)
    frontends = parse_stat(stat_text.strip("\n"))
    if info.get("Name") != "HAProxy":
        raise MalformedError("show info: Name is not HAProxy")
    return Answer(
        pid=number(info, "Pid", least=1),
        version=info.get("Version", ""),
        stopping=info.get("Stopping", "0") != "0",
        threads=number(info, "Nbthread", least=1),
        connections=number(info, "CurrConns"),
        connections_limit=number(info, "Maxconn", least=1),
        full=_total(frontends, "ssl_sess"),
        resumed=_total(frontends, "ssl_reused_sess"),
        accepted=_total(frontends, "conn_tot"),
        failed=_total(frontends, "ssl_failed_handshake"),
        queue=number(info, "Run_queue") if "Run_queue" in info else None,
        pool_failed=number(info, "PoolFailed") if "PoolFailed" in info else None,
        begun=number(info, "CumSslConns") if "CumSslConns" in info else None,
        missing=_missing(frontends, info.get("Version", "")),
    )


def _missing(frontends: list[dict[str, str]], version: str) -> dict[str, str]:
    if not frontends:
        return {"tls": "no frontend is listed, so that nobody counts handshakes"}
    if "ssl_sess" not in frontends[0]:
        return {"tls": f"HAProxy {version} does not count handshakes; 2.4 and later do"}
    return {}


def _complete(answer: bytearray) -> bool:
    """Both answers are there, each with its empty line; no need to wait for the end of the stream."""
    return answer.endswith(b"\n\n") and answer.find(b"\n\n") < len(answer) - 2


def number(fields: dict[str, str], name: str, least: int = 0) -> int:
    """A count among the fields of `show info`.

    Raises:
        MalformedError: there is none, or it is below `least`.
    """
    text = fields.get(name, "")
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise MalformedError(f"{name} is {text[:60]!r}")
    return int(text)


def _total(frontends: list[dict[str, str]], name: str) -> int | None:
    """The sum over all frontends; None where there is no such column (those of TLS: before 2.4)."""
    if not frontends or name not in frontends[0]:
        return None
    return sum(number(frontend, name) for frontend in frontends if frontend[name])


@dataclass(frozen=True, slots=True)
class HaproxySocket:
    """The stats socket of one HAProxy.

    Attributes:
        path: of the unix socket.
        timeout_s: for the whole question.
    """

    path: str
    timeout_s: float = TIMEOUT_S

    @property
    def source(self) -> str:
        """For messages."""
        return f"the stats socket {self.path}"

    async def ask(self) -> Answer | Unavailable:
        """One question; whatever the other end does, an answer or a reason within the time-out."""
        return await bounded(self._ask(), self.source, self.timeout_s)

    async def _ask(self) -> Answer:
        return parse(decoded(await exchange(self.path, COMMANDS, _complete)))


async def exchange(
    path: str, commands: bytes, complete: Callable[[bytearray], bool], *, last: bool = False
) -> bytes:
    """Send commands over a connection of their own; the caller bounds the time.

    Args:
        path: of the unix socket.
        commands: to send.
        complete: whether the answer is whole, so that the end of the stream need not be awaited.
        last: say that nothing more will be asked. A master's socket ends a session only then.

    Raises:
        OSError: the socket cannot be used.
        OverflowError: more than LIMIT_BYTES came.
    """
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as asked:
        await loop.sock_connect(asked, path)
        await loop.sock_sendall(asked, commands)
        if last:
            asked.shutdown(socket.SHUT_WR)
        answer = bytearray()
        while not complete(answer) and (chunk := await loop.sock_recv(asked, READ_BYTES)):
            answer += chunk
            if len(answer) > LIMIT_BYTES:
                raise OverflowError
        return bytes(answer)


def decoded(answer: bytes) -> str:
    """As text; what is no UTF-8 will be malformed."""
    return answer.decode("utf-8", errors="replace")
