"""Some hundred seeds, in every run of the suite; `make sim` runs thousands."""

import pytest

from haman.sim import faults, options
from haman.sim.campaign import run_many
from haman.sim.options import KINDS, SHAPES
from haman.sim.streams import Streams

FIRST, CHUNK, CHUNKS = 20_000, 20, 8


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_seed_violates_anything(chunk: int) -> None:
    first = FIRST + chunk * CHUNK
    for tally in run_many(range(first, first + CHUNK)):
        assert tally.failures == []


def test_these_seeds_know_every_shape_and_kind_of_fault() -> None:
    shapes, kinds = set(), set()
    for seed in range(FIRST, FIRST + CHUNK * CHUNKS):
        streams = Streams(seed)
        drawn = options.draw(seed, streams.of("options"))
        shapes.add(drawn.shape)
        kinds |= {fault.kind for fault in faults.draw(drawn, streams.of("faults"))}
    assert shapes == set(SHAPES)
    assert kinds == set(KINDS)
