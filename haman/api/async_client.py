"""The API's client for the terminal UI: asynchronous, the same questions as `client`.

It speaks HTTP/1.0: one connection per question, an answer ends where the connection does. The API is
a unix socket away, so that costs nothing, and an HTTP library costs a quarter of a second to load,
which is a quarter of what an operator waits for the first picture.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import msgspec

from haman.api import schema
from haman.api.client import (
    ANSWER_BYTES_MAX,
    LINE_BYTES_MAX,
    SILENCE_S,
    TIMEOUT_S,
    EventLines,
    UnreachableError,
    decode,
    refusal,
    scenario_path,
    unreachable,
    why_path,
)

T = TypeVar("T")


class AsyncClient:
    """Talks to the agent that listens on a unix socket.

    Every question raises UnreachableError or RefusedError, as those of `Client` do; cancelling one
    closes its connection.
    """

    def __init__(self, socket_path: str, timeout_s: float = TIMEOUT_S) -> None:
        self._path = socket_path
        self._timeout_s = timeout_s

    async def status(self) -> schema.Status:
        """Ask for the whole cluster."""
        return await self._get("/v1/status", schema.Status)

    async def why(self, service: str) -> schema.Why:
        """Ask who serves, and why."""
        return await self._get(why_path(service), schema.Why)

    async def headroom(self) -> schema.Headroom:
        """Ask for every loss."""
        return await self._get("/v1/headroom", schema.Headroom)

    async def scenario(self, without: tuple[str, ...]) -> schema.Scenario:
        """Ask for the loss of certain nodes."""
        return await self._get(scenario_path(without), schema.Scenario)

    async def events(self, since: int, limit: int = 100) -> list[schema.Event]:
        """Ask for journal entries after `since`; -10 = the last ten."""
        return await self._get(f"/v1/events?since={since}&limit={limit}", list[schema.Event])

    async def act(self, verb: str, wish: schema.Intent) -> schema.Done:
        """Have drain, undrain, failover, pause or resume done; an act may take its time."""
        body, timeout_s = msgspec.json.encode(wish), max(self._timeout_s, TIMEOUT_S)
        return decode(await self._ask("POST", f"/v1/{verb}", body, timeout_s), schema.Done)

    async def follow(self, since: int | None = None) -> AsyncIterator[schema.Event]:
        """Yield events as they are written, after those since `since` if it is given."""
        path = "/v1/events" if since is None else f"/v1/events?since={since}"
        lines = EventLines()
        try:
            async with self._sent("GET", path, accept="text/event-stream") as reader:
                async with asyncio.timeout(TIMEOUT_S):
                    await self._accepted(reader)
                while True:
                    async with asyncio.timeout(SILENCE_S):
                        line = await reader.readline()
                    if not line:
                        break
                    if event := lines.feed(line):
                        yield event
        except (OSError, EOFError, ValueError) as error:
            raise unreachable(self._path, error) from error
        raise UnreachableError(f"{self._path}: the agent ended the stream; it may be stopping")

    async def _get(self, path: str, kind: type[T]) -> T:
        return decode(await self._ask("GET", path, b"", self._timeout_s), kind)

    async def _ask(self, method: str, path: str, body: bytes, timeout_s: float) -> bytes:
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._sent(method, path, body) as reader,
            ):
                await self._accepted(reader)
                return await _rest(reader)
        except (OSError, EOFError, ValueError) as error:
            raise unreachable(self._path, error) from error

    @asynccontextmanager
    async def _sent(
        self, method: str, path: str, body: bytes = b"", accept: str = "application/json"
    ) -> AsyncIterator[asyncio.StreamReader]:
        """Connect, put the question, give what the answer is read from."""
        reader, writer = await asyncio.open_unix_connection(self._path, limit=LINE_BYTES_MAX)
        try:
            head = f"{method} {path} HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\n"
            head += f"Content-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode("ascii") + body)
            await writer.drain()
            yield reader
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _accepted(self, reader: asyncio.StreamReader) -> None:
        """Read the head of the answer.

        Raises:
            RefusedError: it says no, for the reason in its body.
            ValueError: it is no HTTP.
        """
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            head = error.partial
        except asyncio.LimitOverrunError:
            head = b""
        version, _, rest = head.partition(b" ")
        code = rest[:3].decode("ascii", "replace")
        if not version.startswith(b"HTTP/1.") or not code.isdecimal():
            said = repr(head[:32].decode("ascii", "replace")) if head else "nothing"
            raise ValueError(f"what listens there is no agent: it said {said}")
        if int(code) >= 400:
            raise refusal(int(code), await _rest(reader))


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """Read what is left of an answer, which must have an end."""
    parts, size = [], 0
    while part := await reader.read(LINE_BYTES_MAX):
        parts.append(part)
        size += len(part)
        if size > ANSWER_BYTES_MAX:
            raise ValueError(f"the answer is longer than {ANSWER_BYTES_MAX >> 20} MB")
    return b"".join(parts)
