"""Local ports: a total while it cannot matter, counted by destination when it can, and bounded."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager

from haman.controller import portwalk
from haman.controller.portwalk import PortWalk
from haman.core.processes import ProcessId
from haman.core.resources import PortsSampled, Reading, SourceFailed
from tests.controller.test_sampler import identity
from tests.controller.test_senses import HostClock
from tests.proxies.rig import until


@asynccontextmanager
async def walking(members: Callable[[], tuple[ProcessId, ...]]) -> AsyncIterator[list[Reading]]:
    readings: list[Reading] = []
    task = asyncio.create_task(PortWalk(HostClock(), readings.append).run(members))
    try:
        yield readings
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled(), task.exception()


def here() -> tuple[ProcessId, ...]:
    return (identity(os.getpid()),)


async def first(readings: list[Reading]) -> Reading:
    await until(lambda: readings, "a reading")
    return readings[0]


async def test_a_few_sockets_are_not_walked(monkeypatch) -> None:
    monkeypatch.setattr(portwalk, "WALK_FROM", 100)
    async with walking(here) as readings:
        found = await first(readings)
    assert isinstance(found, PortsSampled)
    assert found.destination == ""
    assert found.span > 1000


async def test_many_are_counted_by_destination(monkeypatch) -> None:
    monkeypatch.setattr(portwalk, "WALK_FROM", 0)
    with ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=200))
        for _ in range(150):
            opened.enter_context(socket.create_connection(server.getsockname()))
        async with walking(here) as readings:
            found = await first(readings)
    assert isinstance(found, PortsSampled)
    assert found.used >= 150
    assert found.source
    assert found.destination


async def test_a_walk_that_takes_too_long_is_given_up_and_says_so(monkeypatch) -> None:
    monkeypatch.setattr(portwalk, "WALK_FROM", 0)
    monkeypatch.setattr(portwalk, "DEADLINE_NS", 0)
    async with walking(here) as readings:
        found = await first(readings)
    assert isinstance(found, SourceFailed)
    assert found.resource == "ports"
    assert found.why.startswith("local ports cannot be counted: more than")


async def test_a_process_that_has_ended_is_no_crash() -> None:
    async with walking(lambda: (ProcessId(2**22 + 1, 1),)) as readings:
        found = await first(readings)
    assert isinstance(found, SourceFailed)


async def test_without_a_proxy_nothing_is_counted() -> None:
    asked = []
    async with walking(lambda: asked.append(1) or ()) as readings:  # type: ignore[func-returns-value]
        await until(lambda: asked)
        assert readings == []
