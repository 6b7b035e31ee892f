"""The connection to HAProxy that is kept: asked again and again, and left when it is no good any more."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from haman.proxies import haproxy as under_test
from haman.proxies.answers import Answer, Unavailable
from haman.proxies.haproxy import HaproxySocket
from tests.proxies.rig import DEADLINE_S, FakeStats, alive, endless, haproxy, running, until
from tests.proxies.test_haproxy import EXPECTED, GOOD

Speak = Callable[[int, int], tuple[str, str]]
"""From the number of the connection and of the question in it, from 1: what is said, and then done."""

STOPPING = GOOD.replace("Stopping: 0", "Stopping: 1")
OLD_FIGURES = GOOD.replace("CurrConns: 17", "CurrConns: 99")


class Interactive(FakeStats):
    """HAProxy's interactive mode: a prompt after each answer, and the connection stays."""

    def __init__(self, path: Path, speak: Speak, prompt: str = "\n> ") -> None:
        super().__init__(path, self.session)
        self.speak = speak
        self.prompt = prompt
        self.ended = 0
        self.questions: list[str] = []

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = self.connections
        number = 0
        while line := await reader.readline():
            number += 1
            self.questions.append(line.decode())
            if line.startswith(b"prompt;"):
                writer.write(self.prompt.encode())
            answer, then = self.speak(connection, number)
            writer.write(answer.replace("\n\n#", self.prompt.join(["\n", "#"])).encode())
            if then == "hang":
                await reader.read()
            elif then == "late":
                await asyncio.sleep(0.1)
                writer.write(OLD_FIGURES.encode())
            elif then == "close":
                break
            writer.write(self.prompt[1:].encode())
        self.ended += 1


def always(answer: str) -> Speak:
    return lambda _connection, _question: (answer, "")


def once(answer: str, then: str = "") -> Speak:
    """Said to the second question of the first connection; all others have a good answer."""
    return lambda connection, question: (
        (answer, then) if (connection, question) == (1, 2) else (GOOD, "")
    )


@asynccontextmanager
async def asking(path: Path, timeout_s: float = 5.0) -> AsyncIterator[HaproxySocket]:
    asked = HaproxySocket(str(path), timeout_s)
    try:
        yield asked
    finally:
        await asked.close()


@pytest.mark.parametrize("prompt", ["\n> ", "\n"], ids=["with a prompt", "without"])
async def test_many_questions_go_over_one_connection(tmp_path, prompt) -> None:
    async with (
        Interactive(tmp_path / "s", always(GOOD), prompt) as stats,
        asking(stats.path) as asked,
    ):
        assert [await asked.ask() for _ in range(5)] == [EXPECTED] * 5
        assert stats.connections == 1
        assert stats.questions == ["prompt;show info;show stat -1 1 -1\n"] + 4 * [
            "show info;show stat -1 1 -1\n"
        ]
        await asked.close()
        await until(lambda: stats.ended, "it is let go")


@pytest.mark.parametrize(
    ("answer", "then"),
    [
        ("", "close"),
        (GOOD[:-30], "close"),
        (GOOD.partition("\n\n")[0] + "\n\n", "close"),
        ("garbage\n\nx\n\n", ""),
    ],
    ids=["nothing", "half", "one of two", "garbage"],
)
async def test_what_it_cannot_say_is_asked_anew(tmp_path, answer, then) -> None:
    async with (
        Interactive(tmp_path / "s", once(answer, then)) as stats,
        asking(stats.path) as asked,
    ):
        assert [await asked.ask() for _ in range(4)] == [EXPECTED] * 4
        assert stats.connections == 2


async def test_who_is_stopping_is_left_for_who_listens_now(tmp_path) -> None:
    async with Interactive(tmp_path / "s", once(STOPPING)) as stats, asking(stats.path) as asked:
        assert [await asked.ask() for _ in range(4)] == [EXPECTED] * 4
        assert stats.connections == 2
        await until(lambda: stats.ended == 1, "the old one is let go, so that it can end")


async def test_where_all_are_stopping_one_says_so_and_is_not_kept(tmp_path) -> None:
    async with Interactive(tmp_path / "s", always(STOPPING)) as stats, asking(stats.path) as asked:
        answers = [await asked.ask() for _ in range(2)]
        assert all(isinstance(answer, Answer) and answer.stopping for answer in answers)
        assert stats.connections == 2


@pytest.mark.parametrize(
    ("answer", "then"),
    [("", "hang"), (GOOD[:-30], "hang"), ("", "late")],
    ids=["hangs", "hangs in the middle", "late"],
)
async def test_what_comes_too_late_is_never_read(tmp_path, answer, then) -> None:
    async with (
        Interactive(tmp_path / "s", once(answer, then)) as stats,
        asking(stats.path, 0.05) as asked,
    ):
        assert await asked.ask() == EXPECTED
        missed = await asked.ask()
        assert isinstance(missed, Unavailable)
        assert missed.code == "timeout"
        await asyncio.sleep(0.15)  # by then the late one is on its way
        assert [await asked.ask() for _ in range(2)] == [EXPECTED] * 2
        assert stats.connections == 2


async def test_an_endless_answer_ends_the_connection(tmp_path) -> None:
    async with FakeStats(tmp_path / "s", endless) as stats, asking(stats.path) as asked:
        for _ in range(2):
            answer = await asked.ask()
            assert isinstance(answer, Unavailable)
            assert answer.code == "too-long"
        assert stats.connections == 2


async def test_now_and_then_it_is_made_anew(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(under_test, "KEPT_S", 0.0)
    async with Interactive(tmp_path / "s", always(GOOD)) as stats, asking(stats.path) as asked:
        assert [await asked.ask() for _ in range(3)] == [EXPECTED] * 3
        assert stats.connections == 3


@haproxy
@pytest.mark.parametrize("master", [True, False], ids=["master-worker", "single"])
async def test_reloads_of_a_real_one_go_unnoticed(tmp_path, master) -> None:
    with running(tmp_path, master=master) as proxy:
        async with asking(proxy.socket) as asked:
            for _ in range(3):
                before = proxy.worker
                first = await asked.ask()
                assert isinstance(first, Answer), first
                assert first.pid == before
                reloading = asyncio.create_task(asyncio.to_thread(proxy.reload))
                end = time.monotonic() + DEADLINE_S
                pid: int | None = before
                while pid == before or not reloading.done():
                    answer = await asked.ask()
                    assert isinstance(answer, Answer), answer
                    assert not answer.stopping
                    pid = answer.pid
                    assert time.monotonic() < end, "the new one does not answer"
                await reloading
                assert pid == proxy.worker
                await until(
                    lambda old=before: not alive(old), "the old one ends, kept connection or not"
                )


@haproxy
async def test_the_dead_answer_nothing(tmp_path) -> None:
    with running(tmp_path, master=False) as proxy:
        async with asking(proxy.socket) as asked:
            assert isinstance(await asked.ask(), Answer)
            os.kill(proxy.pid, signal.SIGKILL)
            await until(lambda: not alive(proxy.pid), "it is dead")
            answer = await asked.ask()
            assert isinstance(answer, Unavailable)
            # Until the last of its threads has ended, its socket may still take a connection.
            assert answer.code in {"refused", "failed"}
            proxy.start()
            back = await asked.ask()
            assert isinstance(back, Answer), back
            assert back.pid == proxy.pid


@haproxy
async def test_a_stopped_one_is_asked_anew_when_it_goes_on(tmp_path) -> None:
    with running(tmp_path, master=False) as proxy:
        async with asking(proxy.socket, 0.1) as asked:
            assert isinstance(await asked.ask(), Answer)
            os.kill(proxy.pid, signal.SIGSTOP)
            for _ in range(2):
                missed = await asked.ask()
                assert isinstance(missed, Unavailable)
                assert missed.code == "timeout"
            os.kill(proxy.pid, signal.SIGCONT)

            end = time.monotonic() + DEADLINE_S
            while isinstance(await asked.ask(), Unavailable):
                assert time.monotonic() < end
