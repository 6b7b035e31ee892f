"""Every row of the ladder's table, its timers, and what it says."""

from dataclasses import replace

import pytest

from haman.core.announcements import Announcement, AnycastReport, AnycastStance
from haman.core.handover.steering import TailStanding
from haman.core.ladder import (
    MISSING_NS,
    NS_PER_S,
    ROUTERS_NS,
    WITHDRAWN,
    ConfiguredAnycast,
    Footing,
    Ladder,
    Rung,
    Shed,
    in_force,
)
from haman.core.reports import NodeReport, PeerView
from haman.core.serving import servers
from haman.core.words import Condition, Reason, Stance

EDGE = ConfiguredAnycast("edge")
FULL, HALF, LOW = EDGE.rungs
SHUT = EDGE.shut
DIED = Reason("proxy-died", "the proxy died")
PERMITTED = Reason("shed", "lb2 consented")
BUSY = Reason("saturated-holding", "tls at 96 %")
DRAINED = Reason("drained", "drained by the operator")
FLAPPED = Reason("held-after-flap", "held for 30 s after 3 flaps")

WELL = Footing(Condition.IN_SERVICE)
OTHERS = replace(WELL, servers=("lb2", "lb3"))
UNUSED = replace(OTHERS, unladen=True)
KEEPS = TailStanding(keeps=True, gates=True)
FAULT = Footing(Condition.FAULT, reasons=(DIED,))
HELD_DOWN = Footing(Condition.FAULT, serviceable=True, reasons=(FLAPPED,))
STARTING = Footing(Condition.STARTING)
DRAIN = replace(WELL, drained=True, reasons=(DRAINED,))
HOLD = replace(WELL, holds=(BUSY,))


class Climber:
    """A ladder whose relay does at once as it is told, unless a test says otherwise."""

    def __init__(self, at: Rung = WITHDRAWN, service: ConfiguredAnycast = EDGE) -> None:
        self.ladder = Ladder(service)
        self.now_ns = 0
        self.relay = at
        self.ladder.step(replace(STARTING, in_force=at), 0)

    def step(self, footing: Footing, after_ns: int = 0) -> AnycastStance:
        self.now_ns += after_ns
        stance = self.ladder.step(replace(footing, in_force=self.relay), self.now_ns)
        self.relay = Rung(stance.stance, stance.weight)
        return self.ladder.step(replace(footing, in_force=self.relay), self.now_ns)

    def at(self, footing: Footing, after_ns: int = 0) -> Rung:
        stance = self.step(footing, after_ns)
        return Rung(stance.stance, stance.weight)


def gone(footing: Footing) -> Footing:
    return replace(footing, complete=False)


def among(footing: Footing) -> Footing:
    return replace(footing, servers=("lb2",))


def shed(rung: Rung, footing: Footing = HOLD, *, ordered: bool = False) -> Footing:
    return replace(among(footing), shed=Shed(rung, ordered, (PERMITTED,)))


ROWS = [
    # name, from, footing, to, code of the first reason ("" = none)
    ("fault", FULL, FAULT, WITHDRAWN, "proxy-died"),
    ("fault while shut", SHUT, FAULT, WITHDRAWN, "proxy-died"),
    ("fault, drained and ending", FULL, replace(FAULT, drained=True, ending=True), WITHDRAWN, ""),
    ("fault while nobody else serves: broken is not busy", LOW, FAULT, WITHDRAWN, "proxy-died"),
    ("held down, others serve", WITHDRAWN, among(HELD_DOWN), WITHDRAWN, "held-after-flap"),
    ("held down, nobody else does", WITHDRAWN, HELD_DOWN, SHUT, "last-resort"),
    ("held down, no addresses", WITHDRAWN, gone(HELD_DOWN), WITHDRAWN, "addresses-missing"),
    ("held down, the engine has not spoken", WITHDRAWN, replace(HELD_DOWN, complete=None), WITHDRAWN, "held-after-flap"),
    ("the agent ends", FULL, replace(WELL, ending=True), SHUT, "ending"),
    ("the agent ends, reduced", LOW, replace(OTHERS, ending=True), SHUT, "ending"),
    ("the agent ends, withdrawn", WITHDRAWN, replace(DRAIN, ending=True), WITHDRAWN, "drained"),
    ("drained, others serve", FULL, among(DRAIN), SHUT, "shut-before-withdrawal"),
    ("drained while it climbs", HALF, among(DRAIN), SHUT, "shut-before-withdrawal"),
    ("drained, nobody else serves", FULL, DRAIN, SHUT, "last-resort"),
    ("drained and withdrawn, the others went", WITHDRAWN, DRAIN, SHUT, "last-resort"),
    ("drained, starting, not announced", WITHDRAWN, replace(STARTING, drained=True), WITHDRAWN, ""),
    ("drained, starting, announced before", FULL, among(replace(STARTING, drained=True)), SHUT, "shut-before-withdrawal"),
    ("drained, addresses off", WITHDRAWN, gone(among(DRAIN)), WITHDRAWN, "drained"),
    ("starting, no addresses yet", WITHDRAWN, gone(replace(STARTING, reasons=(DIED,))), WITHDRAWN, "proxy-died"),
    ("drained and paused", FULL, replace(among(DRAIN), holds=(BUSY,)), SHUT, "shut-before-withdrawal"),
    ("starting", WITHDRAWN, STARTING, WITHDRAWN, ""),
    ("starting, announced before", HALF, STARTING, HALF, ""),
    ("starting, shut by the lease before", SHUT, STARTING, SHUT, ""),
    ("well, no addresses yet", WITHDRAWN, gone(WELL), WITHDRAWN, "addresses-missing"),
    ("well, the engine has not spoken", WITHDRAWN, replace(WELL, complete=None), WITHDRAWN, "addresses-awaited"),
    ("well, announced, the engine has not spoken", FULL, replace(WELL, complete=None), FULL, ""),
    ("held at full", FULL, HOLD, FULL, "saturated-holding"),
    ("held while reduced, nobody else serves", LOW, HOLD, LOW, "saturated-holding"),
    ("held while withdrawn, others serve", WITHDRAWN, among(HOLD), WITHDRAWN, "saturated-holding"),
    ("held while withdrawn, nobody else serves", WITHDRAWN, HOLD, LOW, "saturated-holding"),
    ("held while shut, nobody else serves", SHUT, HOLD, LOW, "saturated-holding"),
    ("well, nobody else serves", WITHDRAWN, WELL, FULL, ""),
    ("well, the others went while it climbs", LOW, WELL, FULL, ""),
    ("well, others serve", WITHDRAWN, OTHERS, LOW, "climbing"),
    ("undrained while shut", SHUT, OTHERS, LOW, "climbing"),
    ("well, others serve, and nobody is connected", WITHDRAWN, UNUSED, FULL, ""),
    ("its clients go while it climbs", LOW, UNUSED, FULL, ""),
    ("unused, and survivors are made ready", WITHDRAWN, replace(UNUSED, tail=KEEPS), FULL, ""),
    ("used, and survivors are made ready", WITHDRAWN, replace(OTHERS, tail=KEEPS), WITHDRAWN, "tail-awaited"),
    ("unused, but held", LOW, replace(UNUSED, holds=(BUSY,)), LOW, "saturated-holding"),
    ("unused, and sheds", WITHDRAWN, replace(shed(HALF, WELL), unladen=True), LOW, "shed"),
    ("unused, and drained", FULL, replace(UNUSED, drained=True), SHUT, "shut-before-withdrawal"),
    ("well and full", FULL, OTHERS, FULL, ""),
    ("permitted, saturated", FULL, shed(HALF, ordered=True), HALF, "shed"),
    ("permitted to shut", LOW, shed(SHUT, ordered=True), SHUT, "shed"),
    ("a permit taken back, still saturated", HALF, shed(FULL, ordered=True), FULL, "saturated-holding"),
    ("a permit taken back while shut", SHUT, shed(LOW, ordered=True), LOW, "shed"),
    ("ordered, but withdrawn", WITHDRAWN, shed(FULL, ordered=True), WITHDRAWN, "shed"),
    ("ordered, but no addresses", FULL, gone(shed(HALF, ordered=True)), FULL, "addresses-missing"),
    ("ordered, but nobody else serves", FULL, replace(shed(HALF, ordered=True), servers=()), FULL, "saturated-holding"),
    ("ordered, but in fault", FULL, replace(shed(HALF, FAULT, ordered=True)), WITHDRAWN, "proxy-died"),
    ("ordered, but drained", FULL, shed(HALF, DRAIN, ordered=True), SHUT, "shut-before-withdrawal"),
    ("sheds, recovered, not ordered back", HALF, shed(HALF, WELL), HALF, "shed"),
    ("sheds by shutting, recovered", SHUT, shed(SHUT, WELL), SHUT, "shed"),
    ("sheds, and was withdrawn", WITHDRAWN, shed(HALF, WELL), LOW, "shed"),
    ("a bound alone never lowers", FULL, shed(LOW, WELL), FULL, ""),
    ("sheds, the others went", HALF, replace(shed(HALF, WELL), servers=()), FULL, ""),
    ("sheds by shutting, saturated, the others went", SHUT, replace(shed(SHUT), servers=()), LOW, "saturated-holding"),
]  # fmt: skip


@pytest.mark.parametrize(("start", "footing", "end", "code"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])  # fmt: skip
def test_row(start: Rung, footing: Footing, end: Rung, code: str) -> None:
    stance = Climber(start).step(footing)
    assert Rung(stance.stance, stance.weight) == end
    assert stance.held
    if code:
        assert stance.reasons[0].code == code
    elif end != WITHDRAWN:
        assert not stance.reasons


def test_it_climbs_step_by_step_while_others_serve() -> None:
    climber = Climber()
    assert climber.at(OTHERS) == LOW
    assert climber.ladder.deadline_ns == EDGE.step_ns
    assert climber.at(OTHERS, EDGE.step_ns - 1) == LOW
    assert climber.at(OTHERS, 1) == HALF
    assert climber.at(OTHERS, EDGE.step_ns - 1) == HALF
    assert climber.at(OTHERS, 1) == FULL
    assert climber.ladder.deadline_ns is None
    assert climber.at(OTHERS, 10 * EDGE.step_ns) == FULL


def test_it_climbs_no_higher_than_what_is_permitted() -> None:
    climber = Climber(LOW)
    assert climber.at(shed(HALF, WELL), EDGE.step_ns) == HALF
    assert climber.at(shed(HALF, WELL), 10 * EDGE.step_ns) == HALF
    assert climber.at(shed(FULL, WELL), EDGE.step_ns) == FULL


def test_a_permitted_rung_that_is_not_configured_any_more_is_the_nearest() -> None:
    climber = Climber(FULL)
    assert climber.at(shed(Rung(Stance.REDUCED, 40), ordered=True)) == LOW


def test_where_it_stands_is_told_with_the_numbers() -> None:
    (reason,) = Climber().step(OTHERS).reasons
    assert reason.text == (
        "edge returns in steps of 10 s, at weight 25 of 100 now; carried by lb2 and lb3 meanwhile"
    )


def test_a_hold_stops_the_climb_and_its_end_lets_it_go_on() -> None:
    climber = Climber(LOW)
    held = replace(OTHERS, holds=(BUSY,))
    assert climber.at(held, 5 * EDGE.step_ns) == LOW
    assert climber.at(OTHERS) == HALF


def test_without_weights_there_are_no_steps() -> None:
    plain = replace(EDGE, weighted=False)
    assert Climber(service=plain).at(OTHERS) == FULL
    assert Climber(service=plain).at(HOLD) == FULL


def test_without_reduced_weights_there_are_no_steps() -> None:
    assert Climber(service=replace(EDGE, reduced_weights=())).at(OTHERS) == FULL


def test_stop_is_shut_then_withdrawn_then_addresses_off() -> None:
    climber, drained = Climber(FULL), among(DRAIN)
    assert climber.at(drained) == SHUT
    assert climber.ladder.deadline_ns == EDGE.drain_ns
    assert climber.at(drained, EDGE.drain_ns - 1) == SHUT
    assert climber.at(drained, 1) == WITHDRAWN
    assert climber.step(drained, ROUTERS_NS - 1).held
    assert not climber.step(drained, 1).held
    assert climber.at(drained, NS_PER_S) == WITHDRAWN
    assert climber.ladder.deadline_ns is None


def test_start_is_addresses_then_proxy_then_routes() -> None:
    climber, drained = Climber(), among(DRAIN)
    assert not climber.step(drained, 2 * ROUTERS_NS).held
    undrained = climber.step(gone(OTHERS))
    assert (undrained.stance, undrained.held) == (Stance.WITHDRAWN, True)
    assert climber.at(OTHERS) == LOW


def test_addresses_come_back_before_the_last_resort_is_announced() -> None:
    climber = Climber()
    climber.step(among(DRAIN), 2 * ROUTERS_NS)
    waiting = climber.step(gone(DRAIN))
    assert (waiting.stance, waiting.held) == (Stance.WITHDRAWN, True)
    assert climber.at(DRAIN) == SHUT


def test_addresses_stay_in_a_fault() -> None:
    climber = Climber(FULL)
    for _ in range(5):
        assert climber.step(FAULT, NS_PER_S).held


def test_last_announcer_stays_shut_however_long_and_leaves_when_others_come() -> None:
    climber = Climber(FULL)
    assert climber.at(DRAIN) == SHUT
    assert climber.at(DRAIN, 100 * EDGE.drain_ns) == SHUT
    assert climber.at(among(DRAIN)) == WITHDRAWN


def test_addresses_that_are_gone_withdraw_after_a_moment() -> None:
    climber = Climber(FULL)
    assert climber.at(gone(OTHERS)) == FULL
    assert climber.ladder.deadline_ns == MISSING_NS
    assert climber.at(gone(OTHERS), MISSING_NS - 1) == FULL
    assert climber.at(OTHERS) == FULL
    assert climber.at(gone(OTHERS)) == FULL
    stance = climber.step(
        gone(replace(OTHERS, missing=(Reason("eperm", "lo: EPERM"),))), MISSING_NS
    )
    assert stance.stance is Stance.WITHDRAWN
    assert stance.reasons[0].text == "edge cannot be announced: lo: EPERM"


@pytest.mark.parametrize("end", [SHUT, LOW], ids=["drain", "climb"])
def test_time_does_not_count_before_the_relay_has_the_rung(end: Rung) -> None:
    start, footing = (FULL, among(DRAIN)) if end == SHUT else (WITHDRAWN, OTHERS)
    climber = Climber(start)
    for relay in (start, None):
        for _ in range(3):
            climber.now_ns += 60 * NS_PER_S
            climber.ladder.step(replace(footing, in_force=relay), climber.now_ns)
    assert climber.at(footing) == end
    assert climber.at(footing, EDGE.step_ns) != end


def test_nothing_is_known_before_the_relay_speaks() -> None:
    ladder = Ladder(EDGE)
    stance = ladder.step(OTHERS, 0)
    assert (stance.stance, stance.held, ladder.known) == (Stance.WITHDRAWN, True, False)
    assert stance.reasons[0].code == "relay-awaited"
    assert ladder.step(FAULT, 1).stance is Stance.WITHDRAWN
    assert not ladder.known
    # A controller that was restarted goes on where the other one was.
    assert ladder.step(replace(OTHERS, in_force=FULL), 2).stance is Stance.FULL
    assert ladder.known
    assert ladder.snapshot().weight == 100


def test_relay_that_is_lost_moves_nothing() -> None:
    climber = Climber(HALF)
    lost = climber.ladder.step(replace(OTHERS, in_force=None), 100 * EDGE.step_ns)
    assert (lost.stance, lost.weight) == (Stance.REDUCED, 50)
    # One that comes back with nothing is told the same again.
    again = climber.ladder.step(replace(OTHERS, in_force=WITHDRAWN), 200 * EDGE.step_ns)
    assert (again.stance, again.weight) == (Stance.REDUCED, 50)


@pytest.mark.parametrize(
    ("at", "service", "end"),
    [
        (FULL, replace(EDGE, weight=200), Rung(Stance.FULL, 200)),
        (SHUT, replace(EDGE, weight=200), Rung(Stance.SHUT, 200)),
        (HALF, replace(EDGE, reduced_weights=(60, 40, 10)), Rung(Stance.REDUCED, 40)),
        (LOW, replace(EDGE, reduced_weights=(60, 40)), Rung(Stance.REDUCED, 40)),
        (LOW, replace(EDGE, weighted=False), FULL),
        (WITHDRAWN, replace(EDGE, weight=200), WITHDRAWN),
    ],
)
def test_reload_keeps_the_rung(at: Rung, service: ConfiguredAnycast, end: Rung) -> None:
    climber = Climber(at)
    climber.ladder.reconfigure(service)
    assert climber.at(STARTING) == end


ANNOUNCED = Announcement("edge", ("192.0.2.100/32",), weight=100)


@pytest.mark.parametrize(
    ("announced", "rung"),
    [
        ((), WITHDRAWN),
        ((replace(ANNOUNCED, service="other"),), WITHDRAWN),
        ((ANNOUNCED,), FULL),
        ((replace(ANNOUNCED, weight=None),), FULL),
        ((replace(ANNOUNCED, weight=50),), HALF),
        ((replace(ANNOUNCED, shut=True),), SHUT),
        ((replace(ANNOUNCED, shut=True, weight=None),), SHUT),
    ],
)
def test_what_the_relay_holds_as_a_rung(announced: tuple[Announcement, ...], rung: Rung) -> None:
    assert in_force(EDGE, announced) == rung


def peer(name: str, stance: Stance, up: int = 1, *, fresh: bool = True, **more) -> PeerView:
    said = AnycastReport("edge", stance, 100, 100, 1, neighbors_up=up)
    condition = more.get("condition", Condition.IN_SERVICE)
    return PeerView(name, NodeReport(name, "", "1", condition, anycast=(said,)), 1.0, fresh)


def test_who_else_serves() -> None:
    peers = (
        peer("h", Stance.REDUCED),
        peer("a", Stance.FULL),
        peer("b", Stance.FULL, 0),
        peer("c", Stance.SHUT),
        peer("d", Stance.WITHDRAWN),
        peer("e", Stance.FULL, fresh=False),
        peer("f", Stance.FULL, condition=Condition.FAULT),
        PeerView("g", None, 0.0, fresh=False),
        PeerView("i", NodeReport("i", "", "1", Condition.IN_SERVICE), 1.0, fresh=True),
    )
    assert servers("edge", peers) == ("a", "h")


def test_who_is_heard_in_one_family_alone_does_not_serve() -> None:
    """Or the last node that serves the other one would be drained."""
    found = peer("a", Stance.FULL)
    assert found.report is not None
    said = replace(found.report.anycast[0], unheard=("192.0.2.100/32",))
    half = replace(found, report=replace(found.report, anycast=(said,)))
    assert servers("edge", (found,)) == ("a",)
    assert servers("edge", (half,)) == ()
