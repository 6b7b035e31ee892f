"""What moves and what holds, in whole clusters of node cores: each row of the asker's table."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from haman.core.because import two_of_a_name
from haman.core.ladder import ConfiguredAnycast
from haman.core.permits import Ask, End, Heard, PermitId, Revoke
from haman.core.permits.asker import ACT_NS, ASK_NS, BACKOFF_MAX_NS, SETTLE_NS
from haman.core.permits.granter import LEASE_NS, LIFE_NS
from haman.core.reports import PermitReport
from haman.core.words import Condition, Role, Utilization
from tests.core.permits.cluster import EDGE, MS, Cluster, S

FULL, HALF, LOW = [(r.stance.value, r.weight) for r in EDGE.rungs]
SHUT = (EDGE.shut.stance.value, EDGE.shut.weight)
NAMES = ("lb1", "lb2", "lb3")


def busy(load: float = 0.0, demand: float = 0.72, **more) -> Cluster:
    """Grown-up nodes; lb1 is a small one, and saturated by its share of edge."""
    cluster = Cluster(demand=demand, **more)
    cluster.now_ns = LEASE_NS
    cluster.nodes["lb1"].capacity = 0.25
    cluster.nodes["lb1"].own_load = load
    return cluster


def calm(demand: float = 0.3, **more) -> Cluster:
    """Grown-up nodes, all alike, with little to do."""
    cluster = Cluster(demand=demand, **more)
    cluster.now_ns = LEASE_NS
    return cluster


def held(cluster: Cluster, name: str = "lb1") -> tuple[str, str]:
    holding = cluster.nodes[name].holding
    return ("", "") if holding is None else (holding.code, holding.text)


def test_a_busy_node_sheds_one_rung_and_its_peers_reserve_what_comes() -> None:
    cluster = busy()
    lb1, lb2 = cluster.nodes["lb1"], cluster.nodes["lb2"]
    cluster.until(lambda: lb1.rung() == HALF, 3)
    assert lb2.permits.snapshot().report.granted_to == "lb1"
    assert lb2.permits.snapshot().report.reserved["cpu"] == pytest.approx(0.24 / 5)
    granted = lb1.noted("permit-granted")[0]
    assert granted.text == (
        "lb2 and lb3 consented: edge at weight 50 of 100, which moves 40 % of its load at most"
    )
    assert [r.text for r in granted.reasons] == [
        f"if lb1 moves edge, {n} reaches 29 % of cpu: 24 % of its own, 5 % taken over, its share of"
        " 20 %"
        for n in ("lb2", "lb3")
    ]
    cluster.run(1)
    assert lb2.permits.snapshot().report.reserved["cpu"] == pytest.approx(0), "it has arrived"
    cluster.run(SETTLE_NS / S + 1)
    assert lb2.permits.snapshot().report == PermitReport()
    assert lb1.noted("permit-ended")[0].reasons[0].code == "settled"
    assert lb1.sheds == ("edge",)
    assert lb1.rung() == HALF, "no longer over `hard`, and so nothing more is asked for"


def test_it_goes_on_to_shut_as_long_as_it_is_over_its_threshold_and_never_further() -> None:
    cluster = busy(load=0.23)
    cluster.until(lambda: cluster.nodes["lb1"].rung() == SHUT, 120)
    assert [entry[2] for entry in cluster.shed_log] == ["reduced 50", "reduced 25", "shut 100"]
    cluster.run(60)
    assert cluster.nodes["lb1"].rung() == SHUT
    assert held(cluster) == ("lowest-rung", "edge is shut already: there is no lower rung")


def test_it_comes_back_rung_by_rung_once_the_load_would_stay_below_recover() -> None:
    cluster = busy(load=0.23)
    lb1 = cluster.nodes["lb1"]
    cluster.until(lambda: lb1.rung() == SHUT, 120)
    lb1.own_load = 0.06
    cluster.run(100)
    assert lb1.rung() == LOW
    waits = lb1.last.decision.anycast[0].reasons[1]
    assert waits.code == "projected-load"
    assert waits.text == (
        "with more of edge, lb1 would reach 101 % of cpu; it takes that back below 65 %"
    )
    lb1.own_load = -0.15
    cluster.until(lambda: lb1.rung() == FULL, 120)
    assert lb1.sheds == ()
    assert [entry[2] for entry in cluster.shed_log[3:]] == ["reduced 25", "reduced 50", "full 100"]
    ups = [entry[0] for entry in cluster.shed_log[3:]]
    assert min(b - a for a, b in pairwise(ups)) >= 30 * S


def test_load_of_its_own_does_not_keep_a_node_down_when_little_would_come() -> None:
    """Its own load tells too much, for only a part of it grows with the share; the others' tells."""
    cluster = busy()
    lb1 = cluster.nodes["lb1"]
    cluster.until(lambda: lb1.rung() == HALF, 3)
    cluster.demand, lb1.own_load = 0.1, 0.11
    cluster.until(lambda: lb1.rung() == FULL, 60)


def test_each_shed_within_a_while_holds_longer() -> None:
    cluster = busy()
    lb1 = cluster.nodes["lb1"]
    waited = []
    for _ in range(3):
        lb1.own_load = 0.0
        cluster.until(lambda: lb1.rung() == HALF, 60)
        down_ns = cluster.now_ns
        lb1.own_load = -0.12
        cluster.until(lambda: lb1.rung() == FULL, 400)
        waited.append(round((cluster.now_ns - down_ns) / S))
    assert waited == [pytest.approx(n, abs=2) for n in (30, 60, 120)]


def test_one_denial_is_enough_and_is_told_with_its_numbers() -> None:
    cluster = busy()
    cluster.nodes["lb3"].own_load = 0.63
    cluster.run(4)
    code, text = held(cluster)
    assert code == "permit-denied"
    assert text == (
        "asked lb2 and lb3: lb3 denied: if lb1 moves edge, lb3 reaches 92 % of cpu: 87 % of its own,"
        " 5 % taken over, its share of 20 %"
    )
    stance = cluster.nodes["lb1"].last.decision.anycast[0]
    assert stance.reasons[0].text.endswith(f"asks for no more of edge; {text}")
    assert cluster.nodes["lb2"].permits.snapshot().report.granted_to == "", "given back"
    cluster.run(300)
    assert cluster.nodes["lb1"].rung() == FULL
    assert len(cluster.nodes["lb1"].noted("permit-denied")) == 1
    assert len(cluster.nodes["lb3"].noted("permit-denied")) <= 2
    refused = cluster.nodes["lb3"].permits.snapshot().counts["refused", "steady-load"]
    assert 5 <= refused <= 9, "ever slower, to once a minute"


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (
            {"silent_to": frozenset({"lb1"})},
            "no-fresh-report",
            "lb3 counts as full: its last report",
        ),
        ({"paused": True}, "paused", "automatic moves are paused on lb3"),
        ({"overlay": {"permits": None}}, "no-permits", "its version (1) knows no permits"),
        ({"overlay": {"condition": Condition.STALE}}, "taker-out-of-service", "is stale"),
        ({"overlay": {"node": "lb9"}}, "no-fresh-report", "makes no sense: it is of lb9"),
        ({"unknown": True}, "permit-denied", "of lb3 cannot be told: cpu of lb3 cannot be told"),
        (
            {"overlay": {"permits": PermitReport(reserved={"cpu": math.nan})}},
            "permit-denied",
            "nan cores cannot be reserved",
        ),
        (
            {"overlay": {"permits": PermitReport(sheds=("dns",))}},
            "max-shedding",
            "lb3 sheds already, and max_shedding is 1",
        ),
    ],
)
def test_what_one_peer_holds_up(change: dict[str, object], code: str, said: str) -> None:
    cluster = busy()
    for name, value in change.items():
        setattr(cluster.nodes["lb3"], name, value)
    cluster.run(30)
    assert cluster.nodes["lb1"].rung() == FULL
    assert held(cluster)[0] == code
    assert said in held(cluster)[1]


@pytest.mark.parametrize(
    ("change", "code"),
    [({"paused": True}, "paused"), ({"drained": True}, "not-in-service")],
)
def test_what_the_node_itself_holds_up(change: dict[str, object], code: str) -> None:
    cluster = busy()
    for name, value in change.items():
        setattr(cluster.nodes["lb1"], name, value)
    cluster.run(30)
    assert not cluster.nodes["lb2"].noted("permit-granted")
    if code == "paused":
        assert held(cluster)[0] == code


def test_nobody_sheds_where_max_shedding_is_0() -> None:
    cluster = busy(max_shedding=0)
    cluster.run(30)
    assert cluster.nodes["lb1"].rung() == FULL
    assert held(cluster) == ("max-shedding", "max_shedding is 0: no node may shed")


def test_the_last_announcer_never_sheds() -> None:
    cluster = busy()
    for name in ("lb2", "lb3"):
        cluster.nodes[name].broken = True
    cluster.run(60)
    assert cluster.nodes["lb1"].rung() == FULL
    assert held(cluster)[0] == "no-other-server"


def test_a_node_that_shed_serves_in_full_again_when_all_others_are_gone() -> None:
    cluster = busy(load=0.23)
    cluster.until(lambda: cluster.nodes["lb1"].rung() == SHUT, 120)
    for name in ("lb2", "lb3"):
        cluster.nodes[name].broken = True
    cluster.run(2)
    assert cluster.nodes["lb1"].rung() != SHUT


def test_one_cause_that_makes_most_nodes_busy_sheds_nothing() -> None:
    cluster = calm(demand=2.85)
    cluster.run(120)
    assert {n.rung() for n in cluster.nodes.values()} == {FULL}
    assert held(cluster)[0] == "shared-cause"
    assert "3 of 3 nodes are saturated or rise together (lb1, lb2 and lb3)" in held(cluster)[1]
    assert not [n for node in cluster.nodes.values() for n in node.noted("permit-granted")]


def test_nodes_that_rise_together_are_busy_for_one_cause() -> None:
    cluster = calm(demand=1.3)
    cluster.nodes["lb1"].own_load = 0.25
    cluster.run(40)
    cluster.demand = 2.05  # lb1 at 93 %, the others at 68 %
    cluster.run(10)
    assert held(cluster)[0] == "shared-cause"
    cluster.run(60)
    assert held(cluster)[0] != "shared-cause", "they do not rise any more"


def test_where_a_peer_sends_no_weights_only_shutting_moves_anything() -> None:
    cluster = busy(weighted=False)
    cluster.until(lambda: cluster.nodes["lb1"].rung() == SHUT, 60)
    assert [entry[2] for entry in cluster.shed_log] == ["shut 100"]
    granted = cluster.nodes["lb1"].noted("permit-granted")[0]
    assert "edge shut, which moves 100 % of its load at most" in granted.text


def test_routers_that_ignore_weights_are_reckoned_with() -> None:
    """What the read back found: then a reduced weight moves nothing."""
    cluster = busy()
    lb1 = cluster.nodes["lb1"]
    core_step = lb1.core.step
    lb1.core.step = lambda *a: core_step(*a, frozenset({"edge"}))  # type: ignore[method-assign]
    cluster.until(lambda: bool(lb1.noted("permit-granted") or lb1.noted("permit-denied")), 10)
    cluster.run(1)
    assert [entry[2] for entry in cluster.shed_log] == ["shut 100"]


def test_an_unequal_node_is_reckoned_in_its_own_cores() -> None:
    cluster = calm(demand=0.6)
    cluster.nodes["lb1"].own_load = 0.75
    cluster.nodes["lb2"].capacity = 0.3
    cluster.run(4)
    assert "lb2 denied: if lb1 moves edge, lb2 reaches" in held(cluster)[1]


# ---- VIPs --------------------------------------------------------------------------------


def holders(priorities: dict[str, dict[str, int]], **loads: float) -> Cluster:
    cluster = Cluster(anycast=(), vips=priorities)
    cluster.now_ns = LEASE_NS
    cluster.vip_load = loads
    return cluster


WEB = {"web": {"lb1": 150, "lb2": 100, "lb3": 90}}


def test_a_vip_moves_to_the_peer_with_room_not_to_the_next_by_priority() -> None:
    cluster = holders(WEB, web=0.92)
    cluster.nodes["lb2"].own_load = 0.4
    cluster.nodes["lb3"].capacity = 4.0
    cluster.until(lambda: cluster.nodes["lb3"].roles["web"] is Role.ACTIVE, 5)
    lb1 = cluster.nodes["lb1"]
    assert lb1.noted("permit-granted")[0].text == (
        "lb2 and lb3 consented: web to lb3, with all of its load at most"
    )
    cluster.run(SETTLE_NS / S + 2)
    assert lb1.noted("permit-ended")[0].reasons[0].code == "settled"
    assert (lb1.roles["web"], lb1.sheds) == (Role.BACKUP, ())


def test_a_vip_stays_where_it_fits_nowhere() -> None:
    cluster = holders(WEB, web=0.92)
    cluster.run(60)
    lb1 = cluster.nodes["lb1"]
    assert lb1.roles["web"] is Role.ACTIVE
    reasons = lb1.last.decision.stances[0].reasons
    assert reasons[0].code == "saturated-holding"
    assert (
        "keeps web; asked lb2 and lb3: lb2 denied: if lb1 moves web, lb2 reaches" in reasons[0].text
    )


def test_of_several_vips_the_one_that_fits_moves() -> None:
    vips = {"api": {"lb1": 150, "lb2": 100}, "web": {"lb1": 150, "lb3": 100}}
    cluster = holders(vips, web=0.5, api=0.45)
    cluster.nodes["lb3"].capacity = 4.0
    cluster.until(lambda: cluster.nodes["lb3"].roles["web"] is Role.ACTIVE, 5)
    cluster.run(2)
    assert cluster.nodes["lb1"].roles == {"api": Role.ACTIVE, "web": Role.BACKUP}


def test_nobody_can_take_a_vip() -> None:
    cluster = holders({"web": {"lb1": 150}}, web=0.95)
    cluster.run(5)
    assert held(cluster) == ("no-other-server", "no other node could serve instead")


def test_a_vip_that_nobody_took_stays_and_the_node_backs_off() -> None:
    cluster = holders(WEB, web=0.92)
    cluster.nodes["lb3"].capacity = 4.0
    lb3 = cluster.nodes["lb3"]
    cluster.checks.append(lambda: lb3.roles.update(web=Role.BACKUP))  # its engine does not obey
    cluster.run(12)
    codes = [n.reasons[0].code for n in cluster.nodes["lb1"].noted("permit-ended")]
    assert codes == ["no-taker"]


# ---- when things change under way ----------------------------------------------------------


def test_a_granter_that_becomes_busy_takes_its_grant_back_and_the_load_returns() -> None:
    cluster = busy()
    lb1, lb3 = cluster.nodes["lb1"], cluster.nodes["lb3"]
    cluster.until(lambda: lb1.rung() == HALF, 3)
    cluster.run(2)
    lb3.own_load = 0.7
    cluster.until(lambda: lb1.rung() == FULL, 2)
    cluster.run(1)
    assert lb3.noted("permit-ended")[0].reasons[0].code == "saturated"
    assert lb3.permits.snapshot().counts["revoked", "saturated"] == 1
    assert lb1.noted("permit-ended")[0].reasons[0].text.startswith("lb3 is saturated itself now")
    assert lb1.sheds == ()
    assert not lb3.holding or lb3.holding.code != "holds-grant"


def test_who_holds_a_grant_does_not_ask() -> None:
    cluster = busy()
    lb1, lb2 = cluster.nodes["lb1"], cluster.nodes["lb2"]
    cluster.until(lambda: lb2.permits.snapshot().report.granted_to == "lb1", 3)
    cluster.link = lambda *_: ()  # lb2 hears nothing of the end
    lb1.up = True
    lb2.own_load = 0.7
    cluster.step()
    cluster.step()
    assert held(cluster, "lb2")[0] == "holds-grant"
    cluster.run(LEASE_NS / S + 1)
    assert lb2.permits.snapshot().report.granted_to == "", "its lease ended"


def test_routers_that_were_not_told_in_time_make_it_undone() -> None:
    cluster = busy()
    lb1 = cluster.nodes["lb1"]
    obey = cluster.obey
    cluster.obey = lambda node: None if node is lb1 else obey(node)  # type: ignore[method-assign]
    cluster.until(lambda: bool(lb1.noted("permit-granted")), 3)
    granted_ns = cluster.now_ns
    cluster.until(lambda: bool(lb1.noted("permit-ended")), 10)
    assert lb1.noted("permit-ended")[0].reasons[0].code == "not-in-force"
    assert cluster.now_ns - granted_ns <= ACT_NS
    assert lb1.last.decision.anycast[0].stance == "full"
    cluster.obey = obey  # type: ignore[method-assign]
    cluster.run(1)
    assert lb1.rung() == FULL


def test_a_silent_peer_between_consent_and_act_stops_it() -> None:
    cluster = busy()
    lb1 = cluster.nodes["lb1"]
    cluster.until(lambda: bool(lb1.permits.snapshot().report.asks), 3)
    cluster.nodes["lb3"].up = False
    cluster.run(5)
    assert lb1.rung() == FULL
    assert held(cluster)[0] == "no-fresh-report"
    assert cluster.nodes["lb2"].permits.snapshot().report.granted_to == ""


def test_a_peer_that_does_not_answer_counts_as_no() -> None:
    cluster = busy(link=lambda _, to, __: () if to == "lb3" else (MS,))
    cluster.run(ASK_NS / S + 1)
    assert held(cluster) == ("not-answered", "asked lb2 and lb3: lb3 did not answer in time")
    assert cluster.nodes["lb1"].rung() == FULL


def test_load_that_is_gone_before_the_consent_moves_nothing() -> None:
    cluster = busy(link=lambda *_: (500 * MS,))
    lb1 = cluster.nodes["lb1"]
    cluster.until(lambda: bool(lb1.permits.snapshot().report.asks), 3)
    lb1.own_load = -0.1
    cluster.run(5)
    assert lb1.rung() == FULL
    assert lb1.noted("permit-denied")[0].reasons[0].code == "calm"


def test_pause_keeps_what_is_shed() -> None:
    cluster = busy()
    lb1 = cluster.nodes["lb1"]
    cluster.until(lambda: lb1.rung() == HALF, 3)
    lb1.paused = True
    lb1.own_load = -0.1
    cluster.run(120)
    assert lb1.rung() == HALF
    lb1.paused = False
    cluster.until(lambda: lb1.rung() == FULL, 60)


def test_two_that_ask_at_once_the_busier_goes_first() -> None:
    """lb1 and lb2 hold VIPs that only lb3 and lb4 could take; the ceiling is one node."""
    vips = {
        "api": {"lb1": 150, "lb3": 100},
        "web": {"lb2": 150, "lb4": 100},
    }
    cluster = Cluster(("lb1", "lb2", "lb3", "lb4", "lb5"), anycast=(), vips=vips)
    cluster.now_ns = LEASE_NS
    cluster.vip_load = {"api": 0.91, "web": 0.99}
    cluster.nodes["lb3"].capacity = cluster.nodes["lb4"].capacity = 4.0
    cluster.until(lambda: cluster.nodes["lb4"].roles["web"] is Role.ACTIVE, 5)
    assert cluster.nodes["lb1"].roles["api"] is Role.ACTIVE
    assert held(cluster)[0] in {"goes-first", "max-shedding", "holds-grant"}
    cluster.until(lambda: cluster.nodes["lb3"].roles["api"] is Role.ACTIVE, 60)


def test_of_equals_the_first_by_name_goes_first() -> None:
    vips = {"api": {"lb1": 150, "lb3": 100}, "web": {"lb2": 150, "lb4": 100}}
    cluster = Cluster(("lb1", "lb2", "lb3", "lb4", "lb5"), anycast=(), vips=vips)
    cluster.now_ns = LEASE_NS
    cluster.vip_load = {"api": 0.95, "web": 0.95}
    cluster.nodes["lb3"].capacity = cluster.nodes["lb4"].capacity = 4.0
    cluster.until(lambda: cluster.nodes["lb3"].roles["api"] is Role.ACTIVE, 5)
    assert cluster.nodes["lb2"].roles["web"] is Role.ACTIVE


# ---- lies, and other versions ------------------------------------------------------------

ASK = Ask(PermitId(7, 1), "edge", 0.1, 19, {"cpu": 0.95}, 100.0)


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (replace(ASK, share=math.nan), "senseless"),
        (replace(ASK, share=-0.1), "senseless"),
        (replace(ASK, share=1e300), "senseless"),
        (replace(ASK, urgency=-1), "senseless"),
        (replace(ASK, urgency=10**9), "senseless"),
        (replace(ASK, load={"cpu": math.inf}), "senseless"),
        (replace(ASK, clients=math.nan), "senseless"),
        (replace(ASK, version=2), "unknown-version"),
        (replace(ASK, load={"cpu": 9.0}), "steady-load"),
        (replace(ASK, clients=1e9), "step-load"),
    ],
)
def test_an_ask_that_makes_no_sense_is_denied_with_the_reason(ask: Ask, code: str) -> None:
    cluster = calm()
    cluster.run(1)
    lb2 = cluster.nodes["lb2"]
    lb2.inbox.append(Heard("lb1", ask))
    cluster.step()
    assert lb2.permits.snapshot().report.granted_to == ""
    assert lb2.noted("permit-denied")[0].reasons[0].code == code


def test_a_stranger_is_not_answered() -> None:
    cluster = calm()
    cluster.run(1)
    lb2 = cluster.nodes["lb2"]
    for message in (ASK, End(ASK.id), Revoke(ASK.id)):
        lb2.inbox.append(Heard("lb9", message))
    cluster.step()
    assert lb2.permits.snapshot().report == PermitReport()
    assert not lb2.notes


def test_a_node_that_has_just_started_grants_nothing() -> None:
    cluster = busy()
    cluster.restart("lb2", 17)
    cluster.run(4)
    assert "lb2 has just started: what it granted before may still be used" in held(cluster)[1]
    cluster.until(lambda: cluster.nodes["lb1"].rung() == HALF, LEASE_NS / S + 30)


def test_who_has_just_taken_more_itself_grants_nothing_before_its_figures_tell_of_it() -> None:
    cluster = busy()
    cluster.nodes["lb2"].announced = ()
    cluster.nodes["lb2"].drained = True
    cluster.nodes["lb1"].capacity = 1.0
    cluster.run(3)
    cluster.nodes["lb2"].drained = False
    cluster.until(lambda: cluster.nodes["lb2"].rung() == FULL)
    cluster.nodes["lb1"].capacity = 0.25
    cluster.until(lambda: held(cluster)[0] == "permit-denied", 3)
    assert "lb2 has just taken more itself" in held(cluster)[1]
    assert cluster.nodes["lb1"].rung() == FULL
    cluster.until(lambda: cluster.nodes["lb1"].rung() == HALF, 30)


@pytest.mark.parametrize("name", ["lb1", "lb3"])
def test_two_nodes_of_one_name_hold_everything_and_move_on_when_one_is_renamed(name: str) -> None:
    cluster = busy()
    node = cluster.nodes[name]
    node.namesake = two_of_a_name(name, "10.0.0.9:4710")
    cluster.run(30)
    assert cluster.nodes["lb1"].rung() == FULL
    code, text = held(cluster)
    assert code == ("two-of-a-name" if name == "lb1" else "permit-denied")
    assert f"two nodes are named {name}: 10.0.0.9:4710 sends signed reports" in text
    assert not node.noted("permit-granted")
    node.namesake = None
    cluster.until(lambda: cluster.nodes["lb1"].rung() == HALF, BACKOFF_MAX_NS / S + 5)


def test_what_was_shed_stays_while_another_node_has_this_name() -> None:
    cluster = busy()
    lb1 = cluster.nodes["lb1"]
    cluster.until(lambda: lb1.rung() == HALF, 3)
    lb1.namesake = two_of_a_name("lb1", "10.0.0.9:4710")
    cluster.demand = 0.1
    cluster.run(60)
    assert lb1.rung() == HALF
    lb1.namesake = None
    cluster.until(lambda: lb1.rung() == FULL, 60)


# ---- the granter's leases ------------------------------------------------------------------


def granted(cluster: Cluster, ask: Ask = ASK) -> None:
    cluster.nodes["lb2"].inbox.append(Heard("lb1", ask))
    cluster.step()
    assert cluster.nodes["lb2"].permits.snapshot().report.granted_to == "lb1"


def quiet() -> Cluster:
    cluster = calm(link=lambda *_: ())
    cluster.run(1)
    return cluster


def test_a_grant_ends_with_its_lease_and_lives_no_longer_than_its_life() -> None:
    cluster = quiet()
    granted(cluster)
    cluster.run(LEASE_NS / S - 0.5)
    assert cluster.nodes["lb2"].permits.snapshot().report.granted_to == "lb1"
    cluster.run(1)
    assert cluster.nodes["lb2"].permits.snapshot().report.granted_to == ""
    again = replace(ASK, id=PermitId(7, 2))
    granted(cluster, again)
    for _ in range(LIFE_NS // S + 1):
        cluster.nodes["lb2"].inbox.append(Heard("lb1", again))
        cluster.run(1, 500)
    assert cluster.nodes["lb2"].permits.snapshot().report.granted_to == ""


def test_old_words_do_nothing() -> None:
    cluster = quiet()
    lb2 = cluster.nodes["lb2"]
    granted(cluster, replace(ASK, id=PermitId(7, 5)))
    for permit in (PermitId(7, 4), PermitId(6, 9)):
        lb2.inbox += [Heard("lb1", replace(ASK, id=permit)), Heard("lb1", End(permit))]
    lb2.inbox.append(Heard("lb3", End(PermitId(7, 5))))
    cluster.step()
    assert lb2.permits.snapshot().report.granted_to == "lb1"
    lb2.inbox.append(Heard("lb1", End(PermitId(7, 5))))
    cluster.step()
    assert lb2.permits.snapshot().report.granted_to == ""
    # Ended, and asked for again by a copy that was under way.
    lb2.inbox.append(Heard("lb1", replace(ASK, id=PermitId(7, 5))))
    cluster.step()
    assert lb2.permits.snapshot().report.granted_to == ""


def test_an_end_that_overtakes_its_ask_is_remembered() -> None:
    cluster = quiet()
    lb2 = cluster.nodes["lb2"]
    lb2.inbox += [Heard("lb1", End(ASK.id)), Heard("lb1", ASK)]
    cluster.step()
    assert lb2.permits.snapshot().report.granted_to == ""


def test_an_end_that_came_early_is_not_forgotten_for_an_older_one() -> None:
    cluster = calm(link=lambda *_: ())
    cluster.run(1)
    lb2 = cluster.nodes["lb2"]
    granted(cluster)
    late = PermitId(7, 2)
    lb2.inbox += [Heard("lb1", End(late)), Heard("lb1", End(ASK.id))]
    lb2.inbox.append(Heard("lb1", replace(ASK, id=late)))
    cluster.step()
    assert lb2.permits.snapshot().report.granted_to == ""


def test_after_a_sleep_nothing_is_granted() -> None:
    cluster = calm()
    cluster.run(1)
    lb2 = cluster.nodes["lb2"]
    core_step = lb2.core.step
    lb2.core.step = lambda *a: core_step(*a, awake=False)  # type: ignore[method-assign]
    lb2.inbox.append(Heard("lb1", ASK))
    cluster.step()
    assert lb2.permits.snapshot().report.granted_to == ""
    assert lb2.noted("permit-denied")[0].reasons[0].code == "overslept"


def test_what_is_shed_survives_other_weights() -> None:
    cluster = busy()
    lb1 = cluster.nodes["lb1"]
    cluster.until(lambda: lb1.rung() == HALF, 3)
    cluster.run(SETTLE_NS / S + 2)
    other = replace(EDGE, reduced_weights=(60, 30))
    lb1.permits.reconfigure(replace(cluster.settings("lb1"), anycast=(other,)))
    lb1.decider.reconfigure((), (other,))
    lb1.anycast = (other,)
    cluster.until(lambda: lb1.rung() == ("reduced", 30), 5)
    lb1.own_load = -0.15
    cluster.until(lambda: lb1.rung() == FULL, 120)


def test_a_second_asker_is_told_who_holds_the_room() -> None:
    cluster = quiet()
    lb2 = cluster.nodes["lb2"]
    granted(cluster)
    lb2.inbox.append(Heard("lb3", replace(ASK, id=PermitId(9, 1))))
    cluster.step()
    denied = lb2.noted("permit-denied")[0]
    assert denied.reasons[0].code == "grant-outstanding"
    assert denied.text == "lb3 may not move edge: lb2 holds room for lb1"


def test_a_resource_that_does_not_act_is_no_limit() -> None:
    from haman.core.permits import Permits
    from haman.core.saturation import Thresholds

    cluster = busy()
    lb3 = cluster.nodes["lb3"]
    full = (Utilization("nic", 0.99, 1.0, "bytes/s"),)
    lb3.overlay = {"resources": (*cluster.report(lb3).resources[1:], full[0], _cpu())}
    cluster.run(4)
    assert "lb3 denied" in held(cluster)[1]
    settings = replace(cluster.settings("lb3"), resources={"nic": Thresholds(act=False)})
    lb3.permits.reconfigure(settings)
    assert isinstance(lb3.permits, Permits)
    cluster.until(lambda: cluster.nodes["lb1"].rung() == HALF, 30)


def _cpu() -> Utilization:
    return Utilization("cpu", 0.4, 1.0, "cores")


def test_back_off_is_bounded() -> None:
    assert BACKOFF_MAX_NS == 60 * S


def test_a_service_that_is_not_configured_any_more_is_forgotten() -> None:
    cluster = busy()
    lb1 = cluster.nodes["lb1"]
    cluster.until(lambda: lb1.rung() == HALF, 3)
    lb1.permits.reconfigure(replace(cluster.settings("lb1"), anycast=(ConfiguredAnycast("dns"),)))
    cluster.run(SETTLE_NS / S + 2)
    assert lb1.sheds == ()


def test_deadlines_lie_ahead_and_are_enough_to_go_on_by() -> None:
    """A driver that steps only when something is heard or due gets to the same end."""
    cluster = busy()
    lb1 = cluster.nodes["lb1"]
    seen = 0
    for _ in range(300):
        for node in cluster.nodes.values():
            deadline_ns = node.core.deadline_ns
            assert deadline_ns is None or deadline_ns > cluster.now_ns
            seen += deadline_ns is not None
        cluster.step()
    assert seen
    assert lb1.rung() == HALF
