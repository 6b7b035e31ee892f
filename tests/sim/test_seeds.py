"""Some hundred seeds, in every run of the suite."""

from collections import Counter

from haman.sim.campaign import run_many
from haman.sim.options import KINDS

SEEDS = range(20_000, 20_120)


def test_no_seed_violates_anything() -> None:
    kinds: Counter[str] = Counter()
    failures = []
    for tally in run_many(SEEDS):
        kinds += tally.kinds
        failures += tally.failures
    assert failures == []
    assert set(kinds) == set(KINDS)
