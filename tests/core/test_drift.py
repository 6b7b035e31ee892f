"""Whether handshakes still cost what was calibrated."""

import pytest

from haman.core.calibration import Calibration, HandshakeCost
from haman.core.drift import (
    CHEAPER,
    DEARER,
    HANDSHAKES_LEAST,
    NS_PER_S,
    WINDOW_NS,
    WINDOWS,
    Drift,
    Spent,
    advice,
)
from haman.core.processes import ProcessId
from haman.core.resources import (
    CountersSampled,
    Meter,
    MeterSettings,
    ProcessesSampled,
    ProcessSample,
)

COST_NS = 400_000
WORKER = ProcessId(100, 5000)


class Windows:
    """A proxy, window by window."""

    def __init__(self) -> None:
        self.drift = Drift()
        self.at_ns = self.cpu_ns = self.handshakes = 0
        self.step()

    def step(self) -> None:
        self.drift.step(Spent(self.at_ns, self.cpu_ns, self.handshakes, self.handshakes * COST_NS))

    def run(self, ratio: float, windows: int = 1, each: int = 1000, other_ns: int = 0) -> None:
        for _ in range(windows):
            self.at_ns += WINDOW_NS
            self.handshakes += each
            self.cpu_ns += round(each * COST_NS * ratio) + other_ns
            self.step()


@pytest.mark.parametrize("ratio", [CHEAPER - 0.05, DEARER + 0.05])
def test_another_cost_is_told_after_enough_windows_and_not_before(ratio: float) -> None:
    proxy = Windows()
    proxy.run(ratio, WINDOWS - 1)
    assert proxy.drift.ratio is None
    proxy.run(ratio)
    assert proxy.drift.ratio == pytest.approx(ratio)


@pytest.mark.parametrize("ratio", [CHEAPER + 0.05, 0.8, 1.0, 1.4, DEARER - 0.05])
def test_what_a_paced_measurement_errs_by_is_no_drift(ratio: float) -> None:
    proxy = Windows()
    proxy.run(ratio, 5 * WINDOWS)
    assert proxy.drift.ratio is None


def test_a_few_odd_windows_are_no_drift() -> None:
    proxy = Windows()
    proxy.run(1.0, WINDOWS)
    proxy.run(5.0, WINDOWS // 2 - 1, other_ns=0)
    assert proxy.drift.ratio is None


def test_it_ends_well_within_the_bounds_and_not_at_them() -> None:
    proxy = Windows()
    proxy.run(2.0, WINDOWS)
    proxy.run(1.6, WINDOWS)
    assert proxy.drift.ratio == pytest.approx(1.6)
    proxy.run(1.1, WINDOWS)
    assert proxy.drift.ratio is None


def test_too_few_handshakes_and_other_work_say_nothing() -> None:
    few = Windows()
    few.run(3.0, 5 * WINDOWS, each=HANDSHAKES_LEAST - 1)
    assert few.drift.ratio is None
    requests = Windows()
    requests.run(1.0, 5 * WINDOWS, other_ns=1000 * COST_NS * 4)
    assert requests.drift.ratio is None


def test_a_gap_begins_the_window_anew() -> None:
    proxy = Windows()
    for _ in range(5 * WINDOWS):
        proxy.drift.interrupt()
        proxy.run(3.0)
    assert proxy.drift.ratio is None


def test_the_advice_has_the_numbers_and_what_to_do() -> None:
    dearer, cheaper = advice(2.0, 400e-6), advice(0.4, 400e-6)
    assert "2.0 times" in dearer
    assert "800 µs instead of 400 µs" in dearer
    assert "haman calibrate" in dearer
    assert "160 µs instead of 400 µs" in cheaper
    assert "haman calibrate" in cheaper


def calibration(*costs_us: float) -> Calibration:
    costs = (
        HandshakeCost("127.0.0.1:443", "rsa", "TLSv1.3", us / 1e6, us / 2e6) for us in costs_us
    )
    return Calibration(1, "haproxy", tuple(costs))


def drift(measured: Calibration | None, *, queue: int = 0, cost_ns: int = 2 * COST_NS) -> str:
    """What a meter says after two minutes of 300 handshakes/s."""
    meter = Meter(MeterSettings(calibration=measured))
    for second in range(120):
        at_ns, done = second * NS_PER_S, 300 * second
        threads = ProcessSample(WORKER, {100: done * cost_ns})
        meter.take(ProcessesSampled(at_ns, (threads,)))
        meter.take(CountersSampled(at_ns, WORKER, full=done, resumed=0, threads=1, queue=queue))
    return meter.drift


def test_the_meter_compares_cpu_time_with_handshakes() -> None:
    assert "2.0 times" in drift(calibration(400))
    assert drift(calibration(400), cost_ns=COST_NS) == ""


def test_nothing_is_told_without_a_calibration_of_a_mix_or_in_an_overload() -> None:
    assert drift(None) == ""
    assert drift(calibration(400, 3000)) == ""
    assert drift(calibration(400, 390)) != ""
    assert drift(calibration(400), queue=50) == ""


def test_another_calibration_begins_anew() -> None:
    meter = Meter(MeterSettings(calibration=calibration(400)))
    meter.calibrate(calibration(800))
    assert meter.tls.full_s == pytest.approx(800e-6)
    assert meter.drift == ""
