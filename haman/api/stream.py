"""Live events for one client, as server-sent events.

The journal is what holds them, not memory: a client that reads slowly is paused by its own socket,
and afterwards gets from the journal what it missed. One that does not read at all is let go.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

import msgspec

from haman.api import view
from haman.api.http import web
from haman.controller.surface import Agent, JournalEntry

FOLLOWERS_MAX = 32
"""Streams at once."""
HEARTBEAT_S = 10.0
"""A comment after so much silence, so that both ends notice a dead connection."""
STALL_S = 30.0
"""A client that takes nothing for this long is let go."""
PAGE = 100
"""Entries fetched from the journal at a time."""
BUFFER_BYTES_MAX = 64 * 1024
"""Unsent bytes of one client, beyond what the kernel's socket holds."""


class Stream:
    """One client's stream of journal entries."""

    def __init__(self, agent: Agent, stopping: asyncio.Event) -> None:
        self._agent = agent
        self._stopping = stopping
        self._response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        self._last = 0

    async def run(self, request: web.Request, since: int | None) -> web.StreamResponse:
        """Send what was written after `since` (None = only what is new), then what is written.

        Ends when the client leaves or stalls, or when the agent stops.
        """
        live = self._agent.follow()
        next_entry = asyncio.ensure_future(anext(live))
        await asyncio.sleep(0)  # let follow() subscribe, so that nothing falls between
        stopped = asyncio.ensure_future(self._stopping.wait())
        newest = self._agent.events(-1, 1)
        self._last = newest[-1].seq if newest else 0
        try:
            await self._response.prepare(request)
            if request.transport is not None:
                request.transport.set_write_buffer_limits(BUFFER_BYTES_MAX)
            await self._write(b": haman events\n\n")
            if since is not None:
                await self._replay(since)
            while True:
                await asyncio.wait(
                    (next_entry, stopped),
                    timeout=HEARTBEAT_S,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if stopped.done():
                    break
                if next_entry.done():
                    await self._send_up_to(next_entry.result())
                    next_entry = asyncio.ensure_future(anext(live))
                else:
                    await self._write(b": heartbeat\n\n")
            await self._response.write_eof()
        except (ConnectionError, TimeoutError, StopAsyncIteration):
            pass  # the client left or stalled, or the journal closed
        finally:
            await _end(next_entry, stopped, live)
        return self._response

    async def _replay(self, since: int) -> None:
        """Send the journal from `since` on, page by page."""
        page = self._agent.events(since, PAGE)
        while page:
            for entry in page:
                await self._send(entry)
            self._last = max(self._last, page[-1].seq)
            page = self._agent.events(page[-1].seq, PAGE)

    async def _send_up_to(self, entry: JournalEntry) -> None:
        if entry.seq <= self._last:
            return
        if entry.seq > self._last + 1:
            await self._replay(self._last)
        if entry.seq > self._last:
            await self._send(entry)
            self._last = entry.seq

    async def _send(self, entry: JournalEntry) -> None:
        body = msgspec.json.encode(view.event(entry)).decode()
        await self._write(f"id: {entry.seq}\nevent: {entry.event.type}\ndata: {body}\n\n".encode())

    async def _write(self, data: bytes) -> None:
        async with asyncio.timeout(STALL_S):
            await self._response.write(data)


async def _end(
    next_entry: asyncio.Future[JournalEntry],
    stopped: asyncio.Future[Literal[True]],
    live: AsyncIterator[JournalEntry],
) -> None:
    next_entry.cancel()
    stopped.cancel()
    await asyncio.gather(next_entry, stopped, return_exceptions=True)
    close = getattr(live, "aclose", None)
    if close is not None:
        await close()
