"""What a router's kernel does with the prefixes, heard for real: plain, weighted, IPv6, floor, gone."""

from collections.abc import Iterator

import pytest

from haman.lab import kernel, routes
from haman.lab.paths import Hop, Route
from haman.lab.services import Anycast, Services
from tests.engine.net import Namespace

pytestmark = pytest.mark.privileged

V4, V6 = "192.0.2.100/32", "2001:db8::100/128"
NODES = ("lb1", "lb2")
SERVICES = Services(
    anycasts=(Anycast("edge", (V4, V6), NODES),),
    routers=("router",),
    next_hops={"10.9.0.11": "lb1", "10.9.0.12": "lb2", "fd09::11": "lb1", "fd09::12": "lb2"},
)
BOTH = "nexthop via {0}11 weight {1} nexthop via {0}12 weight {2}"


@pytest.fixture
def router() -> Iterator[Namespace]:
    made = Namespace()
    made.run(
        "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad;"
        "ip link add eth1 type veth peer name eth2; ip link set eth2 up; ip link set eth1 up;"
        "ip addr add 10.9.0.1/24 dev eth1; ip addr add fd09::1/64 dev eth1 nodad"
    )
    yield made
    made.close()


def heard(router: Namespace, *commands: str) -> dict[str, list[Route]]:
    """What a watch notes of each prefix while commands run; the state before comes first."""
    watch = routes.Watch({"router": router.holder.pid}, SERVICES)
    watch.start()
    try:
        for command in commands:
            before = routes.routes_now({"router": router.holder.pid}, SERVICES)
            router.run(command)
            after = routes.routes_now({"router": router.holder.pid}, SERVICES)
            changed = {prefix for prefix in (V4, V6) if before[prefix] != after[prefix]}
            assert kernel.wait_until(
                lambda changed=changed, after=after: all(
                    last(watch, p) == after[p] for p in changed
                ),
                10,
            ), watch.changes
    finally:
        watch.stop()
    assert watch.overruns == 0
    return {p: [c.route for c in watch.changes if c.prefix == p] for p in (V4, V6)}


def last(watch: routes.Watch, prefix: str) -> Route:
    return [change.route for change in watch.changes if change.prefix == prefix][-1]


def test_what_is_there_before_is_the_first_change(router: Namespace) -> None:
    router.run(f"ip route add {V4} proto bgp metric 20 {BOTH.format('10.9.0.', 1, 1)}")
    router.run(f"ip -6 route add {V6} proto bgp metric 20 {BOTH.format('fd09::', 1, 1)}")
    both = Route((Hop("lb1"), Hop("lb2")))
    assert heard(router) == {V4: [both], V6: [both]}
    assert routes.routes_now({"router": router.holder.pid}, SERVICES) == {V4: both, V6: both}


def test_weights_withdrawal_and_floor(router: Namespace) -> None:
    gateways = BOTH.format("10.9.0.", 25, 75)
    told = heard(
        router,
        f"ip route add {V4} proto bgp metric 20 {gateways}",
        f"ip route replace {V4} proto bgp metric 20 via 10.9.0.12",
        f"ip route replace {V4} proto 196 metric 20 {BOTH.format('10.9.0.', 1, 1)}",
        f"ip route del {V4}",
    )
    assert told[V4] == [
        Route(),
        Route((Hop("lb1", 25), Hop("lb2", 75))),
        Route((Hop("lb2"),)),
        Route((Hop("lb1"), Hop("lb2")), floor=True),
        Route(),
    ]
    assert told[V6] == [Route()]


def test_a_route_by_nexthop_objects_is_understood(router: Namespace) -> None:
    told = heard(
        router,
        "ip nexthop add id 1 via fd09::11 dev eth1; ip nexthop add id 2 via fd09::12 dev eth1;"
        "ip nexthop add id 3 group 1/2",
        f"ip -6 route add {V6} proto bgp metric 20 nhid 3",
        f"ip -6 route replace {V6} proto bgp metric 20 nhid 2",
    )
    assert told[V6][-1] == Route((Hop("lb2"),))
    assert Route((Hop("lb1"), Hop("lb2"))) in told[V6]


def test_ipv6_paths_that_come_one_by_one_are_one_route(router: Namespace) -> None:
    told = heard(
        router,
        f"ip -6 route add {V6} proto bgp metric 20 via fd09::11",
        f"ip -6 route append {V6} proto bgp metric 20 via fd09::12",
        f"ip -6 route del {V6} proto bgp metric 20 via fd09::11",
    )
    assert told[V6] == [
        Route(),
        Route((Hop("lb1"),)),
        Route((Hop("lb1"), Hop("lb2"))),
        Route((Hop("lb2"),)),
    ]


def test_the_lowest_metric_is_what_the_kernel_uses(router: Namespace) -> None:
    told = heard(
        router,
        f"ip route add {V4} proto static metric 250 via 10.9.0.12",
        f"ip route add {V4} proto bgp metric 20 via 10.9.0.11",
        f"ip route del {V4} proto bgp metric 20",
    )
    floor = Route((Hop("lb2"),), floor=True)
    assert told[V4] == [Route(), floor, Route((Hop("lb1"),)), floor]


def test_other_tables_and_prefixes_are_nothing_to_it(router: Namespace) -> None:
    told = heard(
        router,
        f"ip route add {V4} table 100 via 10.9.0.11",
        "ip route add 192.0.2.0/24 via 10.9.0.11",
    )
    assert told == {V4: [Route()], V6: [Route()]}
