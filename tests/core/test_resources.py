"""Counters become utilizations, and no reset, reload, gap or late sample becomes a spike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.core.processes import ProcessId
from haman.core.resources import (
    COST_FULL_S,
    COST_RESUMED_S,
    FULL_PER_S,
    NS_PER_S,
    TLS_KNEE,
    Ceiling,
    CountersSampled,
    Meter,
    MeterSettings,
    ProbeTimed,
    ProcessesSampled,
    ProcessSample,
    binding,
)
from haman.core.resources.meter import SAME_TURN_NS
from haman.core.smoothing import Smoother
from haman.core.words import Confidence, Utilization

TICK = NS_PER_S // 5
WORKER = ProcessId(100, 5000)
RELOADED = ProcessId(101, 9000)


def only(utilizations: tuple[Utilization, ...], name: str) -> Utilization:
    (found,) = [u for u in utilizations if u.name == name]
    return found


def cpu(meter: Meter, at_ns: int, *processes: tuple[ProcessId, dict[int, int]]) -> Utilization:
    samples = tuple(ProcessSample(process, threads) for process, threads in processes)
    return only(meter.step(ProcessesSampled(at_ns, samples), at_ns), "cpu")


def tls(
    meter: Meter,
    at_ns: int,
    full: int,
    resumed: int = 0,
    epoch: ProcessId = WORKER,
) -> Utilization:
    counters = CountersSampled(at_ns, epoch, full, resumed, threads=2)
    return only(meter.step(counters, at_ns), "tls")


def test_cpu_is_the_hottest_thread_over_all_processes() -> None:
    meter = Meter(MeterSettings())
    first = {100: 0, 105: 50}
    assert cpu(meter, 0, (WORKER, first), (RELOADED, {101: 7})).used is None
    busy = cpu(
        meter, TICK, (WORKER, {100: 10_000, 105: 50 + TICK // 2}), (RELOADED, {101: 7 + TICK // 4})
    )
    assert busy.used == pytest.approx(0.5)
    assert busy.detail == "thread 105 of process 100"
    assert (busy.ceiling, busy.unit, busy.utilization) == (1.0, "cores", busy.used)


def test_a_new_process_and_a_new_thread_drop_one_interval() -> None:
    meter = Meter(MeterSettings())
    cpu(meter, 0, (WORKER, {100: 0}))
    grown = cpu(meter, TICK, (WORKER, {100: TICK // 10, 106: 10**12}), (RELOADED, {101: 10**12}))
    assert grown.used == pytest.approx(0.1)


def test_a_reused_pid_is_another_process() -> None:
    meter = Meter(MeterSettings())
    cpu(meter, 0, (WORKER, {100: 0}))
    reborn = ProcessId(WORKER.pid, WORKER.start_ticks + 1)
    assert cpu(meter, TICK, (reborn, {100: 10**12})).used is None


def test_tls_weighs_full_and_resumed_handshakes() -> None:
    meter = Meter(MeterSettings())
    assert tls(meter, 0, 1000, 500).used is None
    sample = tls(meter, NS_PER_S, 2000, 1500)
    assert sample.used == pytest.approx(1000 * COST_FULL_S + 1000 * COST_RESUMED_S)
    assert sample.ceiling == pytest.approx(2 * TLS_KNEE)
    assert sample.confidence is Confidence.DEFAULT


def test_a_tls_ceiling_in_handshakes_is_converted_by_their_cost() -> None:
    meter = Meter(MeterSettings(ceilings={"tls": Ceiling(2000, FULL_PER_S)}))
    tls(meter, 0, 0)
    sample = tls(meter, NS_PER_S, 1000)
    assert sample.utilization == pytest.approx(0.5)
    assert sample.confidence is Confidence.CONFIGURED


@pytest.mark.parametrize(
    ("full", "resumed", "epoch"),
    [(0, 5, WORKER), (1005, 0, WORKER), (5000, 5000, RELOADED)],
    ids=["full went back", "resumed went back", "reloaded"],
)
def test_a_reset_drops_one_interval_and_then_goes_on(full, resumed, epoch) -> None:
    meter = Meter(MeterSettings())
    tls(meter, 0, 1000, 5)
    before = tls(meter, TICK, 1020, 5).used
    assert before == pytest.approx(100 * COST_FULL_S)
    assert tls(meter, 2 * TICK, full, resumed, epoch).used == before
    after = tls(meter, 3 * TICK, full + 20, resumed, epoch).used
    assert after == pytest.approx(before)


def test_no_handshakes_are_zero_and_not_unknown() -> None:
    meter = Meter(MeterSettings())
    tls(meter, 0, 0)
    assert tls(meter, TICK, 0).utilization == 0.0


def test_unknown_threads_are_an_unknown_ceiling() -> None:
    meter = Meter(MeterSettings())
    for at_ns in (0, TICK):
        sample = only(meter.step(CountersSampled(at_ns, WORKER, at_ns, 0), at_ns), "tls")
    assert sample.used is not None
    assert sample.utilization is None


def test_a_late_sample_is_divided_by_the_time_that_really_passed() -> None:
    meter = Meter(MeterSettings())
    tls(meter, 0, 0)
    assert tls(meter, int(1.7 * NS_PER_S), 1700).used == pytest.approx(1000 * COST_FULL_S)


def test_too_long_a_gap_is_a_new_start() -> None:
    meter = Meter(MeterSettings(stale_ns=NS_PER_S))
    tls(meter, 0, 0)
    assert tls(meter, 5 * NS_PER_S, 9999).used is None
    assert tls(meter, 5 * NS_PER_S + TICK, 9999).used == 0.0


def test_the_same_or_an_older_instant_is_ignored() -> None:
    meter = Meter(MeterSettings())
    cpu(meter, TICK, (WORKER, {100: 0}))
    assert cpu(meter, TICK, (WORKER, {100: 10**9})).used is None
    assert cpu(meter, 0, (WORKER, {100: 10**9})).used is None


def test_a_value_ages_and_then_is_unknown() -> None:
    meter = Meter(MeterSettings(stale_ns=NS_PER_S))
    meter.step(CountersSampled(0, WORKER, connections=10, connections_limit=100), 0)
    aged = only(meter.utilizations(NS_PER_S), "connections")
    assert (aged.utilization, aged.age_ms) == (0.1, 1000)
    gone = only(meter.utilizations(NS_PER_S + SAME_TURN_NS), "connections")
    assert (gone.used, gone.ceiling, gone.utilization) == (None, 100, None)


def test_the_probe_has_its_own_patience_and_no_ceiling_of_its_own() -> None:
    meter = Meter(MeterSettings(stale_ns=NS_PER_S, probe_stale_ns=3 * NS_PER_S))
    meter.step(ProbeTimed(0, 0.25), 0)
    hol = only(meter.utilizations(2 * NS_PER_S), "hol")
    assert (hol.used, hol.utilization) == (0.25, None)
    configured = Meter(MeterSettings(ceilings={"hol": Ceiling(0.5)}))
    assert only(configured.step(ProbeTimed(0, 0.25), 0), "hol").utilization == 0.5


def test_fds_are_of_the_process_nearest_to_its_limit() -> None:
    meter = Meter(MeterSettings())
    samples = (
        ProcessSample(WORKER, {}, fds=900, fd_limit=10_000),
        ProcessSample(RELOADED, {}, fds=90, fd_limit=100),
        ProcessSample(ProcessId(1, 1), {}, fds=None, fd_limit=10),
    )
    fds = only(meter.step(ProcessesSampled(0, samples), 0), "fds")
    assert (fds.utilization, fds.detail) == (0.9, "process 101")
    assert meter.hard_facts(0) == {}


def test_counts_at_their_limit_are_hard_facts() -> None:
    meter = Meter(MeterSettings())
    meter.step(ProcessesSampled(0, (ProcessSample(WORKER, {}, fds=100, fd_limit=100),)), 0)
    meter.step(CountersSampled(0, WORKER, connections=50, connections_limit=50), 0)
    assert meter.hard_facts(0) == {
        "fds": "process 100 has all 100 descriptors open",
        "connections": "all 50 connections are taken",
    }
    meter.step(CountersSampled(1, WORKER, connections=49, connections_limit=50), 1)
    assert list(meter.hard_facts(1)) == ["fds"]


def test_binding_is_the_highest_known() -> None:
    def of(name: str, used: float | None, ceiling: float | None) -> Utilization:
        return Utilization(name, used, ceiling, "count")

    known = (of("cpu", 0.4, 1), of("fds", 50, 100), of("hol", 9, None), of("tls", None, 1))
    found = binding(known)
    assert found is not None
    assert found.name == "fds"
    assert binding((of("hol", 9, None),)) is None


def test_smoothing_drops_a_lone_spike_and_is_fast_up_and_slow_down() -> None:
    smoother = Smoother()
    values = [smoother.add(v, i * TICK) for i, v in enumerate([0.1, 0.1, 9.0, 0.1, 0.1])]
    assert values == pytest.approx([0.1] * 5)
    at_ns = 5 * TICK
    for _ in range(15):
        up = smoother.add(1.0, at_ns := at_ns + TICK)
    assert up > 0.9
    for _ in range(15):
        down = smoother.add(0.0, at_ns := at_ns + TICK)
    assert down > 0.6
    for _ in range(300):
        down = smoother.add(0.0, at_ns := at_ns + TICK)
    assert down < 0.05


def test_a_burst_is_over_when_it_is_over() -> None:
    smoother = Smoother()
    at_ns = 0
    for value in [0.1] * 10 + [2.0] * 3:
        up = smoother.add(value, at_ns := at_ns + TICK)
    assert up > 1.2
    for _ in range(8):
        down = smoother.add(0.1, at_ns := at_ns + TICK)
    assert down < 0.7


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
def test_no_counters_make_a_negative_or_impossible_rate(readings) -> None:
    meter = Meter(MeterSettings())
    at_ns = 10**12
    for step_ns, full, resumed, epoch in readings:
        at_ns += step_ns
        for utilization in meter.step(CountersSampled(at_ns, epoch, full, resumed, 1), at_ns):
            assert utilization.used is None or utilization.used >= 0.0
