"""From bursts to the cost of a handshake: medians, the idle share, and figures that are none."""

import pytest

from haman.core.handshake_cost import Burst, cost, idle_cores

MS = 1_000_000


def bursts(*cpu_ms: float, handshakes: int = 10, wall_ms: int = 20) -> list[Burst]:
    return [Burst(handshakes, int(ms * MS), wall_ms * MS) for ms in cpu_ms]


def test_the_median_counts_and_not_the_burst_in_which_the_host_did_something_else() -> None:
    found = cost(bursts(4.3, 4.3, 4.4, 4.2, 90.0), idle=0.0)
    assert found is not None
    assert found.s == pytest.approx(430e-6)
    assert found.handshakes == 50


def test_what_the_proxy_spends_anyway_is_taken_off() -> None:
    pauses = bursts(10, 10, 11, handshakes=0, wall_ms=100)
    assert idle_cores(pauses) == pytest.approx(0.1)
    found = cost(bursts(6, 6, 6, 6), idle_cores(pauses))
    assert found is not None
    assert found.s == pytest.approx(400e-6)


def test_bursts_that_disagree_are_not_steady() -> None:
    steady, unsteady = cost(bursts(4, 4, 5, 4, 4), 0.0), cost(bursts(1, 4, 8, 2, 9, 4), 0.0)
    assert steady is not None
    assert steady.steady
    assert unsteady is not None
    assert not unsteady.steady


@pytest.mark.parametrize(
    "few",
    [
        [],
        bursts(4, 4, 4),
        bursts(4, 4, 4, 4, handshakes=0),
        bursts(0, 0, 0, 0),
        bursts(-1, -1, -1, -1),
    ],
    ids=["none", "few", "pauses", "nothing spent", "less than idle"],
)
def test_no_figure(few) -> None:
    assert cost(few, 0.0) is None


def test_no_pause_is_no_idle_share() -> None:
    assert idle_cores([]) == 0.0
    assert idle_cores([Burst(0, 5, 0)]) == 0.0
