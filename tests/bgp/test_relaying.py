"""The relay's core: time, declarations and ExaBGP's lines in; lines for ExaBGP out."""

import json
import re
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haman.bgp.grammar import SHOW_NEIGHBORS, SHOW_ROUTES
from haman.bgp.lease import Lease, LeaseState
from haman.bgp.messages import Declaration
from haman.bgp.relaying import (
    ACK_NS,
    QUIET_POLL_NS,
    RECONCILE_NS,
    RETRY_NS,
    WINDOW,
    DeclarationReceived,
    LineRead,
    Relaying,
    TimePassed,
)
from haman.core.announcements import Announcement

S = 1_000_000_000
TOR = "10.0.1.1"
RIB = (
    "neighbor {tor} local-ip 10.0.1.2 local-as 65001 peer-as 65000 router-id 10.0.1.2"
    " family-allowed in-open ipv4 unicast {prefix} next-hop 10.0.1.2{more}"
)


class Exabgp:
    """Answers what it is told, as ExaBGP would, when it is let."""

    def __init__(self, shut_ms: int = 0, withdraw_ms: int = 0) -> None:
        self.now = 0
        self.core = Relaying(0, shut_ms, withdraw_ms)
        self.asked: list[str] = []
        self.said: list[str] = []
        self.truth: dict[str, str] = {}
        self.rib: list[str] | None = None
        self.fsm = {TOR: "ESTABLISHED"}

    def take(self, lines: tuple[str, ...]) -> None:
        self.asked += lines
        self.said += [line for line in lines if not line.startswith("show")]

    def declare(self, *announcements: Announcement, **more) -> None:
        keys = {"shut": 0, "withdraw": 0, "neighbors": (TOR,), "generation": 1, **more}
        declaration = Declaration(
            keys["generation"],
            65001,
            tuple(ip_address(n) for n in keys["neighbors"]),
            announcements,
            keys["shut"],
            keys["withdraw"],
        )
        self.take(self.core.step(DeclarationReceived(declaration), self.now))

    def read(self, *lines: str) -> None:
        for line in lines:
            self.take(self.core.step(LineRead(line), self.now))

    def answer(self, word: str = "done") -> str:
        """The oldest question or command, answered."""
        asked = self.asked.pop(0)
        if asked == SHOW_ROUTES:
            told = [RIB.format(tor=TOR, prefix=p, more=m) for p, m in self.truth.items()]
            self.read(*(told if self.rib is None else self.rib))
        elif asked == SHOW_NEIGHBORS:
            self.read(json.dumps([{"peer": {"address": a}, "fsm": f} for a, f in self.fsm.items()]))
        elif word == "done":
            self.accept(asked)
        self.read(word)
        return asked

    def accept(self, line: str) -> None:
        """Into the RIB, or out of it; printed as ExaBGP prints one value."""
        words = line.split()
        prefix, more = words[words.index("route") + 1], line.partition("next-hop self")[2]
        if "announce" in words:
            more = re.sub(r"bandwidth:(\d+):(\d+)", bandwidth, more)
            self.truth[prefix] = re.sub(r"\[ (\S+) \]", r"\1", more)
        else:
            self.truth.pop(prefix, None)

    def answer_all(self) -> None:
        while self.asked:
            self.answer()

    def wait(self, ns: int) -> None:
        self.now += ns
        self.take(self.core.step(TimePassed(), self.now))

    @property
    def seen(self):
        return self.core.snapshot()


def bandwidth(found: re.Match[str]) -> str:
    value = struct.pack(">HHf", 0x4004, int(found[1]), float(found[2]))
    return f"0x{value.hex().upper()}"


def edge(*prefixes: str, **more) -> Announcement:
    return Announcement("edge", prefixes or ("192.0.2.1/32",), **more)


@pytest.fixture
def exabgp() -> Exabgp:
    made = Exabgp()
    made.wait(0)
    made.answer_all()
    return made


def test_what_is_declared_is_said_once_and_reported_when_acknowledged(exabgp: Exabgp) -> None:
    wanted = edge(weight=5, communities=("65001:9", "65001:1"))
    exabgp.declare(wanted)
    assert exabgp.said == [
        (
            "neighbor 10.0.1.1 announce route 192.0.2.1/32 next-hop self"
            " community [ 65001:1 65001:9 ] extended-community [ bandwidth:65001:625000 ]"
        )
    ]
    assert exabgp.seen.announced == ()
    assert not exabgp.seen.settled
    exabgp.answer_all()
    exabgp.declare(wanted)
    assert len(exabgp.said) == 1
    assert exabgp.seen.announced == (wanted,)
    assert exabgp.seen.settled


def test_a_change_is_one_announcement_in_place(exabgp: Exabgp) -> None:
    exabgp.declare(edge(weight=100))
    exabgp.answer_all()
    exabgp.said.clear()
    exabgp.declare(edge(shut=True, weight=100))
    (line,) = exabgp.said
    assert "announce route 192.0.2.1/32" in line
    assert "[ 65535:0 ]" in line


def test_one_command_about_a_prefix_is_in_flight_at_most(exabgp: Exabgp) -> None:
    for weight in (1, 2, 1, 3):
        exabgp.declare(edge(weight=weight))
    assert len(exabgp.said) == 1
    exabgp.answer_all()
    assert len(exabgp.said) == 2  # 2 and 1 were never said
    assert "bandwidth:65001:375000" in exabgp.said[1]
    assert exabgp.seen.announced == (edge(weight=3),)


def test_announcements_come_before_withdrawals(exabgp: Exabgp) -> None:
    exabgp.declare(edge("192.0.2.1/32"))
    exabgp.answer_all()
    exabgp.said.clear()
    exabgp.declare(edge("192.0.2.2/32"))
    assert [line.split()[2] for line in exabgp.said] == ["announce", "withdraw"]
    exabgp.answer_all()
    assert exabgp.seen.announced == (edge("192.0.2.2/32"),)


def test_each_prefix_goes_to_the_sessions_of_its_family(exabgp: Exabgp) -> None:
    both = edge("192.0.2.1/32", "2001:db8::1/128")
    exabgp.declare(both, neighbors=(TOR, "2001:db8:1::1", "10.0.2.1"))
    assert [line.split(" announce")[0] for line in exabgp.said] == [
        "neighbor 10.0.1.1 , neighbor 10.0.2.1",
        "neighbor 2001:db8:1::1",
    ]
    exabgp.answer_all()
    exabgp.declare(both)
    exabgp.answer_all()
    assert exabgp.seen.announced == (edge("192.0.2.1/32"),)
    assert exabgp.seen.settled


def test_the_window_bounds_what_is_unanswered(exabgp: Exabgp) -> None:
    exabgp.declare(edge(*(f"192.0.2.{n}/32" for n in range(100))))
    assert len(exabgp.asked) == WINDOW
    exabgp.answer()
    assert len(exabgp.asked) == WINDOW
    exabgp.answer_all()
    assert len(exabgp.seen.announced[0].prefixes) == 100


def test_a_refused_command_is_tried_again_and_shown(exabgp: Exabgp) -> None:
    exabgp.declare(edge())
    exabgp.answer("error")
    exabgp.answer_all()
    assert "refused" in exabgp.seen.problem
    assert exabgp.seen.announced == ()
    assert len(exabgp.said) == 1
    exabgp.wait(RETRY_NS)
    assert len(exabgp.said) == 2
    exabgp.answer_all()
    assert exabgp.seen.problem == ""
    assert exabgp.seen.announced == (edge(),)
    assert exabgp.seen.counters["commands_refused"] == 1


def test_a_late_acknowledgement_is_shown_and_never_repeated(exabgp: Exabgp) -> None:
    exabgp.declare(edge())
    for _ in range(20):
        exabgp.wait(ACK_NS)
    assert exabgp.said == exabgp.asked  # no second command, no question behind it
    assert len(exabgp.said) == 1
    assert "does not acknowledge" in exabgp.seen.problem
    assert not exabgp.seen.answers
    assert exabgp.seen.counters["acks_late"] == 1
    exabgp.answer()
    assert exabgp.seen.answers
    assert exabgp.seen.problem == ""
    assert exabgp.asked[0] == SHOW_ROUTES  # it looks whether it missed anything


def test_the_rib_is_looked_at_and_repaired(exabgp: Exabgp) -> None:
    exabgp.declare(edge("192.0.2.1/32", "192.0.2.2/32", med=5))
    exabgp.answer_all()
    exabgp.said.clear()
    exabgp.rib = [
        RIB.format(tor=TOR, prefix="192.0.2.2/32", more=" med 6"),
        RIB.format(tor=TOR, prefix="192.0.2.3/32", more=""),
    ]
    exabgp.wait(RECONCILE_NS)
    exabgp.answer_all()
    assert [line.split()[2:5] for line in exabgp.said] == [
        ["announce", "route", "192.0.2.1/32"],
        ["announce", "route", "192.0.2.2/32"],
        ["withdraw", "route", "192.0.2.3/32"],
    ]
    assert exabgp.seen.counters["reconcile_repairs"] == 3
    exabgp.said.clear()
    exabgp.rib = [
        RIB.format(tor=TOR, prefix=p, more=" med 5") for p in ("192.0.2.1/32", "192.0.2.2/32")
    ]
    exabgp.wait(RECONCILE_NS)
    exabgp.answer_all()
    assert exabgp.said == []


def test_what_changed_during_a_look_is_not_repaired(exabgp: Exabgp) -> None:
    exabgp.declare(edge(med=5))
    exabgp.answer_all()
    exabgp.said.clear()
    exabgp.rib = [RIB.format(tor=TOR, prefix="192.0.2.1/32", more=" med 5")]
    exabgp.wait(RECONCILE_NS)
    exabgp.declare(edge(med=6))
    exabgp.answer_all()
    assert len(exabgp.said) == 1
    assert "reconcile_repairs" not in exabgp.seen.counters


def test_a_session_that_comes_up_is_reason_to_look(exabgp: Exabgp) -> None:
    exabgp.declare(edge())
    exabgp.answer_all()
    exabgp.rib = [RIB.format(tor=TOR, prefix="192.0.2.1/32", more="")]
    exabgp.read(state("down", "peer reset"), state("up"))
    assert SHOW_ROUTES in exabgp.asked


def state(word: str, reason: str = "", tor: str = TOR, at: float = 5.0) -> str:
    neighbor = {"address": {"local": "10.0.1.2", "peer": tor}, "state": word, "reason": reason}
    return json.dumps({"type": "state", "time": at, "neighbor": neighbor})


def test_a_new_relay_adopts_what_is_announced_and_leases_it() -> None:
    exabgp = Exabgp(shut_ms=10_000, withdraw_ms=60_000)
    exabgp.rib = [
        RIB.format(tor=tor, prefix="192.0.2.1/32", more=" community [ 65001:1 65001:2 ]")
        for tor in (TOR, "10.0.2.1")
    ]
    exabgp.wait(0)
    exabgp.answer_all()
    assert exabgp.said == []
    assert exabgp.seen.announced[0].prefixes == ("192.0.2.1/32",)
    assert exabgp.seen.generation == 0
    exabgp.wait(10 * S)
    assert exabgp.said == [
        (
            "neighbor 10.0.1.1 , neighbor 10.0.2.1 announce route 192.0.2.1/32 next-hop self"
            " community [ 65001:1 65001:2 65535:0 ]"
        )
    ]
    exabgp.answer_all()
    exabgp.wait(50 * S)
    assert " withdraw route 192.0.2.1/32" in exabgp.said[1]


def test_without_a_declaration_nothing_is_withdrawn() -> None:
    exabgp = Exabgp()
    exabgp.rib = [RIB.format(tor=TOR, prefix="192.0.2.1/32", more=" local-preference 3")]
    exabgp.wait(0)
    exabgp.answer_all()
    exabgp.wait(RECONCILE_NS)
    exabgp.answer_all()
    assert exabgp.said == []
    exabgp.declare()
    assert exabgp.said == ["neighbor 10.0.1.1 withdraw route 192.0.2.1/32 next-hop self"]


def test_the_lease_goes_down_its_ladder_and_back_in_place(exabgp: Exabgp) -> None:
    exabgp.declare(edge(weight=9), shut=10_000, withdraw=60_000)
    exabgp.answer_all()
    exabgp.said.clear()
    exabgp.wait(10 * S - 1)
    assert (exabgp.seen.lease, exabgp.said) == (LeaseState.HELD, [])
    assert exabgp.core.deadline_ns(exabgp.now) <= exabgp.now + 1
    exabgp.wait(1)
    assert exabgp.seen.lease is LeaseState.SHUT
    exabgp.answer_all()
    assert exabgp.seen.announced == (edge(weight=9, shut=True),)
    exabgp.declare(edge(weight=9), shut=10_000, withdraw=60_000)
    exabgp.answer_all()
    assert exabgp.seen.announced == (edge(weight=9),)
    assert not [line for line in exabgp.said if "withdraw" in line]
    exabgp.wait(60 * S)
    assert exabgp.seen.lease is LeaseState.WITHDRAWN
    exabgp.answer_all()
    assert exabgp.seen.announced == ()
    exabgp.declare(edge(weight=9), shut=10_000, withdraw=60_000)
    exabgp.answer_all()
    assert exabgp.seen.announced == (edge(weight=9),)
    assert (exabgp.seen.counters["lease_shut"], exabgp.seen.counters["lease_withdrawn"]) == (1, 1)


@pytest.mark.parametrize(
    ("shut", "withdraw", "at", "state"),
    [
        (10, 60, 9, LeaseState.HELD),
        (10, 60, 10, LeaseState.SHUT),
        (10, 60, 60, LeaseState.WITHDRAWN),
        (0, 60, 59, LeaseState.HELD),
        (0, 60, 60, LeaseState.WITHDRAWN),
        (10, 0, 10**9, LeaseState.SHUT),
        (0, 0, 10**9, LeaseState.HELD),
        (60, 10, 10, LeaseState.WITHDRAWN),
    ],
)
def test_lease_states(shut: int, withdraw: int, at: int, state: LeaseState) -> None:
    assert Lease(1000, shut, withdraw).state(1000 + at) is state


def test_sessions_are_followed_by_event_and_by_question(exabgp: Exabgp) -> None:
    exabgp.declare()
    exabgp.answer_all()
    assert [(s.address, s.state, s.ups) for s in exabgp.seen.sessions] == [(TOR, "up", 0)]
    exabgp.read(
        state("down", "peer reset, message [notification received (6,2)]"),
        state("connected", at=6),
        state("up", at=7.5),
    )
    (session,) = exabgp.seen.sessions
    assert (session.state, session.since_ns, session.ups, session.downs, session.connects) == (
        *("up", 7_500_000_000),
        *(1, 1, 1),
    )
    assert "(6,2)" in session.reason
    exabgp.read(state("down", at=8), state("connected", at=9), state("down", at=10))
    assert exabgp.seen.sessions[0].since_ns == 8_000_000_000  # tries that fail change nothing
    exabgp.read(state("up", at=11))
    exabgp.answer_all()
    exabgp.fsm = {TOR: "IDLE"}
    exabgp.wait(QUIET_POLL_NS)
    exabgp.answer_all()
    assert exabgp.seen.sessions[0].state == "down"
    exabgp.declare(neighbors=("10.0.2.1",))
    assert exabgp.seen.sessions == ()


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[" * 100_000,
        "{}",
        "[1]",
        '[{"peer": {"address": "rubbish"}, "fsm": "IDLE"}]',
        '{"type": "state"}',
        '{"type": "state", "time": "x", "neighbor": {"address": {"peer": "10.0.1.1"}}}',
        state("levitating"),
        state("up", tor="not an address"),
        '{"type": "state", "time": 1e400, "neighbor": {"address": {"peer": "10.0.1.1"}, "state": "up"}}',
        "shutdown in progress",
        "neighbor nonsense",
    ],
)
def test_what_makes_no_sense_is_counted_and_dropped(exabgp: Exabgp, line: str) -> None:
    exabgp.declare(edge())
    exabgp.answer_all()
    before = exabgp.seen
    exabgp.read(line)
    after = exabgp.seen
    assert (after.announced, after.sessions) == (before.announced, before.sessions)
    unknown = [v for k, v in after.counters.items() if k.endswith("unknown")]
    assert sum(unknown) == 1


prefixes = st.lists(st.sampled_from([f"192.0.2.{n}/32" for n in range(6)]), max_size=4, unique=True)
acts = st.one_of(
    st.tuples(st.just("declare"), prefixes, st.integers(1, 3), st.booleans()),
    st.tuples(st.just("answer"), st.sampled_from(["done", "done", "done", "error"])),
    st.tuples(st.just("wait"), st.integers(0, 20 * S)),
    st.tuples(st.just("noise"), st.sampled_from(["", "done", "{}", state("up"), state("down")])),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(acts, max_size=40))
def test_whatever_happens_it_settles_on_what_was_declared_last(happened: list) -> None:
    """An ExaBGP that does what it acknowledges, and refuses or babbles at times."""
    exabgp = Exabgp(5_000, 30_000)
    wanted: tuple[Announcement, ...] = ()

    for act in happened:
        if act[0] == "declare":
            wanted = (edge(*act[1], med=act[2], shut=act[3]),) if act[1] else ()
            exabgp.declare(*wanted, shut=5_000, withdraw=30_000)
        elif act[0] == "answer" and exabgp.asked:
            exabgp.answer(act[1])
            assert len(exabgp.asked) <= WINDOW
        elif act[0] == "wait":
            exabgp.wait(act[1])
            assert exabgp.core.deadline_ns(exabgp.now) >= exabgp.now
        elif act[0] == "noise":
            exabgp.read(act[1])
    for _ in range(8):
        exabgp.declare(*wanted, shut=5_000, withdraw=30_000)
        exabgp.answer_all()
        exabgp.wait(2 * S)
    exabgp.answer_all()
    exabgp.declare(*wanted, shut=5_000, withdraw=30_000)
    truth = exabgp.truth
    assert set(truth) == {p for a in wanted for p in a.prefixes}
    assert {p for a in exabgp.seen.announced for p in a.prefixes} == set(truth)
    for announcement in wanted:
        for prefix in announcement.prefixes:
            assert f"med {announcement.med}" in truth[prefix]
            assert ("65535:0" in truth[prefix]) is announcement.shut
