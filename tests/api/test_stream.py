"""Live events: nothing is lost, nothing grows, nobody hangs."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from haman.api import stream
from haman.api.async_client import AsyncClient
from haman.api.client import RefusedError, UnreachableError
from haman.api.server import serve
from tests.api.fake_agent import FOLLOW_MAX, FakeAgent


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[FakeAgent]:
    served = FakeAgent(socket=str(tmp_path / "haman.sock"))
    async with serve(served):
        yield served


@pytest.fixture
def client(agent: FakeAgent) -> AsyncClient:
    return AsyncClient(agent.config.api.socket)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)


async def take(events: AsyncIterator[object], count: int) -> list[int]:
    async with asyncio.timeout(10):
        return [(await anext(events)).seq for _ in range(count)]  # type: ignore[attr-defined]


async def test_new_events_arrive(agent: FakeAgent, client: AsyncClient) -> None:
    agent.emit("peer-lost", "before")
    events = client.follow()
    first = asyncio.ensure_future(anext(events))
    await until(lambda: agent.followers == 2)  # the stream, and the counter of metrics
    agent.emit("peer-found", "lb2 is back\nwith a newline")
    event = await asyncio.wait_for(first, 10)
    assert (event.seq, event.type, event.text) == (2, "peer-found", "lb2 is back\nwith a newline")
    await events.aclose()  # type: ignore[attr-defined]


async def test_old_ones_come_first(agent: FakeAgent, client: AsyncClient) -> None:
    for number in range(250):
        agent.emit("peer-lost", f"event {number}")
    events = client.follow(since=100)
    assert await take(events, 150) == list(range(101, 251))
    agent.emit("peer-found", "new")
    assert await take(events, 1) == [251]
    await events.aclose()  # type: ignore[attr-defined]
    last = client.follow(since=-2)
    assert await take(last, 2) == [250, 251]
    await last.aclose()  # type: ignore[attr-defined]


async def test_a_browser_may_resume(agent: FakeAgent) -> None:
    for number in range(5):
        agent.emit("peer-lost", f"event {number}")
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "3"}
    connector = aiohttp.UnixConnector(agent.config.api.socket)
    async with (
        aiohttp.ClientSession("http://localhost", connector=connector) as session,
        session.get("/v1/events", headers=headers) as response,
    ):
        assert response.content_type == "text/event-stream"
        lines = [(await response.content.readline()).decode() for _ in range(4)]
        assert lines[:1] == [": haman events\n"]
        assert lines[2:] == ["id: 4\n", "event: peer-lost\n"]


async def test_what_a_slow_reader_misses_live_it_gets_from_the_journal(
    agent: FakeAgent, client: AsyncClient
) -> None:
    events = client.follow(since=0)
    first = asyncio.ensure_future(anext(events))
    await until(lambda: agent.followers == 2)
    burst = FOLLOW_MAX * 4  # overruns the follower's queue: the loop has no turn in between
    for number in range(burst):
        agent.emit("peer-lost", f"event {number}")
    assert (await asyncio.wait_for(first, 10)).seq == 1
    assert await take(events, burst - 1) == list(range(2, burst + 1))
    await events.aclose()  # type: ignore[attr-defined]


async def test_a_reader_that_takes_nothing_is_let_go(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STALL_S", 0.2)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(agent.config.api.socket)
        deaf.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
        await until(lambda: agent.followers == 2)
        for _ in range(100):
            agent.emit("peer-lost", "x" * 10_000)
            await asyncio.sleep(0)
        await until(lambda: agent.followers == 1)
    assert agent.followers == 1


async def test_silence_is_broken_by_a_heartbeat(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.02)
    connector = aiohttp.UnixConnector(agent.config.api.socket)
    async with (
        aiohttp.ClientSession("http://localhost", connector=connector) as session,
        session.get("/v1/events", headers={"Accept": "text/event-stream"}) as response,
    ):
        async with asyncio.timeout(10):
            while await response.content.readline() != b": heartbeat\n":
                pass


async def test_a_reader_that_leaves_is_forgotten(
    agent: FakeAgent, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.02)
    agent.emit("peer-lost", "one")
    events = client.follow(since=0)
    await take(events, 1)
    assert agent.followers == 2
    await events.aclose()  # type: ignore[attr-defined]
    await until(lambda: agent.followers == 1)


async def test_too_many_followers_are_refused(
    agent: FakeAgent, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("haman.api.routes.FOLLOWERS_MAX", 1)
    agent.emit("peer-lost", "one")
    events = client.follow(since=0)
    await take(events, 1)
    with pytest.raises(RefusedError, match="1 clients follow the events already"):
        await anext(client.follow())
    await events.aclose()  # type: ignore[attr-defined]


async def test_the_agents_end_ends_the_stream(tmp_path: Path) -> None:
    agent = FakeAgent(socket=str(tmp_path / "other.sock"))
    client = AsyncClient(agent.config.api.socket)
    async with serve(agent):
        agent.emit("peer-lost", "one")
        events = client.follow(since=0)
        await take(events, 1)
    with pytest.raises(UnreachableError, match="the agent ended the stream"):
        await asyncio.wait_for(anext(events), 10)
