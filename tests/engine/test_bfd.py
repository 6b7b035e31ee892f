"""BFD in the engine: two of them as each other's neighbour, and what a stranger may send."""

import contextlib
import select
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from haman.core.announcements import BfdReport
from haman.core.bfd.packet import ControlPacket, SessionState, decode, encode
from haman.engine.bfd import TOLD_MAX
from tests.engine.conftest import Agents
from tests.engine.net import Agent, Host, Lan, toml, wait

pytestmark = pytest.mark.privileged

ADDRESSES = {4: ("10.77.0.11", "10.77.0.12"), 6: ("2001:db8::11", "2001:db8::12")}


def neighbor(
    name: str, address: str, local: str, interval_ms: int = 50, multiplier: int = 3
) -> str:
    return (
        f'[[bgp.neighbor]]\nname = "{name}"\naddress = "{address}"\nlocal_address = "{local}"\n'
        f"peer_as = 65000\nbfd = {{ interval_ms = {interval_ms}, multiplier = {multiplier} }}\n"
    )


def bgp(*neighbors: str, state: Path) -> str:
    return toml('[bgp]\nlocal_as = 65001\nrouter_id = "10.77.0.11"', *neighbors, state=state)


def bfd(agent: Agent, name: str = "other") -> BfdReport:
    agent.poll()
    reports = agent.report.bfd if agent.report else ()
    return next((r for r in reports if r.neighbor == name), BfdReport(name, "none", 0))


def neighbors(agent: Agent) -> list[str]:
    agent.poll()
    return [r.neighbor for r in agent.report.bfd] if agent.report else []


def is_up(agent: Agent, name: str = "other") -> Callable[[], bool]:
    return lambda: bfd(agent, name).state == "up"


class Pair:
    """Two engines, BFD in both families between them."""

    def __init__(self, lan: Lan, agents: Agents, state: Path) -> None:
        self.lan, self.state = lan, state
        self.agents = [
            agents.make(host, self.config(place)) for place, host in enumerate(lan.hosts)
        ]

    def config(self, place: int, interval_ms: int = 50, families: tuple[int, ...] = (4, 6)) -> str:
        ends = {4: "other", 6: "other6"}
        return bgp(
            *(
                neighbor(
                    ends[family],
                    ADDRESSES[family][1 - place],
                    ADDRESSES[family][place],
                    interval_ms,
                )
                for family in families
            ),
            state=self.state,
        )

    def states(self) -> list[str]:
        return [bfd(a, name).state for a in self.agents for name in ("other", "other6")]

    def start(self) -> None:
        for agent in self.agents:
            agent.start()
        wait(lambda: self.states() == ["up"] * 4, 15, "all sessions up")
        self.negotiated(150)

    def negotiated(self, detection_ms: float) -> None:
        """Wait until a poll sequence has brought both ends to this detection time."""
        for agent in self.agents:
            wait(
                lambda agent=agent: bfd(agent).detection_ms == detection_ms,  # type: ignore[misc]
                10,
                f"a detection time of {detection_ms} ms",
            )

    def reload(self, place: int, config: str) -> None:
        agent = self.agents[place]
        before = len(agent.told("reloaded"))
        agent.config.write_text(config)
        agent.send(signal.SIGHUP)
        wait(lambda: len(agent.told("reloaded")) > before, what="the reload")


@pytest.fixture
def pair(lan: Lan, agents: Agents, tmp_path: Path) -> Pair:
    return Pair(lan, agents, tmp_path)


def test_sessions_come_up_poll_down_to_the_interval_and_are_counted(pair: Pair) -> None:
    pair.start()
    first = pair.agents[0]
    assert {e.data["neighbor"] for e in first.told("bfd-up")} == {"other", "other6"}
    assert bfd(first).since_ns > 0
    assert (bfd(first).diagnostic, bfd(first).problem) == ("", "")
    wait(lambda: first.counter("bfd_packets_sent") > 20)
    wait(lambda: first.counter("bfd_packets_received") > 20)
    assert first.told("bfd-down") == []


def test_a_neighbour_that_hangs_is_noticed_and_comes_back(pair: Pair) -> None:
    pair.start()
    first, second = pair.agents
    second.send(signal.SIGSTOP)
    wait(lambda: len(first.told("bfd-down")) == 2, what="silence noticed")
    event = first.told("bfd-down")[0]
    expired = "Control Detection Time Expired"
    assert event.data["diagnostic"] == expired
    assert event.reasons[0].code == "bfd-silence"
    assert "silent for 150 ms" in event.text
    wait(lambda: bfd(first).diagnostic == expired, what="the report")
    second.send(signal.SIGCONT)

    def given_up() -> set[object]:
        told = [e.data for e in second.told("bfd-down")]
        return {d["neighbor"] for d in told if d["remote_diagnostic"] == expired}

    wait(lambda: given_up() == {"other", "other6"}, what="told that it was given up")
    wait(lambda: pair.states() == ["up"] * 4, 15, "up again")


def test_an_engine_that_ends_says_so(pair: Pair) -> None:
    pair.start()
    first, second = pair.agents
    assert second.end() == 0
    wait(lambda: len(first.told("bfd-down")) == 2, what="the farewell")
    for event in first.told("bfd-down"):
        assert event.data["diagnostic"] == "Neighbor Signaled Session Down"
        assert event.data["remote_diagnostic"] == "Administratively Down"
    assert {e.reasons[0].code for e in second.told("bfd-down")} == {"bfd-admin-down"}


def test_an_engine_that_is_killed_is_noticed_by_its_silence(pair: Pair) -> None:
    pair.start()
    first, second = pair.agents
    second.send(signal.SIGKILL)
    wait(lambda: len(first.told("bfd-down")) == 2, what="silence noticed")
    # The port refuses what is sent to a socket that is no more: a hint for the operator.
    wait(lambda: "refuses BFD" in bfd(first).problem, what="the hint")
    second.start()
    wait(lambda: pair.states() == ["up"] * 4, 15, "up again, with another discriminator")
    assert bfd(first).problem == ""


def test_a_reload_that_changes_nothing_disturbs_nothing(pair: Pair) -> None:
    pair.start()
    before = [bfd(pair.agents[0], name).since_ns for name in ("other", "other6")]
    pair.reload(0, pair.config(0))
    sent = pair.agents[1].counter("bfd_packets_received")
    wait(lambda: pair.agents[1].counter("bfd_packets_received") > sent + 40, what="a while")
    assert [bfd(pair.agents[0], name).since_ns for name in ("other", "other6")] == before
    assert all(a.told("bfd-down") == [] for a in pair.agents)


def test_a_reload_changes_intervals_by_a_poll_while_the_session_stays_up(pair: Pair) -> None:
    pair.start()
    for interval_ms in (200, 30):
        pair.reload(0, pair.config(0, interval_ms))
        pair.negotiated(3 * max(interval_ms, 50))
    assert all(a.told("bfd-down") == [] for a in pair.agents)


def test_a_reload_that_removes_a_session_says_admin_down_and_leaves_the_others(pair: Pair) -> None:
    pair.start()
    first, second = pair.agents
    pair.reload(0, pair.config(0, families=(6,)))
    wait(lambda: bool(second.told("bfd-down")), what="the farewell")
    (event,) = second.told("bfd-down")
    assert event.data["neighbor"] == "other"
    assert event.data["remote_diagnostic"] == "Administratively Down"
    wait(lambda: neighbors(first) == ["other6"], what="the report without it")
    pair.reload(0, pair.config(0))
    wait(lambda: pair.states() == ["up"] * 4, 15, "it is back")


def test_an_address_that_comes_later(lan: Lan, agents: Agents, tmp_path: Path) -> None:
    one, two = lan.hosts
    mine = bgp(neighbor("other", two.address, "10.77.0.99"), state=tmp_path)
    theirs = bgp(neighbor("other", "10.77.0.99", two.address), state=tmp_path)
    first, second = agents.start(one, mine), agents.start(two, theirs)
    wait(lambda: "does not have the local address 10.77.0.99" in bfd(first).problem, what="why")
    assert bfd(first).state == "down"
    assert [e.text for e in first.told("socket-failed")]
    one.run("ip addr add 10.77.0.99/24 dev eth0")
    wait(lambda: bfd(first).state == bfd(second).state == "up", 15, "up with the address")
    assert bfd(first).problem == ""


def test_a_port_that_another_program_has(lan: Lan, agents: Agents, tmp_path: Path) -> None:
    one, two = lan.hosts
    with one.inside():
        squatter = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        squatter.bind(("", 3784))
    with squatter:
        first = agents.start(one, bgp(neighbor("other", two.address, one.address), state=tmp_path))
        wait(lambda: "another program has UDP port 3784" in bfd(first).problem, what="why")
    wait(lambda: bfd(first).problem != "", what="the report")
    wait(lambda: "another program" not in bfd(first).problem, what="the port is free again")


class Stranger:
    """A neighbour made by hand, at the second host."""

    def __init__(self, host: Host, family: int) -> None:
        mine, theirs = ADDRESSES[family][1], ADDRESSES[family][0]
        self.level = socket.IPPROTO_IP if family == 4 else socket.IPPROTO_IPV6
        self.ttl = socket.IP_TTL if family == 4 else socket.IPV6_UNICAST_HOPS
        af = socket.AF_INET if family == 4 else socket.AF_INET6
        with host.inside():
            self.listening = socket.socket(af, socket.SOCK_DGRAM)
            self.sending = socket.socket(af, socket.SOCK_DGRAM)
        self.listening.bind((mine, 3784))
        self.listening.settimeout(5)
        self.sending.bind((mine, 50000))
        self.to = (theirs, 3784)

    def hear(self) -> tuple[ControlPacket, int]:
        """The engine's next packet, and the port that it came from."""
        data, (_, port, *_) = self.listening.recvfrom(100)
        return decode(data, ttl=255), port

    def silent_for(self, seconds: float) -> bool:
        """Whether nothing comes in this time; one packet is taken if not."""
        if not select.select([self.listening], [], [], seconds)[0]:
            return True
        self.listening.recv(100)
        return False

    def say(self, data: bytes, ttl: int = 255) -> None:
        self.sending.setsockopt(self.level, self.ttl, ttl)
        self.sending.sendto(data, self.to)

    def close(self) -> None:
        self.listening.close()
        self.sending.close()


DOWN = ControlPacket(SessionState.DOWN, 0, 77, 0, 3, 1_000_000, 50_000)


@pytest.fixture(params=[4, 6])
def met(
    request: pytest.FixtureRequest, lan: Lan, agents: Agents, tmp_path: Path
) -> Iterator[tuple[Agent, Stranger]]:
    family = request.param
    mine, theirs = ADDRESSES[family]
    with contextlib.closing(Stranger(lan.hosts[1], family)) as stranger:
        agent = agents.start(lan.hosts[0], bgp(neighbor("other", theirs, mine), state=tmp_path))
        yield agent, stranger


def test_rfc5881_what_is_not_from_this_link_or_wrong_is_dropped_counted_and_told(
    met: tuple[Agent, Stranger],
) -> None:
    agent, stranger = met
    packet, port = stranger.hear()
    assert (packet.state, packet.your_discriminator) == (SessionState.DOWN, 0)
    assert 49152 <= port <= 65535
    good = encode(DOWN)
    wrong = {
        "ttl": (good, 254),
        "version": (b"\x40" + good[1:], 255),
        "length": (good[:20], 255),
        "detect-mult": (good[:2] + b"\0" + good[3:], 255),
        "your-discriminator": (good[:8] + b"\0\0\0\1" + good[12:], 255),
        "authentication": (good[:1] + b"\x44" + good[2:3] + b"\x1c" + good[4:] + b"\1\4\1x", 255),
    }
    for reason, (data, ttl) in wrong.items():
        stranger.say(data, ttl)
        wait(lambda r=reason: agent.counter(f"bfd_discarded:{r}") == 1, what=reason)  # type: ignore[misc]
        wait(lambda: "its packets are dropped" in bfd(agent).problem, what="the problem")
    assert "authentication, which is not supported" in bfd(agent).problem
    assert bfd(agent).state == "down"
    stranger.say(good)
    wait(lambda: bfd(agent).state == "init", what="a good one is taken in")
    assert bfd(agent).problem == ""


def test_a_neighbour_in_demand_mode_is_left_in_peace_and_answered(
    met: tuple[Agent, Stranger],
) -> None:
    agent, stranger = met
    packet, _ = stranger.hear()
    mine = packet.my_discriminator
    stranger.say(encode(DOWN))
    wait(lambda: bfd(agent).state == "init")
    up = ControlPacket(
        SessionState.UP, 0, 77, mine, 10, 20_000_000, 50_000, demand=True, final=True
    )
    stranger.say(encode(up))
    wait(is_up(agent))
    stranger.say(encode(up))  # the poll that began with up has ended
    wait(lambda: stranger.silent_for(1), 20, "silence")
    asked = ControlPacket(SessionState.UP, 0, 77, mine, 10, 20_000_000, 50_000, poll=True)
    stranger.say(encode(asked))
    assert stranger.hear()[0].final


def test_a_flood_of_rubbish_is_counted_and_not_told_each_time(met: tuple[Agent, Stranger]) -> None:
    agent, stranger = met
    stranger.hear()
    for _ in range(2000):
        stranger.say(b"\xff" * 30)
    wait(lambda: agent.counter("bfd_discarded:version") > 100, what="the flood is counted")
    assert len(agent.told("packet-dropped")) <= 2
    stranger.say(encode(DOWN))
    wait(lambda: bfd(agent).state == "init", what="served after the flood")


def test_a_neighbour_that_flaps_with_each_packet_does_not_fill_the_journal(
    met: tuple[Agent, Stranger],
) -> None:
    agent, stranger = met
    mine = stranger.hear()[0].my_discriminator
    init = replace(DOWN, state=SessionState.INIT, your_discriminator=mine)
    taken = agent.counter("bfd_packets_received")
    for _ in range(TOLD_MAX):
        stranger.say(encode(init))
        stranger.say(encode(replace(init, state=SessionState.DOWN)))
    wait(lambda: agent.counter("bfd_packets_received") == taken + 2 * TOLD_MAX)
    assert len(agent.told("bfd-up")) == len(agent.told("bfd-down")) == TOLD_MAX // 2
    stranger.say(encode(init))
    wait(is_up(agent), what="the state is reported all the same")
