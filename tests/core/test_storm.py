"""A storm of handshakes is named within a second; a load of 70 % of the knee never is."""

from collections import deque
from random import Random

import pytest

from haman.core.gate import Gate, GateSettings, ProxyFound, UtilizationSampled
from haman.core.processes import ProcessId
from haman.core.resources import (
    COST_FULL_S,
    NS_PER_S,
    TLS_KNEE,
    CountersSampled,
    Meter,
    MeterSettings,
    ProcessesSampled,
    ProcessSample,
)
from haman.core.words import Condition

WORKER = ProcessId(100, 5000)
KNEE_PER_S = TLS_KNEE / COST_FULL_S
MOST_PER_S = 1 / COST_FULL_S


class Proxy:
    """One thread that does handshakes, and those that wait for it."""

    def __init__(
        self, interval_s: float, seed: int, *, tells: str = "queue", late_s: float = 0.0
    ) -> None:
        self.tells, self.late_s = tells, late_s
        self.begun = 0.0
        self.finished: deque[tuple[int, float]] = deque([(0, 0.0)])
        self.meter = Meter(MeterSettings())
        self.gate = Gate(GateSettings(), 0)
        self.gate.step(ProxyFound(), 0)
        self.interval_s = interval_s
        self.random = Random(seed)
        self.now_ns = 0
        self.done = self.waiting = self.cpu_ns = 0.0

    def run(self, offered_per_s: float, seconds: float) -> float | None:
        """Seconds until it is named saturated; None = it was not."""
        begun_ns = self.now_ns
        while (self.now_ns - begun_ns) / NS_PER_S < seconds:
            # The sampler is late now and then, and clients come as they like.
            took_s = self.interval_s * self.random.choice([1, 1, 1, 1, 1.4])
            came = max(
                0.0, self.random.gauss(offered_per_s * took_s, (offered_per_s * took_s) ** 0.5)
            )
            served = min(self.waiting + came, MOST_PER_S * took_s)
            self.waiting += came - served
            self.done += served
            self.begun += came
            self.cpu_ns += served * COST_FULL_S * NS_PER_S
            self.now_ns += round(took_s * NS_PER_S)
            self.finished.append((self.now_ns, self.done))
            self.sample()
            if self.gate.snapshot().condition is Condition.SATURATED:
                return (self.now_ns - begun_ns) / NS_PER_S
        return None

    def sample(self) -> None:
        threads = ProcessSample(WORKER, {100: round(self.cpu_ns)})
        self.meter.take(ProcessesSampled(self.now_ns, (threads,)))
        queue = round(self.waiting)
        while (
            len(self.finished) > 1 and self.finished[1][0] <= self.now_ns - self.late_s * NS_PER_S
        ):
            self.finished.popleft()
        self.meter.take(
            CountersSampled(
                self.now_ns,
                WORKER,
                full=round(self.finished[0][1]),
                resumed=0,
                threads=1,
                queue=queue,
                begun=round(self.begun) if self.tells == "begun" else None,
            )
        )
        sample = UtilizationSampled(
            self.meter.utilizations(self.now_ns), self.meter.hard_facts(self.now_ns)
        )
        self.gate.step(sample, self.now_ns)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("interval_s", [0.1, 0.2])
def test_twice_the_ceiling_is_named_within_a_second(interval_s, seed) -> None:
    proxy = Proxy(interval_s, seed)
    assert proxy.run(0.3 * KNEE_PER_S, 10) is None
    named_s = proxy.run(2 * KNEE_PER_S, 5)
    assert named_s is not None
    assert named_s <= 1.0
    (reason, *_) = proxy.gate.snapshot().reasons
    assert reason.data["resource"] == "tls"


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("interval_s", [0.1, 0.2])
def test_a_storm_of_which_little_is_completed_is_named_by_what_was_begun(interval_s, seed) -> None:
    """As a real HAProxy does it: thousands are worked upon, and finished much later."""
    proxy = Proxy(interval_s, seed, tells="begun", late_s=1.5)
    assert proxy.run(0.3 * KNEE_PER_S, 10) is None
    named_s = proxy.run(2 * KNEE_PER_S, 5)
    assert named_s is not None
    assert named_s <= 1.0
    (reason, *_) = proxy.gate.snapshot().reasons
    assert reason.data["resource"] == "tls"


def test_connections_that_are_begun_without_a_handshake_are_no_demand_while_nothing_queues() -> (
    None
):
    meter = Meter(MeterSettings())
    for tick in range(20):
        at_ns = tick * NS_PER_S // 5
        sample = CountersSampled(
            at_ns, WORKER, full=0, resumed=0, threads=1, queue=3, begun=tick * 800
        )
        meter.take(sample)
    (tls,) = [each for each in meter.utilizations(at_ns) if each.name == "tls"]
    assert tls.used == 0


@pytest.mark.parametrize("tells", ["queue", "begun"])
def test_a_burst_that_is_over_in_two_intervals_is_not_named(tells) -> None:
    """As when the clients of a reloaded proxy come back."""
    proxy = Proxy(0.2, 1, tells=tells)
    assert proxy.run(0.3 * KNEE_PER_S, 10) is None
    assert proxy.run(2 * KNEE_PER_S, 0.4) is None
    assert proxy.run(0.3 * KNEE_PER_S, 60) is None


@pytest.mark.parametrize("tells", ["queue", "begun"])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("interval_s", [0.1, 0.2])
def test_a_load_of_seventy_percent_is_never_named(interval_s, seed, tells) -> None:
    assert Proxy(interval_s, seed, tells=tells).run(0.7 * KNEE_PER_S, 300) is None
