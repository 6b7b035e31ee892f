"""The benchmark of the anycast lab: how soon the router lets a node go, and what clients notice.

haman, ExaBGP with its own healthcheck, and BIRD announce the same prefixes from the same nodes to the same
router, one after the other; see `anycast_peers`. What is measured is the whole way from a fault to
the kernel of the router, FRR's share included. Each event is repeated, its instant shifted by a golden
section of a check's period, so that no timer is hit at a lucky phase. An instant is when the fault is complete:
signals at once, silence when the command that makes it has ended.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from haman.lab import routes, run
from haman.lab.anycast_peers import DEFAULTS, EXABGP, HAMAN, PEERS, SWIFT, Announcer, Check, prepare
from haman.lab.bench import GOLDEN
from haman.lab.cost import SETTLED_S, Cost, cost
from haman.lab.drill import Drill, Fault, Load, Step
from haman.lab.inside import remember
from haman.lab.lab import Lab, bring_up, down
from haman.lab.paths import gone_ns, spans
from haman.lab.probe import NS_PER_MS, failures
from haman.lab.topology import read_topology
from haman.lab.verdict import Record

ANNOUNCERS = (*PEERS, HAMAN)
NODE = "lb1"
CONNECTIONS = 300
LOST_AFTER_MS = 8000
"""Without an answer: longer than a host that is busy with something else takes for one."""
FIRST_STEP_S = 1.0
WITHDRAWN_WITHIN_S = 6.0
COST_OVER_S = 10.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One fault under load.

    Attributes:
        target: of the fault: proxy or main (of the agent); "" where it concerns no process.
        bfd: whether the sessions have it; None = where the agent can.
        after_s: how long it is watched.
        share: of the repetitions; what takes long is done less often.
        connections: long-lived ones that exchange data meanwhile.
        check: of ExaBGP; one that is not SWIFT is measured with ExaBGP alone.
    """

    name: str
    fault: Fault
    target: str = ""
    bfd: bool | None = None
    after_s: float = 3.0
    share: float = 1.0
    connections: int = 0
    check: Check = SWIFT

    def step(self, announcer: Announcer, at_s: float) -> Step:
        """The trial's fault on the node."""
        if self.fault == "drain" and announcer.drain:
            said, back = (announcer.drain,), (announcer.undrain,)
            return Step(at_s, "run", NODE, commands=said, undo=back)
        names = {"": "", "proxy": "haproxy", "main": announcer.main}
        return Step(at_s, self.fault, NODE, names[self.target])


DRAINED = "node drained under load"
TRIALS = (
    Trial("proxy killed", "kill", "proxy"),
    Trial("proxy killed, healthcheck at its defaults", "kill", "proxy", after_s=10, check=DEFAULTS),
    Trial("node silent, BFD 3 × 50 ms", "silence", bfd=True),
    Trial(DRAINED, "drain", after_s=6, connections=CONNECTIONS),
    Trial("agent killed (-9)", "kill", "main"),
    Trial("node silent, no BFD, hold time 9 s", "silence", bfd=False, after_s=11, share=0.4),
)


class Seen(Struct, frozen=True):
    """One repetition.

    Attributes:
        route_ms: from the fault until the router's kernel had the node in no prefix; None = never.
        failing_ms: from the fault to the last new connection that failed, by its start; 0 = none did.
        failed: new connections that failed.
        tried: all of them, after the fault.
        lost: long-lived connections that broke, of `established`.
    """

    route_ms: float | None
    failing_ms: float
    failed: int
    tried: int
    lost: int = 0
    established: int = 0


class Table(Struct, frozen=True):
    """All that was measured, by the agent's name.

    Attributes:
        withdrawn_ms: from the operator's word to the agent until the router's kernel let the node go,
            without load.
        seen: by trial, then by agent; an agent that has not what the trial is about is absent.
        costs: at rest, of all of an agent's processes.
    """

    withdrawn_ms: dict[str, tuple[float | None, ...]]
    seen: dict[str, dict[str, tuple[Seen, ...]]]
    costs: dict[str, Cost]


def bench(
    path: Path,
    make_cluster_key: Callable[[Path], None],
    *,
    repetitions: int,
    say: Callable[[str], None] = print,
    announcers: Iterable[Announcer] = ANNOUNCERS,
    trials: Iterable[Trial] = TRIALS,
) -> Table:
    """Measure every event for every agent, one lab after the other.

    Args:
        path: the anycast lab's topology.
        make_cluster_key: writes a new cluster key file.
        repetitions: of each event, fewer of those that take long.
        say: told about each step that a person waits for.
        announcers: the agents.
        trials: the events.

    Raises:
        LabError: a lab cannot be brought up, or does not recover from a fault.
    """
    topology, trials = read_topology(path), tuple(trials)
    table = Table({}, {trial.name: {} for trial in trials}, {})
    for announcer in announcers:
        for (bfd, check), wanted in labs(announcer, trials).items():
            prepared, services = prepare(topology, announcer, bfd=bfd, check=check)
            lab = bring_up(prepared, make_cluster_key, services=services, say=say)
            try:
                if bfd == announcer.bfd and check == SWIFT:
                    say(f"{announcer.name}: at rest")
                    pid = lab.runtime.pids[NODE]
                    table.costs[announcer.name] = cost(pid, announcer.all, COST_OVER_S, SETTLED_S)
                    say(f"{announcer.name}: withdrawn, {repetitions} times")
                    table.withdrawn_ms[announcer.name] = tuple(
                        withdrawn_after_ms(lab, announcer, i * GOLDEN % 1)
                        for i in range(repetitions)
                    )
                for trial in wanted:
                    times = max(1, round(repetitions * trial.share))
                    say(f"{announcer.name}: {trial.name}, {times} times")
                    table.seen[trial.name][announcer.name] = tuple(
                        measure(lab, announcer, trial, i * GOLDEN % 1 * trial.check.interval_s)
                        for i in range(times)
                    )
            finally:
                down(path)
    return table


def labs(
    announcer: Announcer, trials: Iterable[Trial]
) -> dict[tuple[bool, Check], tuple[Trial, ...]]:
    """The labs that an agent is measured in, by BFD and check, with the trials of each."""
    found: dict[tuple[bool, Check], tuple[Trial, ...]] = {}
    for trial in trials:
        bfd = announcer.bfd if trial.bfd is None else trial.bfd
        if (bfd and not announcer.bfd) or (trial.check != SWIFT and announcer is not EXABGP):
            continue
        found[bfd, trial.check] = (*found.get((bfd, trial.check), ()), trial)
    return found


def measure(lab: Lab, announcer: Announcer, trial: Trial, phase_s: float) -> Seen:
    """One repetition; the lab is whole again afterwards."""
    at_s = FIRST_STEP_S + phase_s
    described = Drill(
        name="bench",
        topology=lab.topology.name,
        step=(trial.step(announcer, at_s),),
        load=Load(
            connections=trial.connections,
            new_per_s=1000,
            mode="connect",
            echo_interval_ms=500,
            echo_timeout_ms=LOST_AFTER_MS,
        ),
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
        lost=len(record.probe.lost),
        established=record.probe.established,
    )


def withdrawn_after_ms(lab: Lab, announcer: Announcer, phase_s: float) -> float | None:
    """How long after the operator's word the router's kernel has let the node go."""
    if announcer.undrain:
        remember(lab.runtime, NODE, announcer.undrain)
    time.sleep(phase_s)
    watch = routes.Watch(lab.routers, lab.services)
    watch.start()
    try:
        asked_ns = time.monotonic_ns()
        announcer.release(lab.runtime, NODE)
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
