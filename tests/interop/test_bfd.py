"""BFD with FRR's bfdd and with BIRD 2, in both families; tshark judges what was on the wire."""

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bgp.routers import FRR_DAEMONS
from tests.engine.net import Agent, Lan, wait
from tests.engine.test_bfd import bfd, bgp, neighbor
from tests.interop.bfd_routers import THEM, US, BirdBfd, FrrBfd, Peer, speaker
from tests.interop.peers import Capture

pytestmark = [
    pytest.mark.privileged,
    pytest.mark.real("frr"),
    pytest.mark.real("bird2"),
    pytest.mark.skipif(
        not all(map(shutil.which, ("bird", "vtysh", "tshark", "tcpdump", "nft")))
        or not (FRR_DAEMONS / "bfdd").exists(),
        reason="needs frr, bird2, tshark, tcpdump and nftables",
    ),
]

CASES = [(kind, family) for kind in (FrrBfd, BirdBfd) for family in (4, 6)]
HALF = pytest.mark.parametrize(
    "session", [(FrrBfd, 4), (BirdBfd, 6)], indirect=True, ids=["frr-ipv4", "bird-ipv6"]
)
OTHER_HALF = pytest.mark.parametrize(
    "session", [(FrrBfd, 6), (BirdBfd, 4)], indirect=True, ids=["frr-ipv6", "bird-ipv4"]
)


@dataclass
class Session:
    """haman at the first host, a router at the second, 50 ms × 3 wanted by both."""

    lan: Lan
    family: int
    agent: Agent
    peer: Peer
    capture: Capture
    directory: Path

    def config(self, interval_ms: int = 50) -> str:
        ours = neighbor("other", THEM[self.family], US[self.family], interval_ms)
        return bgp(ours, state=self.directory)

    def both_up(self, within_s: float = 20) -> None:
        wait(
            lambda: bfd(self.agent).state == "up" and self.peer.up(),
            within_s,
            f"both ends up: {bfd(self.agent)}",
        )

    def negotiated(self, detection_ms: float) -> None:
        wait(
            lambda: bfd(self.agent).detection_ms == detection_ms,
            10,
            f"{detection_ms} ms: {bfd(self.agent)}",
        )

    def filter(self, host: int, hook: str, verdict: str) -> None:
        """What nftables at this host does with control packets that come in, or go out."""
        rule = f"udp dport 3784 {verdict}"
        self.lan.hosts[host].run(
            f"nft 'table inet bfd {{ chain c {{ type filter hook {hook} priority 0; {rule}; }}; }}'"
        )

    def unfilter(self, host: int) -> None:
        self.lan.hosts[host].run("nft delete table inet bfd")

    def written(self, condition: str) -> bool:
        """Whether the capture has such a packet; while it goes on its last one may be half there."""
        with contextlib.suppress(subprocess.CalledProcessError):
            return bool(self.capture.rows(f"bfd && {condition}", "frame.number"))
        return False

    def rows(self, condition: str, *fields: str) -> list[str]:
        """The capture, once it is closed; packets quoted by ICMP errors left out."""
        self.capture.close()
        return self.capture.rows(f"bfd && !icmp && !icmpv6 && ({condition})", *fields)


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].name}-ipv{case[1]}")
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Session]:
    kind, family = request.param
    lan = Lan(2)
    capture = Capture(lan.hosts[0], tmp_path / "wire.pcap")
    peer = kind(lan.hosts[1], family)
    made = Session(lan, family, Agent(lan.hosts[0], tmp_path, ""), peer, capture, tmp_path)
    made.agent.config.write_text(made.config())
    made.agent.start()
    yield made
    made.agent.close()
    peer.router.close()
    capture.close()
    lan.close()


def test_up_and_intervals_changed_by_either_end(session: Session) -> None:
    agent, peer = session.agent, session.peer
    session.both_up()
    session.negotiated(150)

    agent.config.write_text(session.config(100))
    agent.send(signal.SIGHUP)
    session.negotiated(300)
    peer.interval(200)
    session.negotiated(600)
    agent.config.write_text(session.config(300))
    agent.send(signal.SIGHUP)
    session.negotiated(900)
    peer.interval(50)
    agent.config.write_text(session.config(50))
    agent.send(signal.SIGHUP)
    session.negotiated(150)
    assert peer.up()
    assert agent.told("bfd-down") == []
    assert [name for name in agent.report.counters if name.startswith("bfd_discarded")] == []  # type: ignore[union-attr]

    assert session.rows("_ws.malformed || _ws.expert.severity >= 6291456", "frame.number") == []
    source = "ip.src" if session.family == 4 else "ipv6.src"
    for end in (US, THEM):
        for flag in ("p", "f"):
            asked = f"{source} == {end[session.family]} && bfd.flags.{flag} == 1"
            assert session.rows(asked, "frame.number"), f"{end[session.family]}: no {flag}"
    ours = f"{source} == {US[session.family]}"
    ttl = "ip.ttl" if session.family == 4 else "ipv6.hlim"
    assert set(session.rows(ours, ttl)) == {"255"}
    (port,) = set(session.rows(ours, "udp.srcport"))
    assert 49152 <= int(port) <= 65535
    slow = session.rows(f"{ours} && bfd.sta != 3", "bfd.desired_min_tx_interval")
    assert set(slow) == {"1000000"}


def test_silence_of_either_end_is_seen_by_the_other(session: Session) -> None:
    agent, peer = session.agent, session.peer
    session.both_up()
    session.negotiated(150)

    session.filter(1, "input", "drop")
    wait(lambda: not peer.up(), what="the router sees our silence")
    wait(lambda: bool(agent.told("bfd-down")), what="it says so")
    first = agent.told("bfd-down")[0]
    assert first.data["diagnostic"] == "Neighbor Signaled Session Down"
    assert first.data["remote_diagnostic"] == "Control Detection Time Expired"
    if isinstance(peer, FrrBfd):
        assert peer.why_down() == "control detection time expired"
    session.unfilter(1)
    session.both_up()
    session.negotiated(150)

    session.filter(0, "input", "drop")
    wait(lambda: len(agent.told("bfd-down")) == 2, what="we see the router's silence")
    second = agent.told("bfd-down")[1]
    assert second.data["diagnostic"] == "Control Detection Time Expired"
    wait(lambda: not peer.up(), what="and the router hears of it")
    source = "ip.src" if session.family == 4 else "ipv6.src"
    said = f"{source} == {US[session.family]} && bfd.sta == 1 && bfd.diag == 1"
    wait(lambda: session.written(said), what="our word why, on the wire")
    session.unfilter(0)
    session.both_up()


@OTHER_HALF
def test_rfc5881_packets_that_crossed_a_router_are_dropped_by_either_end(session: Session) -> None:
    agent, peer = session.agent, session.peer
    set_ttl = "ip ttl set 254" if session.family == 4 else "ip6 hoplimit set 254"
    session.both_up()
    session.negotiated(150)

    session.filter(1, "output", set_ttl)
    wait(lambda: bool(agent.told("bfd-down")), what="we drop theirs")
    assert agent.told("bfd-down")[0].data["diagnostic"] == "Control Detection Time Expired"
    wait(lambda: "TTL 254, expected 255" in bfd(agent).problem, what="why")
    assert agent.counter("bfd_discarded:ttl") > 0
    session.unfilter(1)
    session.both_up()
    session.negotiated(150)

    session.filter(0, "output", set_ttl)
    wait(lambda: len(agent.told("bfd-down")) == 2, what="they drop ours")

    def why() -> set[object]:  # with the word that it is down, or in one of those that follow
        return {agent.told("bfd-down")[1].data["remote_diagnostic"], bfd(agent).remote_diagnostic}

    wait(lambda: "Control Detection Time Expired" in why(), what="why")
    assert not peer.up()
    session.unfilter(0)
    session.both_up()


@HALF
def test_admin_down_of_either_end(session: Session) -> None:
    agent, peer = session.agent, session.peer
    bgp_speaker = speaker(session.lan.hosts[0], session.family)
    try:
        session.both_up()
        wait(peer.bgp_established, 20, "BGP")
        if isinstance(peer, FrrBfd):  # BIRD has none: what it removes falls silent
            peer.admin_down()
            wait(lambda: bool(agent.told("bfd-down")), what="the router's admin down")
            signaled = agent.told("bfd-down")[0].data["diagnostic"]
            assert signaled == "Neighbor Signaled Session Down"
            # RFC 5882 section 4.2: no reason to touch BGP, and it is not.
            assert peer.bgp_established()
            peer.admin_up()
            session.both_up()
        assert agent.end() == 0
        wait(lambda: not peer.up(), what="our admin down")
        if isinstance(peer, FrrBfd):
            assert peer.why_we_are_down() == "administratively down"
            assert peer.why_down() == "neighbor signaled session down"
    finally:
        bgp_speaker.close()
    source = "ip.src" if session.family == 4 else "ipv6.src"
    said = f"{source} == {US[session.family]} && bfd.sta == 0"
    wait(lambda: session.written(said), what="the word on the wire")  # tcpdump writes in blocks
    assert session.rows(said, "bfd.diag") == ["0x07"]


@OTHER_HALF
def test_a_router_that_restarts_is_taken_back_with_another_discriminator(session: Session) -> None:
    agent, peer = session.agent, session.peer
    session.both_up()
    if isinstance(peer, FrrBfd):
        peer.router.kill("bfdd")
        wait(lambda: bool(agent.told("bfd-down")), what="its silence")
        wait(lambda: "refuses BFD" in bfd(agent).problem, what="the hint")
        peer.router.start("bfdd")
    else:
        peer.router.birdc("restart", "liveness")
    session.both_up()
    assert bfd(agent).problem == ""
