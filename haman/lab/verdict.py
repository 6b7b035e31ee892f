"""What came of a drill: the record, its timeline, and a verdict per expectation. Pure."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from haman.lab.drill import Drill
from haman.lab.probe import NS_PER_MS, OK, Result, Span, failures, longest_gap
from haman.lab.tenure import Tenure, dual_ns, final_holders, unheld_ns


class StepDone(Struct, frozen=True):
    """A step that was taken: when it began and ended (monotonic), what it did."""

    start_ns: int
    end_ns: int
    text: str
    answer: str = ""


class Said(Struct, frozen=True):
    """What `haman why` answered on a node after the drill."""

    node: str
    vip: str
    text: str


class Record(Struct, frozen=True):
    """All that was seen of one drill, enough to judge and to draw it again.

    Attributes:
        at: wall clock of the start, ISO 8601.
        addresses: the addresses of each VIP of the lab.
        tenures: by address.
        overruns: times that the kernel dropped address notifications; above 0 tenures have holes.
    """

    drill: Drill
    at: str
    steps: tuple[StepDone, ...]
    probe: Result
    addresses: Mapping[str, tuple[str, ...]]
    tenures: Mapping[str, tuple[Tenure, ...]]
    said: tuple[Said, ...] = ()
    overruns: int = 0

    @property
    def fault_ns(self) -> int:
        """When the first fault began."""
        return min(step.start_ns for step in self.steps)

    @property
    def outage(self) -> Span:
        """The longest span without a successful new connection that the steps can have caused."""
        steps = [Span(step.start_ns, step.end_ns) for step in self.steps]
        probe = self.probe
        return longest_gap(probe.attempts, steps, probe.started_ns, probe.ended_ns)


class Verdict(Struct, frozen=True):
    """One expectation, and whether it held."""

    name: str
    expected: str
    got: str
    ok: bool


def judge(record: Record) -> tuple[Verdict, ...]:
    """A verdict for each expectation of the record's drill."""
    expect = record.drill.expect
    failed = failures(record.probe.attempts)
    verdicts = [_holder(record, vip, node) for vip, node in expect.holder.items()]
    limits = (
        ("outage", expect.outage_ms_max, record.outage.ms, " ms"),
        ("failed connections", expect.failed_connections_max, sum(failed.values()), ""),
        (
            "lost established connections",
            expect.lost_established_max,
            len(record.probe.lost),
            f" of {record.probe.established}",
        ),
        ("held by two nodes", expect.dual_holder_ms_max, _worst(record, dual_ns), " ms"),
        ("held by no node", expect.unheld_ms_max, _worst(record, unheld_ns), " ms"),
    )
    verdicts += [
        Verdict(name, f"at most {limit:g}{unit}", f"{_number(got)}{unit}", got <= limit)
        for name, limit, got, unit in limits
        if limit is not None
    ]
    verdicts += [_told(record, text) for text in expect.why_contains]
    verdicts += _measured_at_all(record)
    return tuple(verdicts)


def timeline(record: Record) -> list[tuple[float, str]]:
    """What happened, in milliseconds since the first fault, in order."""
    start, end = record.probe.started_ns, record.probe.ended_ns
    moments = [(step.start_ns, step.text) for step in record.steps]
    for address, spans in record.tenures.items():
        for span in spans:
            if span.start_ns > start:
                moments.append((span.start_ns, f"{span.node} has {address}"))
            if span.end_ns < end:
                moments.append((span.end_ns, f"{span.node} no longer has {address}"))
    gap = record.outage
    refused = [a for a in record.probe.attempts if a.outcome != OK]
    if refused:
        first = min(refused, key=lambda attempt: attempt.start_ns)
        moments.append((first.end_ns, f"first new connection failed ({first.outcome})"))
        moments.append((gap.start_ns, "last new connection served before the gap"))
        if gap.end_ns < end:
            moments.append((gap.end_ns, f"new connections are served again, after {gap.ms:.1f} ms"))
    if lost := record.probe.lost:
        text = f"first of {len(lost)} long-lived connections lost ({lost[0].cause})"
        moments.append((lost[0].at_ns, text))
    return [((at - record.fault_ns) / NS_PER_MS, text) for at, text in sorted(moments)]


def _holder(record: Record, vip: str, node: str) -> Verdict:
    wanted = (node,) if node else ()
    found = {
        address: final_holders(record.tenures.get(address, ()), record.probe.ended_ns)
        for address in record.addresses.get(vip, ())
    }
    distinct = set(found.values())
    got = " / ".join(" and ".join(nodes) or "nobody" for nodes in sorted(distinct)) or "no such VIP"
    return Verdict(f"holder of {vip}", node or "nobody", got, distinct == {wanted})


def _worst(record: Record, measure: Callable[[Sequence[Tenure], int, int], int]) -> float:
    start, end = record.probe.started_ns, record.probe.ended_ns
    return max((measure(spans, start, end) for spans in record.tenures.values()), default=0) / (
        NS_PER_MS
    )


def _told(record: Record, text: str) -> Verdict:
    told = [said for said in record.said if text in said.text]
    got = f"said by {told[0].node}" if told else "not said"
    return Verdict("haman why", f"says “{text}”", got, bool(told))


def _measured_at_all(record: Record) -> Sequence[Verdict]:
    """A drill without a single success proves nothing, nor does one with holes in its record."""
    served = sum(attempt.outcome == OK for attempt in record.probe.attempts)
    found = []
    if not any(a.outcome == OK and a.end_ns < record.fault_ns for a in record.probe.attempts):
        found.append(Verdict("service before the fault", "served", f"{served} served", ok=False))
    if record.probe.established < record.drill.load.connections:
        wanted = f"{record.drill.load.connections} established"
        got = f"{record.probe.established} established"
        found.append(Verdict("long-lived connections", wanted, got, ok=False))
    if record.overruns:
        found.append(Verdict("address record", "complete", f"{record.overruns} overruns", ok=False))
    return found


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.1f}"
