"""The benchmark of the anycast lab: how soon the router lets a node go, and what clients notice.

There is no peer beside haman here; what is measured is the whole way from a fault to the kernel of the
router, FRR's share included. Each event is repeated, its instant shifted by a golden section of a
second, so that no timer is hit at a lucky phase. An instant is when the fault is complete:
signals at once, silence when the command that makes it has ended.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import Struct

from haman.api import schema
from haman.lab import agent, routes, run
from haman.lab.bench import GOLDEN
from haman.lab.cost import Cost, cost
from haman.lab.drill import Drill, Fault, Load, Step
from haman.lab.files import write
from haman.lab.lab import Lab, bring_up, down
from haman.lab.paths import gone_ns, spans
from haman.lab.probe import NS_PER_MS, failures
from haman.lab.runtime import LabError
from haman.lab.services import CONFIGURATION
from haman.lab.topology import Bind, Topology, read_topology
from haman.lab.verdict import Record

NODE = "lb1"
LOAD = Load(new_per_s=1000, mode="connect")
FIRST_STEP_S = 1.0
WITHDRAWN_WITHIN_S = 6.0
COST_OVER_S = 10.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One fault under load.

    Attributes:
        bfd: the sessions have it.
        after_s: how long it is watched.
        share: of the repetitions; what takes long is done less often.
    """

    name: str
    fault: Fault
    process: str = ""
    bfd: bool = True
    after_s: float = 2.0
    share: float = 1.0


TRIALS = (
    Trial("proxy killed", "kill", "haproxy"),
    Trial("node silent, BFD 3 × 50 ms", "silence"),
    Trial("node drained under load", "drain", after_s=6),
    Trial("node silent, no BFD, hold time 9 s", "silence", bfd=False, after_s=11, share=0.4),
)


class Seen(Struct, frozen=True):
    """One repetition.

    Attributes:
        route_ms: from the fault until the router's kernel had the node in no prefix; None = never.
        failing_ms: from the fault to the last new connection that failed, by its start; 0 = none did.
        failed: new connections that failed.
        tried: all of them, after the fault.
    """

    route_ms: float | None
    failing_ms: float
    failed: int
    tried: int


class Table(Struct, frozen=True):
    """All that was measured.

    Attributes:
        withdrawn_ms: from the operator's word to the agent until the router's kernel let the node go,
            without load.
        seen: by trial.
        exabgp: what ExaBGP costs at rest; `relay` its helper.
    """

    withdrawn_ms: tuple[float | None, ...]
    seen: dict[str, tuple[Seen, ...]]
    exabgp: Cost
    relay: Cost


def bench(
    path: Path,
    make_cluster_key: Callable[[Path], None],
    *,
    repetitions: int,
    say: Callable[[str], None] = print,
) -> Table:
    """Measure every event.

    Args:
        path: the anycast lab's topology.
        make_cluster_key: writes a new cluster key file.
        repetitions: of each event, fewer of those that take long.
        say: told about each step that a person waits for.

    Raises:
        LabError: the lab cannot be brought up, or does not recover from a fault.
    """
    topology = read_topology(path)
    seen: dict[str, tuple[Seen, ...]] = {}
    withdrawn: tuple[float | None, ...] = ()
    costs = Cost(0.0, 0.0), Cost(0.0, 0.0)
    for bfd in (True, False):
        lab = bring_up(topology if bfd else without_bfd(topology), make_cluster_key, say=say)
        try:
            if bfd:
                say("at rest")
                pid = lab.runtime.pids[NODE]
                costs = cost(pid, "exabgp", COST_OVER_S), cost(pid, "haman-relay", COST_OVER_S)
                say(f"withdrawn, {repetitions} times")
                withdrawn = tuple(
                    withdrawn_after_ms(lab, i * GOLDEN % 1) for i in range(repetitions)
                )
            for trial in (t for t in TRIALS if t.bfd == bfd):
                times = max(1, round(repetitions * trial.share))
                say(f"{trial.name}, {times} times")
                seen[trial.name] = tuple(measure(lab, trial, i * GOLDEN % 1) for i in range(times))
        finally:
            down(path)
    return Table(withdrawn, seen, *costs)


def measure(lab: Lab, trial: Trial, phase_s: float) -> Seen:
    """One repetition; the lab is whole again afterwards."""
    at_s = FIRST_STEP_S + phase_s
    described = Drill(
        name="bench",
        topology=lab.topology.name,
        step=(Step(at_s, trial.fault, NODE, trial.process),),
        load=LOAD,
        duration_s=at_s + trial.after_s,
    )
    record = run.run(lab, described, say=lambda _: None)
    run.recover(lab)
    return seen_in(record, silent=trial.fault == "silence")


def seen_in(record: Record, *, silent: bool) -> Seen:
    """What a record says; a silence counts from the end of the command that made it."""
    (step,) = record.steps
    late_ms = (step.end_ns - step.start_ns) / NS_PER_MS if silent else 0.0
    gone = record.route_gone_ms
    after = [a for a in record.probe.attempts if a.end_ns >= record.fault_ns]
    return Seen(
        route_ms=None if gone is None else max(0.0, gone - late_ms),
        failing_ms=max(0.0, record.failing_ms - late_ms),
        failed=sum(failures(after).values()),
        tried=len(after),
    )


def withdrawn_after_ms(lab: Lab, phase_s: float) -> float | None:
    """How long after the operator's word the router's kernel has let the node go."""
    time.sleep(phase_s)
    watch = routes.Watch(lab.routers, lab.services)
    watch.start()
    try:
        asked_ns = time.monotonic_ns()
        agent.client(lab.runtime, NODE).act("drain", schema.Intent(node=NODE))
        time.sleep(WITHDRAWN_WITHIN_S)
    finally:
        changes = watch.stop()
        run.recover(lab)
    end_ns = asked_ns + int(WITHDRAWN_WITHIN_S * 1e9)
    gone = [
        gone_ns(spans(changes, prefix, asked_ns, end_ns), NODE, asked_ns)
        for service in lab.anycasts
        for prefix in service.prefixes
    ]
    known = [at_ns for at_ns in gone if at_ns is not None]
    return (max(known) - asked_ns) / NS_PER_MS if len(known) == len(gone) else None


def without_bfd(topology: Topology) -> Topology:
    """The topology with nodes that have no BFD; the router's configuration follows from theirs."""
    folder = topology.path.parent.parent / ".lab" / topology.name / "rendered"
    nodes = []
    for node in topology.nodes:
        binds = []
        for bind in node.binds:
            kept = bind
            if bind.target == CONFIGURATION:
                lines = bind.source.read_text().splitlines(keepends=True)
                text = "".join(line for line in lines if not line.startswith("bfd = "))
                if len(text) == sum(map(len, lines)):
                    raise LabError(f"{bind.source}: has no line `bfd = …` to leave out")
                kept = Bind(folder / node.name / "haman.toml", CONFIGURATION, read_only=True)
                write(kept.source, text)
            binds.append(kept)
        nodes.append(replace(node, binds=tuple(binds)))
    return replace(topology, nodes=tuple(nodes))


def to_markdown(table: Table) -> str:
    """The table: medians, and the range behind them."""
    lines = ["| event | router's kernel has let the node go | last new connection that failed |"]
    lines += ["|---|---|---|"]
    for name, seen in table.seen.items():
        cells = (_cell([s.route_ms for s in seen]), _cell([s.failing_ms for s in seen]))
        if name.startswith("node drained"):  # the fault counts from the start of the verb
            failed, tried = sum(s.failed for s in seen), sum(s.tried for s in seen)
            cells = (_cell(table.withdrawn_ms), f"{failed} of {tried:,} failed")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name, spent in (("ExaBGP", table.exabgp), ("its relay", table.relay)):
        text = f"{spent.cpu_percent:.2f} % of a core, {spent.pss_mb:.0f} MB"
        lines.append(f"| {name} at rest: CPU, memory (PSS) | {text} | |")
    return "\n".join(lines)


def _cell(figures: Sequence[float | None]) -> str:
    came = [figure for figure in figures if figure is not None]
    if not came:
        return "never" if figures else "-"
    text = f"{statistics.median(came):.1f} ms"
    text += f" ({min(came):.1f}–{max(came):.1f}, n = {len(figures)})"
    missing = len(figures) - len(came)
    return f"{text}; never: {missing}" if missing else text
