"""Both machines together: the good way, every interrupted prefix of it, and a bad network."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haman.core.handover.giver import Giver
from haman.core.handover.messages import NS_PER_MS, Cancelled, Ended, Phase, Side, Step
from haman.core.handover.taker import HEARD_NS, Taker
from haman.core.words import Reason
from tests.core.handover.world import A_PLACES, DOWN_TICKS, TAIL_NS, TICK_NS, VIPS, World

LONG = 2000
"""Ticks in which everything must have ended: 20 s."""


def codes(world: World) -> tuple[list[str], list[str]]:
    return [e.reason.code for e in world.a.ended], [e.reason.code for e in world.b.ended]


def finished(**more) -> World:
    world = World(**more)
    world.run(LONG, lambda: world.over)
    return world


def test_the_good_way() -> None:
    world = finished()
    world.check_end()
    assert world.b.active
    assert world.unserved == 0
    assert codes(world) == (["served"], ["served"])
    assert world.a.moved
    assert world.b.moved
    phases = list(dict.fromkeys(said.phase for said in world.sent))
    assert phases == [
        Phase.OFFER,
        Phase.READY,
        Phase.TAKE,
        Phase.TAKEN,
        Phase.TAIL,
        Phase.DONE,
    ]


def test_the_tail_lasts_as_long_as_its_connections() -> None:
    world = World(connections=7)
    world.run(150, lambda: world.a.moved)
    world.run(200)
    assert isinstance(world.a.machine, Giver)
    assert world.a.machine.snapshot().connections == 7
    assert {(o.side, o.step) for o in (*world.a.orders, *world.b.orders)} == {
        (Side.GIVING, Step.TAIL),
        (Side.TAKING, Step.TAIL),
    }
    world.a.connections = 0
    world.run(5)
    assert codes(world)[0] == ["served"]
    world.run(LONG, lambda: world.over)
    world.check_end()


def test_the_tail_ends_at_its_timeout_and_says_what_it_cut() -> None:
    world = finished(connections=7)
    world.check_end()
    (ended,) = world.a.ended
    assert (ended.moved, ended.reason.code, ended.cut) == (True, "tail-timeout", 7)
    assert "7 connections were left after 3 s" in ended.reason.text


def whole() -> int:
    """Ticks of the good way, until the tail."""
    world = World()
    world.run(LONG, lambda: world.a.moved and world.b.moved)
    return world.tick + 5


@pytest.mark.parametrize("dies", ["a", "b"])
def test_a_node_that_dies_at_any_instant(dies: str) -> None:
    for tick in range(whole() + 20):
        world = World(connections=3)
        world.run(tick)
        world.kill(world.a if dies == "a" else world.b)
        world.run(HEARD_NS // TICK_NS + DOWN_TICKS)
        survivor = world.b if dies == "a" else world.a
        assert survivor.active, tick
        assert survivor.machine is None, tick
        assert survivor.ordered == (), tick
        assert world.unserved <= DOWN_TICKS + 2, tick


@pytest.mark.parametrize("silent", ["a", "b", "both"])
def test_messages_that_stop_at_any_instant(silent: str) -> None:
    for last in range(20):

        def fate(number: int, said, last: int = last) -> list[int]:
            mine = said.places == A_PLACES or said.phase in {Phase.DONE, Phase.TAIL}
            stops = silent == "both" or (silent == "a") == mine
            return [] if stops and number >= last else [1]

        world = finished(fate=fate)
        world.check_end()
        assert world.unserved == 0, last
        # The giver says that it moved only if it did.
        assert world.a.moved == world.b.active, last


@given(
    st.lists(
        st.sampled_from([[], [1], [1], [1], [1, 3], [12], [40], [1, 90]]), min_size=1, max_size=60
    )
)
@settings(max_examples=60, deadline=None)
def test_messages_lost_repeated_and_late(fates: list[list[int]]) -> None:
    world = finished(fate=lambda number, _: fates[number % len(fates)], connections=0)
    world.check_end()
    assert world.unserved == 0
    assert world.a.moved == world.b.active
    assert len([o for o in world.a.outputs if isinstance(o, Ended)]) == 1


def test_a_taker_that_never_answers() -> None:
    world = World()
    world.b_answers = False
    world.run(LONG, lambda: world.over)
    world.check_end()
    assert world.a.active
    assert codes(world)[0] == ["no-answer"]


def test_a_taker_whose_rules_are_refused() -> None:
    world = World()
    world.b.refusal = Reason("no-rules", "libnftables is not installed")
    world.run(LONG, lambda: world.over)
    world.check_end()
    assert world.a.active
    assert codes(world) == (["no-rules"], ["no-rules"])
    text = world.a.ended[0].reason.text
    assert text == "b does not take web and api: libnftables is not installed"


def test_a_taker_that_lies_about_being_ready() -> None:
    world = World()
    world.b_takes = False
    world.run(LONG, lambda: world.over)
    world.check_end()
    assert world.a.active
    assert world.unserved == 0
    # The taker knows a moment before the giver's patience ends.
    assert codes(world)[0] == ["not-acquired"]


def test_a_taker_that_claims_what_it_has_not() -> None:
    """TAKEN is said, and no advert of it ever came: this node is active still."""
    world = World()
    world.run(LONG, lambda: any(s.phase is Phase.TAKE for s in world.sent))
    world.b_takes = False
    machine = world.b.machine
    assert isinstance(machine, Taker)
    machine._enter("taken", world.now + TAIL_NS, world.now)
    world.run(3)
    assert not world.a.moved
    world.run(LONG, lambda: world.over)
    assert world.a.active
    assert not world.a.moved


def test_a_giver_whose_rules_are_refused() -> None:
    world = World()
    world.a.refusal = Reason("no-rules", "libnftables is not installed")
    world.run(LONG, lambda: world.over)
    world.check_end()
    assert world.a.active
    assert codes(world)[0] == ["no-rules"]


@pytest.mark.parametrize("step", [Step.READY, Step.TAKE])
@pytest.mark.parametrize("who", ["a", "b"])
def test_an_engine_that_hangs_at_a_step(who: str, step: Step) -> None:
    world = World()
    (world.a if who == "a" else world.b).stuck = step
    world.run(LONG, lambda: world.over)
    world.check_end()
    assert world.unserved == 0
    assert world.a.active
    assert [e.moved for e in world.a.ended] == [False]


def test_cancelled_at_any_instant() -> None:
    for tick in range(whole()):
        world = World()
        world.run(tick)
        machine = world.a.machine
        assert machine is not None
        moved = world.a.moved
        world.a.outputs += machine.step(Cancelled(Reason("fault", "the proxy died")), world.now)
        world.run(LONG, lambda: world.over)  # noqa: B023
        world.check_end()
        assert world.unserved == 0, tick
        assert world.a.moved == moved == world.b.active or world.b.active, tick


def test_a_vip_that_comes_back_ends_the_tail() -> None:
    world = World(connections=5)
    world.run(LONG, lambda: world.a.moved)
    world.run(10)
    world.kill(world.b)
    world.run(DOWN_TICKS + 3)
    assert world.a.active
    assert codes(world)[0] == ["taken-back"]
    assert world.a.orders == ()


def test_both_go_on_with_what_the_engine_kept() -> None:
    world = World(connections=5)
    world.run(LONG, lambda: world.a.moved and world.b.moved)
    world.run(20)
    world.a.machine = Giver.adopt(world.a.reports(), world.now)
    world.b.machine = Taker.adopt(world.b.reports(), world.now)
    assert world.a.machine.vips == VIPS
    world.run(50)
    assert world.a.machine.snapshot().connections == 5
    world.a.connections = 0
    world.run(LONG, lambda: world.over)
    world.check_end()
    assert codes(world) == (["served"], ["served"])


def test_nothing_is_said_more_often_than_it_needs() -> None:
    world = World(connections=1)
    world.b_answers = False
    world.run(100)
    assert len(world.sent) <= 12  # every 100 ms
    world = World(connections=1)
    world.run(LONG, lambda: world.a.moved)
    sent = len(world.sent)
    world.run(200)
    assert len(world.sent) - sent <= 6
    assert TAIL_NS // NS_PER_MS == 3000
