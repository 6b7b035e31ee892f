"""The knee of a ramp: each sign of it, and what is no evidence."""

from dataclasses import replace

import pytest

from haman.core.knee import GROWTH, Step, knee, rates

CALM = Step(100, 100, 0.0, 0.003, 0.008, 0.001)
WELL = Step(200, 199, 0.0, 0.004, 0.020, 0.002)


def test_a_ramp_goes_on_while_all_is_well() -> None:
    assert knee([]) is None
    assert knee([CALM]) is None
    assert knee([CALM, WELL]) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"failed": 0.2}, "20 % failed"),
        ({"served_per_s": 180.0}, "180 of 200/s were served"),
        ({"p99_s": 0.4}, "p99 rose to 400 ms"),
    ],
)
def test_past_the_knee(change, words) -> None:
    found = knee([CALM, WELL, replace(WELL, **change)])
    assert found is not None
    assert (found.served_per_s, found.reached) == (199, True)
    assert words in found.text


def test_a_little_latency_is_no_knee_however_small_it_was_before() -> None:
    first = replace(CALM, p50_s=0.0005)
    assert knee([first, replace(WELL, p99_s=0.04)]) is None
    assert knee([first, replace(WELL, p99_s=0.06)]) is not None


def test_a_late_generator_is_no_evidence() -> None:
    found = knee([CALM, replace(WELL, late_s=0.1, served_per_s=50)])
    assert found is not None
    assert (found.served_per_s, found.reached) == (100, False)
    assert "it is the bottleneck" in found.text


def test_a_first_step_past_the_knee_finds_none() -> None:
    found = knee([replace(CALM, failed=1.0, served_per_s=0)])
    assert found is not None
    assert (found.served_per_s, found.reached) == (None, True)


def test_rates_grow_to_the_last_one() -> None:
    found = rates(100, 200)
    assert found == [100, 100 * GROWTH, 100 * GROWTH**2, 100 * GROWTH**3, 200]
    assert rates(100, 100) == [100]
