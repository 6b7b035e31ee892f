"""The engine and what else happens to a host's addresses and interfaces."""

import signal
import socket
from pathlib import Path

import pytest

from haman.core.facts import VipStance
from haman.system.netlink import AddressAdded, InterfaceAddress, new_address
from haman.system.netlink_socket import Monitor
from tests.engine.conftest import Agents
from tests.engine.net import Agent, Lan, toml, vip_toml, wait
from tests.engine.test_election import VIP, VIP6, settle

pytestmark = pytest.mark.privileged


@pytest.fixture
def holder(lan: Lan, agents: Agents, tmp_path: Path) -> Agent:
    agent = agents.start(lan.hosts[0], toml(vip_toml(addresses=[VIP, VIP6]), state=tmp_path))
    agent.contend()
    wait(lambda: agent.told("vip-acquired"))
    return agent


def test_addresses_have_a_lease_which_is_renewed(lan: Lan, holder: Agent) -> None:
    vips = {"10.77.0.100", "2001:db8::100"}
    leases = [a.valid_s for a in lan.hosts[0].requests.addresses() if a.address in vips]
    assert len(leases) == 2
    assert max(leases) <= 3
    with lan.hosts[0].inside():
        monitor = Monitor()
    renewed: list[str] = []

    def twice_each() -> bool:
        for message in monitor.read() or ():
            assert isinstance(message, AddressAdded)
            renewed.append(message.address.address)
        return all(renewed.count(vip) == 2 for vip in vips)

    wait(twice_each, 4, "two renewals")
    monitor.close()


def test_an_ipv6_address_leaves_the_route_of_the_prefix_alone(lan: Lan, holder: Agent) -> None:
    assert "expires" not in lan.hosts[0].run("ip -6 route show dev eth0")
    holder.end()
    assert "2001:db8::/64" in lan.hosts[0].run("ip -6 route show dev eth0")


def test_leftovers_are_removed_at_the_start(lan: Lan, agents: Agents, tmp_path: Path) -> None:
    host = lan.hosts[0]
    host.run(
        f"ip addr add {VIP} dev eth0; ip addr add 10.77.0.100/32 dev eth0;"
        "ip addr add 10.9.9.8/32 dev eth0"
    )
    marked = InterfaceAddress(host.index("eth0"), socket.AF_INET, "10.9.9.9", 32)
    host.requests.change([lambda n: new_address(n, marked, lease_s=3600)])
    agent = agents.start(host, toml(vip_toml(), state=tmp_path))
    wait(lambda: not {VIP, "10.77.0.100/32", "10.9.9.9/32"} & host.addresses())
    wait(lambda: len(agent.told("address-removed")) == 3)
    assert host.holds("10.9.9.8/32")


def test_an_address_removed_by_hand_comes_back(lan: Lan, holder: Agent) -> None:
    lan.hosts[0].run(f"ip addr del {VIP} dev eth0")
    wait(lambda: lan.hosts[0].holds(VIP), 1)
    wait(lambda: holder.told("address-restored"))
    assert holder.role() == "active"
    assert not holder.told("vip-released")


def test_a_primary_address_that_takes_the_vip_along(lan: Lan, holder: Agent) -> None:
    # Without promote_secondaries the kernel removes all secondaries of the same subnet with it.
    lan.hosts[0].run(f"ip addr del {lan.hosts[0].address}/24 dev eth0")
    wait(lambda: holder.told("interface-down"), what="no source address")
    lan.hosts[0].run("ip addr add 10.77.0.31/24 dev eth0")
    wait(lambda: holder.role() == "active" and lan.hosts[0].holds(VIP))


def test_a_strangers_vip_is_reported_and_left(lan: Lan, agents: Agents, tmp_path: Path) -> None:
    agent = agents.start(lan.hosts[0], toml(vip_toml(), state=tmp_path))
    wait(lambda: agent.reported)
    lan.hosts[0].run(f"ip addr add {VIP} dev eth0")
    wait(lambda: agent.told("conflict-detected"))
    assert lan.hosts[0].holds(VIP)


def test_an_interface_that_goes_down_releases_and_comes_back(
    lan: Lan, agents: Agents, tmp_path: Path
) -> None:
    text = toml(vip_toml(addresses=[VIP, VIP6]), state=tmp_path)
    high, low = (agents.start(host, text) for host in lan.hosts)
    high.contend(priority=150)
    low.contend(priority=100)
    settle(high, low)
    lan.switch.run("ip link set h11 down")
    wait(lambda: high.role() == "released")
    assert high.vip().reasons[0].code == "interface-down"
    wait(lambda: not {VIP, VIP6} & lan.hosts[0].addresses())
    wait(lambda: {VIP, VIP6} <= lan.hosts[1].addresses())
    lan.switch.run("ip link set h11 up")
    wait(lambda: {VIP, VIP6} <= lan.hosts[0].addresses())
    wait(lambda: not {VIP, VIP6} & lan.hosts[1].addresses())
    wait(lambda: high.told("interface-up"))
    assert len(high.told("interface-down")) == 1


def test_a_tracked_interface_counts_as_well(lan: Lan, agents: Agents, tmp_path: Path) -> None:
    lan.hosts[0].run("ip link add up0 type veth peer name up1; ip link set up1 up")
    vip = vip_toml(track_interfaces=["up0"])
    agent = agents.start(lan.hosts[0], toml(vip, state=tmp_path)).contend()
    wait(lambda: agent.role() == "released")
    assert "up0" in agent.vip().reasons[0].text
    lan.hosts[0].run("ip link set up0 up")
    wait(lambda: agent.role() == "active")


def test_an_interface_that_appears_later_and_is_replaced(
    lan: Lan, agents: Agents, tmp_path: Path
) -> None:
    host = lan.hosts[0]
    agent = agents.start(host, toml(vip_toml(interface="late0"), state=tmp_path)).contend()
    wait(lambda: agent.role() == "released")
    assert agent.vip().reasons[0].code == "interface-absent"
    make = (
        "ip link add late0 type veth peer name late1; ip link set late1 up;"
        "ip link set late0 up; ip addr add 10.77.0.99/24 dev late0"
    )
    host.run(make)
    wait(lambda: agent.role() == "active" and host.holds(VIP))
    host.run(f"ip link del late0; {make}")
    wait(lambda: agent.role() == "active" and host.holds(VIP) and agent.vip().held == (VIP,))
    assert VIP in host.run("ip -4 addr show dev late0")


def test_a_netlink_overrun_is_healed_by_a_full_look(
    lan: Lan, agents: Agents, tmp_path: Path
) -> None:
    host = lan.hosts[0]
    agent = agents.make(host, toml(vip_toml(), state=tmp_path))
    agent.start(MONITOR_BUFFER_BYTES="1")  # the kernel's least, some two messages
    agent.contend()
    wait(lambda: agent.told("vip-acquired"))
    batch = "".join(f"addr add 10.8.{i // 250}.{i % 250 + 1}/32 dev lo\n" for i in range(500))
    agent.send(signal.SIGSTOP)
    host.run(f"ip addr del {VIP} dev eth0; printf '{batch}' | ip -batch -")
    agent.send(signal.SIGCONT)
    wait(lambda: agent.counter("netlink_overruns") > 0, what="an overrun")
    wait(lambda: host.holds(VIP), 2)
    assert agent.role() == "active"
    assert agent.told("netlink-overrun")


def test_an_interface_that_loses_its_family_releases(
    lan: Lan, agents: Agents, tmp_path: Path
) -> None:
    agent = agents.start(lan.hosts[0], toml(vip_toml(addresses=[VIP6]), state=tmp_path))
    agent.contend()
    wait(lambda: agent.told("vip-acquired"))
    lan.hosts[0].run("echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6")
    wait(lambda: agent.role() == "released")
    assert agent.vip().reasons[0].code == "no-source-address"


def test_an_address_that_the_kernel_refuses_is_not_pretended(
    lan: Lan, agents: Agents, tmp_path: Path
) -> None:
    refuse = tmp_path / "refuse"
    refuse.touch()
    text = toml(vip_toml(), state=tmp_path)
    high = agents.make(lan.hosts[0], text).start(REFUSE_WHILE=str(refuse))
    low = agents.start(lan.hosts[1], text)
    low.contend(priority=100)
    wait(lambda: low.told("vip-acquired"))
    high.contend(priority=150)
    wait(lambda: high.told("address-failed"), what="given up")
    wait(lambda: high.vip().reasons[0].code == "address-not-installed", what="said why")
    assert "not permitted" in high.vip().reasons[0].text
    wait(lambda: low.role() == "active" and lan.hosts[1].holds(VIP), what="the peer serves")
    refuse.unlink()
    wait(lambda: high.role() == "active" and lan.hosts[0].holds(VIP), 3, "another try")


def test_a_wall_clock_that_jumps_moves_nothing(lan: Lan, agents: Agents, tmp_path: Path) -> None:
    text = toml(vip_toml(), state=tmp_path)
    high, low = (agents.make(host, text).start(WALL_CLOCK_JUMPS="1") for host in lan.hosts)
    high.contend(priority=150)
    low.contend(priority=100)
    settle(high, low)
    low.events.clear()
    sent = high.counter("advertisements_sent")
    wait(lambda: high.counter("advertisements_sent") > sent + 20 and low.role() == "backup")
    assert lan.hosts[0].holds(VIP)
    assert not low.told("role-changed")
    high.declare(VipStance("web", contend=False, priority=150))
    wait(lambda: lan.hosts[1].holds(VIP) and not lan.hosts[0].holds(VIP))
    stamps = [event.at_ns for event in high.events]
    assert stamps != sorted(stamps), "the clock did jump"


def test_leaving_a_bridge_is_not_the_end_of_an_interface(
    lan: Lan, agents: Agents, tmp_path: Path
) -> None:
    host = lan.hosts[0]
    host.run("ip link add brx type bridge; ip link set brx up; ip link set eth0 master brx")
    agent = agents.start(host, toml(vip_toml(), state=tmp_path))
    agent.contend()
    wait(lambda: agent.told("vip-acquired"))
    host.run("ip link set eth0 nomaster; ip link set eth0 mtu 1400; ip link set eth0 mtu 1500")
    host.run("ip addr add 10.99.0.1/32 dev eth0; ip link del brx")
    agent.declare(*agent.stances)
    wait(lambda: agent.reported and agent.report and agent.report.generation == agent.generation)
    assert [e.text for e in agent.told("interface-down")] == []
    assert agent.role() == "active"
