"""The addresses of anycast services in a real kernel: held when declared, and by whom when all dies."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import Agents
from tests.engine.net import Agent, Host, Lan, anycast_toml, toml, vip_toml, wait
from tests.engine.test_election import VIP

pytestmark = pytest.mark.privileged
EDGE, EDGE6, OTHER = "192.0.2.100/32", "2001:db8:100::1/128", "192.0.2.101/32"


def text(tmp_path: Path, *prefixes: str, vips: tuple[str, ...] = ()) -> str:
    return toml(*vips, anycast_toml(*prefixes), state=tmp_path)


@pytest.fixture
def host(lan: Lan) -> Host:
    return lan.hosts[0]


@pytest.fixture
def agent(host: Host, agents: Agents, tmp_path: Path) -> Agent:
    """One with a VIP and a service of both families, all held."""
    started = agents.start(host, text(tmp_path, EDGE, EDGE6, vips=(vip_toml(),)))
    started.contend()
    started.announce("edge")
    wait(lambda: started.service().complete and started.vip().held == (VIP,))
    return started


def test_addresses_are_held_as_declared(agent: Agent, host: Host) -> None:
    assert agent.service().addresses == (EDGE, EDGE6)
    assert agent.service().reasons == ()
    there = {a.address: a for a in host.requests.addresses() if a.ifindex == host.index("lo")}
    assert there["192.0.2.100"].protocol == 0x68, "haman's mark"
    assert agent.told("anycast-acquired", "edge")
    agent.announce()
    wait(lambda: not {EDGE, EDGE6} & host.addresses())
    wait(lambda: agent.told("anycast-released", "edge") and agent.service().addresses == ())
    assert not agent.service().complete
    assert agent.role() == "active", "the VIP has nothing to do with it"


def test_they_are_renewed_and_restored(agent: Agent, host: Host) -> None:
    host.run(f"ip addr del {EDGE} dev lo")
    wait(lambda: agent.told("address-restored") and host.holds(EDGE))
    began = time.monotonic()
    left: list[int] = []
    while time.monotonic() - began < 3 or left[-1] < 14:  # it is renewed, or would only count down
        agent.poll()
        left += [a["valid_life_time"] for a in on_lo(host) if a["local"] == "192.0.2.100"]
        assert {EDGE, EDGE6} <= host.addresses()
        assert time.monotonic() - began < 10
        time.sleep(0.05)


def test_the_controllers_death_changes_nothing(agent: Agent, host: Host) -> None:
    agent.generation = 0  # its successor declares nothing yet
    os.kill(agent.controller_pid, signal.SIGKILL)
    wait(lambda: agent.told("controller-restarted") and agent.controllers == 2)
    assert {EDGE, EDGE6} <= host.addresses()
    assert not agent.told("anycast-released")


def test_a_dead_engines_service_outlives_its_vip(agent: Agent, host: Host) -> None:
    """The guard takes the VIP at once; the service's addresses outlive the routes to them."""
    agent.send(signal.SIGKILL)
    began = time.monotonic()
    wait(lambda: not host.holds(VIP), 1.5, "the guard's work")
    while time.monotonic() - began < 3.5:  # a VIP's lease
        assert {EDGE, EDGE6} <= host.addresses()
        time.sleep(0.1)
    left = [a["valid_life_time"] for a in on_lo(host) if a["local"] == "192.0.2.100"]
    assert 0 < left[0] < 15, "and then the kernel takes it away"


def on_lo(host: Host) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(host.run("ip -j addr show dev lo"))[0]["addr_info"]
    return found


def test_a_frozen_engine_keeps_the_service_for_longer_than_the_vip(
    agent: Agent, host: Host
) -> None:
    """Until the watchdog has killed it, routers send to this node, and its proxy lives."""
    agent.send(signal.SIGSTOP)
    wait(lambda: not host.holds(VIP), 12, "the end of the VIP's lease")
    assert {EDGE, EDGE6} <= host.addresses()
    agent.send(signal.SIGCONT)
    wait(lambda: agent.vip().held == (VIP,))
    assert agent.service().complete


def test_a_new_engine_begins_without_leftovers(agent: Agent, host: Host) -> None:
    agent.send(signal.SIGKILL)
    wait(lambda: not host.holds(VIP))
    assert host.holds(EDGE)
    agent.generation = 0
    agent.start()
    wait(lambda: agent.reported and not host.holds(EDGE), what="ExaBGP is gone, so they go")
    agent.announce("edge")
    wait(lambda: agent.service().complete)
    assert {EDGE, EDGE6} <= host.addresses()


def test_a_reload_keeps_what_stays_and_lets_the_rest_linger(
    agent: Agent, host: Host, tmp_path: Path
) -> None:
    agent.config.write_text(text(tmp_path, EDGE, OTHER, vips=(vip_toml(),)))
    agent.send(signal.SIGHUP)
    wait(lambda: agent.told("reloaded") and {EDGE, OTHER} <= host.addresses())
    assert host.holds(EDGE6), "its route is still announced"
    wait(lambda: agent.service().complete)
    wait(lambda: agent.poll() or not host.holds(EDGE6), 15, "its time is over")
    assert {EDGE, OTHER} <= host.addresses()
    assert not agent.told("anycast-released")
    assert agent.told("anycast-acquired") == agent.told("anycast-acquired")[:1]


def test_a_service_that_a_reload_removes_lingers(agent: Agent, host: Host, tmp_path: Path) -> None:
    agent.config.write_text(toml(vip_toml(), state=tmp_path))
    agent.send(signal.SIGHUP)
    wait(lambda: agent.told("reloaded"))
    assert {EDGE, EDGE6} <= host.addresses()
    wait(lambda: agent.poll() or not {EDGE, EDGE6} & host.addresses(), 15, "its time is over")


def test_an_interface_that_is_not_there_is_waited_for(
    host: Host, agents: Agents, tmp_path: Path
) -> None:
    config = toml(anycast_toml(EDGE, interface="any0"), state=tmp_path)
    agent = agents.start(host, config)
    agent.announce("edge")
    wait(lambda: [r.code for r in agent.service().reasons] == ["interface-absent"])
    host.run("ip link add any0 type veth peer name any1; ip link set any1 up; ip link set any0 up")
    wait(lambda: agent.service().complete)
    host.run("ip link set any0 down")
    wait(lambda: [r.code for r in agent.service().reasons] == ["interface-down"])
    assert not agent.service().complete
    host.run("ip link del any0")
    wait(lambda: agent.service().addresses == ())


def test_a_shorter_prefix_puts_nothing_on_the_interface(
    host: Host, agents: Agents, tmp_path: Path
) -> None:
    agent = agents.start(host, text(tmp_path, "192.0.2.0/24"))
    agent.announce("edge")
    wait(lambda: agent.service().complete)
    assert agent.service().addresses == ()
    assert not any(a.startswith("192.0.2.") for a in host.addresses())


def test_what_the_kernel_refuses_is_said_and_tried_again(
    host: Host, agents: Agents, tmp_path: Path
) -> None:
    agent = agents.make(host, text(tmp_path, EDGE))
    refuse = tmp_path / "refuse"
    refuse.touch()
    agent.start(REFUSE_WHILE=str(refuse))
    agent.announce("edge")
    wait(lambda: agent.told("address-failed", "edge"))
    wait(lambda: [r.code for r in agent.service().reasons] == ["address-not-installed"])
    assert "Operation not permitted" in agent.service().reasons[0].text
    refuse.unlink()
    wait(lambda: agent.service().complete)


def test_an_ordered_end_without_exabgp_waits_for_nothing(agent: Agent, host: Host) -> None:
    began = time.monotonic()
    assert agent.end() == 0
    assert not {EDGE, EDGE6, VIP} & host.addresses()
    assert time.monotonic() - began < 5
    assert agent.report
    assert agent.report.ending
