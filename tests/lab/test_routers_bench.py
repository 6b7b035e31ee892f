"""What the table of many virtual routers is made of."""

import pytest

from haman.lab.cost import Cost
from haman.lab.routers_bench import Carried, Row, announced_ms, to_markdown
from haman.lab.runtime import LabError
from tests.lab.test_wiretap import OTHER, advert, arp

MS = 1_000_000
COST = Cost(3.25, 71.6)


def test_the_count_begins_with_the_last_advert_of_who_fell_silent() -> None:
    frames = [
        arp("10.78.0.1", "10.78.0.1", at_ns=0),
        advert(1, 150, at_ns=1 * MS),
        advert(2, 150, at_ns=2 * MS),
        arp("10.78.0.2", "10.78.0.2", at_ns=3 * MS),
        advert(1, 100, OTHER, at_ns=360 * MS),
        arp("10.78.0.1", "10.78.0.1", OTHER, at_ns=364 * MS),
        arp("10.78.0.1", "10.78.0.1", OTHER, at_ns=414 * MS),
    ]
    assert announced_ms(frames) == {"10.78.0.1": 362}


def test_without_adverts_there_is_nothing_to_measure() -> None:
    with pytest.raises(LabError, match="nothing to measure"):
        announced_ms([arp("10.78.0.1", "10.78.0.1")])


@pytest.mark.parametrize(
    ("came", "held", "expected"),
    [((1.0, 3.0, 2.0), 3, 3.0), ((1.0, None, 2.0), 3, None), ((1.0, 3.0, 2.0), 2, None)],
    ids=["all", "one never announced", "one announced and not held"],
)
def test_all_are_taken_over_or_it_is_told(came, held: int, expected: float | None) -> None:
    carried = Carried(COST, COST, came, held)
    assert carried.all_after_ms == expected
    both = {"keepalived": None, "haman": carried}
    (line,) = to_markdown((Row(3, 1000, both),)).splitlines()[2:]
    shown = f"{expected:.1f} ms" if expected else "never: 1 were not"
    never = "**both nodes go on taking addresses over**"
    assert line == f"| 3, every 1,000 ms | - | - | {never} | 3.2 + 3.2 % | 72 MB | {shown} |"
