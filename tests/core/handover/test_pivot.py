"""Drains of an anycast service among several nodes: in order, interrupted at each instant, and refused."""

from dataclasses import replace

import pytest

from haman.core.handover.messages import NS_PER_S, Side
from haman.core.handover.pivot_facts import ASK_BACK_NS, ASK_NS, QUIET_NS, WAIT_NS
from haman.core.handover.steering import LEASE_NS
from haman.core.words import Reason, Stance
from tests.core.handover.cluster import EDGE, FULL, TAIL_NS, TICK_NS, Cluster

LONG = (2 * TAIL_NS + WAIT_NS + LEASE_NS) // TICK_NS
"""Ticks in which everything must have ended."""
NO_RULES = Reason("no-rules", "libnftables.so.1 is not installed")


def seconds(number: float) -> int:
    return int(number * NS_PER_S) // TICK_NS


def gone(cluster: Cluster) -> bool:
    return cluster["b"].in_force.stance is Stance.WITHDRAWN


def until_over(cluster: Cluster) -> None:
    cluster.run(LONG, lambda: gone(cluster) and quiet(cluster))


def draining(connections: int = 5) -> Cluster:
    cluster = Cluster("a", "b", "c", "d")
    cluster["b"].connections = connections
    cluster["b"].drained = True
    return cluster


def in_tail(connections: int = 5) -> Cluster:
    cluster = draining(connections)
    cluster.run(LONG, lambda: cluster["b"].pivot.state == "tail")
    cluster.run(2)
    return cluster


def quiet(cluster: Cluster) -> bool:
    return not any(node.ordered for node in cluster.nodes.values())


def test_survivors_steer_before_the_ladder_moves_and_until_the_last_connection_ends() -> None:
    cluster = draining()
    node = cluster["b"]
    while node.in_force == FULL:
        before = [(n.steers_for, n.reports) for n in cluster.nodes.values() if n is not node]
        cluster.step()
    assert all(who == "b" and reports and reports[0].ready for who, reports in before)
    cluster.run(seconds(5))
    assert (node.in_force.stance, node.held) == (Stance.WITHDRAWN, True)
    assert node.pivot.left == 5
    assert node.codes == ["tail-started: tail"]
    node.connections = 0
    cluster.run(seconds(5), lambda: node.pivot.state == "done")
    assert node.codes[1:] == ["tail-ended: passed-on"]
    assert cluster["a"].codes == ["tail-started: tail"]
    assert [cluster[name].steers_for for name in "abcd"] == ["", "a", "a", "a"]
    cluster.run(seconds(2))
    assert not node.held
    cluster.run(LONG, lambda: quiet(cluster))
    assert cluster["a"].codes[1:] == ["tail-ended: settled"]
    assert cluster.now_ns < QUIET_NS + 12 * NS_PER_S


def lost(cluster: Cluster) -> list[tuple[str, str]]:
    """Where a router sends a segment, and who knows its connection and does not get it."""
    names = cluster.nodes
    homes = [n for n in names if cluster[n].connections or not cluster[n].drained]
    return [(at, home) for home in homes for at in names if not cluster.found(home, at)]


@pytest.mark.parametrize("slow", ["", "a", "c", "d"])
def test_while_the_pivot_changes_every_connection_is_found(slow: str) -> None:
    """b is drained, names a, comes back; c is drained meanwhile and comes back; a is, and names c."""
    cluster = in_tail()
    for name in "abcd":
        cluster[name].passed, cluster[name].slow = 3, 2 * (name == slow)

    def run(until) -> None:
        for _ in range(seconds(8)):
            if until():
                return
            cluster.step()
            assert lost(cluster) == []
        assert until()

    cluster["b"].connections = 0
    run(lambda: cluster["a"].pivot.state == "tail" and cluster["b"].pivot.state == "done")
    assert cluster["b"].steers_for == "a"
    cluster["b"].drained = False
    run(lambda: cluster["b"].in_force == FULL)
    assert cluster["b"].codes[2:] == [], "a's tail is there for it, too"
    cluster["c"].drained = True
    cluster["c"].connections = 2
    run(lambda: cluster["c"].in_force.stance is Stance.WITHDRAWN)
    gone_ns = cluster.now_ns
    run(lambda: cluster.now_ns - gone_ns >= 3 * NS_PER_S)
    assert (cluster["c"].pivot.state, cluster["c"].held) == ("covered", True)
    cluster["c"].connections = 0
    run(lambda: cluster["c"].pivot.state == "done")
    cluster["c"].drained = False
    run(lambda: cluster["c"].in_force == FULL)
    cluster["a"].drained = True
    run(lambda: cluster["a"].pivot.state == "done")
    assert [cluster[name].steers_for for name in "abcd"] == ["c", "c", "", "c"]
    for name in "abcd":
        cluster[name].passed = 0
    cluster.run(LONG, lambda: quiet(cluster))
    assert quiet(cluster)
    assert cluster["c"].codes[-1] == "tail-ended: settled"


def test_who_comes_back_is_announced_when_the_others_steer_to_it() -> None:
    cluster = in_tail(connections=0)
    cluster.run(LONG, lambda: gone(cluster) and quiet(cluster))
    node = cluster["b"]
    node.notes.clear()
    node.drained = False
    while node.in_force != FULL:
        before = [(n.steers_for, n.reports) for n in cluster.nodes.values() if n is not node]
        cluster.step()
    assert all(who == "b" and reports and reports[0].ready for who, reports in before)
    assert node.codes == ["tail-started: tail"]
    node.passed = 4
    cluster.run(seconds(13))
    assert node.pivot.state == "tail", "somebody else's connections are handed on"
    cluster.run(seconds(4))
    assert node.codes[1:] == ["tail-ended: tail-timeout"]
    assert node.notes[-1].cut == 4


@pytest.mark.parametrize("comes", [True, False])
def test_only_who_comes_back_from_nothing_does_not_know_what_it_still_has(comes: bool) -> None:
    cluster = draining(connections=0)
    if comes:
        cluster.run(LONG, lambda: gone(cluster) and quiet(cluster))
        cluster["b"].drained = False
    said = set()
    for _ in range(seconds(5)):
        cluster.step()
        order = cluster["b"].order(Side.GIVING)
        said |= {(cluster["b"].pivot.state, order.anew)} if order is not None else set()
    assert (
        {("asking", comes), ("tail", False)}
        <= said
        <= {("asking", comes), ("tail", False), ("passing", False)}
    )


def test_who_comes_back_waits_for_nobody_who_does_not_answer() -> None:
    cluster = in_tail(connections=0)
    cluster.run(LONG, lambda: gone(cluster) and quiet(cluster))
    for name in "acd":
        cluster[name].hangs = True
    began_ns = cluster.now_ns
    cluster["b"].drained = False
    cluster.run(seconds(10), lambda: cluster["b"].in_force == FULL)
    assert cluster["b"].in_force == FULL
    assert cluster.now_ns - began_ns <= ASK_BACK_NS + NS_PER_S
    assert cluster["b"].codes[-1] == "tail-refused: no-tail"
    cluster.run(LONG, lambda: quiet(cluster))
    assert quiet(cluster)


def test_what_the_drained_node_does_not_know_goes_down_the_line() -> None:
    cluster = in_tail()
    line = [(n.order(Side.TAKING) or n.order(Side.GIVING)) for n in cluster.nodes.values()]
    assert [(order.peer, order.next) for order in line] == [
        ("b", "c"),
        ("", "a"),
        ("b", "d"),
        ("b", ""),
    ]
    macs = {name: node.places[0].mac for name, node in cluster.nodes.items()}
    assert line[0].after == (macs["b"],)
    assert line[2].after == (macs["a"],)
    assert line[3].after == (macs["c"],)
    assert all(set(line[i].others) >= {macs["b"]} for i in (0, 2, 3))


def test_a_survivor_that_falls_silent_leaves_the_line() -> None:
    cluster = in_tail()
    cluster["c"].dead = True
    cluster.run(seconds(3))
    assert cluster["a"].order(Side.TAKING).next == "d"
    assert cluster["d"].order(Side.TAKING).after == (cluster["a"].places[0].mac,)


def test_a_survivor_that_is_late_stays_in_line() -> None:
    cluster = in_tail()
    cluster["c"].mute = True
    for _ in range(seconds(1.3)):
        cluster.step()
        assert lost(cluster) == []
    assert not any(peer.fresh for peer in cluster.peers("b") if peer.name == "c")
    cluster["c"].mute = False
    for _ in range(seconds(2)):
        cluster.step()
        assert lost(cluster) == []
    assert cluster["a"].order(Side.TAKING).next == "c"


def test_a_survivor_whose_reports_are_rare_and_lost_stays_in_line() -> None:
    cluster = in_tail()
    cluster.fresh_ns = round(1.5 * NS_PER_S)  # one each 500 ms
    cluster["c"].mute = True
    for _ in range(seconds(2)):
        cluster.step()
        assert lost(cluster) == []
    assert not any(peer.fresh for peer in cluster.peers("b") if peer.name == "c")
    cluster["c"].mute = False
    for _ in range(seconds(2)):
        cluster.step()
        assert lost(cluster) == []


def test_a_line_that_grows_loses_nobody_meanwhile() -> None:
    cluster = draining()
    cluster["c"].hangs = True
    cluster.run(LONG, lambda: cluster["b"].pivot.state == "tail")
    line = cluster["b"].pivot.word.line
    assert line == ("a", "d")
    for name in line:
        cluster[name].slow = 3
    cluster["c"].hangs = False
    for _ in range(seconds(4)):
        cluster.step()
        assert cluster["b"].pivot.word.line in {line, (*line, "c")}
    assert cluster["d"].order(Side.TAKING).next == "c"


def test_who_comes_back_while_its_last_tail_closes_asks_again() -> None:
    cluster = in_tail(connections=3)
    node = cluster["b"]
    node.held_back, node.drained = True, False
    cluster.run(2)
    node.connections = 0
    cluster.run(LONG, lambda: node.pivot.state == "closing")
    cluster.run(4)
    assert node.pivot.state == "closing"
    assert not node.in_force.serves
    node.held_back = False
    while not node.in_force.serves:
        steered = [n.steers_for for n in cluster.nodes.values() if n is not node]
        cluster.step()
    assert steered == ["b", "b", "b"]


def test_the_tail_ends_at_its_timeout_and_says_what_it_cut() -> None:
    cluster = in_tail(connections=7)
    cluster.run(LONG, lambda: quiet(cluster))
    node = cluster["b"]
    assert node.codes == ["tail-started: tail", "tail-ended: tail-timeout"]
    assert node.notes[1].cut == 7
    assert "7 connections were left after 15 s" in node.notes[1].reason.text
    assert cluster.now_ns < TAIL_NS + 3 * NS_PER_S


def whole() -> int:
    """Ticks of a drain, until it is done."""
    cluster = draining(connections=0)
    cluster.run(LONG, lambda: cluster["b"].pivot.state == "done")
    return cluster.now_ns // TICK_NS


@pytest.mark.parametrize("dies", ["a", "b", "c"])
def test_a_node_that_dies_at_any_instant(dies: str) -> None:
    for tick in range(0, whole() + 3, 2):
        cluster = draining(connections=0)
        cluster.run(tick)
        cluster[dies].dead = True
        living = [n for n in cluster.nodes.values() if not n.dead]
        until_over(cluster)
        assert not any(n.ordered for n in living), tick
        if dies != "b":
            assert cluster["b"].in_force.stance is Stance.WITHDRAWN, tick
            assert not cluster["b"].held, tick


@pytest.mark.parametrize("silent", ["a", "b"])
def test_reports_that_stop_at_any_instant(silent: str) -> None:
    for tick in range(0, whole() + 3, 2):
        cluster = draining(connections=3)
        cluster.run(tick)
        cluster[silent].mute = True
        cluster.run(2)
        until_over(cluster)
        assert gone(cluster), tick
        assert quiet(cluster), tick


@pytest.mark.parametrize("restarts", ["a", "b"])
def test_a_controller_that_is_started_again_goes_on_with_what_its_engine_does(
    restarts: str,
) -> None:
    cluster = in_tail()
    node = cluster[restarts]
    before, node.reports = node.reports, None
    node.start()
    cluster.run(3)
    node.reports = before
    cluster.run(seconds(6))
    assert all(cluster[name].steers_for == "b" for name in "acd")
    assert cluster["b"].pivot.left == 5
    cluster["b"].connections = 0
    cluster.run(LONG, lambda: cluster["b"].pivot.state == "done")
    assert [cluster[name].pivot.state for name in "acd"].count("tail") == 1
    cluster.run(LONG, lambda: quiet(cluster))
    assert quiet(cluster)


def test_a_node_that_cannot_steer_is_named_and_the_others_do() -> None:
    cluster = draining()
    cluster["c"].problem = NO_RULES
    cluster.run(seconds(1), lambda: cluster["b"].in_force != FULL)
    node = cluster["b"]
    assert node.codes == ["tail-started: tail"]
    assert node.notes[0].survivors == ("a", "d")
    told = [r.text for r in node.ladder.snapshot().reasons]
    assert f"c does not steer to this node: {NO_RULES.text}" in told
    assert cluster["a"].order(Side.TAKING).next == "d"


@pytest.mark.parametrize(
    ("who", "text"),
    [
        ("acd", "a does not steer to this node: libnftables.so.1 is not installed"),
        ("b", "b: libnftables.so.1 is not installed"),
    ],
)
def test_where_nobody_can_the_drain_goes_on_without(who: str, text: str) -> None:
    cluster = draining()
    for name in who:
        cluster[name].problem = NO_RULES
    cluster.run(seconds(4), lambda: cluster["b"].in_force.stance is Stance.WITHDRAWN)
    node = cluster["b"]
    assert node.in_force.stance is Stance.WITHDRAWN
    assert node.codes == ["tail-refused: no-tail"]
    assert text in node.notes[0].reason.text
    cluster.run(seconds(3))
    assert quiet(cluster)
    assert not node.held


def test_older_nodes_and_engines_that_hang_are_not_waited_for_for_ever() -> None:
    cluster = draining()
    for name in "acd":
        cluster[name].old = True
    cluster.run(3)
    assert cluster["b"].codes == ["tail-refused: no-tail"]
    cluster = draining()
    cluster["c"].hangs = True
    cluster.run(ASK_NS // TICK_NS + 4)
    assert cluster["b"].notes[0].survivors == ("a", "d")
    assert cluster["b"].in_force.stance is Stance.SHUT


def test_a_second_drain_is_covered_by_the_first_ones_tail() -> None:
    cluster = in_tail()
    cluster["c"].drained = True
    cluster["c"].connections = 4
    cluster.run(seconds(4))
    node = cluster["c"]
    assert node.in_force.stance is Stance.WITHDRAWN
    assert (node.steers_for, node.pivot.left, node.held) == ("b", 4, True)
    assert node.codes == ["tail-started: tail"]
    cluster["b"].connections = 0
    cluster.run(seconds(5), lambda: cluster["b"].pivot.state == "done")
    assert [cluster[name].steers_for for name in "abcd"] == ["", "a", "a", "a"]
    assert node.pivot.state == "covered"
    node.connections = 0
    cluster.run(seconds(2))
    assert node.codes[1:] == ["tail-ended: served"]
    cluster.run(seconds(2))
    assert not node.held


def test_a_tail_does_not_end_under_a_drain_that_it_covers() -> None:
    cluster = in_tail()
    cluster["b"].drained = False
    cluster["b"].passed = 1
    cluster.run(TAIL_NS // TICK_NS - seconds(3))
    cluster["c"].drained = True
    cluster["c"].connections = 4
    cluster.run(seconds(10))
    assert cluster["c"].pivot.state == "covered"
    assert all(cluster[name].steers_for == "b" for name in "acd")
    cluster.run(TAIL_NS // TICK_NS - seconds(9))
    assert cluster["c"].codes == ["tail-started: tail", "tail-ended: tail-timeout"]
    assert cluster["c"].notes[-1].cut == 4
    cluster.run(LONG, lambda: quiet(cluster))
    assert quiet(cluster)


def test_of_two_that_are_drained_at_once_one_is_covered_by_the_other() -> None:
    cluster = draining(connections=2)
    cluster["c"].drained = True
    cluster["c"].connections = 2
    cluster.run(seconds(3))
    assert [cluster[name].pivot.state for name in "bc"] == ["tail", "covered"]
    cluster.run(LONG, lambda: all(cluster[n].pivot.state == "done" for n in "bc"))
    assert [cluster[n].notes[-1].reason.code for n in "bc"] == ["tail-timeout", "tail-timeout"]
    cluster.run(LONG, lambda: quiet(cluster))
    assert quiet(cluster)


def back_in_its_tail() -> Cluster:
    """`b` is announced again, and nothing passes by it any more."""
    cluster = in_tail()
    cluster["b"].drained = False
    cluster.run(LONG, lambda: cluster["b"].in_force == FULL)
    return cluster


@pytest.mark.parametrize("ticks", range(6))
def test_who_moves_as_another_ones_tail_ends_is_carried_by_it_or_asks_itself(ticks: int) -> None:
    twin, until = back_in_its_tail(), 0
    while twin["b"].pivot.state == "tail":
        twin.step()
        until += 1
    cluster = back_in_its_tail()
    cluster.run(until - ticks)
    node = cluster["c"]
    node.drained, node.connections = True, 4
    cluster.run(LONG, lambda: node.in_force != FULL)
    assert node.in_force.stance is Stance.SHUT
    for _ in range(seconds(5)):
        assert lost(cluster) == []
        cluster.step()


def test_a_tail_that_others_lean_on_does_not_end_before_what_they_moved_has_come_by() -> None:
    cluster = back_in_its_tail()
    cluster.run(seconds(1))
    cluster["c"].ladder.reconfigure(replace(EDGE, weight=60))
    cluster.run(LONG, lambda: cluster["c"].in_force.weight == 60)
    assert cluster["b"].pivot.word.covers == ("c",)
    assert lost(cluster) == []
    cluster.run(seconds(10))
    assert cluster["b"].pivot.state == "tail"
    assert cluster["b"].pivot.word.covers == ()
    assert cluster["c"].notes == []
    cluster.run(LONG, lambda: quiet(cluster))
    assert cluster["b"].codes[-1] == "tail-ended: settled"


def test_a_tail_that_has_not_begun_covers_nobody() -> None:
    cluster = draining(connections=2)
    cluster["d"].slow = 10
    cluster["c"].drained = True
    while cluster["c"].in_force == FULL:
        assert cluster["c"].pivot.state != "covered" or cluster["b"].pivot.state == "tail"
        cluster.step()
    assert cluster["b"].pivot.state == "tail"
    assert lost(cluster) == []


def test_undrained_in_the_tail_it_is_announced_first_and_steering_ends_then() -> None:
    cluster = in_tail()
    cluster.run(seconds(3))
    node = cluster["b"]
    node.drained = False
    while node.in_force != FULL:
        assert cluster["a"].steers_for == "b"
        cluster.step()
    cluster.run(seconds(7))
    assert cluster["a"].steers_for == "b"
    assert node.held
    node.drained = True
    cluster.run(seconds(3))
    assert node.codes == ["tail-started: tail"] * 2, "it is the pivot already, and says what for"
    assert gone(cluster)
    assert node.pivot.left == 5


def test_undrained_before_it_began_nothing_has_happened() -> None:
    cluster = draining()
    cluster.step()
    cluster["b"].drained = False
    cluster.run(seconds(1.5))
    assert cluster["b"].in_force == FULL
    assert cluster["b"].notes == []
    assert quiet(cluster)


def test_a_proxy_that_dies_in_the_tail_ends_it() -> None:
    cluster = in_tail()
    cluster["b"].broken = True
    cluster.run(3)
    assert cluster["b"].codes[-1] == "tail-ended: broken"
    cluster.run(3)
    assert quiet(cluster)


def test_alone_it_asks_nobody() -> None:
    cluster = Cluster("a")
    cluster["a"].drained = True
    cluster.run(5)
    assert cluster["a"].in_force.stance is Stance.SHUT
    assert cluster["a"].pivot.state == "idle"
