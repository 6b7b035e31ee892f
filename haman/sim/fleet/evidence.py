"""What runs came to, in figures that people compare; and policies beside each other."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Final

from haman.sim.fleet.fleet import POLICIES, Fleet, Run
from haman.sim.fleet.scenario import Scenario

WORST_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One run.

    Attributes:
        served: of the clients that wanted to be served, the part that was, 0 to 1.
        worst: the same in the worst 10 s.
        lost: clients that gave up for good.
        broken: connections that moves and losses have cut.
        moves: changes of what is announced that the policy decided.
        silent_s: time in which some cluster announced nothing, added up over clusters.
    """

    scenario: str
    policy: str
    served: float
    worst: float
    lost: float
    broken: float
    moves: int
    silent_s: float


def figures(run: Run) -> Figures:
    """The figures of a run."""
    series = run.series
    window = max(1, round(WORST_S / series.span_s))
    parts = [
        _part(series.served[place : place + window], series.wanted[place : place + window])
        for place in range(max(1, len(series.wanted) - window + 1))
    ]
    return Figures(
        run.scenario.name,
        run.policy,
        _part(series.served, series.wanted),
        min(parts),
        run.lost,
        run.broken,
        run.moves,
        sum(series.silent) * series.span_s,
    )


def _part(served: Sequence[float], wanted: Sequence[float]) -> float:
    whole = sum(wanted)
    return min(1.0, sum(served) / whole) if whole else 1.0


def violations(run: Run) -> tuple[str, ...]:
    """What haman promises, and a run of its policy broke."""
    if run.policy != "haman":
        return ()
    silent = sum(run.series.silent)
    if silent:
        return (
            f"last-announcer: a cluster announced nothing for {silent * run.series.span_s:g} s",
        )
    return ()


def run_one(scenario: Scenario, policy: str, seed: int) -> Run:
    """One run, in whatever process."""
    return Fleet(scenario, policy, seed).run()


def compare(
    scenarios: Sequence[Scenario], seed: int, processes: int, policies: Sequence[str] = ()
) -> Iterator[Run]:
    """Run every scenario under every policy; they come as they are done."""
    todo = [(s, p) for s in scenarios for p in (policies or POLICIES)]
    if processes <= 1:
        yield from (run_one(s, p, seed) for s, p in todo)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(run_one, s, p, seed) for s, p in todo]):
            yield done.result()
