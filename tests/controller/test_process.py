"""The process around the controller: signals, reload, and what keeps it from starting."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from haman.cluster.keys import generate, write_key_file
from haman.config.model import Config
from haman.config.reader import read
from haman.controller.controller import Controller
from haman.controller.process import EXIT_CONFIG, EXIT_OK, run
from haman.controller.surface import Agent
from haman.core.words import Condition, Role
from haman.system.link import EngineEnd, pair
from tests.cluster.pair import free_port, until
from tests.controller.rig import DIED, FakeEngine, FakeSenses, SteppingClock

CONFIG = """
[node]
name = "lb1"
[cluster]
name = "edge"
key_file = "{folder}/cluster.key"
listen = "127.0.0.1:{port}"
[[cluster.peer]]
name = "lb2"
addresses = ["127.0.0.1:9"]
[proxy]
kind = "process"
process = "haproxy"
[[vip]]
name = "web"
interface = "lo"
vrid = 51
priority = 150
addresses = ["10.77.0.100/24"]
[state]
directory = "{folder}/state/deep"
"""


class Started:
    """A controller process inside the test's own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "haman.toml"
        self.text = CONFIG.replace("{folder}", str(folder)).replace("{port}", str(free_port()))
        self.path.write_text(self.text)
        write_key_file(folder / "cluster.key", generate())
        self.key_path = folder / "cluster.key"
        self.agent: Controller | None = None
        self.senses: list[FakeSenses] = []
        engine_socket, self.controller_socket = pair()
        self.engine = FakeEngine(EngineEnd(engine_socket), ("web",))
        self.engine.roles["web"] = Role.ACTIVE

    def make_senses(self, _: Config, on_change: Callable[[], None]) -> FakeSenses:
        self.senses.append(FakeSenses(on_change))
        return self.senses[-1]

    @asynccontextmanager
    async def serve(self, agent: Agent) -> AsyncIterator[None]:
        assert isinstance(agent, Controller)
        self.agent = agent
        yield

    async def run(self) -> int:
        config, problems = read(self.path)
        assert config is not None, problems
        fd = self.controller_socket.detach()
        return await run(
            config, self.path, fd, SteppingClock(), self.serve, make_senses=self.make_senses
        )

    def events(self, kind: str) -> list[str]:
        assert self.agent is not None
        return [e.event.text for e in self.agent.events(0, 1000) if e.event.type == kind]


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[tuple[Started, asyncio.Task[int]]]:
    process = Started(folder)
    process.engine.start()
    task = asyncio.get_running_loop().create_task(process.run())
    try:
        await until(process.engine.stance)
        process.senses[0].change(Condition.IN_SERVICE)
        yield process, task
    finally:
        process.engine.stop()
        await task
        await asyncio.sleep(0)


async def test_sigterm_ends_it_and_changes_no_stance(tmp_path: Path) -> None:
    async with started(tmp_path) as (process, task):
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(task, 5) == EXIT_OK
        stance = process.engine.stance()
        assert stance is not None
        assert stance.contend
        assert process.engine.roles["web"] is Role.ACTIVE


async def test_engine_that_closes_its_end_ends_it(tmp_path: Path) -> None:
    async with started(tmp_path) as (process, task):
        process.engine.stop()
        assert await asyncio.wait_for(task, 5) == EXIT_OK
    assert (tmp_path / "state" / "deep" / "journal.db").exists()


async def test_reload_takes_over_priority_and_keeps_the_role(tmp_path: Path) -> None:
    async with started(tmp_path) as (process, _):
        process.path.write_text(process.text.replace("priority = 150", "priority = 90"))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: (s := process.engine.stance()) is not None and s.priority == 90)
        assert process.engine.roles["web"] is Role.ACTIVE
        assert process.events("reload-completed") == [f"{process.path} is in force"]
        assert len(process.senses) == 1


async def test_reload_with_another_proxy_senses_anew_and_holds_meanwhile(tmp_path: Path) -> None:
    async with started(tmp_path) as (process, _):
        process.path.write_text(process.text.replace('process = "haproxy"', 'process = "other"'))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: len(process.senses) == 2)
        assert process.engine.roles["web"] is Role.ACTIVE
        process.senses[1].change(Condition.FAULT, DIED)
        await until(lambda: process.engine.roles["web"] is Role.RELEASED)


async def test_wrong_configuration_changes_nothing_and_says_why(tmp_path: Path) -> None:
    async with started(tmp_path) as (process, _):
        assert process.agent is not None
        before = process.agent.config
        wrong = (
            (process.text.replace("priority = 150", "priority = 999"), "vip"),
            ("[node", "haman.toml:1"),
            (process.text.replace('name = "edge"', 'name = "core"'), "cluster.name cannot change"),
            (process.text.replace("state/deep", "elsewhere"), "state.directory cannot change"),
        )
        for count, (text, says) in enumerate(wrong, start=1):
            process.path.write_text(text)
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda count=count: len(process.events("reload-refused")) == count)  # type: ignore[misc]
            assert says in process.events("reload-refused")[-1]
        process.path.write_text(process.text.replace("priority = 150", "priority = 90"))
        process.key_path.write_text("rubbish")
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: len(process.events("reload-refused")) == 5)
        assert "line 1: malformed" in process.events("reload-refused")[-1]
        assert process.agent.config == before
        assert process.engine.roles["web"] is Role.ACTIVE


async def test_key_file_that_cannot_be_used_is_a_configuration_error(tmp_path: Path) -> None:
    process = Started(tmp_path)
    process.key_path.chmod(0o644)
    assert await process.run() == EXIT_CONFIG
    process.engine._end.close()


async def test_address_in_use_is_a_configuration_error(tmp_path: Path) -> None:
    process = Started(tmp_path)
    other = UdpHolder()
    try:
        process.path.write_text(
            process.text.replace(process.text.split('listen = "')[1].split('"')[0], other.address)
        )
        assert await process.run() == EXIT_CONFIG
    finally:
        other.close()
        process.engine._end.close()


class UdpHolder:
    """Holds a port."""

    def __init__(self) -> None:
        import socket

        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        self._socket.close()


async def test_callback_that_fails_ends_it_with_the_error(tmp_path: Path) -> None:
    process = Started(tmp_path)
    process.engine.start()
    task = asyncio.get_running_loop().create_task(process.run())
    await until(process.engine.stance)
    # As a bug in what asyncio calls back: it would be logged, and the process left deaf.
    asyncio.get_running_loop().call_soon(dict[str, str]().__getitem__, "bug")
    with pytest.raises(RuntimeError, match="a callback failed") as raised:
        await asyncio.wait_for(task, 5)
    assert isinstance(raised.value.__cause__, KeyError)
    process.engine.stop()
    await asyncio.sleep(0)


async def test_task_that_nobody_waits_for_and_that_fails_ends_it_too(tmp_path: Path) -> None:
    async def fail() -> None:
        raise KeyError("bug")

    process = Started(tmp_path)
    process.engine.start()
    task = asyncio.get_running_loop().create_task(process.run())
    await until(process.engine.stance)
    forgotten = {asyncio.get_running_loop().create_task(fail())}
    await asyncio.wait(forgotten)
    forgotten.clear()
    with pytest.raises(RuntimeError, match="a callback failed"):
        await asyncio.wait_for(task, 5)
    process.engine.stop()
    await asyncio.sleep(0)
