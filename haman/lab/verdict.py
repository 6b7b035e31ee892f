"""What came of a drill: the record, its timeline, and a verdict per expectation. Pure."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from haman.lab.drill import Drill
from haman.lab.gauges import Gauge
from haman.lab.paths import Route, RouteSpan, floor_ns, gone_ns, unrouted_ns
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
        prefixes: of each anycast service of the lab.
        routes: what the router did with each prefix.
        stances: by service and node, what the node says that it is in the end; "" = it said nothing.
        overruns: times that the kernel dropped address notifications; above 0 tenures have holes.
        events: by node, the types of what it wrote into its journal meanwhile.
        alerts: by node, the codes of what it raises in the end; a node that is absent does not answer.
        conditions: what each node says that it is in the end.
        gauges: how loaded the nodes were.
    """

    drill: Drill
    at: str
    steps: tuple[StepDone, ...]
    probe: Result
    addresses: Mapping[str, tuple[str, ...]]
    tenures: Mapping[str, tuple[Tenure, ...]]
    said: tuple[Said, ...] = ()
    overruns: int = 0
    prefixes: Mapping[str, tuple[str, ...]] = {}
    routes: Mapping[str, tuple[RouteSpan, ...]] = {}
    stances: Mapping[str, Mapping[str, str]] = {}
    events: Mapping[str, tuple[str, ...]] = {}
    alerts: Mapping[str, tuple[str, ...]] = {}
    conditions: Mapping[str, str] = {}
    gauges: tuple[Gauge, ...] = ()

    @property
    def fault_ns(self) -> int:
        """When the first fault began."""
        return min(step.start_ns for step in self.steps)

    @property
    def outage(self) -> Span:
        """The longest span without a successful new connection that the steps can have caused."""
        steps = [Span(step.start_ns, step.end_ns) for step in self.steps]
        probe = self.probe
        return longest_gap(
            probe.attempts,
            steps,
            probe.started_ns,
            probe.ended_ns,
            pace_ns=probe.order.pace_ns,
        )

    @property
    def dual_ms(self) -> float:
        """For how long two nodes had an address at once; of several addresses the worst."""
        return _worst(self, dual_ns)

    @property
    def moves(self) -> int:
        """How often an address came to a node after the first fault; of several addresses the worst."""
        since = self.fault_ns
        return max(
            (sum(span.start_ns > since for span in spans) for spans in self.tenures.values()),
            default=0,
        )

    @property
    def route_gone_ms(self) -> float | None:
        """From the first fault of a node that routers send to until none does; None = one always did.

        Of several prefixes the last counts.
        """
        sent = {
            hop.node for found in self.routes.values() for span in found for hop in span.route.hops
        }
        planned = sorted(self.drill.step, key=lambda step: step.at_s)
        for step, done in zip(planned, self.steps, strict=True):
            if step.node in sent:
                gone = [gone_ns(found, step.node, done.start_ns) for found in self.routes.values()]
                known = [at_ns for at_ns in gone if at_ns is not None]
                missing = len(known) < len(gone)
                return None if missing else (max(known) - done.start_ns) / NS_PER_MS
        return None

    @property
    def failing_ms(self) -> float:
        """From the first fault to the last new connection that failed, by its start; 0 = none did."""
        failed = [a.start_ns for a in self.probe.attempts if a.outcome != OK]
        return max(0, max(failed, default=0) - self.fault_ns) / NS_PER_MS


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
        ("held by two nodes", expect.dual_holder_ms_max, record.dual_ms, " ms"),
        ("held by no node", expect.unheld_ms_max, _worst(record, unheld_ns), " ms"),
        ("new connections failing for", expect.failing_ms_max, record.failing_ms, " ms"),
        ("moves", expect.moves_max, record.moves, ""),
        ("routed nowhere", expect.unrouted_ms_max, _worst_route(record, unrouted_ns), " ms"),
    )
    verdicts += [
        Verdict(name, f"at most {limit:g}{unit}", f"{_number(got)}{unit}", got <= limit)
        for name, limit, got, unit in limits
        if limit is not None
    ]
    verdicts += _routed(record)
    verdicts += _written(record)
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
    for prefix, found in record.routes.items():
        moments += [
            (span.start_ns, f"the router sends {prefix} {_whither(span.route)}")
            for span in found
            if span.start_ns > start
        ]
    gap = record.outage
    refused = [a for a in record.probe.attempts if a.outcome != OK]
    if refused:
        first = min(refused, key=lambda attempt: attempt.start_ns)
        moments.append((first.end_ns, f"first new connection failed ({first.outcome})"))
        if record.routes:
            last = max(refused, key=lambda attempt: attempt.start_ns)
            text = f"last new connection that failed ({last.outcome}) was tried"
            moments.append((last.start_ns, text))
        else:
            moments.append((gap.start_ns, "last new connection served before the gap"))
            if gap.end_ns < end:
                text = f"new connections are served again, after {gap.ms:.1f} ms"
                moments.append((gap.end_ns, text))
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


def _routed(record: Record) -> Sequence[Verdict]:
    """What the router and the announcing nodes are expected of."""
    expect, found = record.drill.expect, []
    for service, wanted in expect.announcers.items():
        ends = {
            tuple(hop.node for hop in record.routes[prefix][-1].route.by_bgp)
            for prefix in record.prefixes.get(service, ())
        }
        got = " / ".join(_names(nodes) for nodes in sorted(ends)) or "no such service"
        ok = ends == {tuple(sorted(wanted))}
        found.append(Verdict(f"{service} goes to", _names(wanted), got, ok))
    for service, nodes in expect.stances.items():
        for node, stance in nodes.items():
            told = record.stances.get(service, {}).get(node, "")
            name = f"stance of {node} to {service}"
            found.append(Verdict(name, stance, told or "not told", told == stance))
    if (limit := expect.route_gone_ms_max) is not None:
        gone = record.route_gone_ms
        got = "never" if gone is None else f"{gone:.1f} ms"
        ok = gone is not None and gone <= limit
        found.append(Verdict("router without the node after", f"at most {limit:g} ms", got, ok))
    if (least := expect.floor_ms_min) is not None:
        carried = min(map(floor_ns, record.routes.values()), default=0) / NS_PER_MS
        wanted_ms = f"at least {least:g} ms"
        found.append(
            Verdict("carried by the floor", wanted_ms, f"{carried:.1f} ms", carried >= least)
        )
    return found


def _written(record: Record) -> Sequence[Verdict]:
    """What the nodes are expected to say of themselves."""
    expect, found = record.drill.expect, []
    for node, types in expect.events.items():
        seen = record.events.get(node, ())
        found += [_said(f"{node} wrote", word, seen, wanted=True) for word in types]
    for node, types in expect.no_events.items():
        seen = record.events.get(node, ())
        found += [_said(f"{node} wrote", word, seen, wanted=False) for word in types]
    for node, codes in expect.alerts.items():
        up = record.alerts.get(node, ())
        found += [_said(f"{node} alerts", word, up, wanted=True) for word in codes]
    for node, wanted in expect.conditions.items():
        told = record.conditions.get(node, "not told")
        found.append(Verdict(f"condition of {node}", wanted, told, told == wanted))
    return found


def _said(name: str, word: str, words: Sequence[str], *, wanted: bool) -> Verdict:
    count = words.count(word)
    got = f"{count} × {word}" if count else f"not {word}"
    return Verdict(name, word if wanted else f"not {word}", got, (count > 0) == wanted)


def _names(nodes: Sequence[str]) -> str:
    return ", ".join(nodes) or "no node"


def _whither(route: Route) -> str:
    return f"to {route}" if route.hops else str(route)


def _worst_route(record: Record, measure: Callable[[Sequence[RouteSpan]], int]) -> float:
    return max(map(measure, record.routes.values()), default=0) / NS_PER_MS


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
