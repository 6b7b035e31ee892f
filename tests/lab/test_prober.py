"""The prober against a local server whose outages are scripted."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from haman.lab.backend import Echo, Http, answer
from haman.lab.kernel import wait_until
from haman.lab.probe import Order, Result, Span, failures, longest_gap
from haman.lab.prober import Prober

ADDRESS = "127.0.0.1"


class Server:
    """HTTP and echo on free ports of the loopback, in a thread; `cut` ends all of it at once."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.transports: list[asyncio.Transport] = []
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.http = self.call(self.listen(lambda: Http(answer("be")), 0))
        self.echo = self.call(self.listen(Echo, 0))

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(5)

    async def listen(self, protocol, port: int) -> asyncio.Server:
        def made():
            one = protocol()
            connected = one.connection_made

            def connection_made(transport: asyncio.Transport) -> None:
                self.transports.append(transport)
                connected(transport)

            one.connection_made = connection_made
            return one

        return await self.loop.create_server(made, ADDRESS, port, backlog=512)

    def port(self, server: asyncio.Server):
        return server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        for sock in self.http.sockets:
            self.loop.remove_reader(sock.fileno())
        for _ in range(3):  # asyncio leaks what it is just accepting when a server closes
            await asyncio.sleep(0)
        self.http.close()
        for transport in self.transports:
            transport.abort()

    def close(self) -> None:
        async def end() -> None:
            await self.cut()
            self.echo.close()
            await asyncio.sleep(0)

        self.call(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with contextlib.closing(Server()) as running:
        yield running


def order(server: Server, **changes: object) -> Order:
    whole = Order(
        address=ADDRESS,
        duration_s=0.5,
        port=server.port(server.http),
        echo_port=server.port(server.echo),
        new_per_s=200,
        echo_interval_ms=20,
        echo_timeout_ms=100,
    )
    return msgspec.structs.replace(whole, **changes)


def run(tmp_path: Path, told: Order, at_ready=lambda: None) -> Result:
    path = tmp_path / "result.json"
    words = [sys.executable, "-m", "haman.lab.prober", msgspec.json.encode(told).decode()]
    with subprocess.Popen([*words, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"ready ")
        at_ready()
        assert process.wait(10) == 0
    return msgspec.json.decode(path.read_bytes(), type=Result)


def test_a_service_that_stands_has_no_failures(tmp_path: Path, server: Server) -> None:
    result = run(tmp_path, order(server, connections=5))
    assert failures(result.attempts) == {}
    assert len(result.attempts) + result.skipped >= 80
    assert result.established == 5
    assert result.exchanges > 0
    assert result.lost == ()


def test_connect_mode_needs_no_answer(tmp_path: Path) -> None:
    with socket.create_server((ADDRESS, 0), backlog=512) as deaf:
        told = Order(ADDRESS, 0.3, mode="connect", port=deaf.getsockname()[1], new_per_s=100)
        result = run(tmp_path, told)
    assert failures(result.attempts) == {}
    assert result.attempts


def test_http_mode_wants_the_answer(tmp_path: Path) -> None:
    with socket.create_server((ADDRESS, 0), backlog=512) as deaf:
        told = Order(
            ADDRESS, 0.5, port=deaf.getsockname()[1], new_per_s=100, attempt_timeout_ms=100
        )
        result = run(tmp_path, told)
    assert set(failures(result.attempts)) == {"timeout"}


def test_a_cut_shows_as_failures_losses_and_a_gap_to_the_end(
    tmp_path: Path, server: Server
) -> None:
    def cut() -> None:
        """End what there is, once the long-lived connections are more than the kernel's alone."""

        def echoing() -> int:
            return sum(isinstance(one.get_protocol(), Echo) for one in list(server.transports))

        assert wait_until(lambda: echoing() == 5, 5, poll_s=0.001)
        server.call(server.cut())

    told = order(server, connections=5, duration_s=3)
    result = run(tmp_path, told, at_ready=cut)
    assert "refused" in failures(result.attempts)
    assert len(result.lost) == 5
    start = result.started_ns
    gap = longest_gap(result.attempts, [Span(start, start)], start, result.ended_ns)
    assert gap.end_ns == result.ended_ns
    assert gap.ms > 400


def test_a_refused_service_is_refused_not_timed_out(tmp_path: Path) -> None:
    with socket.create_server((ADDRESS, 0)) as taken:
        port = taken.getsockname()[1]
    result = run(tmp_path, Order(ADDRESS, 0.2, port=port, new_per_s=100))
    assert set(failures(result.attempts)) == {"refused"}


def test_what_is_pending_is_bounded() -> None:
    prober = Prober(Order(ADDRESS, 1, port=1))
    prober.tick(1_000_000, 0)
    assert prober.skipped > 999_000
    for new in prober.pending.values():
        new.sock.close()
