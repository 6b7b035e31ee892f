"""HAProxy's stats socket: two commands in one question, over a connection that is kept.

To connect costs more than to ask, so the connection stays in HAProxy's interactive mode (`prompt`). It
leads to the worker that listened when it was made; one that says that it is stopping is left, and the
question asked again of who listens now. Whatever else is wrong with a kept connection has the same end,
and what timed out is never read later: the connection is closed.

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
from collections.abc import Callable, Iterable
from contextlib import suppress

from haman.proxies.answers import Answer, Unavailable
from haman.proxies.asking import LIMIT_BYTES, READ_BYTES, TIMEOUT_S, MalformedError, bounded

COMMANDS = b"show info;show stat -1 1 -1\n"
COUNTED = ("pxname", "conn_tot", "ssl_sess", "ssl_reused_sess", "ssl_failed_handshake")
_FIELDS = (
    *("Name", "Version", "Pid", "Stopping", "Nbthread", "CurrConns", "Maxconn"),
    *("Run_queue", "PoolFailed", "CumSslConns"),
)
STAY = b"prompt;"
PROMPT = b"> "
KEPT_S = 2.0
"""A connection is made anew after so long: its socket may be another's by now, or gone."""


def parse_info(text: str) -> dict[str, str]:
    """`show info`: one "Name: value" per line, of which those are taken that are asked for here."""
    fields, text = {}, f"\n{text}\n"
    for name in _FIELDS:  # to look for some is ten times as fast as to read all
        start = text.find(f"\n{name}:")
        if start >= 0:
            start += len(name) + 2
            fields[name] = text[start : text.index("\n", start)].strip()
    return fields


def parse_stat(text: str, names: Iterable[str]) -> dict[str, list[str]]:
    """`show stat`: of each row, the columns of these names; those that there are, in any order.

    Raises:
        MalformedError: no header, or a row of another length.
    """
    if not text.startswith("# "):
        raise MalformedError(f"show stat: {text[:60]!r} is no header")
    try:
        header, *rows = _rows(text[2:])
    except csv.Error as error:
        raise MalformedError(f"show stat: {error}") from error
    for row in rows:
        if len(row) != len(header):
            raise MalformedError(f"show stat: {len(row)} fields in a row of {len(header)}")
    places = {name: header.index(name) for name in names if name in header}
    return {name: [row[place] for row in rows] for name, place in places.items()}


def _rows(text: str) -> list[list[str]]:
    """CSV; mostly without quotes, and then a comma is all there is to it."""
    lines = text.splitlines()
    if '"' in text:
        return list(csv.reader(lines, strict=True))
    return [line.split(",") for line in lines]


def parse(text: str) -> Answer:
    """Both answers, as they come over the socket: each ends with an empty line.

    Raises:
        MalformedError: cut short, or not HAProxy's.
    """
    info_text, between, stat_text = text.partition("\n\n")
    if not between or not stat_text.endswith("\n\n"):
        raise MalformedError("the answer was cut short")
    info = parse_info(info_text)
    frontends = parse_stat(stat_text.strip("\n"), COUNTED)
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


def _missing(frontends: dict[str, list[str]], version: str) -> dict[str, str]:
    if not frontends.get("pxname"):
        return {"tls": "no frontend is listed, so that nobody counts handshakes"}
    if "ssl_sess" not in frontends:
        return {"tls": f"HAProxy {version} does not count handshakes; 2.4 and later do"}
    return {}


def _complete(answer: bytearray) -> bool:
    """Both answers are there, each with its empty line; no need to wait for the end of the stream."""
    ends = answer.endswith((b"\n\n", b"\n\n" + PROMPT))
    return ends and answer.find(b"\n\n") < answer.rfind(b"\n\n")


def number(fields: dict[str, str], name: str, least: int = 0) -> int:
    """A count among the fields of `show info`.

    Raises:
        MalformedError: there is none, or it is below `least`.
    """
    text = fields.get(name, "")
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise MalformedError(f"{name} is {text[:60]!r}")
    return int(text)


def _total(frontends: dict[str, list[str]], name: str) -> int | None:
    """The sum over all frontends; None where there is no such column (those of TLS: before 2.4)."""
    if not frontends.get(name):
        return None
    counts = [text for text in frontends[name] if text]
    digits = "".join(counts)
    if digits and not (digits.isascii() and digits.isdigit()):
        raise MalformedError(f"{name} is {', '.join(counts)[:60]!r}")
    return sum(map(int, counts))


class HaproxySocket:
    """The stats socket of one HAProxy.

    Args:
        path: of the unix socket.
        timeout_s: for the whole question.
    """

    def __init__(self, path: str, timeout_s: float = TIMEOUT_S) -> None:
        self.path = path
        self._timeout_s = timeout_s
        self._kept: _Session | None = None

    @property
    def source(self) -> str:
        """For messages."""
        return f"the stats socket {self.path}"

    async def ask(self) -> Answer | Unavailable:
        """One question; whatever the other end does, an answer or a reason within the time-out."""
        return await bounded(self._ask(), self.source, self._timeout_s)

    async def close(self) -> None:
        """Let go of the connection."""
        session, self._kept = self._kept, None
        if session is not None:
            session.close()

    async def _ask(self) -> Answer:
        session, self._kept = self._kept, None
        if session is not None:
            with suppress(OSError, MalformedError):
                answer = await self._over(session)
                if not answer.stopping:
                    return answer
        return await self._over(await _Session.open(self.path))

    async def _over(self, session: "_Session") -> Answer:
        """Ask over a connection, and keep it if it is good for the next question."""
        try:
            answer = parse(decoded(await session.ask()))
        except BaseException:
            session.close()
            raise
        if session.lasts and not answer.stopping:
            self._kept = session
        else:
            session.close()
        return answer


class _Session:
    """One connection, which stays open for more than one question.

    It is watched all the time: to begin and end that for each answer takes longer than to read it.
    """

    def __init__(self, opened: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = opened
        self._until_s = self._loop.time() + KEPT_S
        self._first = STAY
        self._answer = bytearray()
        self._waiting: asyncio.Future[None] | None = None
        self._ended = False
        self._loop.add_reader(opened, self._readable)

    @classmethod
    async def open(cls, path: str) -> "_Session":
        """Connect.

        Raises:
            OSError: the socket cannot be used.
        """
        return cls(await connected(path))

    @property
    def lasts(self) -> bool:
        """Whether there can be another question."""
        return not self._ended and self._loop.time() < self._until_s

    async def ask(self) -> bytearray:
        """One question: as much as came until the answer was whole or the stream at its end.

        Raises:
            OSError: the connection is broken, or takes no question.
            OverflowError: more than LIMIT_BYTES came.
        """
        self._answer.clear()  # a prompt at most: whatever else is too late ends the connection
        self._socket.sendall(self._first + COMMANDS)
        self._first = b""
        if not self._ended:
            self._waiting = self._loop.create_future()
            await self._waiting
        # A prompt follows every command; that of the question before may come with this answer.
        return self._answer.lstrip(b"\n" + PROMPT).replace(b"\n\n" + PROMPT, b"\n\n")

    def _readable(self) -> None:
        error: Exception | None = None
        try:
            chunk = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as broken:
            chunk, error = b"", broken
        self._answer += chunk
        if len(self._answer) > LIMIT_BYTES:
            error = OverflowError()
        if error is not None or not chunk:
            self._ended = True
            self._loop.remove_reader(self._socket)
        elif not _complete(self._answer):
            return
        waiting, self._waiting = self._waiting, None
        if waiting is None or waiting.done():
            return
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)

    def close(self) -> None:
        """Give the socket back."""
        self._loop.remove_reader(self._socket)
        self._socket.close()


async def connected(path: str) -> socket.socket:
    """A connection; the caller bounds the time, and closes it.

    Raises:
        OSError: the socket cannot be used.
    """
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(opened, path)
    except BaseException:
        opened.close()
        raise
    return opened


async def received(asked: socket.socket, complete: Callable[[bytearray], bool]) -> bytearray:
    """What comes until it is complete, or the stream ends; the caller bounds the time.

    Raises:
        OSError: the connection is broken.
        OverflowError: more than LIMIT_BYTES came.
    """
    loop = asyncio.get_running_loop()
    answer = bytearray()
    while not complete(answer) and (chunk := await loop.sock_recv(asked, READ_BYTES)):
        answer += chunk
        if len(answer) > LIMIT_BYTES:
            raise OverflowError
    return answer


def decoded(answer: bytes | bytearray) -> str:
    """As text; what is no UTF-8 will be malformed."""
    return answer.decode("utf-8", errors="replace")
