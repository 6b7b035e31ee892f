"""`haman simulate`: seeds of a faulty world, and scenarios under several policies."""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from haman.cli.command import Command
from haman.cli.goodput import in_terminal, page, svg
from haman.cli.scenario import BadScenarioError, read_scenario
from haman.cli.text import Progress, percent, table
from haman.sim.campaign import Tally, run_many, told
from haman.sim.fleet.evidence import Figures, compare, figures, violations
from haman.sim.fleet.fleet import POLICIES, Run
from haman.sim.fleet.scenario import Scenario
from haman.sim.options import SHAPES
from haman.sim.world import Outcome, run_seed

VIOLATED = 1
TITLES = ("SCENARIO", "POLICY", "SERVED", "WORST 10 S", "GAVE UP", "BROKEN", "MOVES", "SILENT")
TOLD_MAX = 5
"""Failing seeds that are shrunk and told; all of them are listed."""


class Seeds(click.ParamType["range"]):
    """`N..M`, both included."""

    name = "N..M"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> range:
        """Read it."""
        first, dots, last = value.partition("..")
        if not (dots and first.isdigit() and last.isdigit() and int(first) <= int(last)):
            self.fail(f"{value!r} is no range of seeds as in 1..100", param, ctx)
        return range(int(first), int(last) + 1)


@click.command(
    cls=Command,
    examples=(
        "haman simulate --seed 7",
        "haman simulate --seeds 1..1000",
        "haman simulate lab/scenarios/five-reserve.toml --policy naive",
        "haman simulate --compare lab/scenarios/*.toml --html evidence.html",
    ),
)
@click.argument("scenario", type=click.Path(path_type=Path), nargs=-1)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--seeds", type=Seeds(), help="Run each of these seeds; without SCENARIO alone.")
@click.option("--shape", type=click.Choice(SHAPES), help="Of the cluster [drawn from the seed].")
@click.option("--policy", type=click.Choice(list(POLICIES)), default="haman", show_default=True)
@click.option("--compare", "compared", is_flag=True, help="Every policy, beside each other.")
@click.option("--processes", type=click.IntRange(1, 64), help="Processes [one per core].")
@click.option("--html", "page_file", type=click.Path(path_type=Path), help="Write charts, offline.")
@click.option("--svg", "svg_file", type=click.Path(path_type=Path), help="The first chart alone.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def simulate(
    *,
    scenario: tuple[Path, ...],
    seed: int,
    seeds: range | None,
    shape: str | None,
    policy: str,
    compared: bool,
    processes: int | None,
    page_file: Path | None,
    svg_file: Path | None,
    as_json: bool,
) -> None:
    """Simulate clusters: the real decisions over a model of network, hosts, routers and clients.

    Without SCENARIO a seed makes a cluster, its load and its faults; checkers watch, and a run that
    violates what must hold is told with the smallest schedule of faults that still does. With
    SCENARIO files: what clients see under a policy, or under all of them. Exit 1 if an invariant is
    violated.
    """
    processes = processes or os.cpu_count() or 1
    if scenario and seeds is not None:
        raise click.UsageError("--seeds is for runs without SCENARIO: there --seed is enough")
    if compared and not scenario:
        raise click.UsageError("--compare needs SCENARIO files, as lab/scenarios/*.toml")
    if not scenario:
        if seeds is None:
            _one(run_seed(seed, shape or ""), as_json=as_json)
        else:
            _many(seeds, shape or "", processes, as_json=as_json)
        return
    runs = _runs(_read(scenario), seed, processes, list(POLICIES) if compared else [policy])
    _write(runs, page_file, svg_file)
    _tell(runs, as_json=as_json)


# ---- seeds -------------------------------------------------------------------------------------


def _one(outcome: Outcome, *, as_json: bool) -> None:
    violation = outcome.violation
    if as_json:
        document = {
            "seed": outcome.options.seed,
            "digest": outcome.transcript.digest,
            "violation": None if violation is None else violation.text,
            "lines": [line._asdict() for line in outcome.transcript.lines],
        }
        click.echo(json.dumps(document, indent=1))
    elif violation is not None:
        click.echo(told(outcome))
    else:
        faults = "\n".join(f"  {fault}" for fault in outcome.faults)
        click.echo(f"seed {outcome.options.seed}: {outcome.options}\nfaults:\n{faults}")
        click.echo(f"what happened:\n{outcome.transcript}")
        click.echo(
            f"every invariant held; {outcome.served:,.0f} handshakes for {outcome.offered:,.0f}"
            f" clients; digest {outcome.transcript.digest[:16]}"
        )
    if violation is not None:
        sys.exit(VIOLATED)


def _many(seeds: range, shape: str, processes: int, *, as_json: bool) -> None:
    began_s, whole = time.monotonic(), Tally()
    progress = Progress()
    try:
        for tally in run_many(seeds, shape, processes):
            whole.add(tally)
            rate = whole.seeds / max(time.monotonic() - began_s, 1e-3)
            failed = f", {len(whole.failures)} failed" if whole.failures else ""
            progress.show(f"{whole.seeds}/{len(seeds)} seeds, {rate:.1f}/s{failed}")
    finally:
        progress.clear()
    took_s = time.monotonic() - began_s
    whole.failures.sort(key=lambda failure: failure.seed)
    if as_json:
        document = {
            "seeds": whole.seeds,
            "took_s": round(took_s, 1),
            "simulated_s": round(whole.virtual_ns / 1e9),
            "faults": dict(whole.kinds),
            "shapes": dict(whole.shapes),
            "failures": [asdict(failure) for failure in whole.failures],
        }
        click.echo(json.dumps(document, indent=1))
    else:
        _tell_tally(whole, shape, took_s)
    if whole.failures:
        sys.exit(VIOLATED)


def _tell_tally(whole: Tally, shape: str, took_s: float) -> None:
    for failure in whole.failures[:TOLD_MAX]:
        click.echo(f"{told(run_seed(failure.seed, shape))}\n")
    for failure in whole.failures[TOLD_MAX:]:
        click.echo(f"seed {failure.seed} violates {failure.checker}: {failure.text}")
    shapes = ", ".join(f"{count} {name}" for name, count in sorted(whole.shapes.items()))
    click.echo(
        f"{whole.seeds} seeds ({shapes}), {whole.virtual_ns / 3.6e12:.1f} simulated hours,"
        f" {sum(whole.kinds.values())} faults of {len(whole.kinds)} kinds, in {took_s:.0f} s"
        f" ({whole.seeds / max(took_s, 1e-3):.1f} seeds/s):"
        f" {len(whole.failures) or 'no'} violated invariant{'s' * (len(whole.failures) != 1)}"
    )


# ---- scenarios ---------------------------------------------------------------------------------


def _read(paths: Sequence[Path]) -> list[Scenario]:
    found: list[Scenario] = []
    wrong: list[str] = []
    for path in paths:
        try:
            found.append(read_scenario(path))
        except BadScenarioError as error:
            wrong += error.problems
    if wrong:
        for problem in wrong:
            click.echo(problem, err=True)
        sys.exit(2)
    return found


def _runs(scenarios: list[Scenario], seed: int, processes: int, policies: list[str]) -> list[Run]:
    runs: list[Run] = []
    total = len(scenarios) * len(policies)
    progress = Progress()
    try:
        progress.show(f"0/{total} runs")
        for run in compare(scenarios, seed, min(processes, total), policies):
            runs.append(run)
            progress.show(f"{len(runs)}/{total} runs, {run.scenario.name} {run.policy}")
    finally:
        progress.clear()
    order = [scenario.name for scenario in scenarios]
    return sorted(runs, key=lambda r: (order.index(r.scenario.name), policies.index(r.policy)))


def _by_scenario(runs: Sequence[Run]) -> Iterator[tuple[Scenario, list[Run]]]:
    for name in dict.fromkeys(run.scenario.name for run in runs):
        same = [run for run in runs if run.scenario.name == name]
        yield same[0].scenario, same


def _write(runs: Sequence[Run], page_file: Path | None, svg_file: Path | None) -> None:
    titled = [(f"{s.name}: {s.about or 'goodput'}", same) for s, same in _by_scenario(runs)]
    if page_file is not None:
        rows = [_row(figures(run)) for run in runs]
        page_file.write_text(page([svg(same, title) for title, same in titled], rows, TITLES))
    if svg_file is not None:
        title, same = titled[0]
        svg_file.write_text(svg(same, title, alone=True))


def _tell(runs: Sequence[Run], *, as_json: bool) -> None:
    broken = [(run, text) for run in runs for text in violations(run)]
    if as_json:
        document = {
            "runs": [asdict(figures(run)) for run in runs],
            "violations": [f"{run.scenario.name}: {text}" for run, text in broken],
        }
        click.echo(json.dumps(document, indent=1))
    else:
        if len(runs) == 1:
            click.echo(f"{runs[0].scenario.name}: {runs[0].scenario.about}")
            click.echo(f"{in_terminal(runs[0])}\n")
        elif len({run.scenario.name for run in runs}) == 1:
            for run in runs:
                click.echo(f"{run.policy}\n{in_terminal(run)}\n")
        click.echo(table(TITLES, [_row(figures(run)) for run in runs]))
        for run, text in broken:
            click.echo(f"{run.scenario.name} violates {text}")
    if broken:
        sys.exit(VIOLATED)


def _row(found: Figures) -> tuple[str, ...]:
    return (
        found.scenario,
        found.policy,
        f"{found.served:.1%}",
        percent(found.worst),
        f"{found.lost:,.0f}",
        f"{found.broken:,.0f}",
        f"{found.moves:,}",
        f"{found.silent_s:,.0f} s",
    )
