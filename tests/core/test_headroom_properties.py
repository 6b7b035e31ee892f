"""What must hold of every verdict, whatever the reports say: no fault, and no room out of nonsense."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.core.announcements import AnycastReport
from haman.core.facts import VipReport
from haman.core.headroom import LossScenario, Verdict, assess, assess_loss
from haman.core.headroom.verdicts import RANK
from haman.core.reports import NodeReport, PeerView, StormReport
from haman.core.words import Condition, Role, Stance, Utilization

LOADS = st.floats(0, 1.2)
CLIENTS = st.integers(0, 20_000)
NONSENSE = (math.nan, math.inf, -math.inf, -1.0, -1e-300, 1e300, 1e16)
KINDS = ("cpu", "tls", "connections", "fds", "memory", "ports", "conntrack", "nic")


@st.composite
def nodes(draw: st.DrawFn, name: str, role: Role, full: str = "") -> NodeReport:
    """Sensible reports; every resource is told."""
    clients = draw(CLIENTS)
    sizes = {"connections": 20_000.0, "fds": 60_000.0, "memory": 1e9, "conntrack": 60_000.0}
    resources = tuple(
        Utilization(kind, draw(LOADS) * size, size, "u")
        for kind in KINDS
        for size in [sizes.get(kind, draw(st.sampled_from([1.0, 2.0, 8.0])))]
    )
    if full:
        resources = tuple(
            replace(r, used=2.0 * (r.ceiling or 0)) if r.name == full else r for r in resources
        )
    storm = StormReport(
        cores=draw(st.floats(0.5, 16)),
        full_s=draw(st.floats(1e-4, 4e-3)),
        resumed_s=draw(st.floats(5e-5, 3e-4)),
        client_timeout_s=draw(st.floats(0.5, 30)),
        tickets_shared=draw(st.booleans()),
        resumed_share=draw(st.floats(0, 1)),
        backlog=draw(st.integers(128, 65_535)),
        base={"cpu": draw(LOADS)},
    )
    return NodeReport(
        name,
        "",
        "1",
        Condition.IN_SERVICE,
        resources=resources,
        connections=clients,
        vips=(VipReport("web", role, 100, 0),),
        storm=storm,
    )


PAIRS = st.tuples(nodes("lb1", Role.ACTIVE), nodes("lb2", Role.BACKUP))


def losing(active: NodeReport, backup: NodeReport) -> LossScenario:
    return assess_loss(active, (PeerView("lb2", backup, 10.0, fresh=True),), ("lb1",))


def rank(active: NodeReport, backup: NodeReport) -> int:
    return RANK.index(losing(active, backup).verdict)


def changed(report: NodeReport, kind: str, **values: float | None) -> NodeReport:
    return replace(
        report,
        resources=tuple(replace(r, **values) if r.name == kind else r for r in report.resources),
    )


def storming(report: NodeReport, **values: object) -> NodeReport:
    assert report.storm is not None
    return replace(report, storm=replace(report.storm, **values))


@given(PAIRS, st.sampled_from(KINDS), st.floats(1, 3), st.booleans())
def test_more_load_is_never_better(pair, kind, factor, on_the_lost_node) -> None:
    active, backup = pair
    busy = active if on_the_lost_node else backup
    used = next(r.used for r in busy.resources if r.name == kind)
    busier = changed(busy, kind, used=used * factor)
    after = (busier, backup) if on_the_lost_node else (active, busier)
    assert rank(*pair) <= rank(*after)


@given(PAIRS, st.integers(0, 20_000))
def test_more_clients_are_never_better(pair, more) -> None:
    active, backup = pair
    busier = replace(active, connections=active.connections + more)
    before, after = losing(*pair), losing(busier, backup)
    assert RANK.index(before.verdict) <= RANK.index(after.verdict)
    assert before.drain_s is not None
    assert after.drain_s is not None
    assert before.drain_s <= after.drain_s


@given(PAIRS, st.sampled_from([k for k in KINDS if k != "cpu"]), st.floats(1, 10))
def test_more_capacity_is_never_worse(pair, kind, factor) -> None:
    active, backup = pair
    ceiling = next(r.ceiling for r in backup.resources if r.name == kind)
    assert rank(active, changed(backup, kind, ceiling=ceiling * factor)) <= rank(*pair)


@given(PAIRS, st.floats(1, 10))
def test_more_of_what_a_storm_needs_is_never_worse(pair, factor) -> None:
    active, backup = pair
    storm = backup.storm
    for better in (
        storming(backup, cores=storm.cores * factor),
        storming(backup, full_s=storm.full_s / factor, resumed_s=storm.resumed_s / factor),
        storming(backup, client_timeout_s=storm.client_timeout_s * factor),
        storming(backup, backlog=int(storm.backlog * factor)),
    ):
        assert rank(active, better) <= rank(*pair)


@given(PAIRS, st.sampled_from(KINDS), st.booleans())
def test_an_unknown_never_makes_it_ok(pair, kind, of_the_lost_node) -> None:
    active, backup = pair
    if kind == "memory":
        of_the_lost_node = False  # each connection's is counted, not that of the lost host
    blind = changed(active if of_the_lost_node else backup, kind, used=None)
    found = losing(blind, backup) if of_the_lost_node else losing(active, blind)
    assert found.verdict in {Verdict.UNKNOWN, Verdict.INSUFFICIENT}


@given(
    PAIRS,
    st.sampled_from([{"cores": None}, {"backlog": None}, None]),
)
def test_a_storm_that_is_not_told_is_never_fine(pair, missing) -> None:
    active, backup = pair
    blind = replace(backup, storm=None) if missing is None else storming(backup, **missing)
    assert losing(active, blind).verdict in {Verdict.UNKNOWN, Verdict.INSUFFICIENT}


@given(PAIRS, st.sampled_from(KINDS), st.sampled_from(["used", "ceiling", "age_ms"]),
       st.sampled_from(NONSENSE), st.booleans())  # fmt: skip
def test_nonsense_of_a_resource_is_unknown(pair, kind, field, value, of_the_lost_node) -> None:
    active, backup = pair
    if kind == "memory":
        of_the_lost_node = False
    liar = changed(active if of_the_lost_node else backup, kind, **{field: value})
    found = losing(liar, backup) if of_the_lost_node else losing(active, liar)
    assert found.verdict in {Verdict.UNKNOWN, Verdict.INSUFFICIENT}


@given(
    PAIRS,
    st.sampled_from(
        ["cores", "full_s", "resumed_s", "client_timeout_s", "connection_bytes", "resumed_share",
         "backlog", "waiting"]
    ),
    st.sampled_from(NONSENSE),
)  # fmt: skip
def test_nonsense_about_storms_is_unknown(pair, field, value) -> None:
    active, backup = pair
    liar = storming(backup, **{field: value})
    assert losing(active, liar).verdict in {Verdict.UNKNOWN, Verdict.INSUFFICIENT}


@given(PAIRS, st.sampled_from([-1, 10**12, math.nan, math.inf]))
def test_nonsense_clients_are_unknown(pair, clients) -> None:
    active, backup = pair
    found = losing(replace(active, connections=clients), backup)
    assert found.verdict in {Verdict.UNKNOWN, Verdict.INSUFFICIENT}
    assert found.survivable_connections is None


@pytest.mark.parametrize("age_ms", [math.nan, math.inf, -5.0])
@given(pair=PAIRS)
def test_a_report_from_the_future_counts_as_full(pair, age_ms) -> None:
    active, backup = pair
    found = assess(active, (PeerView("lb2", backup, age_ms, fresh=True),))
    assert found.verdict is Verdict.INSUFFICIENT


def test_a_report_of_another_node_counts_as_full() -> None:
    ready = NodeReport("lb3", "", "1", Condition.IN_SERVICE)
    own = NodeReport(
        "lb1", "", "1", Condition.IN_SERVICE, vips=(VipReport("web", Role.ACTIVE, 1, 0),)
    )
    found = assess(own, (PeerView("lb2", ready, 1.0, fresh=True),))
    assert found.verdict is Verdict.INSUFFICIENT
    text = " ".join(r.text for s in found.scenarios for r in s.reasons)
    assert "lb2 is counted as full: its report makes no sense: it is of lb3" in text


ANY = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, *NONSENSE])
COUNTS = st.integers(-(2**70), 2**70)
REPORTS = st.builds(
    NodeReport,
    st.sampled_from(["lb1", "lb2", "lb3"]),
    st.sampled_from(["", "a", "b"]),
    st.just("1"),
    st.sampled_from(list(Condition)),
    resources=st.lists(
        st.builds(
            Utilization, st.sampled_from(KINDS), st.none() | ANY, st.none() | ANY, st.just("u"),
            age_ms=ANY,
        ),
        max_size=6,
    ).map(tuple),
    connections=st.none() | COUNTS,
    vips=st.lists(
        st.builds(
            VipReport, st.sampled_from(["web", "mail"]), st.sampled_from(list(Role)), COUNTS, COUNTS
        ),
        max_size=2,
    ).map(tuple),
    anycast=st.lists(
        st.builds(
            AnycastReport, st.just("edge"), st.sampled_from(list(Stance)), COUNTS, COUNTS, COUNTS,
            neighbors_up=COUNTS, weighted=st.booleans(),
        ),
        max_size=1,
    ).map(tuple),
    storm=st.none() | st.builds(
        StormReport, st.none() | ANY, ANY, ANY, ANY,
        tickets_shared=st.booleans(), resumed_share=ANY, connection_bytes=ANY,
        backlog=st.none() | COUNTS, waiting=COUNTS,
        base=st.dictionaries(st.sampled_from(KINDS), ANY, max_size=3),
    ),
)  # fmt: skip


@given(
    REPORTS,
    st.lists(
        st.builds(
            PeerView,
            st.sampled_from(["lb1", "lb2", "lb3"]),
            st.none() | REPORTS,
            ANY,
            st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
)
def test_anything_may_be_reported(own, peers) -> None:
    found = assess(own, peers)
    for scenario in found.scenarios:
        assert scenario.drain_s is None or 0 <= scenario.drain_s < math.inf
        assert all(
            s.utilization is None or math.isfinite(s.utilization) for s in scenario.survivors
        )
    everybody = assess_loss(own, peers, tuple({own.node, *(p.name for p in peers)}))
    assert everybody.verdict is Verdict.INSUFFICIENT
