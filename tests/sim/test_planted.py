"""Tests of the tests: each planted bug is found, by the checker that is there for it."""

import pytest

from haman.sim.campaign import told
from haman.sim.shrink import shrink
from haman.sim.world import run_seed
from tests.sim.planted import BUGS, run_with

SEEDS = {
    "grant-without-reservation": (7,),
    "stale-peer-counted-as-empty": (85,),
    "no-dwell": (9,),
    "two-grants": (72,),
    "lost-release": (3,),
    "namesake-ignored": (70,),
    "one-way-untold": (1124,),
    "survivors-steer-nothing": (6,),
    "pivot-waits-for-nobody": (7,),
}
"""Found by `python -m tests.sim.planted BUG 1 1000`."""


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    for seed in SEEDS[bug]:
        outcome = run_with(bug, seed)
        assert outcome.violation is not None
        assert outcome.violation.checker == BUGS[bug][1]
        assert run_seed(seed).violation is None  # the bug it is, and nothing else


def test_a_failure_is_told_with_the_smallest_schedule() -> None:
    bug = "no-dwell"
    with pytest.MonkeyPatch.context() as patch:
        BUGS[bug][0](patch)
        outcome = run_seed(SEEDS[bug][0])
        small = shrink(outcome)
        text = told(outcome)
    assert small.violation is not None
    assert small.violation.checker == "dwell"
    assert len(small.faults) < len(outcome.faults)
    assert f"seed {SEEDS[bug][0]} violates dwell" in text
    assert f"haman simulate --seed {SEEDS[bug][0]}" in text
    assert "VIOLATED dwell" in text
