"""Where a router sends a prefix: from notifications to spans and sums."""

from haman.lab.paths import (
    Hop,
    Route,
    RouteChanged,
    RouteSpan,
    floor_ns,
    gone_ns,
    spans,
    unrouted_ns,
)

PREFIX = "192.0.2.100/32"
ALL = Route((Hop("lb1"), Hop("lb2"), Hop("lb3")))
REST = Route((Hop("lb2"), Hop("lb3")))
FLOOR = Route(ALL.hops, floor=True)
NOWHERE = Route()


def changes(*rows: tuple[int, Route]) -> list[RouteChanged]:
    return [RouteChanged(at_ns, PREFIX, route) for at_ns, route in rows]


def test_changes_become_spans_and_what_went_before_is_state() -> None:
    found = spans(changes((-5, ALL), (100, NOWHERE), (101, REST)), PREFIX, 0, 200)
    assert found == (
        RouteSpan(0, 100, ALL),
        RouteSpan(100, 101, NOWHERE),
        RouteSpan(101, 200, REST),
    )
    assert unrouted_ns(found) == 1
    assert floor_ns(found) == 0


def test_other_prefixes_and_what_comes_after_the_end_do_not_count() -> None:
    heard = [*changes((0, ALL), (300, REST)), RouteChanged(50, "2001:db8::100/128", REST)]
    assert spans(heard, PREFIX, 0, 200) == (RouteSpan(0, 200, ALL),)


def test_a_prefix_that_was_never_heard_of_goes_nowhere() -> None:
    found = spans([], PREFIX, 0, 200)
    assert unrouted_ns(found) == 200
    assert gone_ns(found, "lb1", 50) == 50


def test_a_node_is_gone_when_it_gets_nothing_by_bgp() -> None:
    found = spans(changes((0, ALL), (100, REST), (150, ALL)), PREFIX, 0, 200)
    assert gone_ns(found, "lb1", 40) == 100
    assert gone_ns(found, "lb1", 120) == 120
    assert gone_ns(found, "lb1", 160) is None
    assert gone_ns(found, "lb2", 0) is None


def test_the_floor_is_no_announcement() -> None:
    found = spans(changes((0, ALL), (100, FLOOR)), PREFIX, 0, 200)
    assert gone_ns(found, "lb1", 0) == 100
    assert floor_ns(found) == 100
    assert unrouted_ns(found) == 0
    assert found[-1].route.by_bgp == ()


def test_routes_are_said_in_words() -> None:
    assert str(ALL) == "lb1, lb2, lb3"
    assert str(Route((Hop("lb1", 20), Hop("lb2", 40)))) == "lb1 × 20, lb2 × 40"
    assert str(FLOOR) == "lb1, lb2, lb3 (the floor: none announces)"
    assert str(NOWHERE) == "nowhere"
