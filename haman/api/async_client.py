"""The API's client for the terminal UI: asynchronous, the same questions as `client`."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
import msgspec

from haman.api import schema
from haman.api.client import (
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
    """Talks to the agent that listens on a unix socket; use as an async context manager.

    Every question raises UnreachableError or RefusedError, as those of `Client` do.
    """

    def __init__(self, socket_path: str, timeout_s: float = TIMEOUT_S) -> None:
        self._path = socket_path
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            base_url="http://localhost",
            connector=aiohttp.UnixConnector(self._path),
            timeout=self._timeout,
            read_bufsize=LINE_BYTES_MAX,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

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
        """Have drain, undrain, failover, pause or resume done."""
        return decode(
            await self._ask("POST", f"/v1/{verb}", msgspec.json.encode(wish)), schema.Done
        )

    async def follow(self, since: int | None = None) -> AsyncIterator[schema.Event]:
        """Yield events as they are written, after those since `since` if it is given."""
        path = "/v1/events" if since is None else f"/v1/events?since={since}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S, sock_read=SILENCE_S)
        headers = {"Accept": "text/event-stream"}
        lines = EventLines()
        try:
            async with self._open.get(path, headers=headers, timeout=timeout) as response:
                if response.status >= 400:
                    raise refusal(response.status, await response.read())
                async for line in response.content:
                    if event := lines.feed(line):
                        yield event
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise unreachable(self._path, _cause(error)) from error
        raise UnreachableError(f"{self._path}: the agent ended the stream; it may be stopping")

    async def _get(self, path: str, kind: type[T]) -> T:
        return decode(await self._ask("GET", path), kind)

    async def _ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        try:
            async with self._open.request(method, path, data=body or None) as response:
                answer = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(self._path, _cause(error)) from error
        if response.status >= 400:
            raise refusal(response.status, answer)
        return answer

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("AsyncClient is used outside of its context")
        return self._session


def _cause(error: Exception) -> Exception:
    """Give the system's own error where aiohttp wraps it."""
    wrapped = getattr(error, "os_error", None)
    return wrapped if isinstance(wrapped, OSError) else error
