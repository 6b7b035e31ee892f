"""The relay as a process, with this test as ExaBGP and as controllers."""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from haman.bgp.messages import (
    MAX_MESSAGE,
    Declaration,
    RelayReport,
    decode_report,
    encode_declaration,
)
from haman.core.announcements import Announcement
from tests.engine.net import wait

EDGE = Announcement("edge", ("192.0.2.1/32",), weight=8)
DECLARATION = Declaration(1, 65001, (ip_address("10.0.1.1"),), (EDGE,), 0, 0)


class Relay:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "haman.bgp.relay", str(path), "0", "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self.said = b""

    def tell(self, *lines: str) -> None:
        assert self.process.stdin
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())

    def read(self) -> bytes:
        """All that it has said until now."""
        assert self.process.stdout
        while select.select([self.process.stdout], [], [], 0)[0]:
            chunk = os.read(self.process.stdout.fileno(), 65536)
            if not chunk:
                break
            self.said += chunk
        return self.said

    def controller(self) -> socket.socket:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        end.settimeout(20)
        try:
            wait(lambda: end.connect_ex(str(self.path)) == 0, 20, "the relay's socket")
        except BaseException:
            end.close()
            raise
        return end

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            pipe.close()


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    path = tmp_path / "relay.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as leftover:
        leftover.bind(str(path))
    made = Relay(path)
    yield made
    made.close()


def report(controller: socket.socket) -> RelayReport:
    return decode_report(controller.recv(MAX_MESSAGE))


def test_a_declaration_becomes_a_command_and_its_answer_a_report(relay: Relay) -> None:
    wait(lambda: b"show adj-rib out extensive\n" in relay.read(), 20)
    relay.tell("done")
    with relay.controller() as controller:
        assert relay.path.stat().st_mode & 0o777 == 0o600
        controller.send(encode_declaration(DECLARATION))
        assert report(controller).generation in {0, 1}
        wait(lambda: b"announce route 192.0.2.1/32" in relay.read(), 20)
        for _ in range(4):  # whatever it asked before
            relay.tell("done")
        while report(controller).announced != (EDGE,):
            pass


def test_rubbish_is_counted_and_a_second_controller_replaces_the_first(relay: Relay) -> None:
    with relay.controller() as first, relay.controller() as second:
        second.send(b"announce route 0.0.0.0/0 next-hop self")
        second.send(b"\xff" * 70_000)
        second.send(encode_declaration(DECLARATION))
        while (seen := report(second)).generation != 1:
            pass
        assert seen.counters["declarations_malformed"] == 2
        assert seen.counters["controllers"] == 2
        while first.recv(MAX_MESSAGE):
            pass  # closed in the end
        assert b"0.0.0.0" not in relay.read()


def test_a_controller_that_never_reads_holds_nothing_up(relay: Relay) -> None:
    """ExaBGP would block on a helper that does not read, and its sessions with it."""
    with relay.controller() as deaf:
        deaf.send(encode_declaration(DECLARATION))
        for number in range(3000):
            at = f'"time": {number}, "neighbor": {{"address": {{"peer": "10.0.1.1"}}'
            relay.tell(f'{{"type": "state", {at}, "state": "{"up" if number % 2 else "down"}"}}}}')
            relay.read()
        with relay.controller() as second:
            second.send(encode_declaration(DECLARATION))
            wait(lambda: report(second).counters["events"] == 3000, 20)


def test_an_exabgp_that_never_reads_holds_nothing_up(relay: Relay) -> None:
    with relay.controller() as controller:
        for generation in range(1, 60):
            prefixes = tuple(f"10.{generation}.{n}.0/24" for n in range(256))
            wanted = (Announcement("edge", prefixes),)
            controller.send(
                encode_declaration(Declaration(generation, 1, DECLARATION.neighbors, wanted, 0, 0))
            )
            while report(controller).generation != generation:
                pass
        assert len(relay.read()) < 65_536  # the window, and no more


def test_it_ends_with_exabgp(relay: Relay) -> None:
    relay.controller().close()
    assert relay.process.stdin
    relay.process.stdin.close()
    assert relay.process.wait(20) == 0


def test_a_line_without_end_is_dropped(relay: Relay) -> None:
    with relay.controller() as controller:
        relay.tell("x" * 600_000, "done")
        controller.send(encode_declaration(DECLARATION))
        wait(lambda: report(controller).counters.get("lines_too_long", 0) >= 1, 20)
        controller.send(encode_declaration(DECLARATION))


def test_it_loads_the_standard_library_alone() -> None:
    """It is started by every ExaBGP, and stays."""
    code = "import haman.bgp.relay, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"msgspec", "asyncio", "exabgp", "ssl", "logging", "subprocess", "tomli"}
