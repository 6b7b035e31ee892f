"""Each kind of resource: what it is made of, which source binds, and what is told of it."""

import pytest

from haman.core.calibration import Calibration, HandshakeCost
from haman.core.processes import ProcessId
from haman.core.resources import (
    COST_FULL_S,
    NS_PER_S,
    TLS_KNEE,
    Ceiling,
    ConntrackSampled,
    CountersSampled,
    GroupCpu,
    GroupMemory,
    GroupsSampled,
    InterfaceBytes,
    InterfacesSampled,
    ListenQueue,
    MemorySampled,
    Meter,
    MeterSettings,
    PortsSampled,
    ProbeTimed,
    ProbeTimedOut,
    ProcessesSampled,
    ProcessSample,
    QueuesSampled,
    Reading,
    SoftirqSampled,
    SourceFailed,
)
from haman.core.resources.meter import SLOW_STALE_NS
from haman.core.words import Confidence, Utilization

TICK = NS_PER_S // 5
GB = 10**9
WORKER = ProcessId(100, 5000)
RELOADED = ProcessId(101, 9000)


class Metered:
    """A meter that is fed, and asked at the instant of the last reading."""

    def __init__(self, **settings: object) -> None:
        self.meter = Meter(MeterSettings(**settings))  # type: ignore[arg-type]
        self.at_ns = 0

    def feed(self, *readings: Reading) -> "Metered":
        for reading in readings:
            self.meter.take(reading)
            self.at_ns = max(self.at_ns, reading.at_ns)
        return self

    def __getitem__(self, name: str) -> Utilization:
        (found,) = [u for u in self.meter.utilizations(self.at_ns) if u.name == name]
        return found

    @property
    def names(self) -> set[str]:
        return {u.name for u in self.meter.utilizations(self.at_ns)}

    @property
    def hard(self) -> dict[str, str]:
        return self.meter.hard_facts(self.at_ns)


def threads(at_ns: int, *cpu_ns: int) -> ProcessesSampled:
    sample = ProcessSample(WORKER, dict(enumerate(cpu_ns, 100)))
    return ProcessesSampled(at_ns, (sample,))


def waiting(at_ns: int, ran_ns: int, waited_ns: int) -> ProcessesSampled:
    """One thread, that had not always the CPU that it wanted."""
    return ProcessesSampled(
        at_ns, (ProcessSample(WORKER, {100: ran_ns}, waited_ns={100: waited_ns}),)
    )


def quota(at_ns: int, used_ns: int | None, periods: int, throttled: int, cores: float = 0.4):
    return GroupsSampled(at_ns, (GroupCpu("/proxy", cores, used_ns, periods, throttled),))


def test_a_quota_binds_before_the_thread_does() -> None:
    metered = Metered().feed(threads(0, 0), quota(0, 0, 0, 0))
    for i in range(1, 4):
        at = i * TICK
        metered.feed(threads(at, at * 4 // 10), quota(at, at * 4 // 10, 2 * i, 0))
    assert metered["cpu"].utilization == pytest.approx(1.0)
    assert metered["cpu"].ceiling == 0.4
    assert metered["cpu"].detail == "control group /proxy"
    assert metered.hard == {}


def test_a_thread_that_waits_for_a_cpu_is_as_busy_as_one_that_runs() -> None:
    metered = Metered().feed(waiting(0, 0, 0))
    for i in range(1, 4):
        metered.feed(waiting(i * TICK, i * TICK // 2, i * TICK * 45 // 100))
    assert metered["cpu"].utilization == pytest.approx(0.95)
    assert metered["cpu"].detail.endswith("45 % of the time without the CPU that it wanted")
    assert metered.meter._threads.total_cores == pytest.approx(0.5)


def test_a_wait_that_began_before_the_last_reading_is_no_more_than_all_of_the_time() -> None:
    metered = Metered().feed(waiting(0, 0, 0), waiting(TICK, TICK // 2, 3 * TICK))
    assert metered["cpu"].utilization == 1.0


def test_throttled_in_every_period_is_a_hard_fact_and_in_some_is_not() -> None:
    metered = Metered().feed(quota(0, 0, 10, 5), quota(TICK, TICK * 4 // 10, 12, 7))
    assert metered.hard == {"cpu": "control group /proxy was throttled in 2 of 2 periods"}
    assert "throttled in 2 of 2 periods" in metered["cpu"].detail
    assert metered.feed(quota(TICK + 1, TICK * 4 // 10, 12, 7)).hard  # no period has ended since
    assert metered.feed(quota(2 * TICK, TICK, 14, 8)).hard == {}
    assert metered.feed(quota(3 * TICK, TICK, 14, 8)).hard == {}


def test_without_accounting_the_threads_stand_in_for_the_group() -> None:
    metered = Metered().feed(threads(0, 0, 0), quota(0, None, 0, 0))
    metered.feed(threads(TICK, TICK // 10, TICK // 10), quota(TICK, None, 2, 0))
    assert metered["cpu"].used == pytest.approx(0.2)
    assert metered["cpu"].utilization == pytest.approx(0.5)


def test_a_quota_that_is_lifted_limits_nothing_any_more() -> None:
    metered = Metered().feed(threads(0, 0), quota(0, 0, 0, 0))
    metered.feed(threads(TICK, TICK // 10), quota(TICK, TICK * 4 // 10, 2, 2))
    metered.feed(threads(2 * TICK, TICK // 5), GroupsSampled(2 * TICK, ()))
    assert metered["cpu"].ceiling == 1.0
    assert metered.hard == {}


@pytest.mark.parametrize(
    "after",
    [quota(TICK, 0, 3, 1), quota(9 * NS_PER_S, 99, 99, 99), GroupsSampled(TICK, ())],
    ids=["went back", "gap", "gone"],
)
def test_a_group_that_begins_anew_says_nothing_for_one_interval(after) -> None:
    metered = Metered().feed(threads(0, 0), quota(0, 0, 10, 5), after)
    assert metered["cpu"].used is None
    assert metered.hard == {}


def test_a_core_full_of_interrupts_is_cpu() -> None:
    metered = Metered().feed(threads(0, 0), SoftirqSampled(0, {0: 0, 1: 0}, 7))
    metered.feed(
        threads(NS_PER_S, NS_PER_S // 10),
        SoftirqSampled(NS_PER_S, {0: NS_PER_S // 50, 1: NS_PER_S * 9 // 10}, 57),
    )
    assert metered["cpu"].utilization == pytest.approx(0.9)
    assert metered["cpu"].detail == "interrupts on CPU 1, which drops 50 packets/s"


def counters(at_ns: int, full: int = 0, epoch: ProcessId = WORKER, **more: int) -> CountersSampled:
    told = {"resumed": 0, "threads": 1} | more
    return CountersSampled(at_ns, epoch, full=full, **told)


def test_a_storm_is_demand_before_it_is_done() -> None:
    """Half a core of handshakes done, and a queue that grows by twice the ceiling."""
    done = round(0.6 / COST_FULL_S / 5)
    metered = Metered().feed(counters(0, 0, queue=0))
    for i in range(1, 4):
        metered.feed(counters(i * TICK, i * done, queue=i * 2 * done))
    assert metered["tls"].used == pytest.approx(1.8, rel=0.02)


def test_a_queue_of_other_work_is_no_handshakes() -> None:
    metered = Metered().feed(counters(0, 0, queue=0), counters(TICK, 1, queue=5000))
    assert metered["tls"].used == pytest.approx(5 * COST_FULL_S)


def test_threads_cannot_do_more_than_their_quota() -> None:
    metered = Metered().feed(quota(0, 0, 0, 0, cores=0.5), counters(0, threads=4))
    assert metered.feed(counters(TICK, threads=4))["tls"].ceiling == pytest.approx(0.5 * TLS_KNEE)


def calibration(knee: float | None = None) -> Calibration:
    costs = (
        HandshakeCost("127.0.0.1:443", "rsa-2048 CN=a", "TLSv1.3", 433e-6, 201e-6, 60),
        HandshakeCost("127.0.0.1:444", "rsa-4096 CN=b", "TLSv1.3", 3166e-6, 200e-6, 60),
    )
    return Calibration(1, "haproxy 2.6.12", costs, knee)


def test_a_calibration_gives_the_cost_of_the_costliest_certificate() -> None:
    metered = Metered(calibration=calibration()).feed(counters(0), counters(NS_PER_S, 100))
    tls = metered["tls"]
    assert tls.used == pytest.approx(0.3166)
    assert (tls.confidence, tls.ceiling) == (Confidence.CALIBRATED, TLS_KNEE)
    assert tls.detail == "3166 µs a full handshake, 200 resumed, rsa-4096 CN=b"


def test_a_ramp_gives_the_knee_itself() -> None:
    metered = Metered(calibration=calibration(knee=280)).feed(counters(0), counters(NS_PER_S, 140))
    assert metered["tls"].utilization == pytest.approx(0.5)
    assert metered["tls"].origin == "knee at 280 full handshakes/s"


def test_the_operator_knows_best() -> None:
    own = {"tls": Ceiling(200, "full/s")}
    metered = Metered(calibration=calibration(280), ceilings=own)
    metered.feed(counters(0), counters(NS_PER_S, 100))
    assert metered["tls"].utilization == pytest.approx(0.5)
    assert metered["tls"].confidence is Confidence.CONFIGURED
    assert metered["tls"].origin == "saturation.resource.tls.ceiling"


def test_hol_is_the_probe_against_what_a_client_may_wait() -> None:
    metered = Metered(probe_slo_s=0.5).feed(ProbeTimed(0, 0.1))
    assert metered["hol"].utilization == pytest.approx(0.2)
    assert metered.hard == {}
    metered.feed(ProbeTimedOut(NS_PER_S, 0.5))
    assert metered["hol"].utilization == 1.0
    assert metered.hard == {"hol": "the probe had no answer in 0.5 s"}
    assert metered.feed(ProbeTimed(2 * NS_PER_S, 0.1)).hard == {}


def test_hol_is_the_run_queue_if_that_lets_clients_wait_longer() -> None:
    metered = Metered(probe_slo_s=0.5, client_timeout_s=1.0).feed(ProbeTimed(0, 0.01))
    metered.feed(counters(0, 0, queue=0), counters(TICK, 400, queue=871))
    hol = metered["hol"]
    assert hol.used == pytest.approx(871 / 2000)  # Little: 2000 done per second
    assert hol.detail == "871 tasks in the run queue"
    assert hol.utilization == pytest.approx(0.4355)


def test_before_any_handshake_is_done_the_run_queue_is_worth_its_cost() -> None:
    metered = Metered().feed(counters(0, queue=0), counters(TICK, 0, queue=1700))
    assert metered["hol"].used == pytest.approx(1700 * COST_FULL_S)


def queues(at_ns: int, waiting: int, overflows: int = 0, *others: ListenQueue) -> QueuesSampled:
    own = (
        ListenQueue("0.0.0.0:443", 0, 511, own=True),
        ListenQueue("0.0.0.0:443", waiting, 511, own=True),
    )
    return QueuesSampled(at_ns, (*own, *others), overflows)


def test_the_accept_queue_is_a_wait_where_accepts_are_counted() -> None:
    metered = Metered(client_timeout_s=2.0).feed(counters(0, accepted=0))
    metered.feed(counters(TICK, accepted=20), queues(TICK, 100))
    queue = metered["accept_queue"]
    assert (queue.used, queue.ceiling, queue.unit) == (1.0, 2.0, "s")
    assert queue.detail == "100 wait, most at 0.0.0.0:443"
    assert metered["hol"].used == 1.0


def test_the_fullest_socket_binds_where_the_backlog_is_short() -> None:
    metered = Metered().feed(queues(0, 500))
    queue = metered["accept_queue"]
    assert (queue.used, queue.ceiling, queue.unit) == (500, 511, "count")


def test_when_nothing_is_accepted_the_wait_is_as_long_as_that_lasts() -> None:
    metered = Metered(client_timeout_s=2.0)
    for i in range(11):
        metered.feed(counters(i * TICK, accepted=7), queues(i * TICK, 5))
    assert metered["accept_queue"].used == pytest.approx(1.8)


def test_an_empty_queue_is_no_wait_and_not_unknown() -> None:
    assert Metered().feed(queues(0, 0))["accept_queue"].utilization == 0


def test_dropped_connections_are_a_hard_fact_of_whose_queue_is_fullest() -> None:
    metered = Metered().feed(queues(0, 0, 3), queues(TICK, 0, 9))
    assert metered.hard == {"accept_queue": "6 connections were dropped: the accept queue was full"}
    assert metered.feed(queues(2 * TICK, 0, 9)).hard == {}
    sshd = ListenQueue("0.0.0.0:22", 128, 128, own=False)
    assert metered.feed(queues(3 * TICK, 0, 20, sshd)).hard == {}


def test_without_a_socket_of_the_proxy_there_is_no_queue() -> None:
    sshd = ListenQueue("0.0.0.0:22", 128, 128, own=False)
    assert "accept_queue" not in Metered().feed(QueuesSampled(0, (sshd,), 0)).names


def test_ports_have_their_knee_at_half_of_the_range() -> None:
    metered = Metered().feed(PortsSampled(0, 7058, 28232, "10.0.0.1", "10.0.0.9:8080"))
    ports = metered["ports"]
    assert ports.utilization == pytest.approx(0.5)
    assert ports.detail == "from 10.0.0.1 to 10.0.0.9:8080"
    assert metered.hard == {}
    full = Metered().feed(PortsSampled(0, 28232, 28232, "10.0.0.1", "10.0.0.9:8080"))
    assert full["ports"].utilization == 2.0
    assert list(full.hard) == ["ports"]


def test_a_total_of_ports_is_an_upper_bound_and_never_a_hard_fact() -> None:
    metered = Metered().feed(PortsSampled(0, 99999, 28232))
    assert metered["ports"].detail == "at most: all destinations together"
    assert metered.hard == {}


def memory(at_ns: int, available: int, *groups: GroupMemory, stalled_ns: int | None = 0):
    return MemorySampled(at_ns, 10 * GB, available, 50_000_000, groups, stalled_ns)


def test_memory_is_of_the_host_or_of_the_group_that_is_nearer_its_limit() -> None:
    metered = Metered().feed(memory(0, 6 * GB))
    assert metered["memory"].utilization == pytest.approx(0.4)
    assert metered["memory"].detail == "the host, 50 MB resident in the proxy"
    metered.feed(memory(1, 6 * GB, GroupMemory("/proxy", 900, 1000)))
    assert (metered["memory"].ceiling, metered["memory"].utilization) == (1000, 0.9)
    assert metered.feed(memory(2, 6 * GB))["memory"].ceiling == 10 * GB


def test_a_host_that_stands_still_for_memory_is_a_hard_fact() -> None:
    metered = Metered().feed(memory(0, GB), memory(NS_PER_S, GB, stalled_ns=NS_PER_S // 20))
    assert metered.hard == {}
    metered.feed(memory(2 * NS_PER_S, GB, stalled_ns=NS_PER_S // 2))
    assert metered.hard == {
        "memory": "the host stood still for 45 % of the time, for want of memory"
    }
    assert metered.feed(memory(3 * NS_PER_S, GB, stalled_ns=None)).hard == {}


def test_a_proxy_that_is_refused_memory_is_a_hard_fact() -> None:
    metered = Metered().feed(counters(0, pool_failed=3), memory(0, GB))
    assert metered.hard == {}
    metered.feed(counters(TICK, pool_failed=4), memory(TICK, GB))
    assert metered.hard == {"memory": "the proxy was refused memory"}
    metered.feed(counters(2 * TICK, epoch=RELOADED, pool_failed=9), memory(2 * TICK, GB))
    assert metered.hard == {}


def test_conntrack_is_its_table() -> None:
    metered = Metered().feed(ConntrackSampled(0, 131072, 262144))
    assert metered["conntrack"].utilization == 0.5
    assert metered.feed(ConntrackSampled(1, 262144, 262144)).hard
    assert "conntrack" not in Metered().feed(ConntrackSampled(0, 5, None)).names


def traffic(at_ns: int, *interfaces: tuple[str, int, int, int | None]) -> InterfacesSampled:
    return InterfacesSampled(at_ns, tuple(InterfaceBytes(*each) for each in interfaces))


def test_nic_is_the_interface_nearest_to_its_speed_and_its_busier_way() -> None:
    metered = Metered().feed(traffic(0, ("eth0", 0, 0, 1000), ("eth1", 0, 0, 100_000)))
    metered.feed(traffic(NS_PER_S, ("eth0", 100, 500, 1000), ("eth1", 9000, 0, 100_000)))
    nic = metered["nic"]
    assert (nic.used, nic.ceiling, nic.detail) == (500, 1000, "eth0, out")


def test_a_speed_that_is_not_told_is_unknown_and_says_what_to_do() -> None:
    metered = Metered().feed(
        traffic(0, ("eth0", 0, 0, None)), traffic(NS_PER_S, ("eth0", 9, 0, None))
    )
    nic = metered["nic"]
    assert (nic.used, nic.utilization) == (9, None)
    assert nic.problem == "eth0 tells no speed: set saturation.resource.nic.ceiling"
    own = Metered(ceilings={"nic": Ceiling(90)})
    own.feed(traffic(0, ("eth0", 0, 0, None)), traffic(NS_PER_S, ("eth0", 9, 0, None)))
    assert own["nic"].utilization == pytest.approx(0.1)
    assert own["nic"].problem == ""


def test_an_interface_that_begins_anew_makes_no_spike() -> None:
    metered = Metered().feed(traffic(0, ("eth0", 10**9, 0, 1000)))
    metered.feed(traffic(NS_PER_S, ("eth0", 5, 0, 1000), ("eth1", 10**12, 0, 1000)))
    assert "nic" not in metered.names
    metered.feed(traffic(2 * NS_PER_S, ("eth0", 105, 0, 1000), ("eth1", 10**12, 0, 1000)))
    assert metered["nic"].used == 100


def test_what_could_never_be_read_is_unknown_with_its_reason() -> None:
    metered = Metered().feed(SourceFailed(0, "accept_queue", "not permitted"))
    queue = metered["accept_queue"]
    assert (queue.used, queue.utilization, queue.problem) == (None, None, "not permitted")


def test_what_cannot_be_read_any_more_ages_and_then_says_why() -> None:
    metered = Metered().feed(
        ConntrackSampled(0, 5, 10), SourceFailed(NS_PER_S, "conntrack", "gone")
    )
    assert metered["conntrack"].used == 5
    assert metered["conntrack"].age_ms == 1000
    metered.at_ns = SLOW_STALE_NS + 1
    assert (metered["conntrack"].used, metered["conntrack"].problem) == (None, "gone")
    metered.feed(ConntrackSampled(metered.at_ns, 6, 10))
    assert (metered["conntrack"].used, metered["conntrack"].problem) == (6, "")


def test_what_only_grows_tells_when_it_is_all_used_up() -> None:
    metered = Metered()
    for second in range(31):
        metered.feed(ConntrackSampled(second * NS_PER_S, 100 + 10 * second, 1000))
    assert metered["conntrack"].exhausted_in_s == pytest.approx(60, abs=1)
    assert Metered().feed(ConntrackSampled(0, 5, 10))["conntrack"].exhausted_in_s is None
