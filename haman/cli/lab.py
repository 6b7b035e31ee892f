"""`haman lab`: bring a lab up, look into it, break it on purpose, take it down."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from haman.lab.lab import Lab
    from haman.lab.verdict import Record

RUNTIME = click.option(
    "--runtime",
    type=click.Choice(["netns", "containerlab"]),
    default="netns",
    show_default=True,
    help="What runs the nodes: namespaces alone, or containers that containerlab deploys.",
)


@click.group()
def lab() -> None:
    """Labs of real proxies in network namespaces, and drills on them. Needs root."""


@contextmanager
def _plainly() -> Iterator[None]:
    """Turn what labs refuse into a message and an exit status."""
    from haman.lab.runtime import LabError
    from haman.lab.topology import BadFileError

    try:
        yield
    except BadFileError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(2)
    except LabError as error:
        click.echo(f"haman lab: {error}", err=True)
        sys.exit(1)


def make_cluster_key(path: Path) -> None:
    """Write a new cluster key for a lab."""
    from haman.cluster import keys

    keys.write_key_file(path, keys.generate())


def _say() -> Callable[[str], None]:
    return lambda text: click.echo(f"{text} …", err=True)


@lab.command()
@click.argument("file", type=click.Path(path_type=Path))
@RUNTIME
@click.option("--keep", is_flag=True, help="Leave nodes up that do not come to serve.")
def up(file: Path, runtime: str, *, keep: bool) -> None:
    """Bring the topology FILE up.

    Returns when its addresses are served.
    """
    with _plainly():
        from haman.lab import lab as labs

        running = labs.up(file, make_cluster_key, runtime=runtime, keep=keep, say=_say())
        for line in running.where():
            click.echo(line)
        click.echo(
            "`haman lab exec NODE -- COMMAND` runs commands inside; `haman lab down` ends it"
        )


@lab.command()
@click.argument("file", type=click.Path(path_type=Path))
def keys(file: Path) -> None:
    """Make the keys that the topology FILE binds.

    For `containerlab deploy`; `up` does so itself.
    """
    with _plainly():
        from haman.lab import lab as labs

        click.echo(labs.prepare_keys(file, make_cluster_key))


@lab.command()
def down() -> None:
    """Take this checkout's lab down."""
    with _plainly():
        from haman.lab import lab as labs

        name = labs.down(Path.cwd())
        click.echo(f"lab {name} is down" if name else "no lab is up in this checkout")


@lab.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("node")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(node: str, command: Sequence[str]) -> None:
    """Run COMMAND inside NODE.

    It has this terminal, and its exit status is passed on.
    """
    with _plainly():
        from haman.lab import lab as labs

        inside = labs.attach(Path.cwd()).runtime.spawn(node, command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command
    status = inside.wait()
    sys.exit(128 - status if status < 0 else status)


@lab.command()
def status() -> None:
    """Show this checkout's lab.

    Its nodes, their processes, and who holds what.
    """
    with _plainly():
        from haman.lab import kernel
        from haman.lab import lab as labs

        running = labs.attach(Path.cwd())
        click.echo(f"lab {running.topology.name} from {running.topology.path}")
        for node, pid in running.runtime.pids.items():
            inside = [name for number, name in kernel.processes_beside(pid) if number != pid]
            click.echo(f"  {node:8} pid {pid:<8} {', '.join(inside) or '-'}")
        for line in running.where():
            click.echo(f"  {line}")


@lab.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--runtime",
    type=click.Choice(["netns", "containerlab", "sim"]),
    default="netns",
    show_default=True,
    help="What runs the nodes; sim: the real cores in a model, without root or a lab.",
)
@click.option("--seed", default=1, show_default=True, help="With sim: of delays and lateness.")
@click.option("--all", "every", is_flag=True, help="All drills in lab/drills.")
@click.option("--topology", default="", help="With --all: only the drills for this one.")
@click.option(
    "--report", type=click.Path(path_type=Path), help="Folder for the reports of several."
)
@click.option("--slack", type=click.FloatRange(1, 100), default=1, help="Widens bounds of time.")
@click.option("--no-heal", is_flag=True, help="Leave the lab as the faults made it.")
@click.option("--list", "only_list", is_flag=True, help="Tell what the drills are, as JSON.")
@click.option(
    "--events",
    is_flag=True,
    help="Of one drill, for programs: what happens as lines of JSON on stdout; the end of stdin stops it.",
)
def drill(
    files: tuple[Path, ...],
    runtime: str,
    topology: str,
    report: Path | None,
    *,
    slack: float,
    seed: int,
    every: bool,
    no_heal: bool,
    only_list: bool,
    events: bool,
) -> None:
    """Run the drills FILES, print what clients saw, judge it.

    A name stands for its file in lab/drills. Exit 1 if an expectation failed.

    One drill is done on the lab that is up, or on one brought up for it. Several are done on labs of
    their own, one per topology, and reported in a table, as JSON, as JUnit, and on one page.
    """
    if every:
        files = (*files, *sorted(Path("lab/drills").glob("*.toml")))
    if only_list:
        _list(files)
        return
    if not files:
        raise click.UsageError("name drills, or --all where there is lab/drills")
    if events and (len(files) > 1 or every or runtime == "sim"):
        raise click.UsageError("--events is of one drill, and not in simulation")
    files = tuple(map(_drill_file, files))
    with _plainly():
        if len(files) > 1 or every:
            _drills(files, runtime, topology, report, slack=slack, seed=seed)
        elif runtime == "sim":
            _one_simulated(files[0], slack, seed)
        elif events:
            _attended_drill(files[0], runtime, slack, heal=not no_heal)
        else:
            _one_drill(files[0], runtime, slack, heal=not no_heal)


def _drill_file(named: Path) -> Path:
    shipped = Path("lab/drills", f"{named}.toml")
    return shipped if len(named.parts) == 1 and not named.exists() and shipped.exists() else named


def _one_simulated(file: Path, slack: float, seed: int) -> None:
    from haman.lab import report, suite
    from haman.lab.drill import relaxed

    ((topology, (described,)),) = suite.read_all([file])
    (outcome,) = suite.simulate_all(topology, [relaxed(described, slack)], seed=seed)
    if outcome.record is None:
        click.echo(f"haman lab: {outcome.skipped or outcome.error}", err=True)
        sys.exit(1)
    click.echo(report.to_text(outcome.record))
    if outcome.unjudged:
        click.echo(f"\nnot judged in the model: {', '.join(outcome.unjudged)}")
    sys.exit(0 if outcome.ok else 1)


def _list(files: tuple[Path, ...]) -> None:
    import msgspec

    from haman.cli.drill_events import offers

    click.echo(msgspec.json.format(msgspec.json.encode(offers(files)), indent=2))


def _attended_drill(file: Path, runtime: str, slack: float, *, heal: bool) -> None:
    from haman.cli.drill_events import DrillEvents
    from haman.lab import run
    from haman.lab.drill import relaxed
    from haman.lab.suite import read_all

    ((topology, (described,)),) = read_all([file])
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


def _one_drill(file: Path, runtime: str, slack: float, *, heal: bool) -> None:
    from haman.lab import report, run
    from haman.lab.drill import relaxed
    from haman.lab.suite import read_all
    from haman.lab.verdict import judge

    ((topology, (described,)),) = read_all([file])
    with _lab_for(topology, runtime) as running:
        try:
            record = run.run(running, relaxed(described, slack), say=_say())
            click.echo(report.to_text(record))
            click.echo(f"\nreport: {_written(running, record)[0]}")
        finally:
            if heal:
                run.recover(running)
    sys.exit(0 if report.passed(judge(record)) else 1)


def _written(running: "Lab", record: "Record") -> tuple[str, ...]:
    """Write the reports of a drill; where they are, the page first."""
    from haman.lab import report
    from haman.lab.files import write

    base = running.folder / "drills" / record.drill.name
    write(base.with_suffix(".json"), report.to_json(record))
    write(base.with_suffix(".html"), report.to_html(record))
    return str(base.with_suffix(".html")), str(base.with_suffix(".json"))


def _drills(
    files: Sequence[Path],
    runtime: str,
    wanted: str,
    folder: Path | None,
    *,
    slack: float,
    seed: int,
) -> None:
    from haman.lab import suite, summary
    from haman.lab.drill import relaxed
    from haman.lab.files import write
    from haman.lab.state import checkout_of

    say, outcomes = _say(), []
    for topology, drills in suite.read_all(files):
        if wanted not in {"", drills[0].topology}:
            continue
        wider = [relaxed(drill, slack) for drill in drills]
        if runtime == "sim":
            done = suite.simulate_all(topology, wider, seed=seed)
        else:
            done = suite.run_all(topology, wider, make_cluster_key, runtime=runtime, say=say)
        for outcome in done:
            say(f"{outcome.drill.name}: {'ok' if outcome.ok else '; '.join(summary.why(outcome))}")
            outcomes.append(outcome)
    click.echo(summary.to_table(outcomes))
    folder = folder or checkout_of(Path.cwd()) / ".lab" / "drills"
    write(folder / "drills.json", summary.to_json(outcomes, runtime=runtime))
    write(folder / "drills.xml", summary.to_junit(outcomes))
    write(folder / "drills.html", summary.to_html(outcomes, runtime=runtime))
    click.echo(f"reports: {folder}/drills.html, drills.json, drills.xml")
    sys.exit(0 if summary.all_well(outcomes) else 1)


@lab.command()
def heal() -> None:
    """Undo all faults.

    Every process runs, every cable is in, and addresses are where they belong.
    """
    with _plainly():
        from haman.lab import lab as labs
        from haman.lab import run

        running = labs.attach(Path.cwd())
        run.recover(running)
        for line in running.where():
            click.echo(line)


@lab.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("lab/pair.clab.yml"))
@click.option("--quick", is_flag=True, help="Fewer repetitions.")
@click.option(
    "--storm",
    type=click.Path(path_type=Path),
    metavar="SCENARIO",
    help="Play a scenario of `haman simulate` with real clients, under three policies.",
)
def bench(file: Path, *, quick: bool, storm: Path | None) -> None:
    """Measure fault by fault and print the table.

    On the pair lab haman and keepalived side by side, faults first, then planned moves; on the anycast lab haman,
    ExaBGP with its healthcheck, and BIRD: how soon the router lets a node go, and what clients notice.
    With --storm, on the anycast lab: clients ask for more than one node can do, and what is served if it
    holds, if ExaBGP's healthcheck withdraws it while it is busy, and if haman moves load.
    """
    with _plainly():
        if storm is not None:
            _storm(file, storm)
            return
        from haman.lab import anycast_bench, anycast_table, handover_bench
        from haman.lab import bench as benchmark
        from haman.lab.services import services_of
        from haman.lab.topology import read_topology

        times = benchmark.REPETITIONS_QUICK if quick else benchmark.REPETITIONS
        if services_of(read_topology(file)).anycasts:
            measured = anycast_bench.bench(file, make_cluster_key, repetitions=times, say=_say())
            click.echo(anycast_table.to_markdown(measured))
        else:
            table = benchmark.bench(file, make_cluster_key, repetitions=times, say=_say())
            click.echo(benchmark.to_markdown(table))
            moves = handover_bench.bench(file, make_cluster_key, repetitions=times, say=_say())
            click.echo()
            click.echo(handover_bench.to_markdown(moves))


def _storm(file: Path, path: Path) -> None:
    import msgspec

    from haman.cli.scenario import BadScenarioError, read_scenario
    from haman.lab import storm_bench
    from haman.lab.files import write
    from haman.lab.state import checkout_of

    try:
        scenario = read_scenario(path)
    except BadScenarioError as error:
        raise click.UsageError(str(error)) from error
    ran = storm_bench.compare(file, scenario, make_cluster_key, say=_say())
    click.echo(storm_bench.to_markdown(scenario, ran))
    written = checkout_of(file) / ".lab" / f"{scenario.name}.json"
    write(written, msgspec.json.format(msgspec.json.encode(ran)).decode())
    click.echo(f"second by second: {written}")


@contextmanager
def _lab_for(
    topology: Path, runtime: str, say: Callable[[str], None] | None = None
) -> "Iterator[Lab]":
    """The lab that is up, or one brought up for as long as it is needed."""
    from haman.lab import lab as labs
    from haman.lab.state import Store, checkout_of

    if Store(checkout_of(Path.cwd())).read() is not None:
        yield labs.attach(Path.cwd())
        return
    try:
        yield labs.up(topology, make_cluster_key, runtime=runtime, say=say or _say())
    finally:
        labs.down(topology)
