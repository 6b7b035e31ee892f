"""A table of its own: ten minutes of a TLS storm with all cores overloaded, and who took over meanwhile.

A failover for nothing is rare, so a few seconds of load prove little. The load is that of the table of jitter;
haman alone is under it, once with adverts every 100 ms and once every 10 ms, where 30 ms of silence are enough
for the other node. It takes some twenty minutes and is measured only when it is asked for.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from haman.lab.contenders import HAMAN, prepare
from haman.lab.jitter_bench import ADVERTS_MS, Heard, deviations_ms, listen, percentile
from haman.lab.lab import bring_up, down
from haman.lab.topology import read_topology

LENGTH_S_PER_REPETITION = 86.0
"""Of seven, as the other tables have: ten minutes."""


class Storm(Struct, frozen=True):
    """What was heard of the active node in one storm.

    Attributes:
        advert_ms: the interval.
        length_s: of the storm.
        adverts: of the active node.
        off_ms: by how much intervals were too long or too short: the median, the 99th percentile, the most.
        others: adverts of the other node, which had nothing to say.
    """

    advert_ms: int
    length_s: float
    adverts: int
    off_ms: tuple[float, float, float]
    others: int


def bench(
    path: Path,
    make_cluster_key: Callable[[Path], None],
    *,
    repetitions: int,
    say: Callable[[str], None] = print,
) -> tuple[Storm, ...]:
    """One storm for each interval.

    Args:
        path: the pair's topology.
        make_cluster_key: writes a new cluster key file.
        repetitions: each is 86 s of storm.
        say: told about each step that a person waits for.

    Raises:
        LabError: a lab cannot be brought up, or no adverts are heard.
    """
    topology, length_s = read_topology(path), LENGTH_S_PER_REPETITION * repetitions
    storms = []
    for advert_ms in ADVERTS_MS:
        prepared, services = prepare(topology, HAMAN, advert_ms)
        lab = bring_up(prepared, make_cluster_key, services=services, say=say)
        try:
            say(f"adverts every {advert_ms} ms, {length_s:.0f} s of storm")
            storms.append(summed_up(listen(lab, length_s, overloaded=True), advert_ms, length_s))
        finally:
            down(path)
    return tuple(storms)


def summed_up(heard: Heard, advert_ms: int, length_s: float) -> Storm:
    """Of tens of thousands of intervals, what a table has room for."""
    ordered = deviations_ms(heard, advert_ms)
    most = tuple(round(percentile(ordered, share), 3) for share in (0.5, 0.99, 1.0))
    return Storm(advert_ms, length_s, len(ordered) + 1, (most[0], most[1], most[2]), heard.others)


def to_markdown(storms: Sequence[Storm]) -> str:
    """The table."""
    lines = [
        "| haman under a TLS storm, all cores overloaded | adverts | off by (median / 99 % / most) | adverts of the other node |",
        "|---|---|---|---|",
    ]
    for storm in storms:
        off = " / ".join(f"{ms:.2f}" for ms in storm.off_ms)
        lines.append(
            f"| {storm.length_s / 60:.0f} min, adverts every {storm.advert_ms} ms | {storm.adverts:,} | {off} ms | {storm.others:,} |"
        )
    return "\n".join(lines)
