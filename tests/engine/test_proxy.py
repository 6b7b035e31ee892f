"""A proxy that dies is let go of without the controller; one that is replaced is not."""

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from haman.core.facts import ServingProxy
from haman.core.processes import ProcessGone, ProcessId
from haman.system.procfs import ProcFs
from tests.engine.conftest import Agents
from tests.engine.net import Agent, Host, Lan, toml, vip_toml, wait
from tests.engine.test_election import VIP, VIP6

pytestmark = pytest.mark.privileged

PORT = 8080
SERVE = "import os, signal; os.write(1, b'.'); signal.pause()"


class Proxy:
    """A process that has the listening socket it was given; its end is awaited by nobody."""

    def __init__(self, listening: socket.socket | None) -> None:
        passed = () if listening is None else (listening.fileno(),)
        command = [sys.executable, "-I", "-S", "-c", SERVE]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=passed)
        assert self.process.stdout
        assert self.process.stdout.read(1) == b"."

    @property
    def identity(self) -> ProcessId:
        status = ProcFs().status(self.process.pid)
        assert not isinstance(status, ProcessGone)
        return status.process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


def listening(host: Host) -> socket.socket:
    with host.inside():
        return socket.create_server(("127.0.0.1", PORT))


@pytest.fixture
def proxy(lan: Lan) -> Iterator[Proxy]:
    with listening(lan.hosts[0]) as opened:
        running = Proxy(opened)
    yield running
    running.kill()


@pytest.fixture
def pair(lan: Lan, agents: Agents, tmp_path: Path, proxy: Proxy) -> tuple[Agent, Agent]:
    text = toml(vip_toml(addresses=[VIP, VIP6], advert_interval_ms=300), state=tmp_path)
    high, low = (agents.start(host, text) for host in lan.hosts)
    high.serving = ServingProxy((proxy.identity,), PORT)
    high.contend(priority=250)
    wait(lambda: high.told("vip-acquired"))
    low.contend(priority=240, heir=True)
    wait(lambda: low.vip().active_priority == 250)
    return high, low


def silent(agent: Agent) -> None:
    """The controller says no more."""
    agent.poll()
    agent.generation = 0


def test_a_proxy_that_dies_is_let_go_of_at_once(
    lan: Lan, pair: tuple[Agent, Agent], proxy: Proxy
) -> None:
    high, low = pair
    silent(high)
    proxy.process.kill()
    gone = wait(lambda: not {VIP, VIP6} & lan.hosts[0].addresses(), 1)
    taken = wait(lambda: {VIP, VIP6} <= lan.hosts[1].addresses(), 1)
    print(f"proxy killed: off after {gone * 1e3:.1f} ms, taken {taken * 1e3:.1f} ms later")  # noqa: T201 - shown with -s
    wait(lambda: low.role() == "active")
    wait(lambda: high.role() == "released")
    (reason,) = high.vip().reasons
    assert (reason.code, reason.data["port"]) == ("proxy-died", PORT)
    assert "nobody listens on port 8080" in high.told("role-changed")[-1].text
    # What was declared before stays said before.
    high.contend(priority=250)
    wait(lambda: high.report and high.report.generation == high.generation)
    assert high.role() == "released"


def test_another_proxy_serves_again(lan: Lan, pair: tuple[Agent, Agent], proxy: Proxy) -> None:
    high, _ = pair
    proxy.process.kill()
    wait(lambda: high.role() == "released")
    with listening(lan.hosts[0]) as opened:
        successor = Proxy(opened)
    try:
        high.serving = ServingProxy((successor.identity,), PORT)
        high.contend(priority=250)
        wait(lambda: high.role() == "active")
    finally:
        successor.kill()


def test_one_that_is_replaced_on_its_socket_is_not_dead(
    lan: Lan, agents: Agents, tmp_path: Path
) -> None:
    host = lan.hosts[0]
    with listening(host) as opened, contextlib.ExitStack() as ends:
        old, new = Proxy(opened), Proxy(opened)
        ends.callback(new.kill)
        opened.close()
        high = agents.start(host, toml(vip_toml(addresses=[VIP]), state=tmp_path))
        high.serving = ServingProxy((old.identity,), PORT)
        high.contend()
        wait(lambda: high.told("vip-acquired"))
        watched = pidfds(high.pid)
        old.kill()
        wait(lambda: pidfds(high.pid) == watched - 1, what="the engine has seen the end")
        high.contend(priority=101)
        wait(lambda: high.vip().priority == 101)
        assert high.role() == "active"
        assert host.holds(VIP)


def test_who_does_not_listen_here_is_left_to_the_controller(
    lan: Lan, agents: Agents, tmp_path: Path
) -> None:
    elsewhere = Proxy(None)
    high = agents.start(lan.hosts[0], toml(vip_toml(addresses=[VIP]), state=tmp_path))
    high.contend()
    wait(lambda: high.told("vip-acquired"))
    before = pidfds(high.pid)
    high.serving = ServingProxy((elsewhere.identity,), PORT)
    high.contend(priority=101)
    wait(lambda: high.vip().priority == 101)
    assert pidfds(high.pid) == before
    elsewhere.kill()
    high.contend(priority=102)
    wait(lambda: high.vip().priority == 102)
    assert high.role() == "active"


def pidfds(pid: int) -> int:
    """How many processes an engine watches."""
    targets = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            targets.append(str(entry.readlink()))
    return sum("pidfd" in target for target in targets)


def test_an_engine_that_was_stopped_finds_out_when_it_goes_on(
    lan: Lan, pair: tuple[Agent, Agent], proxy: Proxy
) -> None:
    high, _ = pair
    silent(high)
    high.send(signal.SIGSTOP)
    proxy.kill()
    high.send(signal.SIGCONT)
    wait(lambda: not {VIP, VIP6} & lan.hosts[0].addresses(), 2)
    wait(lambda: high.role() == "released")
