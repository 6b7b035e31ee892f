"""Verdicts, timeline and reports from a record made by hand."""

import json

import msgspec
import pytest

from haman.lab import report
from haman.lab.drill import Drill, Expect, Load, Step
from haman.lab.paths import Hop, Route, RouteChanged, RouteSpan, spans
from haman.lab.probe import Attempt, Lost, Order, Result, Span, longest_gap
from haman.lab.tenure import Tenure
from haman.lab.verdict import Record, Said, StepDone, judge, timeline

MS = 1_000_000
VIP = "10.77.0.100"
END = 400 * MS
FAULT = 100 * MS
STEP = Span(FAULT, FAULT + MS)


def attempts(*, back_ms: int = 110) -> tuple[Attempt, ...]:
    """One attempt each ms; those between the fault and `back_ms` fail."""
    return tuple(
        Attempt(ms * MS, ms * MS + MS // 2, "refused" if 100 <= ms < back_ms else "ok")
        for ms in range(400)
    )


def record(expect: Expect, **changes: object) -> Record:
    drill = Drill(
        name="d",
        topology="pair",
        step=(Step(0.1, "kill", "lb1", "haproxy"),),
        load=Load(connections=2),
        expect=expect,
    )
    whole = Record(
        drill=drill,
        at="2026-01-01T00:00:00+00:00",
        steps=(StepDone(FAULT, FAULT + MS, "SIGKILL to <haproxy>"),),
        probe=Result(
            order=Order(VIP, 0.4),
            started_ns=0,
            ended_ns=END,
            attempts=attempts(),
            lost=(Lost(FAULT + MS, "reset"),),
            established=2,
            exchanges=10,
            late_ms_max=0.1,
            skipped=0,
        ),
        addresses={"web": (VIP,)},
        tenures={VIP: (Tenure("lb1", 0, FAULT + 2 * MS), Tenure("lb2", FAULT + 3 * MS, END))},
    )
    return msgspec.structs.replace(whole, **changes)


def broken(expect: Expect, **changes: object) -> list[str]:
    return [verdict.name for verdict in judge(record(expect, **changes)) if not verdict.ok]


@pytest.mark.parametrize(
    ("good", "bad", "name"),
    [
        (Expect(holder={"web": "lb2"}), Expect(holder={"web": "lb1"}), "holder of web"),
        (Expect(outage_ms_max=11), Expect(outage_ms_max=10), "outage"),
        (
            Expect(failed_connections_max=10),
            Expect(failed_connections_max=9),
            "failed connections",
        ),
        (
            Expect(lost_established_max=1),
            Expect(lost_established_max=0),
            "lost established connections",
        ),
        (Expect(unheld_ms_max=1), Expect(unheld_ms_max=0.5), "held by no node"),
    ],
)
def test_an_expectation_holds_up_to_its_limit(good: Expect, bad: Expect, name: str) -> None:
    assert broken(good) == []
    assert broken(bad) == [name]


def test_two_holders_break_the_holder_and_the_dual_limit() -> None:
    both = {VIP: (Tenure("lb1", 0, END), Tenure("lb2", FAULT, END))}
    expect = Expect(holder={"web": "lb2"}, dual_holder_ms_max=299)
    assert broken(expect, tenures=both) == ["holder of web", "held by two nodes"]
    assert "held by two nodes" not in broken(Expect(dual_holder_ms_max=300), tenures=both)


def test_a_vip_that_the_lab_does_not_have_breaks_its_holder() -> None:
    assert broken(Expect(holder={"other": "lb2"})) == ["holder of other"]


def test_nobody_can_be_expected() -> None:
    assert broken(Expect(holder={"web": ""}), tenures={VIP: ()}) == []


def test_addresses_of_one_vip_must_agree() -> None:
    split = {VIP: (Tenure("lb2", 0, END),), "fd00::1": (Tenure("lb1", 0, END),)}
    addresses = {"web": (VIP, "fd00::1")}
    expect = Expect(holder={"web": "lb2"})
    assert broken(expect, tenures=split, addresses=addresses) == ["holder of web"]


def test_why_must_say_it() -> None:
    said = (Said("lb2", "web", "lb2 serves: the proxy of lb1 ended"),)
    assert broken(Expect(why_contains=("proxy of lb1",)), said=said) == []
    assert broken(Expect(why_contains=("drained",)), said=said) == ["haman why"]


def test_a_service_that_never_served_proves_nothing() -> None:
    probe = msgspec.structs.replace(record(Expect()).probe, attempts=())
    assert broken(Expect(), probe=probe) == ["service before the fault"]


def test_a_hole_in_the_address_record_is_a_failure() -> None:
    assert broken(Expect(), overruns=1) == ["address record"]


def test_a_service_that_stays_away_is_out_until_the_end() -> None:
    gap = longest_gap(attempts(back_ms=400), [STEP], 0, END)
    assert gap.end_ns == END
    assert gap.ms == pytest.approx(300.5)


def test_gaps_before_the_fault_do_not_count() -> None:
    slow_start = [Attempt(0, 60 * MS, "ok"), *attempts()[60:]]
    assert longest_gap(slow_start, [STEP], 0, END).ms == pytest.approx(11)


def without(first_ms: int, last_ms: int, outcome: str) -> list[Attempt]:
    """All served but those between two instants: left out, or with an outcome of their own."""
    return [
        Attempt(ms * MS, ms * MS + MS // 2, outcome if first_ms <= ms < last_ms else "ok")
        for ms in range(400)
        if outcome or not first_ms <= ms < last_ms
    ]


def test_a_late_pause_counts_only_where_something_failed_in_it() -> None:
    """330 ms is beyond the reach of a step at 100 ms."""
    nothing_failed = longest_gap(without(330, 350, ""), [STEP], 0, END)
    assert nothing_failed.ms == pytest.approx(1)
    assert longest_gap(without(330, 350, "timeout"), [STEP], 0, END).ms == pytest.approx(21)
    assert longest_gap(without(150, 170, ""), [STEP], 0, END).ms == pytest.approx(21)


def test_the_timeline_is_in_order_and_counts_from_the_fault() -> None:
    rows = timeline(record(Expect()))
    assert [at for at, _ in rows] == sorted(at for at, _ in rows)
    texts = {text: at for at, text in rows}
    assert texts["SIGKILL to <haproxy>"] == 0
    assert texts[f"lb2 has {VIP}"] == 3
    assert "new connections are served again, after 11.0 ms" in texts


def test_the_page_holds_charts_verdicts_and_escaped_text() -> None:
    page = report.to_html(record(Expect(outage_ms_max=5), said=(Said("lb2", "web", "a <b>"),)))
    assert page.count("<svg") == 3
    assert "11.0 ms" in page
    assert "broken" in page
    assert "SIGKILL to &lt;haproxy&gt;" in page
    assert "a &lt;b&gt;" in page
    assert "http" not in page.replace("https", "").replace("http-", "")  # nothing is fetched


def test_the_json_says_whether_it_passed() -> None:
    assert json.loads(report.to_json(record(Expect(outage_ms_max=11))))["passed"] is True
    document = json.loads(report.to_json(record(Expect(outage_ms_max=5))))
    assert document["passed"] is False
    assert document["outage_ms"] == 11.0
    assert document["failed_connections"] == {"refused": 10}


def test_the_text_names_what_failed() -> None:
    text = report.to_text(record(Expect(outage_ms_max=5, failed_connections_max=10)))
    assert "FAIL  outage" in text
    assert "ok    failed connections" in text


PREFIX = "192.0.2.100/32"
ALL = Route((Hop("lb1"), Hop("lb2")))
REST = Route((Hop("lb2"),))


def routed(*rows: tuple[int, Route]) -> dict[str, tuple[RouteSpan, ...]]:
    heard = [RouteChanged(at_ns, PREFIX, route) for at_ns, route in rows]
    return {PREFIX: spans(heard, PREFIX, 0, END)}


def anycast(expect: Expect, **changes: object) -> list[str]:
    """Broken expectations where the router used two nodes until 20 ms after the fault, then one."""
    changes = {
        "tenures": {},
        "addresses": {},
        "prefixes": {"edge": (PREFIX,)},
        "routes": routed((0, ALL), (FAULT + 20 * MS, REST)),
        "stances": {"edge": {"lb1": "withdrawn"}},
        **changes,
    }
    return broken(expect, **changes)


@pytest.mark.parametrize(
    ("good", "bad", "name"),
    [
        (
            Expect(announcers={"edge": ("lb2",)}),
            Expect(announcers={"edge": ("lb1", "lb2")}),
            "edge goes to",
        ),
        (
            Expect(stances={"edge": {"lb1": "withdrawn"}}),
            Expect(stances={"edge": {"lb1": "full"}}),
            "stance of lb1 to edge",
        ),
        (
            Expect(route_gone_ms_max=20),
            Expect(route_gone_ms_max=19),
            "router without the node after",
        ),
        (Expect(failing_ms_max=9), Expect(failing_ms_max=8), "new connections failing for"),
        (Expect(floor_ms_min=0), Expect(floor_ms_min=1), "carried by the floor"),
    ],
)
def test_what_is_expected_of_routers_and_announcers(good: Expect, bad: Expect, name: str) -> None:
    assert anycast(good) == []
    assert anycast(bad) == [name]


def test_a_prefix_that_goes_nowhere_for_a_while_is_seen() -> None:
    gap = routed((0, ALL), (FAULT, Route()), (FAULT + 2 * MS, REST))
    assert anycast(Expect(unrouted_ms_max=2), routes=gap) == []
    assert anycast(Expect(unrouted_ms_max=1), routes=gap) == ["routed nowhere"]


def test_the_floor_is_nobody_announcing() -> None:
    floor = routed((0, ALL), (FAULT, Route(ALL.hops, floor=True)))
    expect = Expect(announcers={"edge": ()}, floor_ms_min=300, unrouted_ms_max=0)
    assert anycast(expect, routes=floor) == []


def test_a_router_that_never_lets_go_breaks_the_limit() -> None:
    expect = Expect(route_gone_ms_max=1000)
    assert anycast(expect, routes=routed((0, ALL))) == ["router without the node after"]


def test_a_route_is_gone_as_long_after_the_fault_of_the_node_that_it_led_to() -> None:
    steps = (Step(0.05, "router", "router"), Step(0.1, "silence", "lb1"))
    done = (StepDone(FAULT - 50 * MS, FAULT - 49 * MS, ""), StepDone(FAULT, FAULT + MS, ""))

    def broken_by(limit_ms: float) -> list[str]:
        expect = Expect(route_gone_ms_max=limit_ms)
        drill = Drill("d", "anycast", steps, expect=expect)
        return anycast(expect, drill=drill, steps=done)

    assert broken_by(20) == []
    assert broken_by(19) == ["router without the node after"]


def test_a_route_that_led_to_none_of_the_nodes_at_fault_is_not_gone() -> None:
    found = anycast(Expect(route_gone_ms_max=1000), routes=routed((0, REST)))
    assert found == ["router without the node after"]


def test_all_prefixes_of_a_service_must_agree() -> None:
    other = "2001:db8::100/128"
    both = {**routed((0, REST)), other: spans([RouteChanged(0, other, ALL)], other, 0, END)}
    expect = Expect(announcers={"edge": ("lb2",)})
    assert anycast(expect, routes=both, prefixes={"edge": (PREFIX, other)}) == ["edge goes to"]


def test_a_node_that_says_nothing_has_no_stance() -> None:
    expect = Expect(stances={"edge": {"lb1": "withdrawn"}})
    assert anycast(expect, stances={"edge": {"lb1": ""}}) == ["stance of lb1 to edge"]


def test_reports_show_routes_and_who_served() -> None:
    probe = msgspec.structs.replace(
        record(Expect()).probe,
        attempts=tuple(
            msgspec.structs.replace(a, node="lb2") if a.outcome == "ok" else a for a in attempts()
        ),
    )
    seen = routed((0, ALL), (FAULT + 20 * MS, Route((Hop("lb1", 25), Hop("lb2", 75)))))
    shown = record(Expect(), probe=probe, tenures={}, routes=seen)
    text = report.to_text(shown)
    assert f"+20.0 ms  the router sends {PREFIX} to lb1 × 25, lb2 × 75" in text
    assert "new connections served by lb2 390" in text
    assert "last new connection that failed (refused) was tried" in text
    page = report.to_html(shown)
    assert page.count("<svg") == 3
    assert f"lb1 gets 25 % of {PREFIX}" in page
    assert "New connections were served by lb2 390." in page


def test_a_pause_of_the_client_itself_is_no_gap_of_the_service() -> None:
    paused = longest_gap(without(150, 170, ""), [STEP], 0, END, pace_ns=MS)
    assert paused.ms == pytest.approx(1.5), "its pace, and how long the next one took"
    kept_waiting = [*without(150, 170, ""), Attempt(151 * MS, 169 * MS, "ok")]
    assert longest_gap(kept_waiting, [STEP], 0, END, pace_ns=MS).ms == pytest.approx(19)
    failed = longest_gap(without(150, 170, "timeout"), [STEP], 0, END, pace_ns=MS)
    assert failed.ms == pytest.approx(21)
