"""The time that an anycast address is kept for, held against what must be over when it ends."""

import pytest

from haman.bgp.announcer import RENEW_S
from haman.config.lease import (
    ANYCAST_LEASE_S,
    CONTROLLER_START_S,
    PATIENCE_LEAST_S,
    PATIENCE_S,
    RENEWALS_PER_LEASE,
    controller_patience_s,
    shortest_interval_ms,
)
from haman.config.model import Bfd, Bgp, Config, Neighbor, Vip
from haman.controller.engine_side import ALIVE_NS
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


@pytest.mark.parametrize(
    ("shut_s", "withdraw_s", "patience_s"),
    [
        (10, 60, 5),
        (8, 11, 4),
        (2, 4, PATIENCE_LEAST_S),
        (60, 90, PATIENCE_S),
        (0, 12, 6),
        (0, 0, PATIENCE_S),
    ],
)
def test_a_silent_controller_is_replaced_in_half_of_the_first_lease(
    shut_s: int, withdraw_s: int, patience_s: float
) -> None:
    bgp = Bgp(65001, "10.0.1.2", lease_shut_s=shut_s, lease_withdraw_s=withdraw_s)
    assert controller_patience_s(Config(bgp=bgp)) == patience_s


def test_without_announcements_no_lease_hurries() -> None:
    assert controller_patience_s(Config()) == PATIENCE_S


def test_the_next_controller_has_its_time_before_the_default_lease_ends() -> None:
    bgp = Bgp(65001, "10.0.1.2")
    # The relay was told just before the silence, or a renewal before it; the engine at its start.
    left_s = bgp.lease_shut_s - RENEW_S - controller_patience_s(Config(bgp=bgp))
    assert left_s >= CONTROLLER_START_S
    assert PATIENCE_LEAST_S >= 2 * ALIVE_NS / 1e9


def test_the_shortest_interval_is_of_adverts_and_bfd() -> None:
    quick = Neighbor("tor1", "10.0.1.1", "10.0.1.2", 65000, bfd=Bfd(interval_ms=30))
    slow = Neighbor("tor2", "10.0.2.1", "10.0.2.2", 65000)
    vip = Vip("web", "eth0", 51, ("10.77.0.100/24",), advert_interval_ms=100)
    assert shortest_interval_ms(Config()) is None
    assert shortest_interval_ms(Config(bgp=Bgp(65001, "10.0.1.2", neighbor=(slow,)))) is None
    assert shortest_interval_ms(Config(vip=(vip,))) == 100
    both = Config(vip=(vip,), bgp=Bgp(65001, "10.0.1.2", neighbor=(slow, quick)))
    assert shortest_interval_ms(both) == 30
