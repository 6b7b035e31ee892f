"""Verdicts, timeline and reports from a record made by hand."""

import json

import msgspec
import pytest

from haman.lab import report
from haman.lab.drill import Drill, Expect, Load, Step
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
    assert page.count("<svg") == 2
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
