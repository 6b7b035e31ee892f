"""How long what a node gives others outlives who renews it, and what must happen before.

Addresses: the engine sets this lifetime on those it holds, and the lint warns of a configured one that
is too short. Announcements: the relay leases them to the controller, whom the engine replaces in time.
"""

from haman.config.model import Config, Vip

LEASE_MIN_S = 3
"""Design: the kernel counts lifetimes in whole seconds, and renewals need room within them."""

LEASE_MARGIN_MS = 1000
"""What a renewal may be late, on top of the time that the peers need."""

RENEWALS_PER_LEASE = 3
"""So a lease has at least two thirds of its time left when the engine that renews it hangs."""

ANYCAST_LEASE_S = 15
"""Nothing may be announced when it ends, at the earliest 10 s after an engine hung. The controller has
the routes withdrawn within some 9 s: 7 s of silence (`core.situation`), 1 s in which the engine may
yet speak (`core.ladder`), and two ticks. The unit's watchdog kills the engine at about that time, and
ExaBGP with it; it is not needed for this."""


PATIENCE_S = 10
"""A controller that is silent for so long hangs, whatever it was busy with."""

PATIENCE_LEAST_S = 3
"""It says something each second (`controller.engine_side`); two of those may be late."""

CONTROLLER_START_S = 2
"""Until a controller that replaces another has renewed the lease on what is announced: 0.6 s on an idle
host, 1.7 s on a crowded one (measured)."""


def shortest_interval_ms(config: Config) -> int | None:
    """At which a neighbour or peer wants to hear of this node, by BFD or adverts; None = none does."""
    neighbors = config.bgp.neighbor if config.bgp else ()
    adverts = [vip.advert_interval_ms for vip in config.vip]
    bfd = [neighbor.bfd.interval_ms for neighbor in neighbors if neighbor.bfd]
    return min(adverts + bfd, default=None)


def take_over_ms(vip: Vip) -> int:
    """Upper bound of the time after which a backup takes over from a silent active router, in ms.

    Active_Down_Interval = 3 × advertisement interval + skew (RFC 9568 section 6.1), with the skew
    of the lowest priority, 1: the peers' priorities are not in this node's configuration.
    Version 2 takes the skew from whole seconds (RFC 3768 section 6.1).
    """
    skew_unit_ms = 1000 if vip.version == 2 else vip.advert_interval_ms
    skew_ms = -(-skew_unit_ms * 255 // 256)
    return 3 * vip.advert_interval_ms + skew_ms


def derived_lease_s(vip: Vip) -> int:
    """Whole seconds that outlast the slowest take-over by the margin, at least `LEASE_MIN_S`."""
    return max(LEASE_MIN_S, -(-(take_over_ms(vip) + LEASE_MARGIN_MS) // 1000))


def lease_s(config: Config, vip: Vip) -> int:
    """Give the lease of a VIP's addresses: `engine.lease_s`, or the derived one where that is 0."""
    return config.engine.lease_s or derived_lease_s(vip)


def anycast_lease_s(config: Config) -> int:
    """Give the lease of an anycast service's addresses: `ANYCAST_LEASE_S`, or a longer `lease_s`.

    An engine that dies takes ExaBGP with it, and a router needs 0.1 s to withdraw (measured). One
    that hangs does not: until the watchdog has killed it, or the controller had the routes withdrawn,
    routers send to this node, whose proxy answers as long as the address is there. Nobody else needs
    it to be gone.
    """
    return max(config.engine.lease_s, ANYCAST_LEASE_S)


def controller_patience_s(config: Config) -> float:
    """For how long the controller may be silent, in seconds, until the engine starts another.

    Half of the lease on what is announced, which the next one has to renew within `CONTROLLER_START_S`. From
    `PATIENCE_LEAST_S`, which a shorter lease than both does not wait for (the lint warns), to `PATIENCE_S`.
    """
    bgp = config.bgp
    ends = [end for end in (bgp.lease_shut_s, bgp.lease_withdraw_s) if end] if bgp else []
    return max(PATIENCE_LEAST_S, min([PATIENCE_S, *(end / 2 for end in ends)]))
