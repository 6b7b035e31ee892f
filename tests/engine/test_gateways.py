"""A gateway on the link, that answers ARP and then does not."""

from pathlib import Path

import pytest

from tests.engine.conftest import Agents
from tests.engine.net import Lan, toml, vip_toml, wait

pytestmark = pytest.mark.privileged


def test_one_that_falls_silent_is_told_and_found_again(
    lan: Lan, agents: Agents, tmp_path: Path
) -> None:
    gateway = lan.hosts[1]
    text = toml(vip_toml(gateway=gateway.address), state=tmp_path)
    agent = agents.start(lan.hosts[0], text)
    agent.contend(priority=100)
    wait(lambda: agent.role() == "active")
    assert agent.vip().cut_off is None
    gateway.run("ip link set eth0 arp off")
    wait(lambda: agent.vip().cut_off is not None, 15, "three requests without an answer")
    why = agent.vip().cut_off
    assert why is not None
    assert f"the gateway {gateway.address} has not answered on eth0" in why.text
    assert agent.told("gateway-lost", "web")
    assert agent.role() == "active", "what follows is the controller's to decide"
    gateway.run("ip link set eth0 arp on")
    wait(lambda: agent.vip().cut_off is None, 15, "it answers again")
    assert agent.told("gateway-found", "web")
