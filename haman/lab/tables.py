"""The tables of the benchmark: how each is measured, read back, and shown, and their place in README.

`python -m haman.lab.tables README.md` writes the newest results of `lab/results` between the markers:

    <!-- table: pair-jitter -->
    …
    <!-- end of table -->
"""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haman.lab import (
    anycast_bench,
    anycast_table,
    bench,
    handover_bench,
    jitter_bench,
    results,
    routers_bench,
    soak_bench,
)
from haman.lab.files import write

FOLDER = Path("lab/results")
_PLACE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Kind:
    """One table.

    Attributes:
        bench: measures it: (topology, make_cluster_key, repetitions=, say=).
        type: what it is, for msgspec.
        to_markdown: shows it.
        programs: of `results.PROGRAMS`, whose versions are told.
        asked_for: measured only when it is named, for it takes long.
    """

    bench: Callable[..., object]
    type: Any
    to_markdown: Callable[[Any], str]
    programs: tuple[str, ...]
    asked_for: bool = False


_PAIR = ("keepalived", "haproxy")
KINDS: Mapping[str, Kind] = {
    "pair-faults": Kind(bench.bench, bench.Table, bench.to_markdown, _PAIR),
    "pair-moves": Kind(
        handover_bench.bench,
        dict[str, tuple[handover_bench.Move, ...]],
        handover_bench.to_markdown,
        _PAIR,
    ),
    "pair-jitter": Kind(
        jitter_bench.bench, tuple[jitter_bench.Row, ...], jitter_bench.to_markdown, _PAIR
    ),
    "pair-routers": Kind(
        routers_bench.bench, tuple[routers_bench.Row, ...], routers_bench.to_markdown, _PAIR
    ),
    "pair-storm": Kind(
        soak_bench.bench,
        tuple[soak_bench.Storm, ...],
        soak_bench.to_markdown,
        ("haproxy",),
        asked_for=True,
    ),
    "anycast": Kind(
        anycast_bench.bench,
        anycast_bench.Table,
        anycast_table.to_markdown,
        ("haproxy", "frr", "exabgp", "bird"),
    ),
}
"""By name: the topology's, and what follows."""


def of_topology(name: str) -> dict[str, Kind]:
    """The tables that are measured on a topology."""
    return {table: kind for table, kind in KINDS.items() if table.partition("-")[0] == name}


def show(result: results.Result) -> str:
    """The table of a result, and what it was measured on.

    Raises:
        ValueError: nobody knows such a table, or it is not what it was.
    """
    kind = KINDS.get(result.name)
    if kind is None:
        raise ValueError(f"there is no table {result.name!r}; there are {', '.join(KINDS)}")
    table = kind.to_markdown(results.read_table(result, kind.type))
    return f"{table}\n\n{result.origin}."


def refreshed(text: str, folder: Path) -> str:
    """The text with the newest results between its markers.

    Raises:
        ValueError: a marker names a table that has no result.
    """
    files = results.newest(folder)

    def fresh(place: re.Match[str]) -> str:
        if place[2] not in files:
            raise ValueError(f"{folder} has no result {place[2]!r}; `make bench` measures it")
        return f"{place[1]}{show(results.read(files[place[2]]))}\n{place[3]}"

    return _PLACE.sub(fresh, text)


if __name__ == "__main__":
    document = Path(sys.argv[1])
    write(document, refreshed(document.read_text(), document.parent / FOLDER))
