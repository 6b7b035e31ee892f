"""HAProxy's counters: parsed strictly, counted truly, and any bad socket is a value."""

import asyncio
import socket
import time
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.proxies.answers import Answer, Unavailable
from haman.proxies.haproxy import HaproxySocket, MalformedError, parse, parse_info, parse_stat
from tests.proxies.rig import (
    FakeStats,
    Haproxy,
    endless,
    handshake,
    hangs,
    haproxy,
    running,
    says,
    wait,
)

INFO = """Name: HAProxy
Version: 2.6.12-1+deb12u4
Nbthread: 4
Pid: 4711
Maxconn: 2000
CurrConns: 17
SslRate: 800
Run_queue: 3
Idle_pct: 100
PoolFailed: 2
node: lb1
Unstoppable Jobs: 1
Stopping: 0
"""
STAT = """# pxname,svname,ssl_sess,ssl_reused_sess,ssl_failed_handshake,conn_tot,desc,
a,FRONTEND,30,12,5,90,,
b,FRONTEND,4,0,1,8,"x, y",
c,FRONTEND,,,,2,,
"""
GOOD = f"{INFO}\n{STAT}\n"
EXPECTED = Answer(
    pid=4711,
    version="2.6.12-1+deb12u4",
    threads=4,
    connections=17,
    connections_limit=2000,
    full=34,
    resumed=12,
    accepted=100,
    failed=6,
    queue=3,
    pool_failed=2,
)


def test_a_good_answer() -> None:
    assert parse(GOOD) == EXPECTED


def test_columns_are_found_by_name() -> None:
    other = STAT.replace("ssl_sess,ssl_reused_sess", "ssl_reused_sess,new,ssl_sess").replace(
        "30,12,", "12,9,30,"
    )
    other = other.replace("4,0,", "0,9,4,").replace("c,FRONTEND,,,", "c,FRONTEND,,,,")
    assert parse(f"{INFO}\n{other}\n") == EXPECTED


def test_a_haproxy_without_the_columns_tells_no_handshakes() -> None:
    old = parse(f"{INFO}\n# pxname,svname,\na,FRONTEND,\n\n")
    assert (old.full, old.resumed, old.connections) == (None, None, 17)


def test_a_haproxy_without_frontends() -> None:
    assert parse(f"{INFO}\n# pxname,svname,ssl_sess,ssl_reused_sess,\n\n").full is None


def test_a_stopping_process_says_so() -> None:
    assert parse(GOOD.replace("Stopping: 0", "Stopping: 1")).stopping


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        GOOD[:40],
        GOOD[:-1],
        GOOD[:-20],
        INFO,
        GOOD.replace("Name: HAProxy", "Name: Squid"),
        GOOD.replace("Pid: 4711", "Pid: -1"),
        GOOD.replace("Pid: 4711", "Pid: 0"),
        GOOD.replace("CurrConns: 17\n", ""),
        GOOD.replace("CurrConns: 17", "CurrConns: many"),
        GOOD.replace("CurrConns: 17", "CurrConns: ٣"),
        GOOD.replace("Maxconn: 2000", "Maxconn: 0"),
        GOOD.replace("# pxname", "pxname"),
        GOOD.replace("a,FRONTEND,30", "a,FRONTEND,30,30"),
        GOOD.replace("30,12", "30,-12"),
        "Permission denied\n\nPermission denied\n\n",
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        "\0" * 1000,
    ],
    ids=lambda text: repr(text)[:30],
)
def test_bad_answers_are_refused(text) -> None:
    with pytest.raises(MalformedError):
        parse(text)


@given(st.text(max_size=300))
def test_no_text_breaks_the_parsers(text) -> None:
    for parser in (parse, parse_info, partial(parse_stat, names=["pxname"])):
        try:
            parser(text)
        except MalformedError:
            continue


@given(st.integers(0, len(GOOD)), st.text(max_size=5))
def test_no_damage_breaks_the_parser(at, damage) -> None:
    try:
        answer = parse(GOOD[:at] + damage + GOOD[at + len(damage) :])
    except MalformedError:
        return
    assert answer.pid > 0


async def ask_once(path: Path) -> Answer | Unavailable:
    asked = HaproxySocket(str(path))
    try:
        return await asked.ask()
    finally:
        await asked.close()


async def unavailable(path: Path) -> tuple[str, float]:
    begun = time.monotonic()
    answer = await ask_once(path)
    assert isinstance(answer, Unavailable)
    assert str(path) in answer.text
    return answer.code, time.monotonic() - begun


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (hangs, "timeout"),
        (endless, "too-long"),
        (says(""), "malformed"),
        (says("garbage"), "malformed"),
        (says(GOOD[:-30]), "malformed"),
        (says("\udcff\n\n\n\n".encode(errors="surrogateescape").decode("latin-1")), "malformed"),
    ],
    ids=["hangs", "endless", "empty", "garbage", "cut short", "bytes"],
)
async def test_a_bad_socket_is_a_value_within_its_time(tmp_path, behaviour, code) -> None:
    path = tmp_path / "s"
    async with FakeStats(path, behaviour):
        found, took_s = await unavailable(path)
    assert found == code
    assert took_s < 1.0


async def test_a_missing_socket(tmp_path) -> None:
    assert (await unavailable(tmp_path / "none"))[0] == "absent"


async def test_a_socket_that_nobody_listens_on(tmp_path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    assert (await unavailable(path))[0] == "refused"


async def test_a_file_that_is_no_socket(tmp_path) -> None:
    path = tmp_path / "s"
    path.write_text(GOOD)
    assert (await unavailable(path))[0] == "refused"


async def test_a_full_backlog_does_not_block(tmp_path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen(0)
        crowd = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(3)]
        for one in crowd:
            one.setblocking(False)
            try:
                one.connect(str(path))
            except BlockingIOError:
                break
        code, took_s = await unavailable(path)
        for one in crowd:
            one.close()
    assert code in {"failed", "timeout"}
    assert took_s < 1.0


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_no_descriptor_is_left_behind(tmp_path) -> None:
    path = tmp_path / "s"
    async with FakeStats(path, hangs):
        await unavailable(path)
        before = descriptors()
        for _ in range(3):
            await unavailable(path)
    assert descriptors() <= before


async def test_the_fake_keeps_the_contract(tmp_path) -> None:
    path = tmp_path / "s"
    async with FakeStats(path, says(GOOD)):
        assert await ask_once(path) == EXPECTED


async def ask(proxy: Haproxy) -> Answer:
    answer = await ask_once(proxy.socket)
    assert isinstance(answer, Answer), answer
    return answer


@haproxy
async def test_the_real_one_keeps_the_contract(tmp_path) -> None:
    with running(tmp_path) as proxy:
        answer = await ask(proxy)
        assert answer.pid == proxy.worker
        assert answer.version.startswith("2.")
        assert (answer.threads, answer.connections_limit) == (2, 100)
        assert (answer.full, answer.resumed, answer.stopping) == (0, 0, False)


@haproxy
async def test_handshakes_are_those_that_clients_made(tmp_path) -> None:
    with running(tmp_path) as proxy:
        session = None
        for _ in range(5):
            session = handshake(proxy.tls_port)
        for _ in range(7):
            session = handshake(proxy.tls_port, session)
        answer = await ask(proxy)
        assert (answer.full, answer.resumed) == (5, 7)


@haproxy
async def test_bare_connections_are_no_handshakes(tmp_path) -> None:
    with running(tmp_path) as proxy:
        handshake(proxy.tls_port)
        for _ in range(50):
            assert proxy.answers(proxy.tls_port)
        answer = await ask(proxy)
        assert (answer.full, answer.resumed) == (1, 0)


@haproxy
async def test_connections_are_counted(tmp_path) -> None:
    with running(tmp_path) as proxy:
        clients = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(9)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(4096)
        assert (await ask(proxy)).connections == 9
        for client in clients:
            client.close()


@haproxy
async def test_after_a_reload_the_new_worker_answers(tmp_path) -> None:
    with running(tmp_path) as proxy:
        before = (await ask(proxy)).pid
        proxy.reload()
        for _ in range(500):
            if (answer := await ask(proxy)).pid != before:
                break
            await asyncio.sleep(0.01)
        assert answer.pid == proxy.worker
        wait(lambda: len(proxy.workers) == 1, "the old worker ends")


@haproxy
async def test_accepted_connections_are_those_of_clients(tmp_path) -> None:
    with running(tmp_path) as proxy:
        before = (await ask(proxy)).accepted
        assert before is not None
        for _ in range(5):
            handshake(proxy.tls_port)
            assert proxy.answers(proxy.port)
            await ask(proxy)
        assert (await ask(proxy)).accepted == before + 10


@haproxy
async def test_a_handshake_that_fails_is_counted_as_such(tmp_path) -> None:
    with running(tmp_path) as proxy:
        before = await ask(proxy)
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", proxy.tls_port), 5) as no_tls:
                no_tls.sendall(b"GET / HTTP/1.1\r\n\r\n")
                while no_tls.recv(4096):
                    pass
        after = await ask(proxy)
        assert before.failed is not None
        assert after.failed == before.failed + 3
        assert (after.full, after.resumed) == (0, 0)
