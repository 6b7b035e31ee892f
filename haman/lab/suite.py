"""Many drills one after the other, one lab for all that share a topology.

Between two drills the lab is healed and must come to rest; where it does not, it is taken down and
brought up again, and the drill that left it so has failed.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from msgspec import Struct

from haman.lab import run, simulation
from haman.lab.drill import Drill, read_leniently
from haman.lab.fit import misfits
from haman.lab.lab import Lab, down, names_up, up
from haman.lab.report import passed
from haman.lab.runtime import LabError, UnshownError
from haman.lab.topology import BadFileError, Problem, read_topology
from haman.lab.verdict import Record, judge


class Outcome(Struct, frozen=True):
    """What came of one drill.

    Attributes:
        record: None where the drill could not be done.
        error: why it could not be done, or why the lab did not come to rest after it.
        took_s: with the healing.
        skipped: why the runtime cannot show what it is about; then it was not done.
        unjudged: what it expects and the runtime cannot say.
    """

    drill: Drill
    record: Record | None
    error: str
    took_s: float
    skipped: str = ""
    unjudged: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it was done, every expectation held, and the lab came to rest."""
        return not self.error and self.record is not None and passed(judge(self.record))

    @property
    def broken(self) -> tuple[str, ...]:
        """The expectations that did not hold, in words."""
        verdicts = judge(self.record) if self.record is not None else ()
        return tuple(f"{v.name}: {v.got}, expected {v.expected}" for v in verdicts if not v.ok)


def read_all(paths: Sequence[Path]) -> tuple[tuple[Path, tuple[Drill, ...]], ...]:
    """The drills of files, by the topology that they are for, which lies beside their folder.

    Raises:
        BadFileError: with every problem of all files, and all that a topology lacks for its drills.
    """
    problems: list[Problem] = []
    found: list[tuple[Path, Drill]] = []
    for path in paths:
        drill, wrong = read_leniently(path)
        problems += wrong
        if drill is None or not drill.topology:
            continue
        try:
            topology = topology_of(path, drill)
            problems += misfits(path, drill, read_topology(topology))
            found.append((topology, drill))
        except BadFileError as error:
            problems += error.problems
    if problems:
        raise BadFileError(list(dict.fromkeys(problems)))
    found.sort(key=lambda pair: (str(pair[0]), pair[1].name))
    return tuple(
        (topology, tuple(drill for _, drill in group))
        for topology, group in groupby(found, key=lambda pair: pair[0])
    )


def topology_of(path: Path, drill: Drill) -> Path:
    """The file of the topology that the drill of a file is for."""
    return path.resolve().parent.parent / f"{drill.topology}.clab.yml"


def demand_down(topologies: Iterable[Path]) -> None:
    """See that no lab is up of any of these: it would be somebody's, and a set takes its own down.

    Raises:
        LabError: one is.
    """
    for topology in topologies:
        for name in names_up(topology):
            raise LabError(
                f"lab {name} is up; several drills bring up their own: `haman lab down` first"
            )


def run_all(
    topology: Path,
    drills: Sequence[Drill],
    make_cluster_key: Callable[[Path], None],
    *,
    runtime: str,
    say: Callable[[str], None],
) -> Iterator[Outcome]:
    """Do drills on a lab that is brought up for them and taken down after the last."""
    lab: Lab | None = None
    try:
        for drill in drills:
            began = time.monotonic()
            record, error, skipped = None, "", ""
            try:
                if lab is None:
                    lab = up(topology, make_cluster_key, runtime=runtime, say=say)
                record = run.run(lab, drill, say=lambda _: None)
            except UnshownError as reason:
                skipped = str(reason)
            except LabError as refused:
                error = str(refused)
            if lab is not None:
                try:
                    run.recover(lab)
                except LabError as refused:
                    error = error or f"not at rest afterwards: {refused}"
                    down(topology)
                    lab = None
            took_s = round(time.monotonic() - began, 1)
            yield Outcome(drill, record, error, took_s, skipped)
    finally:
        down(topology)


def simulate_all(topology: Path, drills: Sequence[Drill], *, seed: int) -> Iterator[Outcome]:
    """Do drills in the model, each in a world of its own, without a lab."""
    read = read_topology(topology)
    for drill in drills:
        began = time.monotonic()
        record, error, skipped = None, "", ""
        try:
            record = simulation.simulate(read, drill, seed=seed)
        except UnshownError as reason:
            skipped = str(reason)
        except LabError as refused:
            error = str(refused)
        unjudged = () if skipped else simulation.unjudged(drill.expect)
        yield Outcome(drill, record, error, round(time.monotonic() - began, 1), skipped, unjudged)
