"""`haman lab bench`: the tables of a lab, measured, shown, and written down."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from haman.lab import results, tables
from haman.lab.bench import REPETITIONS, REPETITIONS_QUICK
from haman.lab.topology import read_topology


def measure(
    file: Path,
    make_cluster_key: Callable[[Path], None],
    say: Callable[[str], None],
    *,
    only: tuple[str, ...],
    folder: Path | None,
    quick: bool,
) -> None:
    """Measure the tables of a topology and print each as soon as it is there.

    Args:
        file: the topology.
        make_cluster_key: writes a new cluster key file.
        say: told about each step that a person waits for.
        only: names of tables; () = all of the topology's that do not take long.
        folder: for the results, a file each; None = they are not kept.
        quick: fewer repetitions.

    Raises:
        click.UsageError: nobody knows such a table, or none is measured on this topology.
    """
    name = read_topology(file).name
    kinds = tables.of_topology(name)
    unknown = [table for table in only if table not in kinds]
    if unknown or not kinds:
        known = f"its tables are {', '.join(kinds)}" if kinds else "it has none"
        raise click.UsageError(f"no table {', '.join(unknown)} of lab {name}: {known}")
    times = REPETITIONS_QUICK if quick else REPETITIONS
    for table in only or [name for name, kind in kinds.items() if not kind.asked_for]:
        kind = kinds[table]
        measured = kind.bench(file, make_cluster_key, repetitions=times, say=say)
        at = datetime.now(UTC)
        result = results.result_of(
            table, measured, repetitions=times, at=at, programs=kind.programs
        )
        click.echo(f"{tables.show(result)}\n")
        if folder is not None:
            say(f"{results.save(folder, result)}")
