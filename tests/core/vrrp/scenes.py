"""One virtual router in a role, adverts for it, and what came out of it."""

from ipaddress import IPv4Address
from typing import Any

from haman.core.vrrp.messages import (
    AdvertisementReceived,
    Observed,
    PeerReleased,
    RoleChanged,
    Started,
)
from haman.core.vrrp.packet import GROUP_V4, Advertisement
from haman.core.vrrp.router import VirtualRouter
from haman.core.vrrp.timers import skew_ns
from haman.core.words import Reason, Role
from tests.core.vrrp.link import S, config

T0 = 50 * S
PEER = IPv4Address("10.77.0.12")
LESSER = IPv4Address("10.77.0.10")
WHY = (Reason("operator", "lb1 was drained"),)
SKEW_150 = skew_ns(3, 150, S)
DOWN_150 = 3 * S + SKEW_150


def advert(priority: int, source=PEER, destination=GROUP_V4, **fields) -> AdvertisementReceived:
    values: dict[str, Any] = {
        "version": 3,
        "vrid": 51,
        "addresses": (IPv4Address("10.77.0.100"),),
        "interval_ns": S,
    } | fields
    return AdvertisementReceived(Advertisement(priority=priority, **values), source, destination)


def new(**options) -> Any:
    """A router of priority 150; Any, since each step's outputs are looked into by position."""
    return VirtualRouter(config(1, **{"priority": 150} | options), T0)


def backup(**options) -> Any:
    router = new(**options)
    router.step(Started(), T0)
    assert router.role is Role.BACKUP
    return router


def active(**options) -> Any:
    router = backup(**options)
    router.step(PeerReleased(), T0)
    assert router.role is Role.ACTIVE
    return router


def kinds(outputs):
    return [type(o).__name__ for o in outputs]


def change(outputs) -> RoleChanged:
    (found,) = [o for o in outputs if isinstance(o, RoleChanged)]
    return found


def code(outputs):
    return change(outputs).reasons[0].code


def codes(outputs):
    return [o.code for o in outputs if isinstance(o, Observed)]


TAKEN = ["SendAdvertisement", "InstallAddresses", "AnnounceAddresses", "RoleChanged"]
