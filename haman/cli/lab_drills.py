"""What `haman lab drill` does with the drills that it is given: one on the lab that is up, or many."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from haman.cli.drill_events import DrillEvents, offers
from haman.cli.lab import make_cluster_key, progress
from haman.lab import compare, report, run, suite, summary
from haman.lab import lab as labs
from haman.lab.drill import relaxed
from haman.lab.files import write
from haman.lab.lab import Lab
from haman.lab.state import checkout_of
from haman.lab.verdict import Record, judge


def named_file(named: Path) -> Path:
    """The file of a drill: of a name, the one in lab/drills."""
    shipped = Path("lab/drills", f"{named}.toml")
    return shipped if len(named.parts) == 1 and not named.exists() and shipped.exists() else named


def one_simulated(file: Path, slack: float, seed: int) -> None:
    """Do a drill in the model, tell what came of it, and exit."""
    ((topology, (described,)),) = suite.read_all([file])
    (outcome,) = suite.simulate_all(topology, [relaxed(described, slack)], seed=seed)
    if outcome.record is None:
        click.echo(f"haman lab: {outcome.skipped or outcome.error}", err=True)
        sys.exit(1)
    click.echo(report.to_text(outcome.record))
    if outcome.unjudged:
        click.echo(f"\nnot judged in the model: {', '.join(outcome.unjudged)}")
    sys.exit(0 if outcome.ok else 1)


def tell_offers(files: tuple[Path, ...]) -> None:
    """Tell a program what the drills are."""
    click.echo(msgspec.json.format(msgspec.json.encode(offers(files)), indent=2))


def one_attended(file: Path, runtime: str, slack: float, *, heal: bool) -> None:
    """Do a drill for a program that attends to it, and exit."""
    ((topology, (described,)),) = suite.read_all([file])
    with DrillEvents(described) as told:
        with _lab_for(topology, runtime, told.say) as running:
            try:
                record = run.run(running, relaxed(described, slack), say=told.say)
            finally:
                if heal:
                    told.healing()
                    run.recover(running)
            files = _written(running, record)
        well = told.judged(record, files)
    sys.exit(0 if well else 1)


def one(file: Path, runtime: str, slack: float, *, heal: bool) -> None:
    """Do a drill on the lab that is up, or on one for it alone, tell what came of it, and exit."""
    ((topology, (described,)),) = suite.read_all([file])
    with _lab_for(topology, runtime) as running:
        try:
            record = run.run(running, relaxed(described, slack), say=progress())
            click.echo(report.to_text(record))
            click.echo(f"\nreport: {_written(running, record)[0]}")
        finally:
            if heal:
                run.recover(running)
    sys.exit(0 if report.passed(judge(record)) else 1)


def _written(running: Lab, record: Record) -> tuple[str, ...]:
    """Write the reports of a drill; where they are, the page first."""
    base = running.folder / "drills" / record.drill.name
    write(base.with_suffix(".json"), report.to_json(record))
    write(base.with_suffix(".html"), report.to_html(record))
    return str(base.with_suffix(".html")), str(base.with_suffix(".json"))


def several(
    files: Sequence[Path],
    runtime: str,
    wanted: str,
    folder: Path | None,
    *,
    slack: float,
    seed: int,
    beside: bool,
) -> None:
    """Do drills on labs of their own, one per topology, write the reports, and exit."""
    say, outcomes, modelled = progress(), list[suite.Outcome](), list[suite.Outcome]()
    found = suite.read_all(files)
    names = [drills[0].topology for _, drills in found]
    if wanted not in {"", *names}:
        raise click.UsageError(f"--topology {wanted}: the drills are for {', '.join(names)}")
    chosen = [(path, drills) for path, drills in found if wanted in {"", drills[0].topology}]
    if runtime != "sim":
        suite.demand_down(path for path, _ in chosen)
    for topology, drills in chosen:
        wider = [relaxed(drill, slack) for drill in drills]
        if runtime == "sim":
            done = suite.simulate_all(topology, wider, seed=seed)
        else:
            done = suite.run_all(topology, wider, make_cluster_key, runtime=runtime, say=say)
        for outcome in done:
            say(f"{outcome.drill.name}: {'ok' if outcome.ok else '; '.join(summary.why(outcome))}")
            outcomes.append(outcome)
        if beside:
            say(f"the same drills of {drills[0].topology} in the model")
            modelled += suite.simulate_all(topology, wider, seed=seed)
    both = compare.compared(outcomes, modelled)
    click.echo(summary.to_table(outcomes))
    if beside:
        click.echo(f"\n{compare.to_table(both)}\n")
    folder = folder or checkout_of(Path.cwd()) / ".lab" / "drills"
    write(folder / "drills.json", summary.to_json(outcomes, runtime=runtime, compared=both))
    write(folder / "drills.xml", summary.to_junit(outcomes))
    write(folder / "drills.html", summary.to_html(outcomes, runtime=runtime))
    click.echo(f"reports: {folder}/drills.html, drills.json, drills.xml")
    sys.exit(0 if summary.all_well(outcomes) else 1)


@contextmanager
def _lab_for(
    topology: Path, runtime: str, say: Callable[[str], None] | None = None
) -> Iterator[Lab]:
    """The lab that is up, or one brought up for as long as it is needed."""
    if labs.names_up(topology):
        yield labs.attach(topology)
        return
    try:
        yield labs.up(topology, make_cluster_key, runtime=runtime, say=say or progress())
    finally:
        labs.down(topology)
