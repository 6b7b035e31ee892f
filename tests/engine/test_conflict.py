"""A second holder on the wire that no advert tells of."""

import socket
import time
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from haman.core.frames import gratuitous_arp, unsolicited_na
from tests.engine.conftest import Agents
from tests.engine.net import Agent, Host, Lan, toml, vip_toml, wait

pytestmark = pytest.mark.privileged

V4, V6 = IPv4Address("10.77.0.100"), IPv6Address("2001:db8::100")
STRANGER = bytes.fromhex("020000000099")


@pytest.fixture
def agent(lan: Lan, agents: Agents, tmp_path: Path) -> Agent:
    text = toml(
        vip_toml(addresses=[f"{V4}/24", f"{V6}/64"], advert_interval_ms=1000), state=tmp_path
    )
    made = agents.start(lan.hosts[0], text)
    made.contend(priority=100)
    wait(lambda: len(made.vip().held) == 2)
    return made


def say(host: Host, frame: bytes) -> None:
    with host.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
        out.sendto(frame, ("eth0", 0))


@pytest.mark.parametrize(
    ("address", "frame"),
    [(V4, gratuitous_arp(V4, STRANGER)), (V6, unsolicited_na(V6, STRANGER))],
    ids=["arp", "na"],
)
def test_who_claims_an_address_that_is_held_here_is_told_and_answered(
    lan: Lan, agent: Agent, address: IPv4Address | IPv6Address, frame: bytes
) -> None:
    announced = agent.counter("announcements_sent")
    say(lan.hosts[1], frame)
    said_ns = time.time_ns()
    wait(lambda: agent.told("conflict-detected", "web"), what="the second holder")
    (event,) = agent.told("conflict-detected", "web")
    # By the engine's clock: how long the event took to come here is the machine's affair.
    assert event.at_ns - said_ns < 900_000_000, "within an advert interval"
    assert f"02:00:00:00:00:99 on eth0 says that it has {address}" in event.text
    wait(lambda: agent.counter("announcements_sent") > announced, what="the link told again")
    assert agent.role() == "active"


def test_others_addresses_and_own_frames_are_no_conflict(lan: Lan, agent: Agent) -> None:
    own = bytes.fromhex(lan.hosts[0].mac("eth0").replace(":", ""))
    say(lan.hosts[1], gratuitous_arp(IPv4Address("10.77.0.101"), STRANGER))
    say(lan.hosts[1], unsolicited_na(IPv6Address("2001:db8::101"), STRANGER))
    say(lan.hosts[1], gratuitous_arp(V4, own))
    say(lan.hosts[1], gratuitous_arp(V4, STRANGER)[:30])
    lan.hosts[1].run(f"ping -c 1 -W 1 {V4} > /dev/null; ping -c 1 -W 1 {V6} > /dev/null")
    agent.poll()
    assert not agent.told("conflict-detected")
