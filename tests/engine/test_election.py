"""Two engines on one link: who holds the address, and how it moves."""

from pathlib import Path

import pytest

from haman.core.facts import VipStance
from haman.core.words import Reason
from tests.engine.conftest import Agents
from tests.engine.net import Agent, Lan, toml, vip_toml, wait

pytestmark = pytest.mark.privileged
VIP = "10.77.0.100/24"
VIP6 = "2001:db8::100/64"


def settle(high: Agent, low: Agent, vip: str = "web") -> None:
    wait(lambda: (high.role(vip), low.role(vip)) == ("active", "backup"), what="roles")
    wait(lambda: high.told("vip-acquired", vip), what="addresses")


def test_the_higher_priority_holds_the_address(lan: Lan, agents: Agents, tmp_path: Path) -> None:
    text = toml(vip_toml(), state=tmp_path)
    high, low = (agents.start(host, text) for host in lan.hosts)
    high.contend(priority=150)
    low.contend(priority=100)
    settle(high, low)
    assert lan.hosts[0].holds(VIP)
    assert not lan.hosts[1].holds(VIP)
    wait(lambda: low.vip().active_router == lan.hosts[0].address)
    wait(lambda: high.vip().held == (VIP,))
    assert high.vip().priority == 150
    wait(lambda: high.counter("announcements_sent") >= 2, what="repeated announcements")


def test_nobody_contends_before_the_first_stance(lan: Lan, agents: Agents, tmp_path: Path) -> None:
    agent = agents.start(lan.hosts[0], toml(vip_toml(), state=tmp_path))
    wait(lambda: agent.lateness.count > 3, what="reports")
    assert agent.role() == "initialize"
    assert agent.counter("advertisements_sent") == 0
    agent.declare(VipStance("web", contend=False, priority=100, reasons=(Reason("fault", "x"),)))
    wait(lambda: agent.role() == "released")
    report = agent.vip()
    assert report.reasons[0].code == "fault"
    assert report.priority == 0


def test_a_release_is_told_once_the_kernel_has_confirmed_it(
    lan: Lan, agents: Agents, tmp_path: Path
) -> None:
    text = toml(vip_toml(advert_interval_ms=2000), state=tmp_path)
    high, low = (agents.start(host, text) for host in lan.hosts)
    high.contend(priority=250)
    wait(lambda: high.role() == "active")
    low.contend(priority=1)
    settle(high, low)
    high.declare(VipStance("web", contend=False, priority=250))
    wait(lambda: high.told("vip-released"), what="release")
    assert not lan.hosts[0].holds(VIP)
    # The skew of priority 1 is two seconds, and would be given as another reason: the order is quicker.
    low.order("web")
    wait(lambda: lan.hosts[1].holds(VIP))
    wait(lambda: low.role() == "active")
    assert [r.code for r in low.told("role-changed")[-1].reasons] == ["peer-released"]


def test_both_families_of_a_vip_move_together(lan: Lan, agents: Agents, tmp_path: Path) -> None:
    text = toml(vip_toml(addresses=[VIP, VIP6]), state=tmp_path)
    high, low = (agents.start(host, text) for host in lan.hosts)
    high.contend(priority=150)
    low.contend(priority=100)
    settle(high, low)
    assert {VIP, VIP6} <= lan.hosts[0].addresses()
    assert len(high.told("vip-acquired")) == 1
    high.declare(VipStance("web", contend=False, priority=150))
    wait(lambda: {VIP, VIP6} <= lan.hosts[1].addresses())
    wait(lambda: not {VIP, VIP6} & lan.hosts[0].addresses())
    wait(lambda: low.role() == "active" and low.vip().held == (VIP, VIP6))


def test_vips_of_a_group_move_together(lan: Lan, agents: Agents, tmp_path: Path) -> None:
    text = toml(
        vip_toml(name="a", vrid=1, group="g"),
        vip_toml(name="b", vrid=2, addresses=["10.77.0.101/24"], group="g"),
        state=tmp_path,
    )
    both = {VIP, "10.77.0.101/24"}
    high, low = (agents.start(host, text) for host in lan.hosts)
    high.declare(VipStance("a", True, 150), VipStance("b", True, 150))
    low.declare(VipStance("a", True, 100), VipStance("b", True, 100))
    settle(high, low, "a")
    wait(lambda: both <= lan.hosts[0].addresses())
    high.declare(VipStance("a", False, 150), VipStance("b", True, 150))
    wait(lambda: both <= lan.hosts[1].addresses())
    wait(lambda: not both & lan.hosts[0].addresses())


@pytest.mark.parametrize("family", [4, 6])
def test_unicast(lan: Lan, agents: Agents, tmp_path: Path, family: int) -> None:
    vip = VIP if family == 4 else VIP6
    peer = "10.77.0.{}" if family == 4 else "2001:db8::{}"
    made = []
    for host, other in zip(lan.hosts, (12, 11), strict=True):
        text = vip_toml(addresses=[vip], unicast_peers=[peer.format(other)])
        made.append(agents.start(host, toml(text, state=tmp_path)))
    made[0].contend(priority=150)
    made[1].contend(priority=100)
    settle(made[0], made[1])
    assert lan.hosts[0].holds(vip)
    assert not lan.hosts[1].holds(vip)


def test_a_lower_holder_is_preempted_or_not(lan: Lan, agents: Agents, tmp_path: Path) -> None:
    text = toml(vip_toml(), state=tmp_path)
    high, low = (agents.start(host, text) for host in lan.hosts)
    low.contend(priority=100)
    wait(lambda: low.told("vip-acquired"))
    high.contend(priority=150, preempt=False)
    wait(lambda: high.told("mismatch-detected"), what="preempt-off said")
    assert (high.role(), low.role()) == ("backup", "active")
    high.contend(priority=150, preempt=True)
    settle(high, low)
    wait(lambda: low.told("vip-released"))
    assert lan.hosts[0].holds(VIP)
    assert not lan.hosts[1].holds(VIP)


def test_version_2_with_a_password(lan: Lan, agents: Agents, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("1111\n")
    vip = vip_toml(version=2, advert_interval_ms=1000, auth_password_file=str(password))
    high, low = (agents.start(host, toml(vip, state=tmp_path)) for host in lan.hosts)
    high.contend(priority=250)
    wait(lambda: high.role() == "active")
    low.contend(priority=100)
    wait(lambda: low.vip().active_priority == 250, what="the password accepted")
