"""Weights that change while a service has connections: others steer first, and nothing waits for ever."""

from dataclasses import replace

import pytest

from haman.core.handover.messages import NS_PER_S, Side
from haman.core.handover.pivot_facts import ASK_BACK_NS, CLOSING_NS, QUIET_NS
from haman.core.ladder import Rung, Shed
from haman.core.words import Reason, Stance
from tests.core.handover.cluster import FULL, HALF, STEPS, TICK_NS, Cluster

QUARTER = Rung(Stance.REDUCED, 25)
NO_RULES = Reason("no-rules", "libnftables.so.1 is not installed")
LONG = 60 * NS_PER_S // TICK_NS


def seconds(number: float) -> int:
    return int(number * NS_PER_S) // TICK_NS


def four() -> Cluster:
    return Cluster("a", "b", "c", "d", configured=STEPS)


def shed(cluster: Cluster, rung: Rung = HALF) -> None:
    cluster["b"].shed = Shed(rung, ordered=True)


def quiet(cluster: Cluster) -> bool:
    return not any(node.ordered for node in cluster.nodes.values())


def lost(cluster: Cluster) -> list[tuple[str, str]]:
    """Where a router sends a segment, and who knows its connection and does not get it."""
    names = cluster.nodes
    return [(at, home) for home in names for at in names if not cluster.found(home, at)]


def until_moved(cluster: Cluster, rung: Rung, within_s: float = 2) -> None:
    """At each instant from the move on, whoever knows a connection is found."""
    node = cluster["b"]
    cluster.run(seconds(within_s), lambda: node.in_force == rung)
    assert node.in_force == rung
    assert lost(cluster) == []


def test_survivors_steer_before_a_permit_takes_weight_away_and_while_segments_are_handed_on() -> (
    None
):
    cluster = four()
    node = cluster["b"]
    shed(cluster)
    before = cluster.now_ns
    while node.in_force == FULL:
        steered = [(n.steers_for, n.reports) for n in cluster.nodes.values() if n is not node]
        cluster.step()
        assert cluster.now_ns - before < NS_PER_S
    assert all(who == "b" and reports and reports[0].ready for who, reports in steered)
    node.shed = Shed(HALF)
    node.passed = 3
    for _ in range(seconds(14)):
        cluster.step()
        assert lost(cluster) == []
    node.passed = 0
    assert node.codes == ["tail-started: tail"]
    cluster.run(LONG, lambda: quiet(cluster))
    assert node.codes[1:] == ["tail-ended: settled"]
    assert node.in_force == HALF


@pytest.mark.parametrize("weight", [60, 140])
def test_a_weight_that_is_configured_anew_waits_for_the_others_too(weight: int) -> None:
    cluster = four()
    node = cluster["b"]
    node.ladder.reconfigure(replace(STEPS, weight=weight))
    cluster.run(2)
    assert node.in_force == FULL
    assert "steering-awaited" in [reason.code for reason in node.ladder.snapshot().reasons]
    assert "climbing" not in [reason.code for reason in node.ladder.snapshot().reasons]
    while node.in_force == FULL:
        steered = [(n.steers_for, n.reports) for n in cluster.nodes.values() if n is not node]
        cluster.step()
    assert all(who == "b" and reports and reports[0].ready for who, reports in steered)
    until_moved(cluster, Rung(Stance.FULL, weight))
    cluster.run(LONG, lambda: quiet(cluster))
    assert node.codes == ["tail-started: tail", "tail-ended: settled"]


def test_a_weight_that_is_configured_anew_while_nobody_else_serves_is_in_force_at_once() -> None:
    cluster = Cluster("b", configured=STEPS)
    cluster["b"].ladder.reconfigure(replace(STEPS, weight=60))
    cluster.run(2)
    assert cluster["b"].in_force == Rung(Stance.FULL, 60)


def test_who_was_shut_by_a_permit_comes_back_when_the_others_steer_to_it() -> None:
    cluster = four()
    node = cluster["b"]
    shed(cluster, STEPS.shut)
    until_moved(cluster, STEPS.shut)
    node.shed = Shed(STEPS.shut)
    cluster.run(LONG, lambda: quiet(cluster))
    node.notes.clear()
    cluster.run(seconds(5))
    assert (node.in_force, node.notes) == (STEPS.shut, [])
    node.shed = None
    while node.in_force == STEPS.shut:
        steered = [(n.steers_for, n.reports) for n in cluster.nodes.values() if n is not node]
        cluster.step()
    assert all(who == "b" and reports and reports[0].ready for who, reports in steered)
    until_moved(cluster, FULL, within_s=5)
    cluster.run(LONG, lambda: quiet(cluster))
    assert node.codes == ["tail-started: tail", "tail-ended: settled"]


def test_who_was_in_fault_while_it_shed_comes_back_when_the_others_steer_to_it() -> None:
    cluster = four()
    node = cluster["b"]
    shed(cluster)
    until_moved(cluster, HALF)
    node.shed = Shed(HALF)
    node.broken = True
    cluster.run(LONG, lambda: quiet(cluster))
    assert node.in_force.stance is Stance.WITHDRAWN
    node.notes.clear()
    node.broken = False
    while node.in_force.stance is Stance.WITHDRAWN:
        steered = [(n.steers_for, n.reports) for n in cluster.nodes.values() if n is not node]
        cluster.step()
    assert all(who == "b" and reports and reports[0].ready for who, reports in steered)
    until_moved(cluster, QUARTER)
    assert node.codes == ["tail-started: tail"]


def test_who_may_have_a_part_of_its_weight_again_asks_until_the_others_steer() -> None:
    cluster = four()
    node = cluster["b"]
    shed(cluster, STEPS.shut)
    until_moved(cluster, STEPS.shut)
    node.shed = Shed(STEPS.shut)
    cluster.run(LONG, lambda: quiet(cluster))
    node.shed = Shed(HALF)
    until_moved(cluster, HALF, within_s=5)
    assert node.codes[2:] == ["tail-started: tail"]


def test_on_the_way_back_the_tail_of_a_new_wish_is_a_new_one() -> None:
    cluster = four()
    node = cluster["b"]
    shed(cluster)
    until_moved(cluster, HALF)
    node.shed = Shed(HALF)
    cluster.run(LONG, lambda: quiet(cluster))
    assert quiet(cluster)
    node.shed = None
    until_moved(cluster, FULL)
    assert node.codes == ["tail-started: tail", "tail-ended: settled", "tail-started: tail"]
    cluster.run(LONG, lambda: quiet(cluster))
    assert quiet(cluster)


def test_a_second_step_is_covered_by_the_tail_of_the_first() -> None:
    cluster = four()
    node = cluster["b"]
    shed(cluster)
    until_moved(cluster, HALF)
    cluster.run(seconds(8))
    shed(cluster, QUARTER)
    until_moved(cluster, QUARTER, within_s=0.3)
    moved_ns = cluster.now_ns
    node.shed = Shed(QUARTER)
    cluster.run(LONG, lambda: quiet(cluster))
    assert cluster.now_ns - moved_ns >= QUIET_NS
    assert node.codes == ["tail-started: tail", "tail-ended: settled"]


def test_a_wish_while_the_last_tail_closes_waits_for_the_next() -> None:
    cluster = four()
    node = cluster["b"]
    shed(cluster)
    until_moved(cluster, HALF)
    node.shed = Shed(HALF)
    cluster.run(LONG, lambda: node.pivot.state == "closing")
    shed(cluster, QUARTER)
    until_moved(cluster, QUARTER, within_s=CLOSING_NS / NS_PER_S + 1)
    assert node.codes == ["tail-started: tail", "tail-ended: settled", "tail-started: tail"]


@pytest.mark.parametrize("other", ["a", "c"])
def test_a_weight_that_changes_in_the_tail_of_another_node_is_covered(other: str) -> None:
    cluster = four()
    cluster[other].drained = True
    cluster[other].connections = 5
    cluster.run(seconds(2), lambda: cluster[other].pivot.state == "tail")
    cluster.run(3)
    shed(cluster)
    until_moved(cluster, HALF)
    assert cluster["b"].steers_for == other
    assert cluster["b"].codes == []


def test_two_that_change_at_once() -> None:
    cluster = four()
    shed(cluster)
    cluster["c"].shed = Shed(HALF, ordered=True)
    cluster.run(seconds(3), lambda: all(cluster[name].in_force == HALF for name in "bc"))
    assert [cluster[name].in_force for name in "bc"] == [HALF, HALF]
    assert lost(cluster) == []
    for name in "bc":
        cluster[name].shed = Shed(HALF)
    cluster.run(LONG, lambda: quiet(cluster))
    assert quiet(cluster)


def test_a_wish_that_is_taken_back_leaves_nothing() -> None:
    cluster = four()
    cluster["c"].hangs = True
    shed(cluster)
    cluster.run(3)
    assert cluster["b"].pivot.state == "asking"
    cluster["b"].shed = None
    cluster.run(LONG, lambda: quiet(cluster))
    assert quiet(cluster)
    assert cluster["b"].in_force == FULL
    assert cluster["b"].codes == []
    shed(cluster)
    cluster["c"].hangs = False
    until_moved(cluster, HALF)


def test_who_does_not_answer_is_not_waited_for_longer_than_a_permit_lasts() -> None:
    cluster = four()
    for name in "acd":
        cluster[name].hangs = True
    began_ns = cluster.now_ns
    shed(cluster)
    cluster.run(LONG, lambda: cluster["b"].in_force == HALF)
    assert cluster.now_ns - began_ns <= ASK_BACK_NS + NS_PER_S
    assert cluster["b"].codes == ["tail-refused: no-tail"]
    assert "does not answer" in cluster["b"].notes[0].reason.text
    cluster["b"].shed = Shed(HALF)
    cluster.run(LONG, lambda: quiet(cluster))
    assert quiet(cluster)


def test_where_nobody_can_steer_the_weight_changes_at_once() -> None:
    cluster = four()
    for name in "acd":
        cluster[name].problem = NO_RULES
    shed(cluster)
    cluster.run(seconds(1), lambda: cluster["b"].in_force == HALF)
    assert cluster["b"].in_force == HALF
    assert cluster["b"].codes == ["tail-refused: no-tail"]


def test_without_a_tail_or_anybody_else_nothing_waits() -> None:
    cluster = four()
    cluster["b"].pivot.tail_ns = 0
    shed(cluster)
    cluster.step()
    assert cluster["b"].in_force == HALF
    cluster = four()
    shed(cluster)
    until_moved(cluster, HALF)
    for name in "acd":
        cluster[name].dead = True
    cluster.run(seconds(3), lambda: cluster["b"].in_force == FULL)
    assert cluster["b"].in_force == FULL, "nobody else serves, and a permit bounds nothing"


@pytest.mark.parametrize("dies", ["a", "b", "c"])
@pytest.mark.parametrize("tick", range(16))
def test_a_node_that_dies_at_any_instant(dies: str, tick: int) -> None:
    cluster = four()
    shed(cluster)
    cluster.run(tick)
    cluster[dies].dead = True
    cluster.run(seconds(12), lambda: cluster["b"].in_force == HALF)
    if dies != "b":
        assert cluster["b"].in_force == HALF
        cluster["b"].shed = Shed(HALF)
    living = [node for node in cluster.nodes.values() if not node.dead]
    cluster.run(LONG, lambda: not any(node.ordered for node in living))
    assert not any(node.ordered for node in living)


def test_a_drain_in_the_tail_of_a_weight_goes_on_in_it() -> None:
    cluster = four()
    node = cluster["b"]
    shed(cluster)
    until_moved(cluster, HALF)
    node.connections = 4
    node.drained = True
    cluster.run(seconds(4))
    assert node.in_force.stance is Stance.WITHDRAWN
    assert node.order(Side.GIVING) is not None
    assert (node.held, node.pivot.left) == (True, 4)
    node.connections = 0
    cluster.run(LONG, lambda: node.pivot.state == "done")
    assert node.pivot.state == "done"
