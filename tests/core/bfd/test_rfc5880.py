"""One session, held to RFC 5880 section by section. This end is driven by hand."""

from dataclasses import replace
from itertools import pairwise

import pytest

from haman.core.bfd.messages import (
    ControlReceived,
    Disabled,
    Discarded,
    Reconfigured,
    SendControl,
    StateChanged,
    TimePassed,
)
from haman.core.bfd.packet import ControlPacket, Diagnostic, Discard, SessionState
from haman.core.bfd.session import Session
from haman.core.bfd.transitions import TRANSITIONS
from tests.core.bfd.path import MS, S, checked, config

ADMIN_DOWN, DOWN, INIT, UP = SessionState
MINE, THEIRS = 0xA, 0xB
T0 = 100 * S


def packet(state=UP, **more) -> ControlPacket:
    """From the neighbour, which wants 50 ms and multiplier 3, as the session here does."""
    values = {
        "state": state,
        "diagnostic": 0,
        "my_discriminator": THEIRS,
        "your_discriminator": MINE,
        "detect_mult": 3,
        "desired_min_tx_us": 50_000,
        "required_min_rx_us": 50_000,
    }
    return ControlPacket(**(values | more))


class Driven:
    """A session, its clock, and what it did; jitter 0 = the whole interval."""

    def __init__(self, **options) -> None:
        self.now = T0
        self.session = Session(config(**options), MINE, T0)
        self.jitter = 0.0

    def give(self, event) -> list:
        return list(checked(self.session, event, self.now, self.jitter))

    def receive(self, state=UP, **more) -> list:
        return self.give(ControlReceived(packet(state, **more)))

    def wait(self, for_ns) -> list[tuple[int, ControlPacket]]:
        """Let time pass alone: the packets sent, and when."""
        sent = []
        until = self.now + for_ns
        while (due := self.session.deadline_ns) is not None and due <= until:
            self.now = max(due, self.now)
            sent += [(self.now, p) for p in packets(self.give(TimePassed()))]
        self.now = until
        return sent

    @property
    def state(self) -> SessionState:
        return self.session.state


def packets(outputs) -> list[ControlPacket]:
    return [o.packet for o in outputs if isinstance(o, SendControl)]


def change(outputs) -> StateChanged:
    (found,) = [o for o in outputs if isinstance(o, StateChanged)]
    return found


def in_state(state: SessionState, **options) -> Driven:
    """A session that has come to this state by the way that there is."""
    driven = Driven(**options)
    driven.wait(0)
    if state in (INIT, UP):
        driven.receive(DOWN, your_discriminator=0)
    if state is UP:
        driven.receive(INIT)
    if state is ADMIN_DOWN:
        driven.give(Disabled())
    assert driven.state is state
    return driven


def settled(**options) -> Driven:
    """Up, and the poll sequence that begins it has ended."""
    driven = in_state(UP, **options)
    driven.receive(UP, final=True)
    assert not driven.session.snapshot().polling
    return driven


# ---- sections 6.2, 6.8.6: the table --------------------------------------------------------------


@pytest.mark.parametrize(
    "row", TRANSITIONS, ids=lambda r: f"{r.old.name}-{r.event.__name__}-{r.remote}-{r.new.name}"
)
def test_each_row_of_the_table_happens(row):
    driven = in_state(row.old)
    if row.remote is not None:
        outputs = driven.receive(row.remote)
    elif row.event is TimePassed:
        driven.now += 10 * S
        outputs = driven.give(TimePassed())
    else:
        outputs = driven.give(row.event())
    found = change(outputs)
    assert (found.old, found.new, found.diagnostic) == (row.old, row.new, row.diagnostic)
    (sent,) = packets(outputs)
    assert sent.state is row.new
    assert driven.session.snapshot().since_ns == driven.now


@pytest.mark.parametrize("old", SessionState)
@pytest.mark.parametrize("remote", SessionState)
def test_no_other_packet_changes_the_state(old, remote):
    if any((t.old, t.remote) == (old, remote) for t in TRANSITIONS):
        return
    driven = in_state(old)
    for _ in range(3):
        assert not [o for o in driven.receive(remote) if isinstance(o, StateChanged)]
        assert driven.state is old


def test_6_8_1_the_first_packet_says_down_and_asks_for_nothing():
    driven = Driven()
    assert driven.session.deadline_ns == T0
    ((_, first),) = driven.wait(0)
    assert first == ControlPacket(DOWN, 0, MINE, 0, 3, 1_000_000, 50_000)


# ---- section 6.8.1: the neighbour's discriminator ------------------------------------------------


def test_6_8_1_it_is_learned_and_forgotten_after_a_detection_time_of_silence():
    driven = settled()
    assert packets(driven.receive(UP, my_discriminator=THEIRS)) == []
    ((_, last), *_) = driven.wait(50 * MS)
    assert last.your_discriminator == THEIRS
    driven.wait(90 * MS)
    assert driven.session.snapshot().remote_discriminator == THEIRS
    driven.wait(20 * MS)
    after = driven.session.snapshot()
    assert (after.remote_discriminator, after.state, after.detection_ns) == (0, DOWN, 0)


def test_6_8_1_so_is_that_of_a_neighbour_that_is_down_itself():
    driven = in_state(DOWN)
    driven.receive(ADMIN_DOWN, desired_min_tx_us=1_000_000)
    assert driven.session.snapshot().remote_discriminator == THEIRS
    sent = driven.wait(3100 * MS)
    assert [p.your_discriminator for _, p in sent] == [THEIRS, THEIRS, 0]
    assert driven.state is DOWN


# ---- section 6.8.6: what is discarded ------------------------------------------------------------


def test_6_8_6_a_packet_for_another_session_is_discarded():
    driven = settled()
    (discarded,) = driven.receive(DOWN, your_discriminator=MINE + 1)
    assert isinstance(discarded, Discarded)
    assert discarded.reason is Discard.YOUR_DISCRIMINATOR
    assert "0xb" in discarded.text
    assert driven.state is UP
    # ... and keeps nobody alive.
    driven.now += 149 * MS
    driven.receive(UP, your_discriminator=MINE + 1)
    driven.wait(2 * MS)
    assert driven.state is DOWN


def test_6_8_6_an_administratively_down_session_discards():
    driven = in_state(ADMIN_DOWN)
    for state in SessionState:
        (discarded,) = driven.receive(state, poll=True)
        assert isinstance(discarded, Discarded)
        assert discarded.reason is Discard.ADMIN_DOWN


# ---- section 6.8.3: slow start -------------------------------------------------------------------


@pytest.mark.parametrize("state", [DOWN, INIT])
def test_6_8_3_not_up_a_packet_a_second(state):
    driven = in_state(state)
    if state is INIT:
        driven.receive(DOWN, desired_min_tx_us=60_000_000)  # else it would be forgotten
    sent = driven.wait(5 * S)
    assert [b - a for (a, _), (b, _) in pairwise(sent)] == [S] * (len(sent) - 1)
    assert len(sent) == 5
    assert {p.desired_min_tx_us for _, p in sent} == {1_000_000}
    assert {p.required_min_rx_us for _, p in sent} == {50_000}


def test_6_8_3_longer_intervals_stay_as_they_are():
    driven = Driven(interval_ms=5000)
    assert [p.desired_min_tx_us for _, p in driven.wait(0)] == [5_000_000]


def test_6_8_3_up_is_a_change_of_interval_and_so_it_polls():
    driven = in_state(INIT)
    (first,) = packets(driven.receive(INIT))
    assert (first.state, first.poll, first.desired_min_tx_us) == (UP, True, 50_000)
    sent = driven.wait(120 * MS)
    assert [p.poll for _, p in sent] == [True, True]
    driven.receive(UP, final=True)
    assert [p.poll for _, p in driven.wait(60 * MS)] == [False]


def test_6_8_3_down_again_it_is_slow_at_once():
    driven = settled()
    (said,) = packets(driven.receive(DOWN))
    assert (said.desired_min_tx_us, said.diagnostic) == (1_000_000, 3)
    driven.receive(DOWN, desired_min_tx_us=60_000_000)
    assert len(driven.wait(3 * S)) == 3


# ---- section 6.8.2: the interval of packets sent -------------------------------------------------


@pytest.mark.parametrize(("theirs_ms", "expected_ms"), [(10, 50), (50, 50), (200, 200)])
def test_6_8_2_the_slower_of_both_wishes(theirs_ms, expected_ms):
    driven = settled()
    driven.receive(UP, required_min_rx_us=theirs_ms * 1000, desired_min_tx_us=5_000_000)
    sent = driven.wait(S)
    assert {b - a for (a, _), (b, _) in pairwise(sent)} == {expected_ms * MS}


def test_6_8_3_a_shorter_wish_of_the_neighbour_is_honoured_at_once():
    driven = settled()
    driven.receive(UP, required_min_rx_us=2_000_000, desired_min_tx_us=5_000_000)
    assert driven.wait(500 * MS) == []
    driven.receive(UP, required_min_rx_us=50_000, desired_min_tx_us=5_000_000)
    assert driven.session.deadline_ns is not None
    assert driven.session.deadline_ns <= driven.now
    assert len(driven.wait(0)) == 1


def test_6_8_7_a_neighbour_that_takes_nothing_gets_nothing_but_changes():
    driven = settled()
    driven.receive(UP, required_min_rx_us=0, desired_min_tx_us=5_000_000)
    assert driven.wait(10 * S) == []
    (said,) = packets(driven.receive(DOWN, required_min_rx_us=0, desired_min_tx_us=5_000_000))
    assert said.state is DOWN
    driven.receive(DOWN, required_min_rx_us=50_000, desired_min_tx_us=5_000_000)
    assert driven.wait(S)


# ---- section 6.8.7: jitter -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("multiplier", "jitter", "expected_us"),
    [
        *((3, 0.0, 50_000), (3, 0.5, 43_750), (3, 1 - 1e-9, 37_500), (2, 0.0, 50_000)),
        *((1, 0.0, 45_000), (1, 0.5, 41_250), (1, 1 - 1e-9, 37_500)),
    ],
)
def test_6_8_7_jitter(multiplier, jitter, expected_us):
    driven = settled(multiplier=multiplier)
    driven.receive(UP, desired_min_tx_us=5_000_000)
    driven.jitter = jitter
    driven.wait(100 * MS)
    sent = driven.wait(S)
    for (earlier, _), (later, _) in pairwise(sent):
        assert later - earlier == pytest.approx(expected_us * 1000, abs=100)


def test_6_8_7_a_late_call_sends_one_packet_and_not_those_it_missed():
    driven = settled()
    driven.receive(UP, desired_min_tx_us=5_000_000)
    driven.now += S
    assert len(packets(driven.give(TimePassed()))) == 1
    assert driven.give(TimePassed()) == []


def test_6_8_7_what_is_new_is_told_at_once_and_once():
    driven = settled()
    driven.now += 10 * MS
    (said,) = packets(driven.receive(UP, my_discriminator=0xC))
    assert said.your_discriminator == 0xC
    assert driven.receive(UP, my_discriminator=0xC) == []
    told_at = driven.now
    assert [at - told_at for at, _ in driven.wait(60 * MS)] == [50 * MS]


def test_the_same_packet_object_comes_while_nothing_changes():
    driven = settled()
    driven.receive(UP, desired_min_tx_us=5_000_000)
    driven.wait(60 * MS)
    assert len({id(p) for _, p in driven.wait(S)}) == 1


# ---- section 6.8.4: detection --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "detection_ms"),
    [
        ({}, 150),
        ({"desired_min_tx_us": 10_000}, 150),
        ({"desired_min_tx_us": 100_000}, 300),
        ({"detect_mult": 5}, 250),
        ({"detect_mult": 1}, 50),
    ],
    ids=str,
)
def test_6_8_4_the_neighbours_multiplier_times_the_slower_interval(wish, detection_ms):
    driven = settled()
    driven.receive(UP, **wish)
    assert driven.session.snapshot().detection_ns == detection_ms * MS
    driven.wait(detection_ms * MS - 1)
    assert driven.state is UP
    driven.now += 1
    outputs = driven.give(TimePassed())
    assert change(outputs).diagnostic is Diagnostic.DETECTION_TIME_EXPIRED
    (said,) = packets(outputs)
    assert (said.state, said.diagnostic, said.your_discriminator) == (DOWN, 1, 0)


def test_6_8_4_every_packet_starts_it_anew_also_one_that_says_nothing_new():
    driven = settled()
    same = ControlReceived(packet(UP))
    for _ in range(100):
        driven.now += 149 * MS
        driven.give(same)
        driven.give(TimePassed())
        assert driven.state is UP
    driven.wait(150 * MS)
    assert driven.state is DOWN


def test_4_1_the_reason_of_the_last_failure_is_told_until_the_session_is_up_again():
    driven = settled()
    driven.wait(150 * MS)
    assert [p.diagnostic for _, p in driven.wait(S)] == [1]
    assert packets(driven.receive(DOWN, your_discriminator=0))[0].diagnostic == 1
    assert packets(driven.receive(INIT))[0].diagnostic == 0
    assert driven.session.snapshot().diagnostic is Diagnostic.DETECTION_TIME_EXPIRED


def test_the_neighbours_diagnostic_is_known():
    driven = settled()
    outputs = driven.receive(ADMIN_DOWN, diagnostic=7)
    assert change(outputs) == StateChanged(UP, DOWN, Diagnostic.NEIGHBOR_SIGNALED_DOWN, 7, 150 * MS)
    assert driven.session.snapshot().remote_diagnostic == 7


# ---- sections 6.5, 6.8.3: poll sequences ---------------------------------------------------------


def test_6_5_a_poll_is_answered_at_once_in_every_state_but_admin_down():
    for state in (DOWN, INIT, UP):
        driven = in_state(state)
        driven.now += 7 * MS
        (said,) = packets(driven.receive(state, poll=True))
        assert (said.final, said.poll) == (True, False)


def test_6_5_an_answer_does_not_move_the_next_packet():
    driven = settled()
    driven.wait(50 * MS)
    before = driven.session.deadline_ns
    driven.now += 10 * MS
    driven.receive(UP, poll=True)
    assert driven.session.deadline_ns == before


def test_6_5_a_poll_under_way_here_does_not_show_in_the_answer_and_goes_on():
    driven = in_state(UP)
    (said,) = packets(driven.receive(UP, poll=True))
    assert (said.final, said.poll) == (True, False)
    assert [p.poll for _, p in driven.wait(60 * MS)] == [True]


def test_6_8_3_slower_sending_waits_for_the_final():
    driven = settled()
    slow = config(desired_min_tx_us=400_000)
    (said,) = packets(driven.give(Reconfigured(slow)))
    assert (said.poll, said.desired_min_tx_us) == (True, 400_000)
    driven.receive(UP, desired_min_tx_us=5_000_000)
    sent = driven.wait(500 * MS)
    assert len(sent) == 10
    assert all(p.poll for _, p in sent)
    driven.receive(UP, final=True, desired_min_tx_us=5_000_000)
    sent = driven.wait(2 * S)
    assert len(sent) == 5
    assert not any(p.poll for _, p in sent)


def test_6_8_3_faster_sending_does_not_wait():
    driven = settled()
    driven.receive(UP, required_min_rx_us=1000, desired_min_tx_us=5_000_000)
    driven.give(Reconfigured(config(desired_min_tx_us=10_000)))
    assert len(driven.wait(200 * MS)) == 20


def test_6_8_3_shorter_detection_waits_for_the_final():
    driven = settled()
    driven.receive(UP, desired_min_tx_us=1000)
    driven.give(Reconfigured(config(required_min_rx_us=10_000)))
    assert driven.session.snapshot().detection_ns == 150 * MS
    driven.receive(UP, desired_min_tx_us=1000)
    assert driven.session.snapshot().detection_ns == 150 * MS
    driven.receive(UP, desired_min_tx_us=1000, final=True)
    assert driven.session.snapshot().detection_ns == 30 * MS


def test_6_8_3_longer_detection_does_not_wait():
    driven = settled()
    driven.receive(UP)
    driven.give(Reconfigured(config(required_min_rx_us=200_000)))
    assert driven.session.snapshot().detection_ns == 600 * MS
    driven.wait(599 * MS)
    assert driven.state is UP


def test_6_5_a_change_during_a_poll_waits_for_its_end_and_is_a_poll_of_its_own():
    driven = settled()
    driven.give(Reconfigured(config(interval_ms=100)))
    assert packets(driven.give(Reconfigured(config(interval_ms=400)))) == []
    assert {p.desired_min_tx_us for _, p in driven.wait(100 * MS)} == {100_000}
    (said,) = packets(driven.receive(UP, final=True))
    assert (said.poll, said.desired_min_tx_us) == (True, 400_000)
    assert driven.session.snapshot().tx_interval_ns == 100 * MS
    driven.receive(UP, final=True)
    after = driven.session.snapshot()
    assert (after.tx_interval_ns, after.polling) == (400 * MS, False)


def test_6_5_a_change_back_during_a_poll_is_told_too():
    driven = settled()
    driven.give(Reconfigured(config(interval_ms=100)))
    driven.give(Reconfigured(config()))
    (said,) = packets(driven.receive(UP, final=True))
    assert (said.poll, said.desired_min_tx_us) == (True, 50_000)


def test_a_final_that_nobody_asked_for_does_nothing():
    driven = settled()
    before = driven.session.snapshot()
    assert driven.receive(UP, final=True) == []
    assert replace(driven.session.snapshot(), deadline_ns=None) == replace(before, deadline_ns=None)


def test_6_8_3_not_up_changes_hold_at_once_without_a_poll():
    driven = in_state(DOWN)
    (said,) = packets(driven.give(Reconfigured(config(interval_ms=2000))))
    assert (said.poll, said.desired_min_tx_us, said.required_min_rx_us) == (False, *[2_000_000] * 2)


def test_6_8_12_another_multiplier_is_told_at_once_without_a_poll():
    driven = settled()
    (said,) = packets(driven.give(Reconfigured(config(multiplier=5))))
    assert (said.poll, said.detect_mult) == (False, 5)


def test_the_same_configuration_again_says_nothing():
    assert settled().give(Reconfigured(config())) == []


# ---- section 6.6: a neighbour in Demand mode -----------------------------------------------------


def test_6_6_a_neighbour_in_demand_mode_gets_no_periodic_packets_but_answers_and_polls():
    driven = settled()
    on_demand = {"demand": True, "desired_min_tx_us": 60_000_000}
    driven.receive(UP, **on_demand)
    assert driven.wait(5 * S) == []
    (said,) = packets(driven.receive(UP, poll=True, **on_demand))
    assert said.final
    driven.give(Reconfigured(config(interval_ms=100)))
    assert [p.poll for _, p in driven.wait(500 * MS)] == [True] * 10
    driven.receive(UP, final=True, **on_demand)
    assert driven.wait(5 * S) == []
    driven.receive(UP, desired_min_tx_us=60_000_000)
    assert len(driven.wait(S)) >= 10


def test_6_6_demand_counts_only_while_both_ends_are_up():
    driven = in_state(UP)
    driven.receive(INIT, demand=True, desired_min_tx_us=5_000_000)
    driven.receive(INIT, demand=True, final=True, desired_min_tx_us=5_000_000)
    assert len(driven.wait(S)) == 20
    driven.receive(DOWN, demand=True, desired_min_tx_us=5_000_000)
    assert driven.state is DOWN
    assert len(driven.wait(3 * S)) == 3


def test_6_6_this_end_still_detects():
    driven = settled()
    driven.receive(UP, demand=True)
    driven.wait(150 * MS)
    assert driven.state is DOWN


# ---- section 6.8.16: administrative control ------------------------------------------------------


def test_6_8_16_admin_down_is_told_at_once_and_goes_on_being_told_slowly():
    driven = settled()
    (said,) = packets(driven.give(Disabled()))
    assert (said.state, said.diagnostic, said.your_discriminator) == (ADMIN_DOWN, 7, THEIRS)
    assert said.desired_min_tx_us == 1_000_000
    assert driven.give(Disabled()) == []
    driven.now += S
    assert {p.state for _, p in driven.wait(3 * S)} == {ADMIN_DOWN}


# ---- bad use -------------------------------------------------------------------------------------


@pytest.mark.parametrize("discriminator", [0, -1, 1 << 32])
def test_a_discriminator_that_the_wire_cannot_carry_is_refused(discriminator):
    with pytest.raises(ValueError):
        Session(config(), discriminator, T0)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"desired_min_tx_us": 0}, {"required_min_rx_us": 0}, {"multiplier": 0}),
        *({"multiplier": 256}, {"desired_min_tx_us": 1 << 32}, {"required_min_rx_us": -1}),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError):
        config(**wrong)
