"""Several ways to a cluster: any one is enough, the others are fallbacks."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest

from haman.api import schema
from haman.api.client import UnreachableError
from haman.api.reaching import Reaching, Way
from haman.api.server import serve
from tests.api.fake_agent import FakeAgent
from tests.api.test_client import answering


def way(path: Path | str) -> Way:
    return Way(Path(path).name, lambda: nullcontext(str(path)))


def agent_at(path: Path) -> FakeAgent:
    return FakeAgent(socket=str(path))


async def test_the_first_that_answers_is_used_and_kept(tmp_path: Path) -> None:
    reaching = Reaching([way(tmp_path / "a"), way(tmp_path / "b")])
    async with serve(agent_at(tmp_path / "b")):
        assert (await reaching.status()).node == "lb1"
        assert reaching.place == "b"
        async with serve(agent_at(tmp_path / "a")):
            await reaching.status()
            assert reaching.place == "b"
            assert (await reaching.why("web")).state == "ok"
            assert (await reaching.scenario(("lb1",))).lost == ("lb1",)
            assert (await reaching.act("pause", schema.Intent())).text


async def test_when_it_ends_the_next_one_is_taken(tmp_path: Path) -> None:
    reaching = Reaching([way(tmp_path / "a"), way(tmp_path / "b")])
    async with serve(agent_at(tmp_path / "b")):
        async with serve(agent_at(tmp_path / "a")):
            await reaching.status()
            assert reaching.place == "a"
        await reaching.status()
        assert reaching.place == "b"


async def test_all_of_them_say_why_not(tmp_path: Path) -> None:
    reaching = Reaching([way(tmp_path / "a"), way(tmp_path / "b")])
    with pytest.raises(UnreachableError, match=r"a: .*no such socket.*; b: .*no such socket"):
        await reaching.status()


async def test_one_that_hangs_is_left(tmp_path: Path) -> None:
    reaching = Reaching([way(tmp_path / "a"), way(tmp_path / "b")], answer_max_s=0.2)
    with answering(str(tmp_path / "a"), None):
        async with serve(agent_at(tmp_path / "b")):
            assert (await reaching.status()).node == "lb1"
            assert reaching.place == "b"


async def test_a_way_that_takes_long_to_open_holds_nobody_up(tmp_path: Path) -> None:
    """A login that hangs: cancelling what waits for it must not wait, and must not spoil it."""
    go = threading.Event()

    @contextmanager
    def slow() -> Iterator[str]:
        assert go.wait(10)
        yield str(tmp_path / "a")

    reaching = Reaching([Way("slow", slow)])
    asking = asyncio.create_task(reaching.status())
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    go.set()
    async with serve(agent_at(tmp_path / "a")):
        assert (await reaching.status()).node == "lb1"


async def test_a_way_that_was_left_is_closed_and_opened_anew(tmp_path: Path) -> None:
    log: list[str] = []
    closed = threading.Event()

    def logged(name: str) -> Callable[[], AbstractContextManager[str]]:
        @contextmanager
        def opening() -> Iterator[str]:
            log.append(f"open {name}")
            yield str(tmp_path / name)
            log.append(f"close {name}")
            closed.set()

        return opening

    reaching = Reaching([Way("a", logged("a"))])
    with pytest.raises(UnreachableError):
        await reaching.status()
    assert await asyncio.to_thread(closed.wait, 10)
    async with serve(agent_at(tmp_path / "a")):
        await reaching.status()
        assert log == ["open a", "close a", "open a"]
        closed.clear()
        await reaching.close()
        assert await asyncio.to_thread(closed.wait, 10)


async def test_a_way_that_cannot_be_opened(tmp_path: Path) -> None:
    @contextmanager
    def broken() -> Iterator[str]:
        raise UnreachableError("its host key has changed")
        yield ""

    reaching = Reaching([Way("a", broken), way(tmp_path / "b")])
    async with serve(agent_at(tmp_path / "b")):
        await reaching.status()
        assert reaching.place == "b"
    with pytest.raises(UnreachableError, match="a: its host key has changed"):
        await reaching.status()
