"""Both clients, against the real server and against broken ones."""

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from haman.api import schema
from haman.api.async_client import AsyncClient
from haman.api.client import Client, EventLines, RefusedError, UnreachableError
from haman.controller.surface import Refused
from tests.api.serving import Served, serving


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as running:
        yield running


def test_every_question(served: Served) -> None:
    client = Client(served.socket)
    served.call(lambda: served.agent.kill_proxy("lb1"))
    assert client.status().services[0].holders == ("lb2",)
    assert client.why("web").state == "degraded"
    assert client.headroom().verdict == "ok"
    assert client.scenario(("lb1",)).lost == ("lb1",)
    assert [e.seq for e in client.events(0)] == [1, 2]
    assert client.act("pause", schema.Intent()).text == "automatic moves are held"


def test_every_question_asynchronously(served: Served) -> None:
    async def ask() -> None:
        client = AsyncClient(served.socket)
        assert (await client.status()).services[0].holders == ("lb1",)
        assert (await client.why("web")).state == "ok"
        assert (await client.headroom()).verdict == "ok"
        assert (await client.scenario(("lb1",))).lost == ("lb1",)
        assert await client.events(0) == []
        assert (await client.act("pause", schema.Intent())).text
        with pytest.raises(RefusedError):
            await client.why("nope")

    asyncio.run(ask())


def test_a_refusal_brings_its_reasons(served: Served) -> None:
    served.agent.refusal = Refused("unsafe", "lb2 could not carry it")
    with pytest.raises(RefusedError, match="lb2 could not carry it") as caught:
        Client(served.socket).act("drain", schema.Intent())
    assert caught.value.status == 409
    assert caught.value.problem.code == "unsafe"


def test_names_are_quoted(served: Served) -> None:
    with pytest.raises(RefusedError, match=r'there is no service "a/b\?c"'):
        Client(served.socket).why("a/b?c")


def test_following(served: Served) -> None:
    served.call(lambda: served.agent.emit("peer-lost", "one"))
    events = Client(served.socket).follow(since=0)
    assert next(events).text == "one"
    served.call(lambda: served.agent.emit("peer-found", "two"))
    assert next(events).text == "two"
    events.close()  # type: ignore[attr-defined]


def test_no_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "none.sock")
    with pytest.raises(UnreachableError, match="no such socket; is the agent running"):
        Client(path).status()

    async def ask() -> None:
        client = AsyncClient(path)
        with pytest.raises(UnreachableError, match="no such socket; is the agent running"):
            await client.status()
        with pytest.raises(UnreachableError, match="no such socket"):
            await anext(client.follow())

    asyncio.run(ask())


def test_a_dead_agents_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "dead.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with pytest.raises(UnreachableError, match="nobody listens there"):
        Client(path).status()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every socket")
def test_a_socket_of_others(tmp_path: Path) -> None:
    path = str(tmp_path / "closed.sock")
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(path)
        closed.listen()
        Path(path).chmod(0)
        with pytest.raises(UnreachableError, match="no permission"):
            Client(path).status()


@contextmanager
def answering(path: str, answer: bytes | None) -> Iterator[None]:
    """A server that says `answer` to whatever it is asked, or nothing at all."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        done = threading.Event()

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                if answer is None:
                    done.wait(10)
                else:
                    with suppress(BrokenPipeError, ConnectionResetError):  # it has heard enough
                        connection.sendall(answer)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(10)


def http(status: str, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http("200 OK", b'{"no": "status"}'), "the answer is not an agent's"),
        (http("200 OK", b"\xff"), "the answer is not an agent's"),
        (b"220 mail.example.org ESMTP\r\n", "mail"),
        (b"", "without response"),
    ],
)
def test_something_else_listens(tmp_path: Path, answer: bytes, said: str) -> None:
    path = str(tmp_path / "odd.sock")
    with answering(path, answer), pytest.raises(UnreachableError, match=said):
        Client(path).status()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http("200 OK", b'{"no": "status"}'), "the answer is not an agent's"),
        (
            http("200 OK", b'{"schema": 1, "clus'),
            "the answer is not an agent's: Input data was trunc",
        ),
        (b"220 mail.example.org ESMTP\r\n", "no agent: it said '220 mail"),
        (b"HTTP/1.1 \x1b[2J\r\n\r\n", "no agent"),
        (b"", "no agent: it said nothing"),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * (2 << 20), "no agent: it said nothing"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (17 << 20), "longer than 16 MB"),
        (None, "the agent does not answer"),
    ],
    ids=["other", "half", "mail", "escape", "nothing", "head", "long", "hung"],
)
async def test_something_else_listens_asynchronously(
    tmp_path: Path, answer: bytes | None, said: str
) -> None:
    path = str(tmp_path / "odd.sock")
    with answering(path, answer), pytest.raises(UnreachableError, match=said):
        await AsyncClient(path, timeout_s=5.0 if answer is not None else 0.1).status()


def test_an_error_without_the_form(tmp_path: Path) -> None:
    path = str(tmp_path / "odd.sock")
    with answering(path, http("502 Bad", b"<html>")), pytest.raises(RefusedError) as caught:
        Client(path).status()
    assert caught.value.problem.message == "HTTP 502 without the API's error form"


def test_a_hung_agent(tmp_path: Path) -> None:
    path = str(tmp_path / "hung.sock")
    with answering(path, None), pytest.raises(UnreachableError, match="does not answer"):
        Client(path, timeout_s=0.1).status()


def test_an_event_is_complete_at_the_empty_line() -> None:
    lines = EventLines()
    data = b'{"seq":1,"at":"","node":"lb1","type":"x","service":"","text":"y"}'
    assert lines.feed(b": heartbeat\n") is None
    assert lines.feed(b"\n") is None
    assert lines.feed(b"id: 1\r\n") is None
    assert lines.feed(b"data: " + data + b"\r\n") is None
    event = lines.feed(b"\r\n")
    assert event is not None
    assert event.seq == 1
    assert lines.feed(b"\n") is None
    lines.feed(b"data: nonsense\n")
    with pytest.raises(UnreachableError):
        lines.feed(b"\n")
