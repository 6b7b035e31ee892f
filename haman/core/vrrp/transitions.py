"""The transitions of one virtual router, as data: tests hold the code to it, diagrams come from it."""

from typing import Final

from haman.core.frozen import dataclass
from haman.core.vrrp.messages import (
    AdvertisementReceived,
    GroupLetGo,
    GroupTookOver,
    HolderReported,
    Input,
    PeerReleased,
    Released,
    Shutdown,
    Started,
    TimePassed,
)
from haman.core.words import Role


@dataclass(frozen=True, slots=True)
class Transition:
    """One way from a role to another.

    Attributes:
        code: of the first reason given with it; "" where reasons come with the event.
        when: the condition, in words.
        does: names of the outputs before `RoleChanged`, in order.
    """

    old: Role
    event: type[Input]
    new: Role
    code: str
    when: str
    does: tuple[str, ...] = ()


_TAKE: Final = ("SendAdvertisement", "InstallAddresses", "AnnounceAddresses")
_HAND_OVER: Final = ("HandOverAddresses",)
_LET_GO: Final = ("SendAdvertisement", "RemoveAddresses")
_IDLE: Final = (Role.INITIALIZE, Role.RELEASED)

TRANSITIONS: Final = (
    *(
        t
        for idle in _IDLE
        for t in (
            Transition(idle, Started, Role.BACKUP, "contending", "priority below 255"),
            Transition(idle, Started, Role.ACTIVE, "address-owner", "priority 255", _TAKE),
        )
    ),
    *(
        Transition(Role.BACKUP, TimePassed, Role.ACTIVE, code, when, _TAKE)
        for code, when in (
            ("no-active-router", "down timer ran out; nobody was ever heard"),
            ("active-router-down", "down timer ran out; the active router fell silent"),
            ("preempting", "down timer ran out; only lower priorities were heard"),
            ("released-by-peer", "skew timer ran out after priority 0"),
        )
    ),
    Transition(Role.BACKUP, PeerReleased, Role.ACTIVE, "", "at once", _TAKE),
    Transition(Role.BACKUP, GroupTookOver, Role.ACTIVE, "", "all members are willing", _TAKE),
    Transition(
        Role.ACTIVE,
        AdvertisementReceived,
        Role.BACKUP,
        "higher-priority",
        "its priority is higher, and ours below 255",
        _LET_GO,
    ),
    Transition(
        Role.ACTIVE,
        AdvertisementReceived,
        Role.BACKUP,
        "greater-address",
        "same priority below 255, its source address is greater",
        _LET_GO,
    ),
    Transition(
        Role.ACTIVE,
        AdvertisementReceived,
        Role.BACKUP,
        "handed-over",
        "it is the taker's, in a planned move",
        _HAND_OVER,
    ),
    Transition(
        Role.ACTIVE,
        HolderReported,
        Role.BACKUP,
        "one-way-loss",
        "as to its advert, if it hears ours, said so since, and no planned move is on",
        _LET_GO,
    ),
    Transition(Role.ACTIVE, GroupLetGo, Role.BACKUP, "group-follows", "at once", _LET_GO),
    Transition(Role.INITIALIZE, Released, Role.RELEASED, "", "at once"),
    Transition(Role.BACKUP, Released, Role.RELEASED, "", "at once"),
    Transition(Role.ACTIVE, Released, Role.RELEASED, "", "at once", _LET_GO),
    Transition(Role.RELEASED, Shutdown, Role.INITIALIZE, "", "at once"),
    Transition(Role.BACKUP, Shutdown, Role.INITIALIZE, "", "at once"),
    Transition(Role.ACTIVE, Shutdown, Role.INITIALIZE, "", "at once", _LET_GO),
)
