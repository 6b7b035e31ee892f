"""The benchmark: haman and keepalived on the same wire, before the same client, fault by fault.

Both run on the nodes of `lab/pair.clab.yml` with the same proxy, priorities and advert interval; what
differs is the agent. Each event is repeated, its instant shifted by a golden section of a second
each time, so that neither the advert interval nor a check's period is hit at a lucky phase.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from haman.lab import run
from haman.lab.contenders import HAMAN, KEEPALIVE, Agent, prepare
from haman.lab.cost import SETTLED_S, Cost, cost
from haman.lab.drill import Drill, Fault, Load, Step
from haman.lab.lab import Lab, bring_up, down
from haman.lab.probe import NS_PER_MS
from haman.lab.topology import read_topology
from haman.lab.verdict import Record

REPETITIONS, REPETITIONS_QUICK = 7, 2
GOLDEN = 0.6180339887
"""Multiples of it, whole parts dropped, spread evenly over any period, ours or keepalived's."""
LOAD = Load(new_per_s=1000, mode="connect")
FIRST_STEP_S = 1.0
ACTIVE = "lb1"
COST_ADVERT_MS, COST_OVER_S = 100, 10.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One event of the table.

    Attributes:
        target: of the fault: proxy, main or all (of the agent); "" where it concerns no process.
        after_s: how long it is watched.
        holding: measure how long it takes until one node alone has the address, not the gap that
            clients see. What was killed stays down, as it is the survivors that are asked.
        times: as often as the others are repeated: what decides is how long ago the last advert was, and
            seven instants in a hundred milliseconds say little.
    """

    name: str
    advert_ms: int
    fault: Fault
    target: str = ""
    after_s: float = 2.0
    holding: bool = False
    times: int = 1

    def step(self, agent: Agent, at_s: float) -> Step:
        """The trial's fault on the active node."""
        names = {"": "", "proxy": "haproxy", "main": agent.main, "all": agent.all}
        restart = False if self.holding else None
        return Step(at_s, self.fault, ACTIVE, names[self.target], restart)


TRIALS = (
    Trial("proxy killed", 100, "kill", "proxy"),
    Trial("node silent, adverts every 100 ms", 100, "silence", times=3),
    Trial("node silent, adverts every 10 ms", 10, "silence", times=3),
    Trial("planned stop of the agent", 100, "term", "main"),
    Trial("agent killed (-9): one node alone has the address after", 100, "kill", "main", 2, True),
    Trial("agent and its guard killed (-9): the same", 100, "kill", "all", 7, True),
)


class Row(Struct, frozen=True):
    """One event: each agent's figures in ms, None where it never came to be."""

    event: str
    figures: dict[str, tuple[float | None, ...]]


class Table(Struct, frozen=True):
    """All events, and what each agent costs at rest, with adverts every 100 ms."""

    rows: tuple[Row, ...]
    costs: dict[str, Cost]


def bench(
    path: Path,
    make_cluster_key: Callable[[Path], None],
    *,
    repetitions: int = REPETITIONS,
    say: Callable[[str], None] = print,
) -> Table:
    """Measure every event for both agents, one lab after the other.

    Args:
        path: the pair's topology.
        make_cluster_key: writes a new cluster key file.
        repetitions: of each event.
        say: told about each step that a person waits for.

    Raises:
        LabError: a lab cannot be brought up, or an agent does not come back from a fault.
    """
    topology = read_topology(path)
    figures: dict[str, dict[str, tuple[float | None, ...]]] = {t.name: {} for t in TRIALS}
    costs: dict[str, Cost] = {}
    for agent in (KEEPALIVE, HAMAN):
        for advert_ms in sorted({trial.advert_ms for trial in TRIALS}):
            prepared, services = prepare(topology, agent, advert_ms)
            lab = bring_up(prepared, make_cluster_key, services=services, say=say)
            try:
                if advert_ms == COST_ADVERT_MS:
                    say(f"{agent.name}: at rest")
                    pid = lab.runtime.pids[ACTIVE]
                    costs[agent.name] = cost(pid, agent.all, COST_OVER_S, SETTLED_S)
                for trial in (t for t in TRIALS if t.advert_ms == advert_ms):
                    times = repetitions * trial.times
                    say(f"{agent.name}: {trial.name}, {times} times")
                    figures[trial.name][agent.name] = tuple(
                        measure(lab, agent, trial, i * GOLDEN % 1) for i in range(times)
                    )
            finally:
                down(path)
    return Table(tuple(Row(event, by) for event, by in figures.items()), costs)


def measure(lab: Lab, agent: Agent, trial: Trial, phase_s: float) -> float | None:
    """One repetition, in ms; the lab is whole again afterwards."""
    at_s = FIRST_STEP_S + phase_s
    described = Drill(
        name="bench",
        topology=lab.topology.name,
        step=(trial.step(agent, at_s),),
        load=LOAD,
        duration_s=at_s + trial.after_s,
    )
    record = run.run(lab, described, say=lambda _: None)
    run.recover(lab)
    if trial.holding:
        return single_after_ms(record)
    return None if record.outage.end_ns == record.probe.ended_ns else record.outage.ms


def single_after_ms(record: Record) -> float | None:
    """How long after the fault one node alone has the address for good; None: it never came."""
    spans = next(iter(record.tenures.values()))
    end_ns = record.probe.ended_ns
    if len([span for span in spans if span.end_ns == end_ns]) != 1:
        return None
    edges = {record.fault_ns, *(edge for s in spans for edge in (s.start_ns, s.end_ns))}
    since = end_ns
    for edge in sorted((e for e in edges if record.fault_ns <= e < end_ns), reverse=True):
        if sum(span.start_ns <= edge < span.end_ns for span in spans) != 1:
            break
        since = edge
    return (since - record.fault_ns) / NS_PER_MS


def to_markdown(table: Table) -> str:
    """The table: medians, and the range behind them."""
    lines = ["| event | keepalived | haman |", "|---|---|---|"]
    for row in table.rows:
        cells = [_cell(row.figures.get(agent.name, ())) for agent in (KEEPALIVE, HAMAN)]
        lines.append(f"| {row.event} | {' | '.join(cells)} |")
    if table.costs:
        costs = [table.costs[agent.name] for agent in (KEEPALIVE, HAMAN)]
        cells = [f"{c.cpu_percent:.1f} % of a core, {c.pss_mb:.0f} MB" for c in costs]
        lines.append(f"| at rest, adverts every 100 ms: CPU, memory (PSS) | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(figures: Sequence[float | None]) -> str:
    came = [figure for figure in figures if figure is not None]
    if not came:
        return "never" if figures else "-"
    median = statistics.median(came)
    text = f"{median:.1f} ms ({min(came):.1f}–{max(came):.1f}, n = {len(figures)})"
    missing = len(figures) - len(came)
    return f"{text}; never: {missing}" if missing else text
