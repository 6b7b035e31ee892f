"""Driver, relay and ExaBGP against FRR: what is announced, changed, withdrawn."""

import pytest

from tests.bgp.conftest import Cable
from tests.bgp.rig import EDGE4, EDGE6, FRR, config, edge, neighbor, running, until
from tests.bgp.routers import Frr

pytestmark = [pytest.mark.privileged, pytest.mark.real("frr")]


async def test_both_families_are_announced_with_their_attributes(cable: Cable, frr: Frr) -> None:
    async with running(cable.node, config()) as node:
        wanted = edge(weight=100, communities=("65001:100", "65001:1:2"), med=7)
        await node.announced(wanted)
        await node.up()
        for prefix, router in ((EDGE4, "10.0.1.2"), (EDGE6, "2001:db8:1::2")):
            await until(lambda p=prefix: frr.kernel(p), what=lambda: node)
            (path,) = frr.paths(prefix)
            assert path["metric"] == 7
            assert path["community"]["list"] == ["65001:100"]
            assert path["largeCommunity"]["list"] == ["65001:1:2"]
            assert "LB:65001:12500000" in path["extendedCommunity"]["string"]
            assert router in [hop["ip"] for hop in path["nexthops"]]
        assert node.seen.problem == ""
        assert [event.type for event in node.events].count("bgp-session-up") == 2


def withdrawals(frr: Frr) -> int:
    """UPDATEs with a withdrawn prefix in them, as bgpd's log has them."""
    return frr.daemons["bgpd"].said().count("withdrawn")


async def test_every_change_of_attributes_happens_in_place(cable: Cable, frr: Frr) -> None:
    frr.vtysh("configure terminal", "debug bgp updates in", "log stdout debugging")
    async with running(cable.node, config()) as node:
        await node.announced(edge(weight=100))
        await node.up()
        await until(lambda: frr.kernel(EDGE4) and frr.kernel(EDGE6), what=lambda: node)
        for wanted in (
            edge(weight=50),
            edge(shut=True, weight=50),
            edge(shut=True),
            edge(weight=100, med=3, communities=("65001:7",)),
            edge(weight=25),
            edge(weight=100),
        ):
            await node.announced(wanted)
        bandwidth = "LB:65001:12500000"
        for prefix in (EDGE4, EDGE6):
            await until(lambda p=prefix: bandwidth in str(frr.paths(p)), what=lambda: node)
        assert withdrawals(frr) == 0
        assert node.seen.counters.get("commands_refused", 0) == 0

        await node.announced()
        for prefix in (EDGE4, EDGE6):
            await until(lambda p=prefix: not frr.kernel(p), what=lambda: node)
        assert withdrawals(frr) > 0  # so that they would have been seen


async def test_the_last_of_rapid_changes_is_what_the_router_has(cable: Cable, frr: Frr) -> None:
    """ExaBGP merges what it has not sent yet: A, B, A in one gulp would end as B on the wire."""
    async with running(cable.node, config(neighbor())) as node:
        await node.announced(edge(EDGE4, weight=100))
        await node.up()
        for _ in range(10):
            for weight in (50, 25, 50, 100):
                node.announcer.declare((edge(EDGE4, weight=weight),))
                await until(lambda w=weight: any(a.weight == w for a in node.seen.announced))
        await until(lambda: "LB:65001:12500000" in str(frr.paths(EDGE4)), 5, lambda: node)


async def test_graceful_shutdown_is_heard_and_does_not_end_exabgp(cable: Cable, frr: Frr) -> None:
    async with running(cable.node, config()) as node:
        await node.announced(edge(shut=True, weight=100))
        await node.up()
        await until(lambda: "graceful-shutdown" in str(frr.paths(EDGE4)), what=lambda: node)
        (path,) = frr.paths(EDGE4)
        assert path.get("locPrf") == 0
        assert node.exabgp
        assert node.exabgp.process.poll() is None
        await node.announced(edge(weight=100))
        await until(lambda: "graceful-shutdown" not in str(frr.paths(EDGE4)), what=lambda: node)


async def test_a_four_byte_as_announces_weights_too(cable: Cable) -> None:
    configuration = FRR.replace("remote-as 65001", "remote-as 4200000001")
    with Frr(cable.router, configuration) as frr:
        async with running(cable.node, config(neighbor(), local_as=4_200_000_001)) as node:
            await node.announced(edge(EDGE4, weight=100))
            await node.up()
            await until(lambda: "LB:23456:12500000" in str(frr.paths(EDGE4)), what=lambda: node)


async def test_routes_come_back_after_the_router_clears_the_session(cable: Cable, frr: Frr) -> None:
    async with running(cable.node, config()) as node:
        await node.announced(edge(weight=100))
        await until(lambda: frr.kernel(EDGE4) and frr.kernel(EDGE6), what=lambda: node)
        frr.vtysh("clear bgp *")
        await until(lambda: len(node.told("bgp-session-down")) == 2, what=lambda: node)
        # The router's RST may overtake its NOTIFICATION, when ExaBGP was just writing.
        codes = {event.reasons[0].code for event in node.told("bgp-session-down")}
        assert codes <= {"notification", "connection-lost"}
        await node.up()
        await until(lambda: frr.kernel(EDGE4) and frr.kernel(EDGE6), what=lambda: node)
