"""The controller process, put together for real: an engine's socket pair in, an API out."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from haman.api import schema
from haman.api.client import Client, UnreachableError

CONFIG = """
[node]
name = "lb1"
[cluster]
name = "edge"
[proxy]
kind = "process"
process = "no-such-proxy"
[[vip]]
name = "web"
interface = "lo"
vrid = 51
addresses = ["10.77.0.100/24"]
[api]
socket = "{folder}/haman.sock"
group = ""
[state]
directory = "{folder}/state"
"""


class Controller:
    """The process, and the engine's end of its socket pair."""

    def __init__(self, folder: Path) -> None:
        self.client = Client(str(folder / "haman.sock"))
        path = folder / "haman.toml"
        path.write_text(CONFIG.replace("{folder}", str(folder)))
        self.engine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            command = [sys.executable, "-m", "haman.cli", "controller", "-c", str(path)]
            self.process = subprocess.Popen(
                [*command, "--engine-fd", str(other.fileno())],
                pass_fds=[other.fileno()],
                stderr=subprocess.PIPE,
                text=True,
            )

    def status(self) -> schema.Status:
        """Wait for the API, at most 20 s."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return self.client.status()
            except UnreachableError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.02)

    def end(self) -> str:
        """Collect what it said."""
        try:
            return str(self.process.communicate(timeout=10)[1])
        finally:
            self.process.kill()
            self.engine.close()


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    started = Controller(tmp_path)
    yield started
    if started.process.returncode is None:
        started.process.kill()
        started.end()


def test_it_serves_the_api_and_ends_with_its_engine(controller: Controller) -> None:
    found = controller.status()
    assert (found.cluster, found.node) == ("edge", "lb1")
    assert found.services[0].name == "web"
    assert found.services[0].state == "down"
    assert "lb1 is" in controller.client.why("web").members[0].text
    assert controller.client.act("drain", schema.Intent(force=True)).text
    assert controller.status().nodes[0].drained
    assert [e.type for e in controller.client.events(-1)]
    controller.engine.close()
    said = controller.end()
    assert controller.process.returncode == 0, said
    assert "Traceback" not in said


def test_it_ends_when_asked(controller: Controller, tmp_path: Path) -> None:
    controller.status()
    os.kill(controller.process.pid, signal.SIGTERM)
    said = controller.end()
    assert controller.process.returncode == 0, said
    assert "Traceback" not in said
    assert not (tmp_path / "haman.sock").exists()


def test_a_second_one_on_the_same_socket_is_refused(controller: Controller, tmp_path: Path) -> None:
    controller.status()
    (tmp_path / "state").rename(tmp_path / "elsewhere")
    second = Controller(tmp_path)
    said = second.end()
    assert second.process.returncode == 1, said
    assert "another agent listens there; stop it first" in said
    assert controller.status().node == "lb1"
