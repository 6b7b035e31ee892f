"""Adverts lost in one direction, reports that stand in for them, and that never both are held down."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from haman.core.facts import HolderWord
from haman.core.vrrp.listening import REPORT_STANDS_NS
from haman.core.vrrp.messages import HolderReported, PeerReleased, Reconfigured, Started
from haman.core.vrrp.timers import down_ns
from haman.core.words import Role
from tests.core.vrrp.link import MS, WEB, S, config, steady
from tests.core.vrrp.reporting import Reporting, unserved
from tests.core.vrrp.scenes import DOWN_150, LESSER, PEER, T0, active, advert, code

DOWN = down_ns(3, 100, 100 * MS)


def deaf(**options) -> Reporting:
    """lb1 is active and hears lb2, which hears nobody, for 5 s."""
    world = Reporting((150, 100), **options)
    world.run(5 * S)
    assert world.holders() == ["lb1"]
    world.lose(("lb1", "lb2"))
    world.run(5 * S)
    return world


@pytest.mark.parametrize("preempt", [True, False])
def test_the_lower_one_lets_go_within_an_advert_and_stays_down(preempt):
    world = Reporting((150, 100), preempt=preempt)
    world.run(5 * S)
    world.lose(("lb1", "lb2"))
    double: list[int] = []
    world.run(30 * S, lambda: double.append(len(world.holders())))
    assert world.holders() == ["lb1"]
    assert world.down("lb2")
    assert double.count(2) <= 10  # ticks of 10 ms: an advert interval
    assert double.count(0) == 0
    told = [o for name, o in world.link.observed if name == "lb2"]
    assert [o.code for o in told] == ["one-way-loss"]
    assert "lb1 (10.77.0.11, priority 150) is active and hears this node" in told[0].text
    # Heard again, it is a backup as any other, and takes over as soon as any other.
    world.lose()
    world.run(S)
    assert not world.down("lb2")
    assert [o.code for name, o in world.link.observed if name == "lb2"][1:] == ["adverts-heard"]
    world.link.freeze("lb1")
    world.run(DOWN + 20 * MS)
    assert world.link.role("lb2").value == "active"


@pytest.mark.parametrize("end", ["engine frozen", "reports lost", "released"])
def test_it_takes_over_once_the_word_of_the_other_ends(end):
    world = deaf()
    assert world.holders() == ["lb1"]
    if end == "engine frozen":
        world.link.freeze("lb1")  # its controller reports on and on
    elif end == "reports lost":
        world.reports = lambda *_: None
    else:
        world.release("lb1")
    world.run(REPORT_STANDS_NS + 50 * MS)
    assert "lb2" in world.holders()


def test_a_peers_word_that_the_address_is_free_counts_at_once():
    world = deaf()
    world.release("lb1")
    world.link.tell("lb2", PeerReleased(), WEB)
    assert world.holders() == ["lb2"]


def test_neither_hears_the_other_both_serve():
    world = Reporting((150, 100))
    world.run(5 * S)
    world.lose(("lb1", "lb2"), ("lb2", "lb1"))
    world.run(10 * S)
    assert world.holders() == ["lb1", "lb2"]


def test_the_higher_one_is_never_ended_by_the_lower():
    world = Reporting((150, 100))
    world.lose(("lb2", "lb1"))
    world.run(10 * S)
    assert world.holders() == ["lb1"]
    assert not world.down("lb1")


def test_of_equals_the_greater_address_stays():
    world = Reporting((100, 100))
    world.lose(("lb2", "lb1"))
    world.run(10 * S)
    assert world.holders() == ["lb2"]
    assert world.down("lb1")


def test_the_owner_yields_to_no_report():
    world = Reporting((255, 255))
    world.lose(("lb2", "lb1"))
    world.run(10 * S)
    assert world.holders() == ["lb1", "lb2"]


def test_two_of_three_are_deaf_and_both_stay_down():
    world = Reporting((150, 100, 50))
    world.run(5 * S)
    world.lose(("lb1", "lb2"), ("lb1", "lb3"))
    world.run(10 * S)
    holders: list[list[str]] = []
    world.run(20 * S, lambda: holders.append(world.holders()))
    assert [each for each in holders if each != ["lb1"]] == []


def test_one_of_three_is_deaf_and_the_holder_dies():
    world = Reporting((150, 100, 50))
    world.run(5 * S)
    world.lose(("lb1", "lb2"))
    world.run(5 * S)
    assert world.holders() == ["lb1"]
    world.link.freeze("lb1")
    world.run(REPORT_STANDS_NS + S)
    assert set(world.holders()) == {"lb1", "lb2"}  # lb1 is frozen with it; lb3 has yielded


def test_what_was_said_before_this_one_was_active_ends_nothing():
    """A report that was under way when the holder died."""
    world = Reporting((150, 100))
    world.run(5 * S)
    world.lose(("lb1", "lb2"))
    world.run(S)
    assert world.down("lb2")
    # It dies, and its last words keep coming in, up to when they count no more.
    world.link.freeze("lb1")
    world.run(REPORT_STANDS_NS + 50 * MS)
    assert "lb2" in world.holders()
    taken = len(world.link.changes)
    world.run(10 * S)
    assert len(world.link.changes) == taken


def word(said_ns: int, priority: int = 200) -> HolderReported:
    said = HolderWord("web", "lb2", (str(PEER),), priority, hears_us=True, said_ns=said_ns)
    return HolderReported(PEER, said)


def test_a_word_from_before_this_one_was_active_ends_nothing():
    router = active()
    assert router.step(word(T0), T0 + 100 * MS) == ()
    assert code(router.step(word(T0 + 1), T0 + 100 * MS)) == "one-way-loss"


@pytest.mark.parametrize("moves", ["takes_from", "yields_to"])
def test_in_a_planned_move_a_report_ends_nothing(moves):
    router = active(**{moves: PEER})
    assert router.step(word(T0 + S), T0 + S) == ()
    assert router.role is Role.ACTIVE


def test_whose_adverts_arrive_is_judged_by_them():
    router = active()
    router.step(advert(100), T0 + S)  # it has let its priority down since it said so
    assert router.step(word(T0 + S), T0 + S) == ()


def test_a_word_from_the_future_counts_as_of_now():
    router = active()
    router.step(word(T0 + 1000 * S), T0 + S)
    assert router.role is Role.BACKUP
    assert router.deadline_ns == T0 + S + max(REPORT_STANDS_NS, DOWN_150)


def test_while_held_down_a_third_one_that_lets_go_is_no_reason_to_hurry():
    router = active()
    router.step(word(T0 + S), T0 + S)
    deadline_ns = router.deadline_ns
    router.step(advert(0, source=LESSER), T0 + S)
    router.step(advert(50, source=LESSER), T0 + S)
    router.step(Reconfigured(config(1, priority=140)), T0 + S)
    assert router.deadline_ns == deadline_ns
    router.step(advert(0), T0 + S)  # of the holder itself: as ever
    assert router.deadline_ns < deadline_ns


CUTS = st.sets(st.sampled_from([("lb1", "lb2"), ("lb2", "lb1")]))
DELAYS = st.sampled_from([1 * MS, 50 * MS, 400 * MS, None])
LATEST = 400 * MS


ACTS = st.tuples(
    st.sampled_from(["", "", "freeze lb1", "freeze lb2", "release lb1", "release lb2"]),
    st.integers(5, 60),  # tenths of a second
)


ONE_WAY = ({("lb1", "lb2")}, (MS, MS))


@settings(steady, max_examples=100)
@example((150, 100), True, [(*ONE_WAY, [("", 10), ("freeze lb1", 60)])])
@example((150, 100), False, [(*ONE_WAY, [("", 10), ("release lb1", 60)])])
@given(
    st.sampled_from([(150, 100), (100, 150), (100, 100)]),
    st.booleans(),
    st.lists(
        st.tuples(CUTS, st.tuples(DELAYS, DELAYS), st.lists(ACTS, min_size=1, max_size=4)),
        min_size=1,
        max_size=3,
    ),
)
def test_never_all_are_held_down(priorities, preempt, scenes):
    """Whatever is lost, late, frozen or released: while one runs and contends, nobody serves for no longer
    than a word counts."""
    world = Reporting(priorities, preempt=preempt)
    none_since: int | None = None
    # The word, that it came late and was late to be said; then listening, once more after a stall.
    most = REPORT_STANDS_NS + LATEST + 2 * DOWN + 200 * MS

    def look() -> None:
        nonlocal none_since
        if not unserved(world):
            none_since = None
            return
        none_since = world.link.now if none_since is None else none_since
        assert world.link.now - none_since <= most, "\n".join(world.link.transcript[-30:])

    def act(what: str, tenths: int) -> None:
        verb, _, name = what.partition(" ")
        if verb == "freeze":
            world.link.freeze(name)
        elif verb == "release":
            world.release(name)
        world.run(tenths * 100 * MS, look)
        if verb == "freeze":
            world.link.thaw(name)
        elif verb == "release":
            world.link.tell(name, Started())

    for cuts, delays, acts in scenes:
        world.lose(*cuts)
        late = {("lb1", "lb2"): delays[0], ("lb2", "lb1"): delays[1]}
        world.reports = lambda one, other, late=late: late.get((one, other))
        for what, tenths in acts:
            act(what, tenths)
    world.run(most + S, look)
    world.lose()
    world.reports = lambda *_: 1 * MS
    world.run(6 * S, look)
    assert len(world.holders()) == 1, "\n".join(world.link.transcript[-30:])
