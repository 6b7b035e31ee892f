"""Step and storm, sites and several losses, against the worked examples and by hand."""

from dataclasses import replace

import pytest

from haman.core.announcements import AnycastReport
from haman.core.facts import VipReport
from haman.core.headroom import LossScenario, Verdict, assess, assess_loss
from haman.core.reports import NodeReport, PeerView, StormReport
from haman.core.words import Condition, Confidence, Role, Stance, Utilization

UNITS = {"cpu": "cores", "tls": "core-s/s", "memory": "bytes", "nic": "bytes/s"}
ROOMY = {"connections": 1e6, "fds": 1e6, "memory": 1e12}


def storm(**more) -> StormReport:
    """One thread, RSA-2048 and TLS 1.3 as measured; the clients wait 5 s."""
    told = {"cores": 1.0, "full_s": 433e-6, "resumed_s": 201e-6, "client_timeout_s": 5.0}
    return StormReport(**(told | {"backlog": 100_000} | more))


def node(
    name: str,
    role: Role = Role.BACKUP,
    clients: int = 0,
    *,
    told: StormReport | None = None,
    site: str = "",
    vips: tuple[VipReport, ...] | None = None,
    anycast: tuple[AnycastReport, ...] = (),
    cpu: float = 0.0,
    **used: float | tuple[float | None, float | None],
) -> NodeReport:
    """A node with plenty of everything but what is given."""
    given = {"cpu": (cpu, 1.0), "connections": clients, "fds": 2 * clients, "memory": 0.0} | used
    resources = tuple(
        Utilization(
            n, *(v if isinstance(v, tuple) else (v, ROOMY.get(n, 1.0))), UNITS.get(n, "count")
        )
        for n, v in given.items()
    )
    said = (VipReport("web", role, 100, 0),) if vips is None else vips
    return NodeReport(
        name,
        site,
        "1",
        Condition.IN_SERVICE,
        resources=resources,
        connections=clients,
        vips=said,
        anycast=anycast,
        storm=told or storm(),
    )


def seen(report: NodeReport, *, fresh: bool = True) -> PeerView:
    return PeerView(report.node, report, 10.0, fresh)


def losing(own: NodeReport, *others: NodeReport, lost: tuple[str, ...] = ("lb1",)) -> LossScenario:
    return assess_loss(own, tuple(map(seen, others)), lost)


# ---- the worked examples: a pair, RSA-2048, one thread, all clients reconnect at once -----------


@pytest.mark.parametrize(
    ("clients", "timeout_s", "measured_s", "verdict"),
    [
        (2000, 10.0, 1.09, "ok"),
        (4000, 10.0, 1.97, "ok"),
        (4000, 5.0, 1.97, "ok"),
        (4000, 1.0, 3.97, "insufficient"),
        (6000, 1.0, 7.19, "insufficient"),
        (1000, 1.0, None, "tight"),
    ],
)
def test_storms_as_measured(clients, timeout_s, measured_s, verdict) -> None:
    told = storm(client_timeout_s=timeout_s)
    found = losing(
        node("lb1", Role.ACTIVE, clients, told=told, cpu=0.05), node("lb2", told=told, cpu=0.0)
    )
    assert found.verdict == verdict
    assert found.drain_s == pytest.approx(clients * 433e-6)
    if measured_s is not None and verdict == "ok":  # else retries made it longer
        assert found.drain_s == pytest.approx(measured_s, rel=0.25)


def test_the_pair_that_naive_arithmetic_calls_idle() -> None:
    """4000 idle clients at 5 % of cpu each: 10 % steady, and a second of timeout is not enough."""
    told = storm(client_timeout_s=1.0)
    pair = (
        node("lb1", Role.ACTIVE, 4000, told=told, cpu=0.05, tls=0.01),
        node("lb2", told=told, cpu=0.05, tls=0.0),
    )
    found = losing(*pair)
    (survivor,) = found.survivors
    assert (survivor.node, survivor.resource, survivor.phase) == ("lb2", "tls", "storm")
    assert found.verdict is Verdict.INSUFFICIENT
    assert found.drain_s == pytest.approx(4000 * 433e-6 / 0.95)
    # K · 433 µs / 0.95 < 0.5 s
    assert found.survivable_connections == 1096
    assert found.reasons[0].text == (
        "if lb1 is lost, lb2 needs 1.82 s for the handshakes of 4000 clients, 433 µs each"
        " (default): 365 % of half of the clients' timeout of 1 s"
    )
    assert found.reasons[0].data["drain_s"] == pytest.approx(1.8232)
    steady = losing(*(replace(each, connections=0) for each in pair))
    assert steady.survivors[0].phase == "steady"
    assert steady.survivors[0].utilization == pytest.approx(0.10)


@pytest.mark.parametrize(
    ("told", "clients", "drain_s"),
    [
        ({"cores": 4.0}, 4000, 0.433),  # four threads
        ({"full_s": 3166e-6, "confidence": Confidence.CALIBRATED}, 500, 1.583),  # RSA-4096
        ({"tickets_shared": True, "resumed_share": 1.0}, 4000, 0.804),
        ({"tickets_shared": True, "resumed_share": 0.5}, 4000, 1.268),
        ({"tickets_shared": True}, 4000, 1.732),  # nobody was seen to resume
        ({"resumed_share": 1.0}, 4000, 1.732),  # unproven
    ],
)
def test_threads_certificates_and_tickets(told, clients, drain_s) -> None:
    known = storm(**told)
    found = losing(node("lb1", Role.ACTIVE, clients, told=known), node("lb2", told=known))
    assert found.drain_s == pytest.approx(drain_s)


def test_tickets_must_be_proven_at_both_ends() -> None:
    proven = storm(tickets_shared=True, resumed_share=1.0)
    for mine, theirs in ((proven, storm()), (storm(resumed_share=1.0), proven)):
        found = losing(node("lb1", Role.ACTIVE, 4000, told=mine), node("lb2", told=theirs))
        assert found.drain_s == pytest.approx(4000 * 433e-6)


# ---- step -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "resource", "utilization", "survivable"),
    [
        ({"connections": (0, 1200)}, "connections", 1000 / 1200, 1079),
        ({"fds": (100, 2500)}, "fds", 2100 / 2500, 1074),
        ({"memory": (0.0, 20e6)}, "memory", 16e6 / 20e6, 1124),
    ],
)
def test_what_arrives_at_once(limits, resource, utilization, survivable) -> None:
    found = losing(node("lb1", Role.ACTIVE, 1000), node("lb2", **limits))
    (survivor,) = found.survivors
    assert (survivor.resource, survivor.phase) == (resource, "step")
    assert survivor.utilization == pytest.approx(utilization)
    assert found.verdict is Verdict.TIGHT
    assert found.survivable_connections == survivable
    assert " at once: " in found.reasons[0].text


@pytest.mark.parametrize(("waiting", "verdict"), [(0, "tight"), (24, "insufficient")])
def test_the_accept_queue_takes_them_all_at_once(waiting, verdict) -> None:
    told = storm(backlog=1024, waiting=waiting)
    found = losing(node("lb1", Role.ACTIVE, 1000), node("lb2", told=told))
    assert (found.survivors[0].resource, found.survivors[0].phase) == ("accept_queue", "step")
    assert found.verdict == verdict
    assert found.survivable_connections == 1023 - waiting


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"connections": (17, 5003)},
        {"memory": (1e6, 40e6)},
        {"told": storm(client_timeout_s=0.7)},
        {"told": storm(backlog=777, waiting=3)},
        {"cpu": 0.6},
    ],
)
def test_survivable_is_the_edge(limits) -> None:
    def verdict(clients: int) -> LossScenario:
        return losing(node("lb1", Role.ACTIVE, clients), node("lb2", **limits))

    most = verdict(100).survivable_connections
    assert most is not None
    assert verdict(most).verdict is not Verdict.INSUFFICIENT
    assert verdict(most + 1).verdict is Verdict.INSUFFICIENT


# ---- steady ---------------------------------------------------------------------------------------


def test_what_a_node_uses_without_clients_stays_behind() -> None:
    told = storm(base={"cpu": 0.2})
    found = losing(node("lb1", Role.ACTIVE, told=told, cpu=0.5), node("lb2", told=told, cpu=0.2))
    assert found.survivors[0].utilization == pytest.approx(0.5)  # not 0.7
    more_than_all = storm(base={"cpu": 0.9})
    found = losing(node("lb1", Role.ACTIVE, told=more_than_all, cpu=0.5), node("lb2", cpu=0.2))
    assert found.survivors[0].utilization == pytest.approx(0.2)


def test_the_hottest_thread_of_many_is_more_than_that_of_one() -> None:
    big, small = storm(cores=8.0), storm(cores=2.0)
    found = losing(node("lb1", Role.ACTIVE, told=big, cpu=0.2), node("lb2", told=small, cpu=0.1))
    assert found.survivors[0].utilization == pytest.approx(0.1 + 0.2 * 8 / 2)
    found = losing(node("lb1", Role.ACTIVE, told=small, cpu=0.2), node("lb2", told=big, cpu=0.1))
    assert found.survivors[0].utilization == pytest.approx(0.1 + 0.2 * 2 / 8)


# ---- what is not told -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("active", "backup", "why"),
    [
        ({}, {"storm": None}, "lb2 does not tell what handshakes cost it"),
        ({}, {"storm": storm(cores=None)}, "the number of threads of lb2 cannot be told"),
        ({}, {"storm": storm(backlog=None)}, "the backlog of lb2 cannot be told"),
    ],
    ids=["older version", "threads", "backlog"],
)
def test_what_a_peer_does_not_tell_is_unknown(active, backup, why) -> None:
    found = losing(replace(node("lb1", Role.ACTIVE, 10), **active), replace(node("lb2"), **backup))
    assert found.verdict is Verdict.UNKNOWN
    assert found.survivors[0].utilization is None
    assert found.survivable_connections is None
    assert why in found.reasons[0].text


def test_an_unknown_number_of_clients_is_an_unknown_storm() -> None:
    lost = node("lb1", Role.ACTIVE, connections=(None, 1e6))
    found = losing(replace(lost, connections=None), node("lb2"))
    assert found.verdict is Verdict.UNKNOWN
    assert found.drain_s is None
    assert "how many clients it has is not known" in found.reasons[0].text


def test_a_lost_backup_moves_nobody() -> None:
    old = replace(node("lb1", Role.ACTIVE, 5000), storm=None)
    found = losing(old, replace(node("lb2"), storm=None), lost=("lb2",))
    assert (found.verdict, found.drain_s) == (Verdict.OK, 0.0)
    assert found.survivable_connections is None


# ---- several nodes, and sites ---------------------------------------------------------------------


def edge(weight: int) -> tuple[AnycastReport, ...]:
    return (AnycastReport("edge", Stance.FULL, weight, weight, 1, neighbors_up=1),)


def fleet(*sites: str, weight: int = 100, clients: int = 1000, cpu: float = 0.3):
    return tuple(
        node(f"lb{n}", vips=(), anycast=edge(weight), clients=clients, cpu=cpu, site=site)
        for n, site in enumerate(sites, 1)
    )


def test_clients_follow_the_weights() -> None:
    own, *others = fleet("", "", "")
    heavy = replace(others[1], anycast=edge(300))
    found = losing(own, others[0], heavy)
    texts = {r.data["survivor"]: r.data["clients"] for r in found.reasons}
    assert texts == {"lb2": 250, "lb3": 750}


def test_two_losses_add_up() -> None:
    found = losing(*fleet("", "", "", ""), lost=("lb1", "lb3"))
    assert found.lost == ("lb1", "lb3")
    assert [s.node for s in found.survivors] == ["lb2", "lb4"]
    assert found.survivors[0].utilization == pytest.approx(0.6)
    assert {r.data["clients"] for r in found.reasons} == {1000}
    assert found.reasons[0].text.startswith("if lb1 and lb3 are lost, ")
    three = losing(*fleet("", "", "", ""), lost=("lb1", "lb2", "lb3"))
    assert three.verdict is Verdict.INSUFFICIENT
    everybody = losing(*fleet("", ""), lost=("lb1", "lb2"))
    assert everybody.reasons[0].code == "no-other-node"


def test_a_vip_skips_an_heir_that_is_lost_too() -> None:
    held = node("lb1", Role.ACTIVE, 100, cpu=0.3)
    heir = node("lb2", vips=(VipReport("web", Role.BACKUP, 90, 0),), cpu=0.1)
    third = node("lb3", vips=(VipReport("web", Role.BACKUP, 80, 0),), cpu=0.1)
    assert losing(held, heir, third).reasons[0].data["survivor"] == "lb2"
    both = losing(held, heir, third, lost=("lb1", "lb2"))
    assert [s.utilization for s in both.survivors] == [pytest.approx(0.4)]


def test_every_site_is_a_loss() -> None:
    own, *others = fleet("ams", "ams", "fra", "fra", "", cpu=0.5)
    found = assess(own, tuple(map(seen, others)))
    assert {s.lost for s in found.scenarios} == {
        ("lb1",), ("lb2",), ("lb3",), ("lb4",), ("lb5",), ("lb1", "lb2"), ("lb3", "lb4"),
    }  # fmt: skip
    assert found.worst is not None
    assert len(found.worst.lost) == 2
    assert found.verdict is Verdict.TIGHT  # 0.5 · 5 / 3; each single loss leaves 62 %


def test_a_site_that_has_every_node_is_no_question() -> None:
    own, *others = fleet("ams", "ams", "ams")
    assert len(assess(own, tuple(map(seen, others))).scenarios) == 3


def test_one_silent_node_among_the_lost_leaves_it_unknown() -> None:
    own, second, third = fleet("", "", "")
    peers = (seen(second, fresh=False), seen(third))
    found = assess_loss(own, peers, ("lb1", "lb2"))
    assert found.verdict is Verdict.UNKNOWN
    assert found.reasons[0].code == "no-fresh-report"
    assert found.survivable_connections is None


def test_who_is_no_node_is_refused() -> None:
    with pytest.raises(ValueError, match="lb9"):
        losing(node("lb1"), node("lb2"), lost=("lb1", "lb9"))
    with pytest.raises(ValueError, match="none is named"):
        losing(node("lb1"), node("lb2"), lost=())
