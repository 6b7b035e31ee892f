"""What is written of many drills: for terminals, machines, CI systems and people."""

import json
from xml.etree import ElementTree as ET

from msgspec.structs import replace

from haman.lab import compare, summary
from haman.lab.drill import Expect
from haman.lab.gauges import Gauge
from haman.lab.suite import Outcome
from tests.lab.test_verdict import MS, record

GOOD = record(Expect(holder={"web": "lb2"}), gauges=(Gauge(150 * MS, "lb2", "cpu", 0.5),))
BAD = record(Expect(outage_ms_max=1, moves_max=0))


def outcome(name: str, **kept: object) -> Outcome:
    whole = Outcome(replace(GOOD.drill, name=name), GOOD, "", 4.2)
    return replace(whole, **kept)


ALL = (
    outcome("good"),
    outcome("slow", record=BAD),
    outcome("stuck", error="not at rest <afterwards>"),
    outcome("impossible", record=None, error="no node 'x'"),
)


def test_the_table_has_a_line_per_drill_and_says_what_was_not_as_expected() -> None:
    lines = summary.to_table(ALL).splitlines()
    assert [line.split()[0] for line in lines[1:] if line.startswith(("ok", "FAIL"))] == [
        "ok",
        "FAIL",
        "FAIL",
        "FAIL",
    ]
    assert "        outage: 11.0 ms, expected at most 1 ms" in lines
    assert "        moves: 1, expected at most 0" in lines
    assert "        no node 'x'" in lines
    assert lines[-1] == "1 of 4 drills passed, in 17 s"


def test_what_was_skipped_is_counted_apart_and_says_why() -> None:
    skipped = outcome("elsewhere", record=None, skipped="the model has no disk")
    some = (ALL[0], skipped)
    lines = summary.to_table(some).splitlines()
    assert lines[2].split()[:2] == ["skip", "elsewhere"]
    assert lines[3].strip() == "the model has no disk"
    assert lines[-1] == "1 of 1 drills passed, 1 skipped, in 8 s"
    assert summary.all_well(some)
    assert not summary.all_well((skipped,)), "nothing was shown"
    assert not summary.all_well((skipped, ALL[1]))
    (suite,) = ET.fromstring(summary.to_junit(some))
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("0", "0", "1")
    assert json.loads(summary.to_json(some, runtime="sim"))["drills"][1]["skipped"]


def test_json_says_what_passed_and_holds_the_records() -> None:
    document = json.loads(summary.to_json(ALL, runtime="netns"))
    assert document["passed"] is False
    assert [drill["passed"] for drill in document["drills"]] == [True, False, False, False]
    assert document["drills"][0]["record"]["gauges"] == [[150 * MS, "lb2", "cpu", 0.5]]
    assert document["drills"][3]["record"] is None
    assert json.loads(summary.to_json(ALL[:1], runtime="netns"))["passed"] is True


def test_junit_tells_failures_from_errors() -> None:
    root = ET.fromstring(summary.to_junit(ALL))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "2")
    cases = {case.get("name"): [child.tag for child in case] for case in suite}
    assert cases == {"good": [], "slow": ["failure"], "stuck": ["error"], "impossible": ["error"]}


def test_the_page_needs_nothing_else_and_shows_every_drill() -> None:
    page = summary.to_html(ALL, runtime="netns")
    assert "1 of 4 drills passed" in page
    for one in ALL:
        assert f'<details id="{one.drill.name}"' in page
    assert "not at rest &lt;afterwards&gt;" in page
    assert "lb2: at most 50 % of cpu" in page
    assert not [
        word for word in ("http://", "https://", "<script", "<link", "url(") if word in page
    ]


def test_the_same_drill_on_the_lab_and_in_the_model_are_shown_beside_each_other() -> None:
    expect = Expect(holder={"web": "lb2"}, outage_ms_max=50, moves_max=1)
    on_lab, in_model = record(expect), record(Expect(holder={"web": "lb2"}, outage_ms_max=50))
    drilled = outcome("good", record=on_lab)
    same = compare.compared([drilled], [outcome("good", record=in_model)])
    assert [(each.judged, each.apart) for each in same] == [(2, ())]
    assert (
        compare.to_table(same).splitlines()[-1] == "1 drills on both: 2 of 2 verdicts are the same"
    )

    # The same expectation, and another world: there the address never moves.
    still = replace(in_model, tenures={a: spans[:1] for a, spans in on_lab.tenures.items()})
    (apart,) = compare.compared([drilled], [outcome("good", record=still)])
    assert (apart.lab, apart.model, apart.judged) == (True, False, 2)
    assert [each.name for each in apart.apart] == ["holder of web"]
    lines = compare.to_table([apart]).splitlines()
    assert "holder of web, expected lb2: lb2 on the lab" in lines[2]
    assert lines[-1] == "1 drills on both: 1 of 2 verdicts are the same"


def test_what_one_of_the_two_did_not_do_is_not_compared() -> None:
    skipped = outcome("elsewhere", record=None, skipped="the model has no disk")
    assert compare.compared([outcome("elsewhere"), skipped], [skipped]) == ()
