"""The time that an anycast address is kept for, held against what must be over when it ends."""

from haman.config.lease import ANYCAST_LEASE_S, RENEWALS_PER_LEASE, shortest_interval_ms
from haman.config.model import Bfd, Bgp, Config, Neighbor, Vip
from haman.controller.peer_side import TICK_MS_MAX
from haman.core.ladder import MISSING_NS
from haman.core.situation import ENGINE_LOST_MS

ROUTERS_MS = 100
"""From an UPDATE until no router has the route (measured)."""


def test_routes_are_withdrawn_before_the_lease_of_a_hung_engine_ends() -> None:
    least_left_ms = ANYCAST_LEASE_S * 1000 * (RENEWALS_PER_LEASE - 1) / RENEWALS_PER_LEASE
    # One tick sees the silence, another the end of the ladder's timer.
    withdrawn_ms = ENGINE_LOST_MS + MISSING_NS / 1e6 + 2 * TICK_MS_MAX + ROUTERS_MS
    assert withdrawn_ms < least_left_ms


def test_the_shortest_interval_is_of_adverts_and_bfd() -> None:
    quick = Neighbor("tor1", "10.0.1.1", "10.0.1.2", 65000, bfd=Bfd(interval_ms=30))
    slow = Neighbor("tor2", "10.0.2.1", "10.0.2.2", 65000)
    vip = Vip("web", "eth0", 51, ("10.77.0.100/24",), advert_interval_ms=100)
    assert shortest_interval_ms(Config()) is None
    assert shortest_interval_ms(Config(bgp=Bgp(65001, "10.0.1.2", neighbor=(slow,)))) is None
    assert shortest_interval_ms(Config(vip=(vip,))) == 100
    both = Config(vip=(vip,), bgp=Bgp(65001, "10.0.1.2", neighbor=(slow, quick)))
    assert shortest_interval_ms(both) == 30
