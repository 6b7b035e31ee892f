"""NGINX: stub_status read strictly, its lie not believed, and handshakes counted from outside."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.config.model import Proxy
from haman.proxies.adapter import Surroundings, sensed_by
from haman.proxies.answers import Answer, Unavailable
from haman.proxies.asking import MalformedError
from haman.proxies.nginx import NginxStatus, Status, parse_status, parse_worker_connections
from tests.proxies.programs import Nginx, nginx, pause, started
from tests.proxies.rig import DEADLINE_S, FakeStats, handshake, hangs, http, raw, until, wait

STATUS = (
    "Active connections: 291 \nserver accepts handled requests\n 16630948 16630948 31070465 \n"
    "Reading: 6 Writing: 179 Waiting: 106 \n"
)
SAID = Status(291, 16630948, 16630948, 31070465, 6, 179, 106)


@pytest.mark.parametrize(
    "text",
    [
        STATUS,
        STATUS.replace("\n", "\r\n"),
        STATUS.replace(" \n", "\n"),
        STATUS.rstrip(),
        # Tengine adds the time of requests
        STATUS.replace("requests\n", "requests request_time\n").replace("31070465", "31070465 17"),
    ],
    ids=["open source", "CRLF", "no blanks", "no last line end", "Tengine"],
)
def test_what_stub_status_says(text) -> None:
    assert parse_status(text) == SAID


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ok",
        STATUS[:50],
        STATUS[:-20],
        STATUS.replace("291", "-1"),
        STATUS.replace("291", "many"),
        STATUS.replace("291", "٣"),
        STATUS.replace("291", "9" * 40),
        STATUS + STATUS,
        "<html>" + STATUS,
        '{"active": 1}',
    ],
    ids=lambda text: repr(text)[:30],
)
def test_what_stub_status_never_says(text) -> None:
    with pytest.raises(MalformedError):
        parse_status(text)


@given(st.integers(0, len(STATUS)), st.text(max_size=5))
def test_no_damage_breaks_the_parser(at, damage) -> None:
    try:
        found = parse_status(STATUS[:at] + damage + STATUS[at + len(damage) :])
    except MalformedError:
        return
    assert found.active >= 0


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("events { worker_connections 768; multi_accept on; }", 768),
        ("events {\n  use epoll;\n  worker_connections  10240 ;\n}", 10240),
        ("events { # worker_connections 1;\n worker_connections 2; }", 2),
        ("events{}", 512),
        ("http { worker_connections 3; }", None),
        ("", None),
    ],
)
def test_worker_connections(text, limit) -> None:
    assert parse_worker_connections(text) == limit


class Calls:
    """A kernel whose answer the test gives."""

    def __init__(self, said: dict[str, int] | str) -> None:
        self.said = said
        self.followed: list[frozenset[int]] = []

    def follow(self, pids: frozenset[int]) -> None:
        self.followed.append(pids)

    def read(self) -> dict[str, int] | str:
        return self.said

    def close(self) -> None:
        self.followed.append(frozenset())


def adapter(proxy: Nginx, around: Surroundings, where: str = "") -> NginxStatus:
    status = where or f"unix:{proxy.admin}:/stub_status"
    found = sensed_by(Proxy(kind="nginx", status=status), around).adapter
    assert isinstance(found, NginxStatus)
    return found


async def eventually(asked: NginxStatus, condition: Callable[[Answer], bool]) -> Answer:
    end = time.monotonic() + DEADLINE_S
    while True:
        answer = await ask(asked)
        if condition(answer):
            return answer
        assert time.monotonic() < end, answer
        await asyncio.sleep(0.01)


def nobody(answer: Answer) -> bool:
    """No client; and both workers have their titles, a moment after they have begun to listen."""
    return (answer.connections, answer.threads) == (0, 2)


async def ask(asked: NginxStatus) -> Answer:
    answer = await asked.ask()
    assert isinstance(answer, Answer), answer
    return answer


@pytest.fixture
def running(tmp_path):
    with started(Nginx(tmp_path)) as proxy:
        yield proxy


@nginx
async def test_the_real_one(running) -> None:
    around = replace(running.around(), calls=Calls("not permitted here"))
    asked = adapter(running, around)
    answer = await eventually(asked, nobody)
    assert answer.pid is None
    assert answer.version.startswith("1.")
    assert (answer.threads, answer.connections) == (2, 0)
    assert answer.connections_limit == int(2 * 100 * 0.83)
    assert (answer.full, answer.resumed) == (None, None)
    await until(lambda: around.calls.followed[-1:] == [frozenset(running.worker_pids())])
    assert "not permitted here" in (await ask(asked)).missing["tls"]
    await asked.close()


@nginx
async def test_over_tcp_it_is_the_same(running) -> None:
    asked = adapter(
        running,
        replace(running.around(), calls=Calls("no")),
        f"http://127.0.0.1:{running.port}/stub_status",
    )
    await eventually(asked, nobody)
    await asked.close()


@nginx
async def test_connections_are_those_of_clients(running) -> None:
    asked = adapter(running, replace(running.around(), calls=Calls("no")))
    before = await eventually(asked, nobody)
    clients = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(5)]
    after = await eventually(asked, lambda answer: answer.connections == 5)  # in a moment
    assert after.accepted is not None
    assert before.accepted is not None
    asked_again = (after.accepted - before.accepted - 5) / after.own_accepted
    assert asked_again == int(asked_again) >= 1
    for client in clients:
        client.close()
    await asked.close()


@nginx
async def test_accepts_and_handled_lie_but_connections_do_not(tmp_path) -> None:
    """Half of the clients are cut to make room for the rest; nginx counts all as handled."""
    proxy = Nginx(tmp_path, workers=1)
    with started(proxy):
        asked = adapter(proxy, replace(proxy.around(), calls=Calls("no")))
        clients = []
        for _ in range(180):
            client = socket.create_connection(("127.0.0.1", proxy.port), 5)
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with suppress(ConnectionError):
                client.recv(4096)
            client.setblocking(False)
            clients.append(client)
        cut = sum(map(was_cut, clients))
        assert cut > 50
        answer = await eventually(asked, lambda answer: answer.threads == 1)
        assert answer.connections is not None
        assert answer.connections_limit == 83
        assert answer.connections >= 0.9 * answer.connections_limit  # over every hard threshold
        status = await status_of(proxy)
        assert status.accepts == status.handled
        for client in clients:
            client.close()
        await asked.close()


async def status_of(proxy: Nginx) -> Status:
    from haman.config.endpoint import Endpoint
    from haman.proxies.http import get

    response = await get(Endpoint(path=str(proxy.admin)), "/stub_status")
    return parse_status(response.body.decode())


def was_cut(client: socket.socket) -> bool:
    try:
        return client.recv(4096) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@nginx
@pytest.mark.privileged
async def test_handshakes_are_those_that_clients_made(running) -> None:
    asked = adapter(running, running.around())
    await counted(asked)
    session = None
    for _ in range(4):
        session = handshake(running.tls_port, session)
    for _ in range(2):
        handshake(running.tls_port)
    running.listens(running.tls_port)  # a bare connection is no handshake
    answer = await ask(asked)
    assert (answer.full, answer.resumed) == (3, 3)
    await asked.close()


async def counted(asked: NginxStatus) -> Answer:
    return await eventually(asked, lambda answer: answer.full is not None and answer.threads == 2)


@nginx
@pytest.mark.privileged
async def test_a_reload_loses_no_count_and_follows_the_new_workers(running) -> None:
    around = running.around()
    asked = adapter(running, around)
    await counted(asked)
    handshake(running.tls_port)
    before = await ask(asked)
    assert before.full == 1
    await asyncio.to_thread(running.reload)
    wait(lambda: len(running.worker_pids()) == 2, "the old workers end")
    around.processes.look()
    after = await counted(asked)
    assert after.full == 1
    assert (before.accepted or 0) < (after.accepted or 0)
    handshake(running.tls_port)
    assert (await ask(asked)).full == 2
    await asked.close()


@nginx
async def test_workers_that_shut_down_are_no_room_for_clients(running) -> None:
    around = replace(running.around(), calls=Calls("no"))
    asked = adapter(running, around)
    client = socket.create_connection(("127.0.0.1", running.port))
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")  # not finished: the old worker waits for it
    await eventually(asked, lambda answer: answer.connections == 1)
    await asyncio.to_thread(running.reload)

    def members() -> int:
        around.processes.look()
        return len(around.processes.members)

    await until(lambda: members() == 4, "the master, two workers and an old one")
    answer = await eventually(asked, lambda answer: answer.threads == 2)
    assert answer.connections_limit == 166
    client.close()
    await asked.close()


@nginx
async def test_a_stopped_nginx_is_a_value_and_comes_back(running) -> None:
    asked = adapter(running, replace(running.around(), calls=Calls("no")))
    for pid in running.worker_pids():
        pause(pid)
    stopped = await asked.ask()
    assert isinstance(stopped, Unavailable)
    assert stopped.code == "timeout"
    for pid in running.worker_pids():
        os.kill(pid, signal.SIGCONT)
    await eventually(asked, nobody)
    running.stop()
    gone = await asked.ask()
    assert isinstance(gone, Unavailable)
    assert gone.code == "absent"
    running.start()
    await eventually(asked, nobody)
    await asked.close()


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        (hangs, "timeout", "no answer"),
        (http("ok"), "malformed", "'ok' is not what stub_status says"),
        (http(STATUS[:60]), "malformed", "is not what stub_status says"),
        (
            raw(b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n" + STATUS.encode()),
            "malformed",
            "cut",
        ),
        (http("", status="403 Forbidden"), "status", 'has this location "stub_status;"'),
        (http("x" * (2 << 20)), "too-long", "more than"),
    ],
    ids=["hangs", "garbage", "half", "cut", "forbidden", "oversized"],
)
async def test_bad_answers_are_values(tmp_path, box, behaviour, code, words) -> None:
    path = tmp_path / "s"
    async with FakeStats(path, behaviour):
        around = Surroundings(box.processes, box.table, Calls("no"))
        asked = sensed_by(Proxy(kind="nginx", status=f"unix:{path}"), around).adapter
        assert asked is not None
        found = await asked.ask()
        await asked.close()
    assert isinstance(found, Unavailable)
    assert found.code == code
    assert words in found.text
    assert str(path) in found.text


async def test_without_its_configuration_the_limit_is_unknown_with_a_reason(tmp_path, box) -> None:
    box.table.start(
        10, 100, name="nginx", command=(f"nginx: master process nginx -c {tmp_path}/x",)
    )
    box.table.start(11, 101, name="nginx", parent=10, command=("nginx: worker process",))
    box.look(2)
    path = tmp_path / "s"
    async with FakeStats(path, http(STATUS)):
        around = Surroundings(box.processes, box.table, Calls({"SSL_new": 9, "EVP_DigestSign": 6}))
        asked = sensed_by(Proxy(kind="nginx", status=f"unix:{path}:/s"), around).adapter
        assert isinstance(asked, NginxStatus)
        await ask(asked)
        await asked._following
        answer = await ask(asked)
        around.calls.said = {"SSL_new": 9, "EVP_DigestSign": 10}  # two of them were under way
        later = await ask(asked)
        await asked.close()
    assert (later.full, later.resumed) == (5, 6)
    assert (answer.connections, answer.connections_limit) == (290, None)
    assert f"{tmp_path}/x: No such file" in answer.missing["connections"]
    assert (answer.full, answer.resumed) == (3, 6)
