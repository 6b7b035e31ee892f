"""Each alert: there when it is true, gone when it is not, and its `since` kept in between."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from haman.core.alerts import Picture, derive
from haman.core.because import two_of_a_name
from haman.core.facts import EngineReported, LatenessReport, VipReport
from haman.core.headroom import Headroom, LossScenario, SurvivorLoad, Verdict
from haman.core.reports import NodeReport, PathView, PeerView
from haman.core.words import Alert, Condition, Reason, Role, Severity, Utilization


def report(
    name: str,
    role: Role,
    condition: Condition = Condition.IN_SERVICE,
    why: tuple[Reason, ...] = (),
) -> NodeReport:
    return NodeReport(name, "", "1", condition, vips=(VipReport("web", role, 100, 1, why),))


ACTIVE, BACKUP = report("lb1", Role.ACTIVE), report("lb2", Role.BACKUP)
ENGINE = EngineReported(1, ACTIVE.vips, LatenessReport(p99_ms=0.3), realtime=True)
QUIET = Picture(
    own=ACTIVE,
    peers=(PeerView("lb2", BACKUP, 10.0, fresh=True),),
    headroom=Headroom(Verdict.OK),
    vips=("web",),
    soft={"": 0.75, "tls": 0.5},
    shortest_interval_ms=100,
    engine=ENGINE,
    engine_age_ms=10,
)


def worst(verdict: Verdict) -> Headroom:
    load = SurvivorLoad("lb2", "tls", "steady", 0.93)
    scenario = LossScenario(("lb1",), verdict, (load,))
    return Headroom(verdict, scenario, (scenario,))


def with_peer(picture: Picture, peer: NodeReport | None, *, fresh: bool = True) -> Picture:
    return replace(picture, peers=(PeerView("lb2", peer, 900.0, fresh),))


def with_paths(picture: Picture, *ages_ms: float | None) -> Picture:
    paths = tuple(PathView(f"10.{n}.0.2:4710", age) for n, age in enumerate(ages_ms))
    return replace(picture, peers=(PeerView("lb2", BACKUP, 10.0, True, paths),))


def codes(picture: Picture) -> list[tuple[str, str]]:
    return [(a.code, str(a.severity)) for a in derive(picture, (), 1)]


def test_quiet_cluster_has_no_alert() -> None:
    assert codes(QUIET) == []


CPU = (Utilization("cpu", 0.8, 1.0, "cores"),)
TLS = (Utilization("tls", 0.6, 1.0, "core-s/s"), Utilization("fds", None, None, "count"))
CASES: list[tuple[str, str, Callable[[Picture], Picture]]] = [
    ("conflict", "critical", lambda p: with_peer(p, report("lb2", Role.ACTIVE))),
    (
        "two-of-a-name",
        "critical",
        lambda p: replace(p, namesake=two_of_a_name("lb1", "10.0.0.2:4710")),
    ),
    ("peer-unreadable", "warning", lambda p: replace(p, unreadable=("lb2",))),
    ("not-authentic", "warning", lambda p: replace(p, rejected={"unknown-key": 5})),
    ("conflict", "critical", lambda p: replace(p, conflicts={"web": "10.0.0.9 advertises too"})),
    (
        "one-way-loss",
        "warning",
        lambda p: with_peer(p, report("lb2", Role.BACKUP, why=(Reason("one-way-loss", "lb1 is"),))),
    ),
    ("no-holder", "critical", lambda p: replace(p, own=report("lb1", Role.BACKUP))),
    (
        "fault",
        "critical",
        lambda p: with_peer(p, report("lb2", Role.RELEASED, Condition.FAULT)),
    ),
    (
        "saturated",
        "warning",
        lambda p: replace(p, own=replace(ACTIVE, condition=Condition.SATURATED)),
    ),
    ("soft-threshold", "info", lambda p: replace(p, own=replace(ACTIVE, resources=CPU))),
    ("soft-threshold", "info", lambda p: replace(p, own=replace(ACTIVE, resources=TLS))),
    ("n-minus-1", "critical", lambda p: replace(p, headroom=worst(Verdict.INSUFFICIENT))),
    ("n-minus-1", "warning", lambda p: replace(p, headroom=worst(Verdict.TIGHT))),
    ("peer-lost", "critical", lambda p: with_peer(p, BACKUP, fresh=False)),
    ("peer-never-heard", "warning", lambda p: with_peer(p, None, fresh=False)),
    ("path-silent", "warning", lambda p: with_paths(p, 10.0, 2001.0)),
    ("path-silent", "warning", lambda p: with_paths(p, 10.0, None)),
    ("isolated", "critical", lambda p: replace(p, isolated=True)),
    ("single-node", "warning", lambda p: replace(p, peers=())),
    ("drained", "info", lambda p: with_peer(p, replace(BACKUP, drained=True))),
    ("paused", "info", lambda p: with_peer(p, replace(BACKUP, paused=True))),
    ("engine-silent", "critical", lambda p: replace(p, engine_age_ms=2001.0)),
    (
        "no-realtime",
        "warning",
        lambda p: replace(p, engine=replace(ENGINE, realtime=False, realtime_problem="EPERM")),
    ),
    (
        "engine-late",
        "warning",
        lambda p: replace(p, engine=replace(ENGINE, lateness=LatenessReport(p99_ms=10.1))),
    ),
    ("guard-dead", "warning", lambda p: replace(p, engine=replace(ENGINE, guard=False))),
    ("journal-not-durable", "warning", lambda p: replace(p, not_durable="disk full")),
    (
        "stats-unavailable",
        "warning",
        lambda p: replace(
            p, senses=(Alert("stats-unavailable", Severity.WARNING, "hangs", 5, "lb1"),)
        ),
    ),
]


@pytest.mark.parametrize(("code", "severity", "change"), CASES, ids=[c[0] for c in CASES])
def test_alert(code: str, severity: str, change: Callable[[Picture], Picture]) -> None:
    assert codes(change(QUIET)) == [(code, severity)]


def test_all_drained() -> None:
    drained = replace(
        with_peer(QUIET, replace(BACKUP, drained=True)), own=replace(ACTIVE, drained=True)
    )
    assert ("all-drained", "warning") in codes(drained)


def test_realtime_that_was_not_asked_for_is_no_alert() -> None:
    assert codes(replace(QUIET, engine=replace(ENGINE, realtime=False))) == []


def test_an_engine_that_never_spoke_is_waited_for_and_then_missed() -> None:
    silent = replace(QUIET, own=report("lb1", Role.INITIALIZE), engine=None)
    assert codes(silent) == []
    assert codes(replace(silent, engine_age_ms=2001.0)) == [("engine-silent", "critical")]


def test_memory_of_a_silent_peer_makes_no_conflict_and_hides_no_holder() -> None:
    silent = with_peer(QUIET, report("lb2", Role.ACTIVE), fresh=False)
    assert [c for c, _ in codes(silent)] == ["peer-lost"]


def test_since_stays_while_true_and_starts_anew_afterwards() -> None:
    lost = with_peer(QUIET, BACKUP, fresh=False)
    first = derive(lost, (), 100)
    later = derive(replace(lost, isolated=True), first, 50)
    assert {a.code: a.since_ns for a in later} == {"peer-lost": 100, "isolated": 50}
    assert derive(QUIET, later, 300) == ()
    assert [a.since_ns for a in derive(lost, (), 400)] == [400]


def test_senses_say_since_themselves_and_duplicates_are_taken_once() -> None:
    own = replace(ACTIVE, condition=Condition.SATURATED, reasons=(Reason("saturated", "tls"),))
    raised = (
        Alert("saturated", Severity.WARNING, "tls over 90 %", 7, "lb1"),
        Alert("probe-late", Severity.WARNING, "slow", 8, "lb1"),
    )
    alerts = derive(replace(QUIET, own=own, senses=raised), (), 100)
    assert [(a.code, a.since_ns) for a in alerts] == [("probe-late", 8), ("saturated", 100)]


def test_worst_come_first() -> None:
    many = replace(with_peer(QUIET, None, fresh=False), isolated=True, not_durable="x")
    severities = [a.severity for a in derive(many, (), 1)]
    assert severities == sorted(severities, key=list(reversed(Severity)).index)


@pytest.mark.parametrize(
    ("survivors", "text"),
    [
        (
            (SurvivorLoad("lb2", "tls", "steady", 0.93),),
            "without lb1, lb2 would have tls at 93 % (steady)",
        ),
        (
            (SurvivorLoad("lb2", "", "steady", 1.0),),
            "without lb1, lb2 would have to serve, and it is not heard",
        ),
        ((), "without lb1, nobody is left to serve"),
    ],
)
def test_n_minus_1_in_words(survivors: tuple[SurvivorLoad, ...], text: str) -> None:
    scenario = LossScenario(("lb1",), Verdict.INSUFFICIENT, survivors)
    picture = replace(QUIET, headroom=Headroom(Verdict.INSUFFICIENT, scenario, (scenario,)))
    assert [alert.text for alert in derive(picture, (), 1)] == [text]


def test_the_loss_is_told_with_its_phase_and_what_could_be_survived() -> None:
    storm = SurvivorLoad("lb2", "tls", "storm", 1.82)
    lost = LossScenario(
        ("lb1",), Verdict.INSUFFICIENT, (storm,), survivable_connections=1096, drain_s=1.82
    )
    picture = replace(QUIET, headroom=Headroom(lost.verdict, lost, (lost,)))
    (alert,) = [a for a in derive(picture, (), 1) if a.code == "n-minus-1"]
    assert alert.text == (
        "without lb1, lb2 would have tls at 182 % (storm); 1096 connections could be survived"
    )
