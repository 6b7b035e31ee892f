"""The self-probe against servers that answer, refuse, hang, lie and break off."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from haman.config.model import Probe
from haman.controller.probe import Answered, NotAnswered, Prober
from tests.proxies.rig import Behaviour, certificate, free_port, hangs, says, until

OK = "HTTP/1.1 200 OK\r\n\r\n"


@pytest.fixture
def server_tls(tmp_path: Path) -> ssl.SSLContext:
    (tmp_path / "tls.pem").write_text(certificate())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "tls.pem")
    return context


@asynccontextmanager
async def serving(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    open_tasks: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_tasks.add(task)
        try:
            await behaviour(reader, writer)
        except (ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            open_tasks.discard(task)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.close()
        await until(lambda: not [task.cancel() for task in open_tasks])


def probe(address: str, timeout_ms: int = 10_000, **settings: object) -> Probe:
    return Probe(address=address, timeout_ms=timeout_ms, **settings)  # type: ignore[arg-type]


async def result(settings: Probe) -> Answered | NotAnswered:
    prober = Prober(settings)
    try:
        return await prober.probe()
    finally:
        prober.close()


async def why(settings: Probe) -> str:
    answer = await result(settings)
    assert isinstance(answer, NotAnswered)
    assert answer.text.startswith(settings.address)
    return answer.text


async def closes_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()


async def test_a_connection_is_enough_without_a_path() -> None:
    async with serving(hangs) as address:
        answer = await result(probe(address))
        assert isinstance(answer, Answered)
        assert 0 < answer.latency_s < 10


async def test_nobody_listens() -> None:
    assert "Connection refused" in await why(probe(f"127.0.0.1:{free_port()}"))


async def test_a_tls_handshake_whatever_the_certificate(server_tls) -> None:
    async with serving(hangs, server_tls) as address:
        assert isinstance(await result(probe(address, tls=True)), Answered)


async def test_every_tls_probe_is_a_full_handshake(server_tls) -> None:
    async with serving(hangs, server_tls) as address:
        prober = Prober(probe(address, tls=True))
        for _ in range(3):
            assert isinstance(await prober.probe(), Answered)
        prober.close()
    assert server_tls.session_stats()["accept_good"] == 3
    assert server_tls.session_stats()["hits"] == 0


async def test_a_plain_server_is_no_tls_server() -> None:
    async with serving(says("SSH-2.0\r\n")) as address:
        assert "TLS handshake failed" in await why(probe(address, tls=True))


async def test_a_deaf_tls_server_is_found_out_in_time() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        begun = time.monotonic()
        text = await why(probe(f"127.0.0.1:{deaf.getsockname()[1]}", 300, tls=True))
        assert text.endswith("no answer within 300 ms")
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("status", [200, 204, 302, 399])
async def test_a_path_that_is_well(status) -> None:
    async with serving(says(f"HTTP/1.1 {status} X\r\n\r\n")) as address:
        assert isinstance(await result(probe(address, path="/health")), Answered)


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        (says("HTTP/1.1 400 X\r\n\r\n"), "GET /health: status 400"),
        (says("HTTP/1.1 503 X\r\n\r\n"), "GET /health: status 503"),
        (says("SSH-2.0-OpenSSH\r\n"), "GET /health: no HTTP"),
        (says("HTTP/1.1 abc\r\n"), "GET /health: no HTTP"),
        (says("x" * 100_000), "GET /health: no HTTP"),
        (says("HTTP/1.1 200"), "GET /health: closed without an answer"),
        (hangs, "no answer within 300 ms"),
    ],
    ids=["400", "503", "not http", "no status", "endless line", "cut short", "hangs"],
)
async def test_a_path_that_is_not(behaviour, text) -> None:
    async with serving(behaviour) as address:
        patience_ms = 300 if behaviour is hangs else 10_000
        assert (await why(probe(address, patience_ms, path="/health"))).endswith(text)


async def test_closing_without_an_answer() -> None:
    async with serving(closes_at_once) as address:
        assert await why(probe(address, path="/health"))


async def test_a_path_over_tls(server_tls) -> None:
    async with serving(says(OK), server_tls) as address:
        assert isinstance(await result(probe(address, tls=True, path="/")), Answered)
