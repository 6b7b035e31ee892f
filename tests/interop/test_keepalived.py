"""haman and keepalived as the two halves of a pair: every version, family and way of addressing."""

import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.net import Agent, Lan, toml, vip_toml, wait
from tests.interop.peers import Capture, Keepalived, keepalived_conf, rejects, wrong

pytestmark = [
    pytest.mark.privileged,
    pytest.mark.real("keepalived"),
    pytest.mark.skipif(
        not all(map(shutil.which, ("keepalived", "tshark", "tcpdump"))),
        reason="needs keepalived, tshark and tcpdump",
    ),
]


@dataclass(frozen=True)
class Case:
    version: int
    family: int
    unicast: bool

    @property
    def address(self) -> str:
        return "10.77.0.100/24" if self.family == 4 else "2001:db8::100/64"

    @property
    def hosts(self) -> tuple[str, str]:
        return (
            ("10.77.0.11", "10.77.0.12") if self.family == 4 else ("2001:db8::11", "2001:db8::12")
        )

    @property
    def interval_ms(self) -> int:
        return 1000 if self.version == 2 else 100

    def __str__(self) -> str:
        return f"v{self.version}-ipv{self.family}-{'unicast' if self.unicast else 'multicast'}"


STALL_S = 1.0
"""A busy machine may stand still this long. With adverts every second it still tells a peer that
heard priority 0 (within an interval) from one that waited for silence (3.6 intervals)."""

CASES = [
    Case(version, family, unicast)
    for version, family in ((2, 4), (3, 4), (3, 6))
    for unicast in (False, True)
]


@dataclass
class Pair:
    """haman on the first host, keepalived (priority 100) on the second."""

    case: Case
    lan: Lan
    agent: Agent
    keepalived: Keepalived
    capture: Capture

    def haman_holds(self) -> bool:
        return self.agent.role() == "active" and self.lan.hosts[0].holds(self.case.address)

    def keepalived_holds(self) -> bool:
        self.agent.poll()
        return self.lan.hosts[1].holds(self.case.address)

    def wait_for(self, *, haman: bool, keepalived: bool, what: str, within_s: float) -> float:
        took = wait(
            lambda: self.haman_holds() == haman and self.keepalived_holds() == keepalived,
            within_s,
            f"{what} (haman {self.agent.role()}, its address {self.haman_holds()}, "
            f"keepalived's {self.keepalived_holds()})",
        )
        print(f"{self.case}: {what}: {took * 1e3:.0f} ms")  # noqa: T201 - shown with -s
        return took


@pytest.fixture(params=CASES, ids=str)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    case: Case = request.param
    lan = Lan(2)
    mine, theirs = case.hosts
    unicast = (theirs, mine) if case.unicast else ("", "")
    keepalived = Keepalived(
        lan.hosts[1],
        tmp_path,
        keepalived_conf(
            priority=100,
            version=case.version,
            interval_s=case.interval_ms / 1000,
            addresses=[case.address],
            unicast=unicast,
        ),
    )
    vip = vip_toml(
        addresses=[case.address],
        version=case.version,
        advert_interval_ms=case.interval_ms,
        unicast_peers=[theirs] if case.unicast else [],
    )
    agent = Agent(lan.hosts[0], tmp_path, toml(vip, state=tmp_path))
    capture = Capture(lan.hosts[0], tmp_path / "wire.pcap")
    yield Pair(case, lan, agent, keepalived, capture)
    agent.close()
    keepalived.close()
    capture.close()
    lan.close()


def test_the_pair(pair: Pair) -> None:
    case, agent, keepalived = pair.case, pair.agent, pair.keepalived
    silence_s = 4 * case.interval_ms / 1000 + 2

    keepalived.start()
    wait(pair.keepalived_holds, silence_s, "keepalived alone")
    agent.start().contend(priority=150)
    pair.wait_for(haman=True, keepalived=False, what="haman preempts", within_s=silence_s + 2)

    agent.contend(priority=50)
    pair.wait_for(haman=False, keepalived=True, what="keepalived preempts", within_s=silence_s)
    agent.contend(priority=150)
    pair.wait_for(haman=True, keepalived=False, what="haman preempts again", within_s=silence_s)

    agent.send(signal.SIGKILL)
    took = pair.wait_for(haman=False, keepalived=True, what="haman killed", within_s=silence_s)
    # The guard's priority 0: keepalived waits for its skew (156/256 of an interval) alone.
    assert took < case.interval_ms / 1000 + STALL_S

    agent.start().contend(priority=50)
    wait(lambda: agent.vip().active_priority == 100, what="haman hears keepalived")
    keepalived.stop()
    took = pair.wait_for(haman=True, keepalived=False, what="keepalived stops", within_s=silence_s)
    assert took < case.interval_ms / 1000 + STALL_S

    keepalived.start()
    pair.wait_for(haman=False, keepalived=True, what="keepalived is back", within_s=silence_s)
    agent.contend(priority=150)
    pair.wait_for(haman=True, keepalived=False, what="haman preempts, the last", within_s=silence_s)
    assert agent.end() == 0
    took = pair.wait_for(haman=False, keepalived=True, what="haman stops", within_s=silence_s)
    assert took < case.interval_ms / 1000 + STALL_S

    agent.start().contend(priority=50)
    wait(lambda: agent.vip().active_priority == 100, what="haman hears keepalived")
    keepalived.kill()
    # keepalived leaves its address behind when it is killed; that haman serves is what counts.
    took = wait(pair.haman_holds, silence_s, "keepalived killed")
    assert took > 2 * case.interval_ms / 1000

    pair.capture.close()
    assert wrong(pair.capture) == []
    assert rejects(keepalived) == []
    spoke = set(pair.capture.rows("vrrp && !icmp && !icmpv6", "ip.src", "ipv6.src"))
    assert len(spoke) == 2, f"adverts of both: {spoke}"
    assert agent.errors() == []
    if case.family == 4:
        # On promotion the advert comes first, then the address, then its announcement.
        mac = pair.lan.hosts[0].mac("eth0")
        said = f"vrrp && eth.src == {mac} && !icmp"
        ours = f"({said}) || (arp.src.proto_ipv4 == 10.77.0.100 && eth.src == {mac})"
        assert "vrrp" in pair.capture.rows(ours, "frame.protocols")[0]
