"""Many seeds, in several processes: what failed, and a failure for people."""

import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from haman.sim.shrink import shrink
from haman.sim.world import Outcome, run_seed

CHUNK: Final = 10
"""Seeds that a process takes at once."""
LINES_TOLD: Final = 60


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed that violates an invariant."""

    seed: int
    shape: str
    checker: str
    text: str
    at_ns: int


@dataclass(slots=True)
class Tally:
    """What some seeds came to.

    Attributes:
        virtual_ns: time that was simulated.
        kinds: how often each kind of fault happened.
        shapes: how many seeds had which cluster.
    """

    seeds: int = 0
    virtual_ns: int = 0
    lines: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Take in those of another process."""
        self.seeds += other.seeds
        self.virtual_ns += other.virtual_ns
        self.lines += other.lines
        self.kinds += other.kinds
        self.shapes += other.shapes
        self.failures += other.failures


def run_some(seeds: Iterable[int], shape: str = "") -> Tally:
    """Run seeds one after the other."""
    tally = Tally()
    for seed in seeds:
        outcome = run_seed(seed, shape)
        tally.seeds += 1
        tally.virtual_ns += outcome.ended_ns
        tally.lines += outcome.transcript.count
        tally.kinds.update(fault.kind for fault in outcome.faults)
        tally.shapes[outcome.options.shape] += 1
        if outcome.violation is not None:
            found = outcome.violation
            tally.failures.append(
                Failure(seed, outcome.options.shape, found.checker, found.text, found.at_ns)
            )
    return tally


def run_many(seeds: Iterable[int], shape: str = "", processes: int = 1) -> Iterator[Tally]:
    """Run seeds in several processes; each yield is what has newly been run."""
    todo = iter(seeds)
    if processes <= 1:
        while chunk := list(islice(todo, CHUNK)):
            yield run_some(chunk, shape)
        return
    # Children that are forked would inherit threads and handlers of whoever runs this.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context) as pool:
        running: set[Future[Tally]] = set()
        while True:
            for chunk in iter(lambda: list(islice(todo, CHUNK)), []):
                running.add(pool.submit(run_some, chunk, shape))
                if len(running) >= 2 * processes:
                    break
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                yield each.result()


def told(outcome: Outcome) -> str:
    """A failing run for people: seed, options, what is left of the schedule, and what happened."""
    small, found = shrink(outcome), outcome.violation
    if found is None:
        return f"seed {outcome.options.seed} holds"
    lines = list(small.transcript.lines)
    missing = len(lines) - LINES_TOLD
    faults = [f"  {fault}" for fault in small.faults] or ["  none: it fails without any"]
    return "\n".join(
        (
            f"seed {outcome.options.seed} violates {found.checker}: {found.text}",
            f"options: {outcome.options}",
            f"faults ({len(small.faults)} of {len(outcome.faults)} are needed):",
            *faults,
            "what happened, to the end:",
            *([f"  … {missing} lines before"] if missing > 0 else []),
            *(f"  {line}" for line in lines[-LINES_TOLD:]),
            f"again: haman simulate --seed {outcome.options.seed}{_shape(outcome)}",
        )
    )


def _shape(outcome: Outcome) -> str:
    return f" --shape {outcome.options.shape}" if outcome.shaped else ""
