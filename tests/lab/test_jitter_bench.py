"""What the table of jitter is made of."""

import pytest

from haman.lab.jitter_bench import (
    AT_REST,
    OVERLOADED,
    Heard,
    Row,
    deviations_ms,
    heard_in,
    percentile,
    to_markdown,
)
from haman.lab.runtime import LabError
from haman.lab.wiretap import Advert

MS = 1_000_000


def said(*seen: tuple[float, str]) -> list[Advert]:
    return [Advert(round(ms * MS), mac, 51, 150) for ms, mac in seen]


def test_intervals_are_those_of_the_node_that_spoke_first() -> None:
    heard = heard_in(said((0, "a"), (100, "a"), (150, "b"), (201.5, "a"), (300, "b")))
    assert heard == Heard((100_000, 101_500), 2)


@pytest.mark.parametrize("alone", [[], said((0, "a")), said((0, "a"), (1, "b"))])
def test_without_two_adverts_there_is_nothing_to_measure(alone: list[Advert]) -> None:
    with pytest.raises(LabError, match="nothing to measure"):
        heard_in(alone)


def test_too_early_is_as_wrong_as_too_late() -> None:
    assert deviations_ms(Heard((99_000, 100_000, 102_500), 0), 100) == [0, 1, 2.5]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1), (0.0, 1)]
)
def test_percentiles_by_nearest_rank(share: float, expected: int) -> None:
    assert percentile(range(1, 101), share) == expected


def test_the_table_says_where_another_node_took_over() -> None:
    rows = (
        Row(100, AT_REST, {"haman": Heard((100_100, 99_900), 0)}),
        Row(10, OVERLOADED, {"haman": Heard((10_000,), 0), "keepalived": Heard((45_000,), 7)}),
    )
    lines = to_markdown(rows).splitlines()
    assert lines[2] == "| every 100 ms, at rest | - | - | 0.10 / 0.10 / 0.10 (n = 2) |"
    assert "| 35.00 / 35.00 / 35.00 (n = 1); **another node took over** | - | 0.00 /" in lines[3]
