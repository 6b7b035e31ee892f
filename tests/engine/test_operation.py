"""End, reload, bad packets, and a controller that does not read."""

import signal
import socket
import time
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from haman.core.facts import VipStance
from haman.system.netlink import AddressRemoved
from haman.system.netlink_socket import Monitor
from haman.system.sockets import VrrpSocket, ip_packet
from tests.engine.conftest import Agents
from tests.engine.net import Lan, toml, vip_toml, wait
from tests.engine.test_election import VIP, settle

pytestmark = pytest.mark.privileged
OTHER = "10.77.0.101/24"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_ordered_end_hands_over(
    lan: Lan, agents: Agents, tmp_path: Path, number: signal.Signals
) -> None:
    text = toml(vip_toml(advert_interval_ms=300), state=tmp_path)
    high, low = (agents.start(host, text) for host in lan.hosts)
    high.contend(priority=250)
    wait(lambda: high.role() == "active")
    low.contend(priority=240)
    wait(lambda: low.vip().active_priority == 250)
    guard = high.guard_pid
    assert high.end(number) == 0
    assert not lan.hosts[0].holds(VIP)
    assert high.told("vip-released")
    wait(lambda: lan.hosts[1].holds(VIP), 1)
    wait(lambda: not Path(f"/proc/{guard}").exists(), what="the guard's end")
    assert "guard" not in high.log.read_text()


def test_reload_keeps_what_stays(lan: Lan, agents: Agents, tmp_path: Path) -> None:
    host = lan.hosts[0]
    agent = agents.start(host, toml(vip_toml(), state=tmp_path))
    agent.contend()
    wait(lambda: agent.told("vip-acquired"))
    with host.inside():
        monitor = Monitor()
    agent.config.write_text(
        toml(
            vip_toml(addresses=[VIP, OTHER], advert_interval_ms=100, group="g"),
            vip_toml(name="more", vrid=52, addresses=["10.77.0.102/24"], group="g"),
            state=tmp_path,
        )
    )
    agent.send(signal.SIGHUP)
    wait(lambda: agent.told("reloaded"))
    agent.declare(VipStance("web", True, 100), VipStance("more", True, 100))
    wait(lambda: {VIP, OTHER, "10.77.0.102/24"} <= host.addresses())
    wait(lambda: agent.role("more") == "active")
    agent.config.write_text(toml(vip_toml(addresses=[VIP]), state=tmp_path))
    agent.send(signal.SIGHUP)
    wait(lambda: not {OTHER, "10.77.0.102/24"} & host.addresses())
    wait(lambda: agent.role() == "active" and agent.vip().held == (VIP,))
    removed = []
    while messages := monitor.read():
        removed += [m.address.address for m in messages if isinstance(m, AddressRemoved)]
    monitor.close()
    assert sorted(removed) == ["10.77.0.101", "10.77.0.102"]
    assert not agent.told("vip-released", "web")


def test_a_vip_that_a_reload_removes_says_farewell(
    lan: Lan, agents: Agents, tmp_path: Path
) -> None:
    host = lan.hosts[0]
    host.run(
        "ip link add up0 type veth peer name up1; ip link set up1 up; ip link set up0 up;"
        "ip addr add fe80::9/64 dev up0 nodad"
    )
    with host.inside():
        ear = VrrpSocket("up1", host.index("up1"), socket.AF_INET6)
    extra = vip_toml(name="extra", interface="up0", vrid=9, addresses=["2001:db8:9::1/64"])
    agent = agents.start(host, toml(vip_toml(), extra, state=tmp_path))
    agent.declare(VipStance("web", True, 100), VipStance("extra", True, 100))
    wait(lambda: agent.told("vip-acquired", "web") and agent.told("vip-acquired", "extra"))
    agent.config.write_text(toml(vip_toml(), state=tmp_path))
    agent.send(signal.SIGHUP)
    wait(lambda: agent.told("vip-released", "extra"))
    assert not host.holds("2001:db8:9::1/64")
    priorities = [datagram.payload[2] for datagram in ear.receive()]
    assert priorities[-1] == 0
    assert set(priorities[:-1]) == {100}
    assert agent.role() == "active"
    ear.close()


def test_a_reload_with_problems_changes_nothing(lan: Lan, agents: Agents, tmp_path: Path) -> None:
    agent = agents.start(lan.hosts[0], toml(vip_toml(), state=tmp_path))
    agent.contend()
    wait(lambda: agent.told("vip-acquired"))
    agent.config.write_text(toml(vip_toml(vrid=999), state=tmp_path))
    agent.send(signal.SIGHUP)
    wait(lambda: agent.told("reload-refused"))
    assert "vrid" in agent.told("reload-refused")[0].text
    assert agent.role() == "active"
    assert lan.hosts[0].holds(VIP)


def test_a_reload_of_what_is_fixed_changes_nothing(
    lan: Lan, agents: Agents, tmp_path: Path
) -> None:
    """The controller refuses it, too: neither goes on with what the other does not have."""
    agent = agents.start(lan.hosts[0], toml(vip_toml(), state=tmp_path))
    agent.contend()
    wait(lambda: agent.told("vip-acquired"))
    agent.config.write_text(toml(vip_toml(addresses=[VIP, OTHER]), state=tmp_path / "other"))
    agent.send(signal.SIGHUP)
    wait(lambda: agent.told("reload-refused"))
    assert "state.directory cannot change" in agent.told("reload-refused")[0].text
    assert not agent.told("reloaded")
    assert not lan.hosts[0].holds(OTHER)
    assert agent.role() == "active"


def test_wrong_packets_are_counted_by_reason(lan: Lan, agents: Agents, tmp_path: Path) -> None:
    agent = agents.start(lan.hosts[0], toml(vip_toml(), state=tmp_path))
    agent.contend()
    wait(lambda: agent.role() == "active")
    source, group = IPv4Address(lan.hosts[1].address), IPv4Address("224.0.0.18")
    good = bytes.fromhex("3133640100640568c0000264")
    with lan.hosts[1].inside():
        wire = VrrpSocket("eth0", socket.if_nametoindex("eth0"), socket.AF_INET)
    for payload in (b"", b"\x31", good[:-1], b"\x41" + good[1:], good[:6] + b"\0\0" + good[8:]):
        wire.send(ip_packet(source, group, payload), group)
    low_ttl = bytearray(ip_packet(source, group, good))
    low_ttl[8] = 254
    wire.send(bytes(low_ttl), group)
    wait(lambda: agent.counter("error:length") == 3)
    wait(lambda: agent.counter("error:ttl") == 1)
    assert agent.counter("error:checksum") == 1
    assert agent.counter("error:version") == 1
    assert agent.told("packet-dropped")
    assert agent.role() == "active"
    wire.close()


def test_a_controller_that_does_not_read_disturbs_nothing(
    lan: Lan, agents: Agents, tmp_path: Path
) -> None:
    text = toml(vip_toml(advert_interval_ms=10), state=tmp_path)
    high, low = (agents.start(host, text) for host in lan.hosts)
    high.contend(priority=150)
    low.contend(priority=100)
    settle(high, low)
    low.events.clear()
    high.reading = False
    began = time.monotonic()
    toggles = 0
    while time.monotonic() - began < 1.5 or toggles <= 3:
        # Each of these is an event, more than the queue holds.
        lan.hosts[0].run(
            ";".join(
                f"ip addr add 10.77.0.100/{n} dev eth0; ip addr del 10.77.0.100/{n} dev eth0"
                for n in range(25, 32)
            )
        )
        toggles += 1
        low.poll()
    assert low.role() == "backup"
    assert not low.told("role-changed")
    high.reading = True
    wait(lambda: high.role() == "active")


def test_systemd_is_told(lan: Lan, agents: Agents, tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(path))
        ear.settimeout(5)
        agent = agents.make(lan.hosts[0], toml(vip_toml(), state=tmp_path))
        agent.start(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="300000")
        assert ear.recv(100) == b"READY=1\nSTATUS=1 VIPs"
        assert [ear.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        assert agent.end() == 0
        wait(lambda: ear.recv(100) == b"STOPPING=1\nEXTEND_TIMEOUT_USEC=2000000")
