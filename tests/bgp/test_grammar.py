"""The command grammar: closed, exact, and read back as it was said."""

import struct
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.bgp.grammar import (
    MAX_WEIGHT,
    Route,
    announce,
    community,
    rib_line,
    routes,
    withdraw,
)
from haman.core.announcements import Announcement

TOR4, TOR6 = ip_address("10.0.1.1"), ip_address("2001:db8:1::1")
EDGE = ip_network("192.0.2.100/32")

LINES = [
    (Route(EDGE), 65001, "neighbor 10.0.1.1 announce route 192.0.2.100/32 next-hop self"),
    (
        Route(EDGE, med=100),
        65001,
        "neighbor 10.0.1.1 announce route 192.0.2.100/32 next-hop self med 100",
    ),
    (
        Route(EDGE, shut=True, communities=((65001, 100),)),
        65001,
        (
            "neighbor 10.0.1.1 announce route 192.0.2.100/32 next-hop self"
            " community [ 65001:100 65535:0 ]"
        ),
    ),
    (
        Route(EDGE, communities=((65001, 1, 2), (65001, 100))),
        65001,
        (
            "neighbor 10.0.1.1 announce route 192.0.2.100/32 next-hop self"
            " community [ 65001:100 ] large-community [ 65001:1:2 ]"
        ),
    ),
    (
        Route(EDGE, weight=100),
        65001,
        (
            "neighbor 10.0.1.1 announce route 192.0.2.100/32 next-hop self"
            " extended-community [ bandwidth:65001:12500000 ]"
        ),
    ),
    (
        Route(EDGE, weight=1),
        4_200_000_001,
        (
            "neighbor 10.0.1.1 announce route 192.0.2.100/32 next-hop self"
            " extended-community [ bandwidth:23456:125000 ]"
        ),
    ),
]


@pytest.mark.parametrize(("route", "local_as", "line"), LINES)
def test_routes_are_said_in_numbers(route: Route, local_as: int, line: str) -> None:
    assert announce(route, [TOR4], local_as) == line


def test_a_line_names_every_neighbour_it_is_for() -> None:
    line = withdraw(ip_network("2001:db8::100/128"), [TOR6, ip_address("2001:db8:2::1")])
    assert line == (
        "neighbor 2001:db8:1::1 , neighbor 2001:db8:2::1"
        " withdraw route 2001:db8::100/128 next-hop self"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        Announcement("a", ("192.0.2.100/24",)),
        Announcement("a", ("192.0.2.100/32 community [ graceful-shutdown ]",)),
        Announcement("a", ("shutdown ",)),
        Announcement("a", ("192.0.2.1/32",), communities=("graceful-shutdown",)),
        Announcement("a", ("192.0.2.1/32",), communities=("65536:1",)),
        Announcement("a", ("192.0.2.1/32",), communities=("1:2:3:4",)),
        Announcement("a", ("192.0.2.1/32",), communities=("1:2 ] reset [",)),
        Announcement("a", ("192.0.2.1/32",), communities=tuple(f"1:{n}" for n in range(33))),
        Announcement("a", ("192.0.2.1/32",), weight=-1),
        Announcement("a", ("192.0.2.1/32",), weight=MAX_WEIGHT + 1),
        Announcement("a", ("192.0.2.1/32",), weight=True),
        Announcement("a", ("192.0.2.1/32",), weight="1 shutdown "),  # type: ignore[arg-type]
        Announcement("a", ("192.0.2.1/32",), med=2**32),
    ],
)
def test_what_is_no_number_or_prefix_is_refused(wrong: Announcement) -> None:
    with pytest.raises(ValueError, match=r"."):
        routes(wrong)


def test_graceful_shutdown_is_said_by_the_stance_alone() -> None:
    (route,) = routes(Announcement("a", ("192.0.2.1/32",), communities=("65535:0", "1:2")))
    assert route.communities == ((1, 2),)
    assert "65535:0" not in announce(route, [TOR4], 65001)


numbers16, numbers32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
prefixes = st.one_of(
    st.tuples(numbers32, st.integers(0, 32)).map(
        lambda pair: ip_network((pair[0], pair[1]), strict=False)
    ),
    st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)).map(
        lambda pair: ip_network((pair[0], pair[1]), strict=False)
    ),
)
communities = st.one_of(
    st.tuples(numbers16, numbers16), st.tuples(numbers32, numbers32, numbers32)
).map(lambda numbers: ":".join(map(str, numbers)))
announcements = st.builds(
    Announcement,
    service=st.text(max_size=20),
    prefixes=st.lists(prefixes.map(str), min_size=1, max_size=3).map(tuple),
    shut=st.booleans(),
    weight=st.none() | st.integers(0, MAX_WEIGHT),
    communities=st.lists(communities, max_size=8).map(tuple),
    med=st.none() | numbers32,
)
hostile = st.sampled_from(["shutdown ", "reset ", "restart ", "reload ", "version ", "\n", ";"])
anything = st.builds(
    Announcement,
    service=st.text(max_size=20) | hostile,
    prefixes=st.lists(st.text(max_size=40) | hostile | prefixes.map(str), max_size=2).map(tuple),
    shut=st.booleans(),
    weight=st.none() | st.integers(),
    communities=st.lists(st.text(max_size=40) | hostile | communities, max_size=3).map(tuple),
    med=st.none() | st.integers(),
)


@given(announcements | anything, st.integers(1, 2**32 - 1))
def test_no_line_holds_a_word_that_ends_the_daemon(wanted: Announcement, local_as: int) -> None:
    try:
        said = routes(wanted)
    except ValueError:
        return
    for route in said:
        line = announce(route, [TOR4, TOR6], local_as)
        for text in (line, withdraw(route.prefix, [TOR4])):
            assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789 .:/,[]-")
            for word in ("shutdown", "reset", "restart", "reload", "version", "graceful"):
                assert word not in text
        assert ("65535:0" in line.split()) is route.shut


@given(announcements)
def test_exabgps_picture_of_a_route_reads_back_as_the_route(wanted: Announcement) -> None:
    for route in routes(wanted):
        assert (line := rib_line(printed(route)))
        assert (line.neighbor, line.local_as, line.prefix) == (TOR4, 65001, route.prefix)
        assert line.route == route


def printed(route: Route) -> str:
    """As ExaBGP 5.0.15 prints its adj-rib-out."""
    family = "ipv4" if route.prefix.version == 4 else "ipv6"
    text = (
        "neighbor 10.0.1.1 local-ip 10.0.1.2 local-as 65001 peer-as 65000 router-id 10.0.1.2"
        f" family-allowed in-open {family} unicast {route.prefix} next-hop 10.0.1.2"
    )
    if route.med is not None:
        text += f" med {route.med}"
    standard = [c for c in route.communities if len(c) == 2]
    standard += [(65535, 0)] if route.shut else []
    large = [c for c in route.communities if len(c) == 3]
    for name, values in (("community", standard), ("large-community", large)):
        words = [":".join(map(str, value)) for value in values]
        if words:
            text += f" {name} [ {' '.join(words)} ]" if len(words) > 1 else f" {name} {words[0]}"
    if route.weight is not None:
        bandwidth = struct.pack(">HHf", 0x4004, 65001, route.weight * 125_000).hex().upper()
        text += f" extended-community 0x{bandwidth}"
    return text


@pytest.mark.parametrize(
    "line",
    [
        "",
        "done",
        "neighbor 10.0.1.1 local-ip 10.0.1.2 local-as 65001 peer-as 1 ipv4 flow 192.0.2.1/32",
        "neighbor rubbish local-as 65001 peer-as 1 ipv4 unicast 192.0.2.1/32 next-hop 1.2.3.4",
        "neighbor 10.0.1.1 local-as 65001 peer-as 1 ipv4 unicast 192.0.2.1/24 next-hop 1.2.3.4",
    ],
)
def test_what_is_no_line_of_the_rib_is_none(line: str) -> None:
    assert rib_line(line) is None


@pytest.mark.parametrize(
    "rest",
    [
        " local-preference 100",
        " as-path [ 65001 65001 ]",
        " extended-community target:1:2",
        " extended-community 0x0004FDE94CB2D05E",
        " community [ 1:2 nonsense ]",
    ],
)
def test_attributes_that_are_never_announced_make_the_route_a_stranger(rest: str) -> None:
    line = rib_line(printed(Route(EDGE)) + rest)
    assert line
    assert (line.prefix, line.route) == (EDGE, None)


def test_well_known_names_are_read_as_their_numbers() -> None:
    line = rib_line(printed(Route(EDGE)) + " community [ no-export 65535:0 ]")
    assert line
    assert line.route == Route(EDGE, shut=True, communities=((65535, 65281),))


def test_communities_have_two_or_three_numbers() -> None:
    assert community("65001:100") == (65001, 100)
    assert community("4200000001:1:2") == (4200000001, 1, 2)
