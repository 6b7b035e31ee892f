"""Time to exhaustion: known for what grows steadily, and for nothing else."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.core.resources.growth import NS_PER_S, POINT_NS, POINTS, Growth


def grown(*values: float, every_ns: int = POINT_NS) -> Growth:
    growth = Growth()
    for i, value in enumerate(values):
        growth.add(i * every_ns, value)
    return growth


def test_a_straight_line() -> None:
    growth = grown(*(100 + 3 * i for i in range(20)))
    assert growth.slope_per_s == pytest.approx(1.5)
    assert growth.exhausted_in_s(157, 307) == pytest.approx(100)
    assert growth.exhausted_in_s(400, 307) == 0


@pytest.mark.parametrize(
    "values",
    [
        [100.0] * 30,
        [100.0 - i for i in range(30)],
        [100 + 50 * (i % 2) for i in range(30)],
        [100.0, 110.0, 120.0],
        [100 + Random(7).uniform(-50, 50) for _ in range(30)],
        [100 + (50 if i > 25 else 0) for i in range(30)],
        [100 + 50 * (i % 2) + 0.02 * i for i in range(30)],
    ],
    ids=["flat", "falls", "swings", "too few", "noise", "one step", "swings upwards"],
)
def test_what_does_not_grow_steadily_is_never_exhausted(values) -> None:
    assert grown(*values).exhausted_in_s(100, 1000) is None


def test_bursts_do_not_bend_the_slope() -> None:
    noise = Random(3)
    values = [10 * i + (500 if i in (9, 10, 20) else noise.uniform(-3, 3)) for i in range(30)]
    assert grown(*values).slope_per_s == pytest.approx(5, rel=0.1)


def test_what_takes_longer_than_a_week_is_flat() -> None:
    growth = grown(*(100 + 0.001 * i for i in range(30)))
    assert growth.exhausted_in_s(100, 10**6) is None


def test_old_growth_is_forgotten() -> None:
    growth = grown(*(10 * i for i in range(30)), *([300.0] * POINTS))
    assert growth.slope_per_s is None


def test_a_gap_begins_anew() -> None:
    growth = grown(*(10 * i for i in range(30)))
    growth.add(30 * POINT_NS + 60 * NS_PER_S, 5000)
    assert growth.slope_per_s is None


def test_many_readings_are_few_points() -> None:
    growth = grown(*range(10_000), every_ns=NS_PER_S // 5)
    assert len(growth._points) == POINTS
    assert growth.slope_per_s == pytest.approx(5)


@given(st.lists(st.floats(0, 1e12), max_size=40), st.floats(1, 1e12))
def test_no_values_make_a_time_in_the_past(values, ceiling) -> None:
    left_s = grown(*values).exhausted_in_s(values[-1] if values else 0, ceiling)
    assert left_s is None or left_s >= 0
