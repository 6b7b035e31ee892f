"""`haman tui`, and the app on a real server."""

import asyncio
import contextlib
import fcntl
import os
import struct
import sys
import termios
import types
from pathlib import Path

import pytest
from click.testing import CliRunner

from haman.api.reaching import Reaching, Way
from haman.api.server import serve
from haman.cli.tui import _without_serve, tui
from tests.api.fake_agent import FakeAgent
from tests.test_tidy import loaded_by
from tests.tui.harness import until
from tui.app import FleetApp
from tui.feed import Pace
from tui.screens.confirm import ConfirmDialog
from tui.state import Link

PACE = Pace(poll_s=0.2, backoff_s=0.1, backoff_max_s=0.1, settle_s=0.1)


def local(path: str) -> Reaching:
    return Reaching([Way(path, lambda: contextlib.nullcontext(path))])


def test_without_a_terminal_it_says_so():
    result = CliRunner().invoke(tui, [])
    assert result.exit_code == 1
    assert "needs a terminal" in result.output


def test_the_command_loads_textual_only_when_run():
    assert not loaded_by("import haman.cli.tui") & {"textual", "aiohttp", "paramiko"}


def test_the_first_picture_waits_for_no_http_and_no_ssh_library():
    loaded = loaded_by("import tui.app, haman.api.reaching")
    assert not loaded & {"aiohttp", "paramiko", "cryptography", "textual_serve"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["tui", "--serve", "--theme", "light"], ["tui", "--theme", "light"]),
        (["tui", "--serve", "127.0.0.1:1", "--ssh", "a"], ["tui", "--ssh", "a"]),
        (["tui", "--serve=[::1]:1", "--serve-actions"], ["tui"]),
    ],
)
def test_what_is_served_is_the_same_command(given, kept):
    assert _without_serve(given) == kept


class TestServe:
    def test_without_the_package_it_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "textual_serve", None)
        monkeypatch.setitem(sys.modules, "textual_serve.server", None)
        result = CliRunner().invoke(tui, ["--serve"])
        assert result.exit_code == 2
        assert "pip install 'haman[serve]'" in result.output

    def test_an_address_that_is_none(self):
        result = CliRunner().invoke(tui, ["--serve", "everywhere"])
        assert result.exit_code == 2
        assert "ADDRESS:PORT" in result.output

    @pytest.mark.parametrize(
        ("arguments", "where", "read_only", "warned"),
        [
            (["--serve"], ("127.0.0.1", 8470), True, False),
            (["--serve", "0.0.0.0:81"], ("0.0.0.0", 81), True, True),
            (["--serve", "127.0.0.1:81", "--serve-actions"], ("127.0.0.1", 81), False, False),
        ],
    )
    def test_who_reaches_it_may_watch(self, monkeypatch, arguments, where, read_only, warned):
        served = []

        class Server:
            def __init__(self, command, host, port, title):
                served.append((command, (host, port)))

            def serve(self):
                served.append("serving")

        package = types.ModuleType("textual_serve.server")
        package.Server = Server
        monkeypatch.setitem(sys.modules, "textual_serve", types.ModuleType("textual_serve"))
        monkeypatch.setitem(sys.modules, "textual_serve.server", package)
        monkeypatch.setattr(sys, "argv", ["haman", "tui", *arguments])
        result = CliRunner().invoke(tui, arguments)
        assert result.exit_code == 0
        assert served[0][1] == where
        assert ("--read-only" in served[0][0]) is read_only
        assert ("everybody who reaches" in result.output) is warned
        assert served[1:] == ["serving"]


@pytest.mark.parametrize("arguments", [["--ssh", "a b"], ["--ssh", "lb1", "--jump", "@"]])
def test_an_ssh_target_that_is_none_is_told_at_once(monkeypatch, arguments):
    monkeypatch.setenv("TEXTUAL_DRIVER", "served")  # as if there were a terminal
    result = CliRunner().invoke(tui, arguments)
    assert result.exit_code == 2
    assert "is not USER@HOST[:PORT]" in result.output


@pytest.fixture
def agent(tmp_path: Path) -> FakeAgent:
    return FakeAgent(socket=str(tmp_path / "api.sock"))


async def test_it_lives_through_the_agent_coming_going_and_returning(agent: FakeAgent):
    place = agent.config.api.socket
    app = FleetApp(local(place), place, pace=PACE)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: app.fleet.link is Link.ABSENT)
        async with serve(agent):
            await until(pilot, lambda: app.fleet.link is Link.LIVE)
            assert [n.name for n in app.fleet.nodes] == ["lb1", "lb2"]
            agent.kill_proxy("lb1")
            await until(pilot, lambda: app.fleet.services[0].holders == ("lb2",))
            await until(pilot, lambda: len(app.fleet.events) > 0)
            seen = len(app.fleet.events)
        await until(pilot, lambda: app.fleet.link is Link.LOST)
        async with serve(agent):
            await until(pilot, lambda: app.fleet.link is Link.LIVE)
            agent.emit("peer-found", "lb2 is heard again", service="")
            await until(pilot, lambda: len(app.fleet.events) > seen)


async def test_a_drain_reaches_the_agent(agent: FakeAgent):
    async with serve(agent):
        app = FleetApp(local(agent.config.api.socket), "there", pace=PACE)
        async with app.run_test(size=(120, 36)) as pilot:
            await until(pilot, lambda: app.fleet.link is Link.LIVE)
            await pilot.press("d")
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
            await pilot.press("y")
            await until(pilot, lambda: agent.nodes["lb1"].drained)
            await until(pilot, lambda: app.fleet.nodes[0].drained)
            await pilot.press("w")
            await until(pilot, lambda: len(app.screen_stack) == 2)


async def test_on_a_terminal_it_runs_and_quits(agent: FakeAgent):
    """The real program on a pseudo-terminal: it shows the cluster, and q ends it with 0."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
    async with serve(agent):
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "haman.cli", "tui", "--socket", agent.config.api.socket),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"TERM": "xterm-256color"},
        )
        os.close(theirs)
        shown = b""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(20):
                while b"live" not in shown:
                    shown += await loop.run_in_executor(None, os.read, ours, 65536)
                os.write(ours, b"q")
                with contextlib.suppress(OSError):  # the other end is closed
                    while await loop.run_in_executor(None, os.read, ours, 65536):
                        pass
                assert await program.wait() == 0
        finally:
            if program.returncode is None:
                program.kill()
                await program.wait()
            os.close(ours)
    assert b"lb1" in shown
