"""The third table of the benchmark: how evenly adverts come while all cores are overloaded.

A backup that hears nothing for three intervals takes over, so what the active node is late by is what
its pair's quiet depends on. The adverts are listened to where the client is plugged in, at rest and
while the active node has more to do than the machine can: spinning processes of the highest ordinary
priority, and clients that do nothing but full TLS handshakes with its proxy.
"""

import itertools
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from haman.lab.contenders import HAMAN, KEEPALIVE, KEEPALIVE_REALTIME, prepare
from haman.lab.inside import background, undo
from haman.lab.lab import Lab, bring_up, down
from haman.lab.run import CLIENT
from haman.lab.runtime import LabError
from haman.lab.topology import read_topology
from haman.lab.wiretap import Advert, Tap, adverts

AGENTS = (KEEPALIVE, KEEPALIVE_REALTIME, HAMAN)
ADVERTS_MS = (100, 10)
AT_REST, OVERLOADED = "at rest", "all cores overloaded"
LISTEN_S_PER_REPETITION = {AT_REST: 0.3, OVERLOADED: 1.0}
ACTIVE, LINK = "lb1", "eth1"
STORM_CLIENTS = 16
SPINNING_PER_CORE = 2
IN_FORCE_S = 1.0
"""For the load to be whole before it is listened to."""


class Heard(Struct, frozen=True):
    """The adverts of one agent's active node, in one condition.

    Attributes:
        intervals_us: between its adverts, in order, in µs.
        others: adverts of another node: somebody took over, though nothing was wrong but the load.
    """

    intervals_us: tuple[int, ...]
    others: int


class Row(Struct, frozen=True):
    """One condition; by the agent's name."""

    advert_ms: int
    load: str
    heard: dict[str, Heard]


def bench(
    path: Path,
    make_cluster_key: Callable[[Path], None],
    *,
    repetitions: int,
    say: Callable[[str], None] = print,
) -> tuple[Row, ...]:
    """Listen to each agent, at each interval, at rest and overloaded.

    Args:
        path: the pair's topology.
        make_cluster_key: writes a new cluster key file.
        repetitions: each is a second of listening while overloaded.
        say: told about each step that a person waits for.

    Raises:
        LabError: a lab cannot be brought up, or no adverts are heard.
    """
    topology = read_topology(path)
    found: dict[tuple[int, str], dict[str, Heard]] = {
        (ms, load): {} for ms in ADVERTS_MS for load in (AT_REST, OVERLOADED)
    }
    for agent, advert_ms in itertools.product(AGENTS, ADVERTS_MS):
        prepared, services = prepare(topology, agent, advert_ms)
        lab = bring_up(prepared, make_cluster_key, services=services, say=say)
        try:
            for load, per_repetition_s in LISTEN_S_PER_REPETITION.items():
                say(f"{agent.name}: adverts every {advert_ms} ms, {load}")
                length_s = per_repetition_s * repetitions
                found[advert_ms, load][agent.name] = listen(
                    lab, length_s, overloaded=load == OVERLOADED
                )
        finally:
            down(path)
    return tuple(Row(ms, load, heard) for (ms, load), heard in found.items())


def listen(lab: Lab, length_s: float, *, overloaded: bool) -> Heard:
    """Listen for so long to who is active; the load is gone afterwards."""
    tap = Tap(lab.runtime.pids[CLIENT], LINK)
    try:
        if overloaded:
            overload(lab, IN_FORCE_S + length_s)
            time.sleep(IN_FORCE_S)
        with tap:
            time.sleep(length_s)
    finally:
        for node in (ACTIVE, CLIENT):
            undo(lab.runtime, node)
    return heard_in(adverts(tap.frames))


def overload(lab: Lab, length_s: float) -> None:
    """More work than there is time for, on the active node; it ends by itself soon after."""
    spinning = SPINNING_PER_CORE * (os.cpu_count() or 1)
    until_s = f"{math.ceil(length_s) + 1}"
    loads = ["python3", "-m", "haman.lab.loads"]
    address = lab.vips[0].addresses[0]
    background(lab.runtime, CLIENT, [*loads, "storm", address, "443", str(STORM_CLIENTS), until_s])
    background(lab.runtime, ACTIVE, [*loads, "hog", str(spinning), until_s])


def heard_in(said: Sequence[Advert]) -> Heard:
    """The intervals of the node that spoke first, of one virtual router.

    Raises:
        LabError: fewer than two adverts.
    """
    own = [advert for advert in said if advert.mac == said[0].mac]
    if len(own) < 2:
        raise LabError(f"{len(own)} adverts were heard on {CLIENT}: there is nothing to measure")
    intervals = (after.at_ns - before.at_ns for before, after in itertools.pairwise(own))
    return Heard(tuple(round(ns / 1000) for ns in intervals), len(said) - len(own))


def deviations_ms(heard: Heard, advert_ms: int) -> list[float]:
    """By how much each interval was too long or too short, least first."""
    return sorted(abs(us / 1000 - advert_ms) for us in heard.intervals_us)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least of them that is not exceeded by this share of all; nearest rank."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def to_markdown(rows: Sequence[Row]) -> str:
    """The table: by how much intervals differ from what they shall be."""
    names = [agent.name for agent in AGENTS]
    lines = [
        f"| adverts off by (median / 99 % / most, in ms) | {' | '.join(names)} |",
        "|---" * (len(names) + 1) + "|",
    ]
    for row in rows:
        cells = [_cell(row.heard.get(name), row.advert_ms) for name in names]
        lines.append(f"| every {row.advert_ms} ms, {row.load} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(heard: Heard | None, advert_ms: int) -> str:
    if heard is None:
        return "-"
    ordered = deviations_ms(heard, advert_ms)
    shown = " / ".join(f"{percentile(ordered, share):.2f}" for share in (0.5, 0.99, 1.0))
    text = f"{shown} (n = {len(ordered)})"
    return f"{text}; **another node took over**" if heard.others else text
