"""New connections per second: haman's own left out, and no reset ever a spike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.core.arrivals import INTERVALS_MAX, NS_PER_S, WINDOW_NS, Accepted, Arrivals
from haman.core.processes import ProcessId

TICK = NS_PER_S // 5
WORKER = ProcessId(100, 5000)
RELOADED = ProcessId(101, 9000)


def arrivals(*readings: Accepted) -> Arrivals:
    found = Arrivals(2 * NS_PER_S)
    for reading in readings:
        found.add(reading)
    return found


def steady(per_tick: int, ticks: int, own_per_tick: int = 0) -> list[Accepted]:
    return [Accepted(i * TICK, WORKER, 1000 + i * per_tick, i * own_per_tick) for i in range(ticks)]


def test_one_reading_is_no_rate() -> None:
    assert arrivals().per_s(0) is None
    assert arrivals(Accepted(0, WORKER, 500)).per_s(0) is None


def test_a_steady_rate() -> None:
    assert arrivals(*steady(20, 6)).per_s(5 * TICK) == pytest.approx(100)


def test_nobody_comes_is_zero_and_not_unknown() -> None:
    assert arrivals(*steady(0, 6)).per_s(5 * TICK) == 0


def test_our_own_connections_are_not_clients() -> None:
    assert arrivals(*steady(20, 6, own_per_tick=2)).per_s(5 * TICK) == pytest.approx(90)
    assert arrivals(*steady(2, 6, own_per_tick=2)).per_s(5 * TICK) == 0


def test_a_probe_that_is_counted_one_interval_later_is_no_client() -> None:
    found = arrivals(
        Accepted(0, WORKER, 7, own=0),
        Accepted(TICK, WORKER, 7, own=1),
        Accepted(2 * TICK, WORKER, 8, own=1),
    )
    assert found.per_s(2 * TICK) == 0


def test_only_the_last_ten_seconds_count() -> None:
    busy = steady(200, 6)
    calm = [Accepted(5 * TICK + i * TICK, WORKER, busy[-1].accepted) for i in range(1, 52)]
    assert arrivals(*busy, *calm).per_s(calm[-1].at_ns) == 0
    assert calm[-1].at_ns > WINDOW_NS


@pytest.mark.parametrize(
    "reset",
    [Accepted(6 * TICK, RELOADED, 10**6), Accepted(6 * TICK, WORKER, 3)],
    ids=["reloaded", "went back"],
)
def test_a_reset_drops_one_interval(reset) -> None:
    found = arrivals(*steady(20, 6), reset)
    assert found.per_s(reset.at_ns) == pytest.approx(100)
    found.add(Accepted(7 * TICK, reset.epoch, reset.accepted + 20))
    assert found.per_s(7 * TICK) == pytest.approx(100)


def test_a_silent_proxy_is_unknown() -> None:
    found = arrivals(*steady(20, 6))
    assert found.per_s(5 * TICK + 2 * NS_PER_S) is not None
    assert found.per_s(5 * TICK + 2 * NS_PER_S + 1) is None


def test_what_came_during_a_silence_is_no_rate() -> None:
    found = arrivals(*steady(20, 6), Accepted(30 * NS_PER_S, WORKER, 10**6))
    assert found.per_s(30 * NS_PER_S) is None


def test_the_history_is_bounded() -> None:
    found = arrivals(*(Accepted(i, WORKER, i) for i in range(10 * INTERVALS_MAX)))
    assert len(found._intervals) == INTERVALS_MAX


@given(
    st.lists(
        st.tuples(
            st.integers(-(10**9), 5 * 10**9),
            st.integers(0, 10**6),
            st.integers(0, 10**6),
            st.sampled_from([WORKER, RELOADED]),
        ),
        max_size=40,
    )
)
def test_no_readings_make_a_negative_rate(readings) -> None:
    found, at_ns = arrivals(), 10**12
    for step_ns, accepted, own, epoch in readings:
        at_ns += step_ns
        found.add(Accepted(at_ns, epoch, accepted, own))
        rate = found.per_s(at_ns)
        assert rate is None or rate >= 0
