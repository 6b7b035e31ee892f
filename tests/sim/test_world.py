"""Seeded runs: they hold, and they are what their seed makes of them."""

import os
import subprocess
import sys

import pytest

from haman.sim.options import SHAPES
from haman.sim.world import run_again, run_seed


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_holds_and_heals(shape: str) -> None:
    outcome = run_seed(11, shape)
    assert outcome.violation is None, outcome.violation
    assert outcome.options.shape == shape
    assert outcome.faults
    assert outcome.served > 0
    assert any("healed" in line.what for line in outcome.transcript.lines)


def test_the_same_seed_is_the_same_run() -> None:
    one, other = run_seed(3, "pair"), run_seed(3, "pair")
    assert one.transcript.digest == other.transcript.digest
    assert one.transcript.digest != run_seed(4, "pair").transcript.digest
    assert run_again(one, one.faults).transcript.digest == one.transcript.digest


def test_the_hash_of_the_process_does_not_matter() -> None:
    code = "from haman.sim.world import run_seed; print(run_seed(5, 'mixed').transcript.digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("0", "1", "4242")
    }
    assert len(digests) == 1
