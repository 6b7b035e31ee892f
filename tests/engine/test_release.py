"""`haman release` and the start of `haman agent`, as processes."""

import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from socket import AF_INET, AF_UNIX, SOCK_STREAM, socket

import pytest

from haman.core.vrrp.packet import decode
from haman.engine import exabgp
from haman.engine.ending import SETTLE_NS
from haman.system.sockets import Datagram, VrrpSocket
from tests.engine.net import Host, Lan, anycast_toml, toml, vip_toml, wait
from tests.engine.test_election import VIP, VIP6

ENDS = """
import os, pathlib, signal, sys, time
mark = pathlib.Path({!r}) / str(os.getpid())
def end(*_):
    mark.with_suffix(".ended").write_text(str(time.monotonic()))
    sys.exit()
signal.signal(signal.SIGTERM, end)
mark.with_suffix(".begun").touch()
time.sleep(60)
"""
"""Notes when it is ended, and before when it can be."""


def haman(host: Host, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = host.command(sys.executable, "-m", "haman.cli", *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.privileged
def test_release_gives_up_what_is_there_and_says_so(lan: Lan, tmp_path: Path) -> None:
    host, peer = lan.hosts
    config = tmp_path / "haman.toml"
    config.write_text(toml(vip_toml(addresses=[VIP, VIP6]), state=tmp_path))
    host.run(f"ip addr add {VIP} dev eth0; ip addr add {VIP6} dev eth0 nodad")
    with peer.inside():
        ear = VrrpSocket("eth0", peer.index("eth0"), AF_INET)
    done = haman(host, "release", "-c", str(config))
    assert (done.returncode, done.stderr) == (0, "")
    assert {VIP, VIP6} & host.addresses() == set()
    assert "eth0: 10.77.0.100/24: removed" in done.stdout
    assert "web: said priority 0 on eth0 (IPv6)" in done.stdout
    heard: list[Datagram] = []
    wait(lambda: heard.extend(ear.receive()) or heard, 2)  # type: ignore[func-returns-value]
    advert = decode(
        heard[0].payload, source=heard[0].source, destination=heard[0].destination, ttl=255
    )
    assert (advert.priority, advert.vrid) == (0, 51)
    assert heard[0].source == ip_address(host.address)
    ear.close()
    again = haman(host, "release", "-c", str(config))
    assert again.stdout == "nothing to give up\n"


@pytest.mark.privileged
def test_release_refuses_while_an_agent_answers(lan: Lan, tmp_path: Path) -> None:
    host = lan.hosts[0]
    config = tmp_path / "haman.toml"
    config.write_text(toml(vip_toml(), state=tmp_path))
    host.run(f"ip addr add {VIP} dev eth0")
    with socket(AF_UNIX, SOCK_STREAM) as agent:
        agent.bind(str(tmp_path / "haman.sock"))
        agent.listen()
        refused = haman(host, "release", "-c", str(config))
        assert refused.returncode == 1
        assert "--force" in refused.stderr
        assert host.holds(VIP)
        assert haman(host, "release", "--force", "-c", str(config)).returncode == 0
    assert not host.holds(VIP)


@pytest.mark.parametrize("verb", ["agent", "release"])
def test_every_problem_of_a_configuration_is_said(tmp_path: Path, verb: str) -> None:
    config = tmp_path / "haman.toml"
    config.write_text(toml(vip_toml(vrid=0, priorty=1), state=tmp_path))
    command = [sys.executable, "-m", "haman.cli", verb, "-c", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{config}: vip") for line in lines)


@pytest.mark.privileged
def test_release_ends_what_announces_before_the_address_goes(lan: Lan, tmp_path: Path) -> None:
    """As after an engine that was killed together with its guard, in a cgroup that was not."""
    host = lan.hosts[0]
    config = tmp_path / "haman.toml"
    config.write_text(toml(vip_toml(), anycast_toml("192.0.2.100/32"), state=tmp_path))
    host.run(f"ip addr add {VIP} dev eth0; ip addr add 192.0.2.100/32 dev lo")
    code = ENDS.format(str(tmp_path))
    arguments = exabgp.arguments(str(tmp_path / "haman.sock"))
    program = [sys.executable, "-I", "-S", "-c", code, *arguments]
    announcing = subprocess.Popen(host.command(*program))
    elsewhere = subprocess.Popen(program)  # the same, on another node of one machine
    try:
        ended = tmp_path / f"{announcing.pid}.ended"
        wait(ended.with_suffix(".begun").exists)
        with subprocess.Popen(
            host.command(sys.executable, "-m", "haman.cli", "release", "-c", str(config)),
            stdout=subprocess.PIPE,
            text=True,
        ) as releasing:
            wait(lambda: not host.holds(VIP))
            announcing.wait(10)
            wait(lambda: not host.holds("192.0.2.100/32"))
            after_s = time.monotonic() - float(ended.read_text())
            assert after_s > SETTLE_NS / 1e9, "routers still sent to it"
            out, _ = releasing.communicate(timeout=20)
        assert releasing.returncode == 0
        assert elsewhere.poll() is None
    finally:
        for process in (announcing, elsewhere):
            process.kill()
            process.wait()
    assert out.splitlines()[-3:] == [
        "eth0: 10.77.0.100/24: removed",
        f"ExaBGP, process {announcing.pid}: ended",
        "lo: 192.0.2.100/32: removed",
    ]
