"""The gate: its transition table, its timers, and its invariants under any sequence."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.core.gate import (
    MAX_HOLDS,
    NS_PER_S,
    ConditionChanged,
    Gate,
    GateSettings,
    Health,
    Observation,
    ProbeFailed,
    ProbeSucceeded,
    ProxyDied,
    ProxyFound,
    Thresholds,
    TimePassed,
    UtilizationSampled,
)
from haman.core.words import Condition, Reason, Utilization

MS = 1_000_000
TICK = 200 * MS
HOLD = 30 * NS_PER_S
DIED = ProxyDied((Reason("proxy-died", "haproxy (pid 42) exited"),))
FOUND = ProxyFound()
OK = ProbeSucceeded()
BAD = ProbeFailed("timed out after 500 ms")


BUSY = ProbeFailed("timed out after 500 ms", served=40)


def test_a_proxy_that_serves_others_is_busy_and_not_broken() -> None:
    running = in_service(fall=3)
    running.feed(*[BUSY] * 10, every_ns=TICK)
    running.feed(BAD, BAD, BUSY, BAD, BAD, every_ns=TICK)
    assert running.condition is Condition.IN_SERVICE
    running.feed(BAD, every_ns=TICK)
    assert running.condition is Condition.FAULT
    running.feed(OK, OK, BUSY, OK, OK, every_ns=TICK)
    assert running.condition is Condition.FAULT  # nor is it a proof of health


def test_one_that_serves_others_while_it_is_found_is_in_service() -> None:
    overloaded = Run(Gate(GateSettings(probe=True), 0))
    overloaded.feed(BUSY)
    assert overloaded.condition is Condition.STARTING  # no process was found yet
    overloaded.feed(FOUND, BUSY, every_ns=TICK)
    assert overloaded.condition is Condition.IN_SERVICE


def load(tls: float | None, name: str = "tls", age_ms: float = 0.0) -> UtilizationSampled:
    return UtilizationSampled((Utilization(name, tls, 1.0, "core-s/s", age_ms=age_ms),))


@dataclass
class Run:
    """A gate with its own clock."""

    gate: Gate
    now_ns: int = 0

    def feed(self, *observations: Observation, every_ns: int = 0) -> list[ConditionChanged]:
        changes: list[ConditionChanged] = []
        for observed in observations:
            self.now_ns += every_ns
            changes += self.gate.step(observed, self.now_ns)
        return changes

    def hold(self, sample: UtilizationSampled, for_ns: int) -> list[ConditionChanged]:
        return self.feed(*[sample] * (for_ns // TICK), every_ns=TICK)

    @property
    def condition(self) -> Condition:
        return self.gate.snapshot().condition

    @property
    def codes(self) -> list[str]:
        return [r.code for r in self.gate.snapshot().reasons]


def run(**settings: object) -> Run:
    return Run(Gate(GateSettings(**({"probe": True} | settings)), 0))  # type: ignore[arg-type]


def in_service(**settings: object) -> Run:
    started = run(**settings)
    started.feed(FOUND, OK)
    assert started.condition is Condition.IN_SERVICE
    return started


def saturated(**settings: object) -> Run:
    busy = in_service(**settings)
    busy.hold(load(0.95), 3 * NS_PER_S)
    assert busy.condition is Condition.SATURATED
    return busy


TABLE = [
    ("starting waits for a process", run, [OK, OK, OK, load(0.99), TimePassed()], "starting"),
    ("starting waits for the probe", run, [FOUND, load(0.99)], "starting"),
    ("one success is enough to start", run, [FOUND, OK], "in-service"),
    ("no process at start is a fault", run, [DIED], "fault"),
    ("a deaf proxy at start: not yet", run, [FOUND, BAD, BAD], "starting"),
    ("a deaf proxy at start", run, [FOUND, BAD, BAD, BAD], "fault"),
    ("death needs no fall count", in_service, [DIED], "fault"),
    ("probe: below fall", in_service, [BAD, BAD], "in-service"),
    ("probe: a success starts the count anew", in_service, [BAD, BAD, OK, BAD, BAD], "in-service"),
    ("probe: fall", in_service, [BAD, BAD, BAD], "fault"),
    ("death while saturated", saturated, [DIED], "fault"),
    ("deaf while saturated", saturated, [BAD, BAD, BAD], "fault"),
    ("found is not yet well", in_service, [DIED, FOUND, OK, OK], "fault"),
    ("rise ends the fault", in_service, [DIED, FOUND, OK, OK, OK], "in-service"),
    ("rise starts anew on a failure", in_service, [DIED, FOUND, OK, OK, BAD, OK, OK], "fault"),
    ("an impostor on the port does not count", in_service, [DIED, OK, OK, OK, OK], "fault"),
    ("found twice loses no successes", in_service, [DIED, FOUND, OK, FOUND, OK, OK], "in-service"),
    ("load in fault is not looked at", in_service, [DIED, load(0.99), load(0.99)], "fault"),
    ("time alone changes nothing", in_service, [TimePassed(), TimePassed()], "in-service"),
]


@pytest.mark.parametrize(
    ("start", "observed", "end"), [t[1:] for t in TABLE], ids=[t[0] for t in TABLE]
)
def test_transitions(start, observed, end) -> None:
    gate = start()
    gate.feed(*observed)
    assert gate.condition == end


def test_without_a_probe_a_living_process_is_a_healthy_one() -> None:
    gate = run(probe=False)
    assert gate.feed(FOUND) == [
        ConditionChanged(Condition.STARTING, Condition.IN_SERVICE, ()),
    ]
    assert [c.new for c in gate.feed(DIED, FOUND)] == [Condition.FAULT, Condition.IN_SERVICE]


def test_the_change_tells_why() -> None:
    (change,) = in_service().feed(BAD, BAD, BAD)
    assert (change.old, change.new) == (Condition.IN_SERVICE, Condition.FAULT)
    assert change.reasons[0].code == "probe-failed"
    assert change.reasons[0].text == "probe failed 3 times in a row: timed out after 500 ms"


def test_saturation_needs_the_whole_dwell() -> None:
    gate = in_service()
    assert not gate.hold(load(0.95), 2 * NS_PER_S)
    (change,) = gate.feed(load(0.96), every_ns=TICK)
    assert change.new is Condition.SATURATED
    assert change.reasons[0].text == "tls at 0.96 (0.96 of 1 core-s/s), threshold 0.90"
    assert change.reasons[0].data == {"resource": "tls", "utilization": 0.96, "threshold": 0.9}


def test_a_dip_below_hard_starts_the_dwell_anew() -> None:
    gate = in_service()
    gate.hold(load(0.95), 1800 * MS)
    gate.hold(load(0.89), TICK)
    assert not gate.hold(load(0.95), 2 * NS_PER_S)


def test_a_gap_in_the_samples_starts_the_dwell_anew() -> None:
    gate = in_service()
    gate.hold(load(0.95), 1 * NS_PER_S)
    assert not gate.feed(load(0.95), every_ns=5 * NS_PER_S)
    assert not gate.hold(load(None), 5 * NS_PER_S)
    assert not gate.feed(load(0.95), every_ns=TICK)


def test_one_reading_told_many_times_is_one_reading() -> None:
    gate = in_service()
    for tick in range(15):
        gate.feed(load(0.99, age_ms=tick * 200), every_ns=TICK)
    assert gate.condition is Condition.IN_SERVICE


FULL = {"fds": "process 42 has all 1024 descriptors open"}


def test_a_hard_fact_needs_no_dwell_but_three_samples() -> None:
    gate = in_service()
    full = UtilizationSampled((Utilization("fds", 1024, 1024, "count"),), FULL)
    assert not gate.feed(full, full, every_ns=TICK)[:1]
    (change,) = gate.feed(full, every_ns=TICK)
    assert change.reasons[0].code == "exhausted"
    text = "fds at 1.00 (1024 of 1024 count): process 42 has all 1024 descriptors open"
    assert change.reasons[0].text == text


def test_a_hard_fact_needs_no_known_ceiling() -> None:
    gate = in_service()
    late = UtilizationSampled((Utilization("hol", 0.5, None, "s"),), {"hol": "no answer in 0.5 s"})
    (change,) = gate.feed(late, late, late, every_ns=TICK)
    assert (change.new, change.reasons[0].text) == (Condition.SATURATED, "hol: no answer in 0.5 s")


def test_a_hard_fact_in_between_proves_nothing() -> None:
    gate = in_service()
    full = UtilizationSampled((Utilization("fds", 1024, 1024, "count"),), FULL)
    for _ in range(5):
        gate.feed(full, full, load(0.1, "fds"), every_ns=TICK)
    assert gate.condition is Condition.IN_SERVICE


def test_one_reading_at_the_limit_told_many_times_is_no_hard_fact() -> None:
    gate = in_service()
    for tick in range(5):
        full = Utilization("fds", 1024, 1024, "count", age_ms=tick * 200)
        gate.feed(UtilizationSampled((full,), FULL), every_ns=TICK)
    assert gate.condition is Condition.IN_SERVICE


def test_a_resource_that_must_not_act_only_warns() -> None:
    gate = in_service(resources={"nic": Thresholds(act=False)})
    gate.hold(load(0.99, "nic"), 10 * NS_PER_S)
    assert gate.condition is Condition.IN_SERVICE
    assert [w.data["resource"] for w in gate.gate.snapshot().warnings] == ["nic"]


def test_thresholds_of_one_resource() -> None:
    gate = in_service(resources={"tls": Thresholds(0.3, 0.5, 0.2)})
    gate.hold(load(0.55), 3 * NS_PER_S)
    assert gate.condition is Condition.SATURATED


def test_soft_warnings_have_hysteresis() -> None:
    gate = in_service()

    def warned(value: float) -> bool:
        gate.feed(load(value), every_ns=TICK)
        return bool(gate.gate.snapshot().warnings)

    assert [warned(v) for v in (0.74, 0.76, 0.70, 0.66, 0.64, 0.70)] == [
        False, True, True, True, False, False,
    ]  # fmt: skip


def test_saturated_ends_below_recover_after_the_hold() -> None:
    gate = saturated()
    since_ns = gate.gate.snapshot().since_ns
    gate.hold(load(0.5), since_ns + HOLD - gate.now_ns - TICK)
    assert gate.condition is Condition.SATURATED
    assert gate.codes == ["held-after-flap"]
    (change,) = gate.hold(load(0.5), 2 * TICK)
    assert change.new is Condition.IN_SERVICE
    assert gate.now_ns - since_ns >= HOLD


def test_between_recover_and_hard_saturated_stays() -> None:
    gate = saturated()
    assert not gate.hold(load(0.70), 2 * HOLD)
    assert gate.codes == ["saturated"]


def test_unknown_load_holds_saturated_and_then_decays_towards_serving() -> None:
    gate = saturated()
    assert not gate.hold(load(None), 59 * NS_PER_S)
    deadline_ns = gate.gate.deadline_ns
    assert deadline_ns is not None
    gate.now_ns = deadline_ns
    assert [c.new for c in gate.feed(TimePassed())] == [Condition.IN_SERVICE]


def test_the_first_return_from_a_fault_is_free_and_the_next_ones_are_held_longer() -> None:
    gate = in_service(probe=False)
    holds_s = []
    for _ in range(7):
        gate.feed(DIED, FOUND, every_ns=NS_PER_S)
        died_ns = gate.gate.snapshot().since_ns
        if gate.gate.deadline_ns is None:
            assert gate.condition == "in-service"
            holds_s.append(0)
            continue
        assert gate.gate.snapshot().health is Health.UP
        assert gate.codes == ["held-after-flap", "proxy-died"]
        gate.now_ns = gate.gate.deadline_ns
        assert [c.new for c in gate.feed(TimePassed())] == [Condition.IN_SERVICE]
        holds_s.append((gate.now_ns - died_ns) // NS_PER_S)
    assert holds_s == [0, 30, 60, 120, 240, 300, 300]


def test_flaps_are_forgiven_with_time() -> None:
    gate = in_service(probe=False)
    gate.feed(DIED, FOUND)
    gate.now_ns += MAX_HOLDS * HOLD
    assert [c.new for c in gate.feed(DIED, FOUND)] == [Condition.FAULT, Condition.IN_SERVICE]


def test_hold_zero_switches_the_damping_off() -> None:
    gate = in_service(probe=False, hold_ns=0)
    changes = gate.feed(*(DIED, FOUND) * 5, every_ns=MS)
    assert len(changes) == 10
    busy = saturated(hold_ns=0)
    assert busy.feed(load(0.1), every_ns=TICK)


def test_a_new_proxy_does_not_inherit_the_load_of_the_dead_one() -> None:
    gate = saturated(probe=False)
    gate.feed(DIED, FOUND)
    gate.now_ns = gate.gate.deadline_ns or 0
    assert [c.new for c in gate.feed(TimePassed())] == [Condition.IN_SERVICE]


OBSERVATIONS = st.one_of(
    st.sampled_from([DIED, FOUND, OK, BAD, TimePassed()]),
    st.builds(
        lambda ratio, name, age_ms, full: UtilizationSampled(
            (Utilization(name, ratio, 1.0, "count", age_ms=age_ms),),
            {name: "all taken"} if full else {},
        ),
        st.one_of(st.none(), st.floats(0, 2)),
        st.sampled_from(["tls", "fds"]),
        st.floats(0, 5000),
        st.booleans(),
    ),
)
SCRIPTS = st.lists(st.tuples(st.integers(0, 20 * NS_PER_S), OBSERVATIONS), max_size=120)


@given(SCRIPTS, st.booleans())
def test_any_sequence_keeps_the_invariants(script, probe) -> None:
    gate = Gate(GateSettings(probe=probe), 0)
    now_ns, alive, broken, changes = 0, False, False, []
    for delay_ns, observed in script:
        now_ns += delay_ns
        match observed:
            case ProxyDied():
                alive, broken = False, True
            case ProxyFound():
                alive = True
            case ProbeFailed():
                broken = True
        produced = gate.step(observed, now_ns)
        assert len(produced) <= 1
        changes += [now_ns] * len(produced)
        snapshot = gate.snapshot()
        if not alive:
            assert snapshot.condition in (Condition.STARTING, Condition.FAULT)
        if snapshot.condition is Condition.FAULT:
            assert broken
        if isinstance(observed, ProxyDied):
            assert snapshot.condition is Condition.FAULT
        if isinstance(observed, UtilizationSampled):
            assert all(c.new is not Condition.FAULT for c in produced)
    for first in changes:
        assert sum(first <= at < first + HOLD for at in changes) <= 6


@given(SCRIPTS)
def test_without_a_death_or_failed_probe_there_is_no_fault(script) -> None:
    gate = Gate(GateSettings(probe=True), 0)
    gate.step(FOUND, 0)
    now_ns = 0
    for delay_ns, observed in script:
        now_ns += delay_ns
        if not isinstance(observed, ProxyDied | ProbeFailed):
            gate.step(observed, now_ns)
            assert gate.snapshot().condition is not Condition.FAULT
