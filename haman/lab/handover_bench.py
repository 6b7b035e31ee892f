"""The second table of the benchmark: an address that is moved by its operator, there and back.

1,000 established connections exchange data meanwhile, a new one begins every millisecond, and a
client asks a thousand times a second who has the address. haman hands over; keepalived has no such
thing, and is told what its users do: stopped on the node that holds the address, and started again.
"""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from haman.lab import run
from haman.lab.answers import Answers, Reply, doubled, longest_silence_ms, taken_over_ns
from haman.lab.contenders import HAMAN, KEEPALIVE, Agent, prepare
from haman.lab.drill import Drill, Load, Step
from haman.lab.lab import Lab, bring_up, down
from haman.lab.probe import NS_PER_MS, STEP_REACH_NS, Result, Span, longest_gap
from haman.lab.tenure import unheld_ns
from haman.lab.topology import read_topology
from haman.lab.verdict import Record, StepDone

CONNECTIONS = 1000
THERE_S, BACK_S, LENGTH_S = 2.0, 8.0, 18.0
LOST_AFTER_MS = 8000
"""Without an answer: longer than a host that is busy with something else takes for one."""
ADVERT_MS = 100
CLIENT_INTERFACE, CLIENT_ADDRESS = "eth1", "10.77.0.10"


class Move(Struct, frozen=True):
    """One move, there or back.

    Attributes:
        lost: connections that broke, of `established`.
        unanswered: exchanges that ended with their connection.
        gap_ms: longest span without a new connection around the instant at which another node began
            to answer for the address, or one, wherever it was, in which a connection failed.
        still_ms: the same, just before the operator's word: what the machine itself is good for.
        unheld_ms: total time in which no node had the address.
        doubled: ARP replies of a second node.
        silence_ms: longest span in which somebody asked for the address and nobody answered.
    """

    established: int
    lost: int
    unanswered: int
    gap_ms: float
    still_ms: float
    unheld_ms: float
    doubled: int
    silence_ms: float


def bench(
    path: Path,
    make_cluster_key: Callable[[Path], None],
    *,
    repetitions: int,
    say: Callable[[str], None] = print,
) -> dict[str, tuple[Move, ...]]:
    """Move the pair's address there and back, for both agents; `Move`s by the agent's name.

    Args:
        path: the pair's topology.
        make_cluster_key: writes a new cluster key file.
        repetitions: of there and back.
        say: told about each step that a person waits for.

    Raises:
        LabError: a lab cannot be brought up, or an address does not come back.
    """
    topology = read_topology(path)
    moves: dict[str, tuple[Move, ...]] = {}
    for agent in (KEEPALIVE, HAMAN):
        prepared, services = prepare(topology, agent, ADVERT_MS)
        lab = bring_up(prepared, make_cluster_key, services=services, say=say)
        try:
            found: list[Move] = []
            for number in range(repetitions):
                say(f"{agent.name}: moved there and back, {number + 1} of {repetitions}")
                found += measure(lab, agent)
            moves[agent.name] = tuple(found)
        finally:
            down(path)
    return moves


def measure(lab: Lab, agent: Agent) -> tuple[Move, Move]:
    """There and back once; the lab is whole again afterwards."""
    vip = lab.vips[0]
    first, second = vip.nodes[:2]
    if agent is HAMAN:
        steps = (
            Step(THERE_S, "failover", first, vip=vip.name, to=second, force=True),
            Step(BACK_S, "failover", second, vip=vip.name, to=first, force=True),
        )
    else:
        steps = (Step(THERE_S, "term", first, agent.main), Step(BACK_S, "start", first))
    load = Load(
        connections=CONNECTIONS,
        new_per_s=1000,
        echo_interval_ms=500,
        echo_timeout_ms=LOST_AFTER_MS,
        mode="connect",
        count_again=True,
    )
    described = Drill("handover", lab.topology.name, steps, load=load, duration_s=LENGTH_S)
    asking = Answers(
        lab.runtime.pids[run.CLIENT], CLIENT_INTERFACE, CLIENT_ADDRESS, vip.addresses[0]
    )
    asking.start()
    try:
        record = run.run(lab, described, say=lambda _: None)
    finally:
        replies = asking.stop()
    run.recover(lab)
    middle_ns = record.probe.started_ns + round((THERE_S + BACK_S) / 2 * 1e9)
    bounds = ((0, middle_ns), (middle_ns, record.probe.ended_ns))
    there, back = (
        _move(record, record.steps[place], replies, asking.asked_ns, bound)
        for place, bound in enumerate(bounds)
    )
    return there, back


def _move(
    record: Record,
    step: StepDone,
    replies: Sequence[Reply],
    asked_ns: list[int],
    bounds: tuple[int, int],
) -> Move:
    begin, end = bounds
    heard = [reply for reply in replies if begin <= reply.at_ns < end]
    return Move(
        established=record.probe.established,
        lost=sum(begin <= lost.at_ns < end for lost in record.probe.lost),
        unanswered=record.probe.unanswered if begin == 0 else 0,
        gap_ms=gap_ms(record.probe, step, taken_over_ns(heard), bounds),
        still_ms=still_ms(record.probe, step),
        unheld_ms=_unheld_ms(record, begin, end),
        doubled=doubled(heard),
        silence_ms=longest_silence_ms(heard, asked_ns),
    )


def gap_ms(result: Result, step: StepDone, moved_ns: int | None, bounds: tuple[int, int]) -> float:
    """The longest gap of new connections that a move caused.

    Args:
        result: what the client saw.
        step: the operator's word, from its beginning to its end.
        moved_ns: when another node began to answer for the address; None = none did, and whatever the
            step can have caused counts.
        bounds: from when until when, in ns.
    """
    span = Span(step.start_ns, step.end_ns)
    if moved_ns is not None:
        span = Span(moved_ns - STEP_REACH_NS, moved_ns)
    return _longest(result, span, *bounds)


def still_ms(result: Result, step: StepDone) -> float:
    """The longest gap before a step, in a span as long as that around a move."""
    begin_ns = max(result.started_ns, step.start_ns - 2 * STEP_REACH_NS)
    return _longest(result, Span(begin_ns, step.start_ns), begin_ns, step.start_ns)


def _longest(result: Result, span: Span, begin_ns: int, end_ns: int) -> float:
    attempts = [a for a in result.attempts if begin_ns <= a.start_ns < end_ns]
    begin_ns, end_ns = max(begin_ns, result.started_ns), min(end_ns, result.ended_ns)
    return longest_gap(attempts, (span,), begin_ns, end_ns, pace_ns=result.order.pace_ns).ms


def _unheld_ms(record: Record, begin_ns: int, end_ns: int) -> float:
    spans = next(iter(record.tenures.values()))
    begin_ns = max(begin_ns, record.probe.started_ns)
    return unheld_ns(spans, begin_ns, min(end_ns, record.probe.ended_ns)) / NS_PER_MS


def to_markdown(moves: dict[str, tuple[Move, ...]]) -> str:
    """The table: of counts the sum over all moves, of times the median and the range."""
    lines = [
        f"| an address moved by its operator, {CONNECTIONS:,} connections | keepalived | haman |",
        "|---|---|---|",
    ]
    rows: tuple[tuple[str, Callable[[Sequence[Move]], str]], ...] = (
        ("moves", lambda m: str(len(m))),
        ("established connections lost", lambda m: _sum([x.lost for x in m], m)),
        ("exchanges that failed", lambda m: str(sum(x.unanswered for x in m))),
        ("longest gap of new connections", lambda m: _times([x.gap_ms for x in m])),
        ("the same, nobody moving it", lambda m: _times([x.still_ms for x in m])),
        ("on no node", lambda m: _times([x.unheld_ms for x in m])),
        ("longest wait for an ARP reply", lambda m: _times([x.silence_ms for x in m])),
        ("ARP replies of a second node", lambda m: str(sum(x.doubled for x in m))),
    )
    for name, cell in rows:
        cells = [cell(moves[agent.name]) for agent in (KEEPALIVE, HAMAN)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _sum(counts: Sequence[int], moves: Sequence[Move]) -> str:
    return f"{sum(counts):,} of {sum(move.established for move in moves):,}"


def _times(times: Sequence[float]) -> str:
    return f"{statistics.median(times):.1f} ms ({min(times):.1f}–{max(times):.1f})"
