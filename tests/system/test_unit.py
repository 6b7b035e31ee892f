"""The systemd unit as it is shipped, under a real systemd: started, reloaded, killed, hung, stopped."""

import sys
from collections.abc import Iterator
from importlib import resources

import pytest

from tests.system.booted import ROOT, Booted, NotBootedError, hides_home

pytestmark = pytest.mark.privileged

CONFIG = """
[node]
name = "lb1"
[cluster]
name = "alone"
[proxy]
kind = "process"
pidfile = "/run/proxy.pid"
[[vip]]
name = "web"
interface = "eth1"
vrid = 51
priority = {priority}
addresses = ["10.79.0.100/24"]
advert_interval_ms = 100
[api]
group = "root"
"""
PROXY = """[Service]
ExecStart=/bin/sh -c 'echo $$$$ >/run/proxy.pid; exec sleep infinity'
"""
AGENT = "/etc/haman/haman.toml"


@pytest.fixture(scope="module")
def host() -> Iterator[Booted]:
    try:
        booted = Booted()
    except NotBootedError as error:
        pytest.skip(str(error))
    try:
        unit = resources.files("haman.system").joinpath("haman.service").read_text()
        haman = f"/usr/bin/env PYTHONPATH={ROOT} {sys.executable} -m haman.cli"
        assert unit.count("/usr/bin/haman") == 2
        booted.write("/etc/systemd/system/haman.service", unit.replace("/usr/bin/haman", haman))
        if hides_home():
            drop_in = "/etc/systemd/system/haman.service.d/home.conf"
            booted.write(drop_in, "[Service]\nProtectHome=no\n")
        booted.write("/etc/systemd/system/proxy.service", PROXY)
        booted.run("systemctl", "daemon-reload")
        booted.run("systemctl", "start", "proxy")
        yield booted
    finally:
        booted.close()


@pytest.fixture
def started(host: Booted) -> Iterator[Booted]:
    """The agent has started, and holds its VIP."""
    host.write(AGENT, CONFIG.format(priority=150))
    host.run("systemctl", "reset-failed")
    host.run("systemctl", "start", "haman")
    host.wait(lambda: holds(host), "the VIP is held")
    yield host
    host.run("systemctl", "stop", "haman")


def holds(host: Booted) -> bool:
    return "10.79.0.100/" in host.run("ip", "-o", "address", "show", "dev", "eth1")


def told(host: Booted) -> str:
    return host.run("journalctl", "--no-pager", "--unit", "haman", "--output", "cat")


def processes(host: Booted) -> list[str]:
    return host.run("ps", "-eo", "comm=").split()


def test_systemd_finds_no_fault_with_it(host: Booted) -> None:
    told = host.run("systemd-analyze", "verify", "/etc/systemd/system/haman.service")
    assert not told


def test_it_is_started_once_it_is_ready_and_stops_in_order(started: Booted) -> None:
    assert started.show("haman", "ActiveState") == "active"
    assert started.show("haman", "StatusText").startswith("1 VIPs")
    assert "haman-guard" in processes(started)
    started.run("systemctl", "stop", "haman")
    assert started.show("haman", "Result") == "success"
    assert not holds(started)
    assert not [name for name in processes(started) if name.startswith("haman")]


def test_a_reload_keeps_the_vip_and_the_process(started: Booted) -> None:
    pid = started.show("haman", "MainPID")
    started.write(AGENT, CONFIG.format(priority=140))
    started.run("systemctl", "reload", "haman")
    assert started.show("haman", "MainPID") == pid
    assert started.show("haman", "ActiveState") == "active"
    assert holds(started)
    api = [sys.executable, "-m", "haman.cli", "status"]
    env = f"PYTHONPATH={ROOT}"
    started.wait(lambda: "active 140" in started.run("env", env, *api, check=False), "priority 140")


def test_killed_it_comes_back_and_what_was_left_is_released(started: Booted) -> None:
    restarts = int(started.show("haman", "NRestarts"))
    pid = started.show("haman", "MainPID")
    started.run("systemctl", "kill", "--signal", "KILL", "haman")  # engine, guard, controller: all
    started.wait(lambda: int(started.show("haman", "NRestarts")) > restarts, "a restart")
    killed = "Main process exited, code=killed, status=9/KILL"
    started.wait(lambda: killed in told(started), "the journal has it")  # which is another process
    started.wait(lambda: holds(started), "the VIP is held again")
    assert started.show("haman", "MainPID") != pid
    assert "ExecStopPost" not in started.show("haman", "Result")


def test_hung_it_is_replaced_by_the_watchdog(started: Booted) -> None:
    pid = started.show("haman", "MainPID")
    started.run("kill", "-STOP", pid)
    started.wait(lambda: not holds(started), "the lease has ended")
    started.wait(lambda: started.show("haman", "MainPID") not in {pid, "0"}, "another process")
    started.wait(lambda: holds(started), "the VIP is held again")
    started.wait(lambda: "Watchdog timeout" in told(started), "the journal has it")


def test_a_wrong_configuration_is_no_reason_to_try_for_ever(host: Booted) -> None:
    host.write(AGENT, CONFIG.format(priority=999))
    host.run("systemctl", "start", "haman", check=False)
    host.wait(lambda: host.show("haman", "ActiveState") == "failed", "it gives up")
    assert host.show("haman", "ExecMainStatus") == "2"
    assert host.show("haman", "NRestarts") == "0"
