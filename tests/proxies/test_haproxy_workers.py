"""All workers of one HAProxy: those that a reload left behind are counted, or said not to be."""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from haman.proxies.answers import Answer, Unavailable
from haman.proxies.haproxy import HaproxySocket
from haman.proxies.haproxy_workers import ASKED_MAX, HaproxyWorkers
from haman.proxies.process import ProcessSet
from haman.system.procfs import ProcFs
from tests.proxies.rig import (
    DEADLINE_S,
    Behaviour,
    FakeStats,
    Haproxy,
    hangs,
    haproxy,
    running,
    says,
    until,
    wait,
)
from tests.proxies.table import Box

INFO = "Name: HAProxy\nVersion: 2.6.12\nNbthread: 2\nPid: {pid}\nMaxconn: 100\nCurrConns: {used}\n"
STAT = "# pxname,svname,ssl_sess,ssl_reused_sess,\na,FRONTEND,1,1,\n"


def stats(pid: int = 12, used: int = 30) -> Behaviour:
    return says(f"{INFO.format(pid=pid, used=used)}\n{STAT}\n")


def master(*workers: tuple[int, int]) -> Behaviour:
    """A master's socket that knows these workers, and keeps sessions until told that they end."""
    known = {f"@!{pid}": INFO.format(pid=pid, used=used) for pid, used in workers}

    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target, _, command = (await reader.readline()).decode().strip().partition(" ")
        assert command == "show info"
        writer.write((known.get(target, f"Can't find the target PID {target}!\n") + "\n").encode())
        await writer.drain()
        await reader.read()

    return behaviour


@pytest.fixture
def reloaded(box: Box, tmp_path: Path) -> Box:
    """Master 10 with old workers 11 and 13, and 12 that serves."""
    box.table.start(10, 100, command=("haproxy", "-W", "-S", f"{tmp_path}/master.sock,mode,600"))
    box.table.start(11, 101, parent=10)
    box.table.start(13, 102, parent=10)
    box.table.start(12, 103, parent=10)
    box.look(2)
    box.processes.confirm(12)
    return box


def adapter(box: Box, tmp_path: Path) -> HaproxyWorkers:
    return HaproxyWorkers(HaproxySocket(str(tmp_path / "stats.sock")), box.processes, box.table)


async def ask(asked: HaproxyWorkers) -> Answer:
    answer = await asked.ask()
    await asked.close()
    assert isinstance(answer, Answer), answer
    return answer


async def test_old_workers_add_their_connections_and_no_room(reloaded, tmp_path) -> None:
    async with (
        FakeStats(tmp_path / "stats.sock", stats()),
        FakeStats(tmp_path / "master.sock", master((11, 5), (13, 60))),
    ):
        answer = await ask(adapter(reloaded, tmp_path))
    assert (answer.pid, answer.full) == (12, 1)
    assert (answer.connections, answer.connections_limit) == (95, 165)
    assert answer.missing == {}


async def test_without_old_workers_the_master_is_not_asked(reloaded, tmp_path) -> None:
    del reloaded.table.rows[11], reloaded.table.rows[13]
    reloaded.look()
    async with (
        FakeStats(tmp_path / "stats.sock", stats()),
        FakeStats(tmp_path / "master.sock", master()) as asked,
    ):
        answer = await ask(adapter(reloaded, tmp_path))
    assert (answer.connections, answer.connections_limit) == (30, 100)
    assert asked.connections == 0


async def test_before_the_first_answer_nobody_is_old(box, tmp_path) -> None:
    box.table.start(10, 100)
    box.table.start(11, 101, parent=10)
    box.look()
    box.processes.confirm(11)
    assert box.processes.finishing == ()


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (hangs, "no answer within 250 ms"),
        (master((11, 5)), "Pid is ''"),
        (says("garbage"), "cut short"),
        (says(INFO.format(pid=11, used=7) + "\n"), "process 11 answered for 13"),
    ],
    ids=["hangs", "unknown to the master", "garbage", "another answers"],
)
async def test_what_the_master_does_not_tell_is_said(reloaded, tmp_path, behaviour, words) -> None:
    async with (
        FakeStats(tmp_path / "stats.sock", stats()),
        FakeStats(tmp_path / "master.sock", behaviour),
    ):
        answer = await ask(adapter(reloaded, tmp_path))
    assert (answer.connections, answer.connections_limit) == (30, 100)
    assert "connections of 2 old workers are not counted" in answer.missing["connections"]
    assert words in answer.missing["connections"]


async def test_without_a_master_socket_it_is_said_how_to_get_one(reloaded, tmp_path) -> None:
    reloaded.table.command_lines[10] = ("haproxy", "-W")
    async with FakeStats(tmp_path / "stats.sock", stats()):
        answer = await ask(adapter(reloaded, tmp_path))
    assert answer.connections == 30
    assert "not started with -S" in answer.missing["connections"]


async def test_the_number_of_questions_is_bounded(reloaded, tmp_path) -> None:
    for pid in range(20, 20 + ASKED_MAX):
        reloaded.table.start(pid, 102, parent=10)
    reloaded.look()
    reloaded.processes.confirm(12)
    async with (
        FakeStats(tmp_path / "stats.sock", stats()),
        FakeStats(tmp_path / "master.sock", master()) as asked,
    ):
        answer = await ask(adapter(reloaded, tmp_path))
    assert f"more than {ASKED_MAX}" in answer.missing["connections"]
    assert asked.connections == 0


async def test_a_silent_stats_socket_is_silent_whatever_the_master_says(reloaded, tmp_path) -> None:
    async with (
        FakeStats(tmp_path / "stats.sock", hangs),
        FakeStats(tmp_path / "master.sock", master((11, 5), (13, 60))),
    ):
        found = await adapter(reloaded, tmp_path).ask()
    assert isinstance(found, Unavailable)
    assert found.code == "timeout"


class WithMasterSocket(Haproxy):
    """Started as Debian's unit does it."""

    def start(self, *arguments: str) -> None:
        super().start("-S", f"{self.folder}/master.sock", *arguments)


@haproxy
@pytest.mark.parametrize("told", [True, False], ids=["with -S", "without"])
async def test_a_real_reload_with_a_client_that_stays(tmp_path, told, monkeypatch) -> None:
    if told:
        monkeypatch.setattr("tests.proxies.rig.Haproxy", WithMasterSocket)
    with ExitStack() as kept:
        proxy = kept.enter_context(running(tmp_path))
        table = ProcFs()
        processes = ProcessSet(table, pidfile=str(proxy.pidfile))
        asked = HaproxyWorkers(HaproxySocket(str(proxy.socket), 5), processes, table)
        client = kept.enter_context(socket.create_connection(("127.0.0.1", proxy.port)))
        client.sendall(b"GET / HTTP/1.1\r\n")  # not finished: the worker waits for the rest
        wait(lambda: len(proxy.workers) == 1, "one worker")
        old = proxy.worker

        async def answer() -> Answer:
            processes.look()
            found = await ask(asked)
            processes.confirm(found.pid or 0)
            return found

        async def eventually(condition: Callable[[Answer], bool]) -> Answer:
            end = time.monotonic() + DEADLINE_S
            while True:
                found = await answer()
                if condition(found):
                    return found
                assert time.monotonic() < end, found
                await asyncio.sleep(0.01)

        await eventually(lambda found: found.connections == 1)
        await asyncio.to_thread(proxy.reload)
        await eventually(lambda found: found.pid != old and bool(processes.finishing))
        assert old in proxy.workers
        if told:
            # The master listens anew after a reload, so single answers may lack the old worker.
            found = await eventually(lambda found: found.connections == 1 and not found.missing)
            assert found.connections_limit == 101
            client.close()
            await until(lambda: old not in proxy.workers, "the old worker ends")
            found = await eventually(lambda found: found.connections == 0 and not found.missing)
            assert found.connections_limit == 100
        else:
            found = await answer()
            assert found.connections == 0
            assert "not started with -S" in found.missing["connections"]
            client.close()
