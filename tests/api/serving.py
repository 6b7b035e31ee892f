"""A real API server around a fake agent, on a thread of its own, for synchronous clients."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from haman.api.server import serve
from tests.api.fake_agent import FakeAgent


class Served:
    """The agent and where it listens; `call` changes the agent on its own thread."""

    def __init__(self, agent: FakeAgent, loop: asyncio.AbstractEventLoop) -> None:
        self.agent = agent
        self.socket = agent.config.api.socket
        self._loop = loop

    def call(self, change: Callable[[], object]) -> None:
        done = threading.Event()

        def run() -> None:
            change()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(5)


@contextmanager
def serving(
    folder: Path, make: Callable[..., FakeAgent] = FakeAgent, **options: str
) -> Iterator[Served]:
    """Serve a fresh agent, a FakeAgent if nothing else is said, on a socket in `folder`."""
    agent = make(socket=str(folder / "haman.sock"), **options)
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()

    async def main() -> None:
        async with serve(agent):
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    try:
        assert started.wait(5)
        yield Served(agent, loop)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
    assert not thread.is_alive()
