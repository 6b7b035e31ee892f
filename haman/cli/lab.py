"""`haman lab`: bring a lab up, look into it, break it on purpose, take it down."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

RUNTIME = click.option(
    "--runtime",
    type=click.Choice(["netns", "containerlab"]),
    default="netns",
    show_default=True,
    help="What runs the nodes: namespaces alone, or containers that containerlab deploys.",
)
LAB = click.option("--lab", "name", default="", help="Which lab, where several are up.")


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


def progress() -> Callable[[str], None]:
    """What tells a person about each step, on standard error."""
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

        running = labs.up(
            file, make_cluster_key, runtime=runtime, stays=True, keep=keep, say=progress()
        )
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
@click.option("--lab", "name", default="", help="This one alone.")
def down(name: str) -> None:
    """Take this checkout's labs down."""
    with _plainly():
        from haman.lab import lab as labs

        gone = labs.down(Path.cwd(), name)
        for lab_name in gone:
            click.echo(f"lab {lab_name} is down")
        if not gone:
            click.echo(
                f"{f'lab {name}' if name else 'no lab'} is {'not ' if name else ''}up in this checkout"
            )


@lab.command("exec", context_settings={"ignore_unknown_options": True})
@LAB
@click.argument("node")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(name: str, node: str, command: Sequence[str]) -> None:
    """Run COMMAND inside NODE.

    It has this terminal, and its exit status is passed on.
    """
    with _plainly():
        from haman.lab import lab as labs

        inside = labs.attach(Path.cwd(), name).runtime.spawn(node, command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command
    status = inside.wait()
    sys.exit(128 - status if status < 0 else status)


@lab.command()
@LAB
def status(name: str) -> None:
    """Show a lab of this checkout.

    Its nodes, their processes, and who holds what.
    """
    with _plainly():
        from haman.lab import kernel
        from haman.lab import lab as labs

        running = labs.attach(Path.cwd(), name)
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
@click.option(
    "--beside-sim", is_flag=True, help="Of several: those that the model can show there, too."
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
    beside_sim: bool,
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
    from haman.cli import lab_drills

    if only_list:
        lab_drills.tell_offers(files)
        return
    if not files:
        raise click.UsageError("name drills, or --all where there is lab/drills")
    if events and (len(files) > 1 or every or runtime == "sim"):
        raise click.UsageError("--events is of one drill, and not in simulation")
    if beside_sim and (runtime == "sim" or not (len(files) > 1 or every)):
        raise click.UsageError("--beside-sim is of several drills, and not in simulation")
    files = tuple(map(lab_drills.named_file, files))
    with _plainly():
        if len(files) > 1 or every:
            lab_drills.several(
                files, runtime, topology, report, slack=slack, seed=seed, beside=beside_sim
            )
        elif runtime == "sim":
            lab_drills.one_simulated(files[0], slack, seed)
        elif events:
            lab_drills.one_attended(files[0], runtime, slack, heal=not no_heal)
        else:
            lab_drills.one(files[0], runtime, slack, heal=not no_heal)


@lab.command()
@LAB
def heal(name: str) -> None:
    """Undo all faults.

    Every process runs, every cable is in, and addresses are where they belong.
    """
    with _plainly():
        from haman.lab import lab as labs
        from haman.lab import run

        running = labs.attach(Path.cwd(), name)
        run.recover(running)
        for line in running.where():
            click.echo(line)


@lab.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("lab/pair.clab.yml"))
@click.option("--quick", is_flag=True, help="Fewer repetitions.")
@click.option(
    "--only",
    multiple=True,
    metavar="TABLE",
    help="Of the tables, this one; repeatable. pair-storm (20 minutes) is measured only so.",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for what was measured, a JSON file for each table.",
)
@click.option(
    "--storm",
    type=click.Path(path_type=Path),
    metavar="SCENARIO",
    help="Play a scenario of `haman simulate` with real clients, under three policies.",
)
def bench(
    file: Path, *, quick: bool, only: tuple[str, ...], results: Path | None, storm: Path | None
) -> None:
    """Measure fault by fault and print the tables.

    On the pair lab haman and keepalived side by side: faults, planned moves, adverts while all cores are
    overloaded, and 1 to 255 virtual routers; on the anycast lab haman, ExaBGP with its healthcheck, and
    BIRD: how soon the router lets a node go, and what clients notice. With --storm, on the anycast lab:
    clients ask for more than one node can do, and what is served if it holds, if ExaBGP's healthcheck
    withdraws it while it is busy, and if haman moves load.
    """
    with _plainly():
        if storm is not None:
            _storm(file, storm)
            return
        from haman.cli.lab_bench import measure

        measure(file, make_cluster_key, progress(), only=only, folder=results, quick=quick)


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
    ran = storm_bench.compare(file, scenario, make_cluster_key, say=progress())
    click.echo(storm_bench.to_markdown(scenario, ran))
    written = checkout_of(file) / ".lab" / f"{scenario.name}.json"
    write(written, msgspec.json.format(msgspec.json.encode(ran)).decode())
    click.echo(f"second by second: {written}")
