"""What a virtual router is told (inputs, past tense) and what it asks for (outputs, imperative)."""

from dataclasses import field
from ipaddress import IPv4Address, IPv6Address

from haman.core.facts import HolderWord
from haman.core.frozen import dataclass
from haman.core.vrrp.packet import (
    AUTH_BYTES,
    AUTH_NONE,
    AUTH_PASSWORD,
    GROUP_V4,
    GROUP_V6,
    IPV4,
    IPV6,
    MAX_INTERVAL_NS,
    MIN_INTERVAL_NS,
    V2,
    V3,
    Advertisement,
    Checksum,
    IPAddress,
)
from haman.core.vrrp.timers import NS_PER_S
from haman.core.words import Reason, Role

OWNER_PRIORITY = 255
MAX_VRID = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualRouterConfig:
    """One virtual router: one VRID of one address family on one interface.

    Attributes:
        vrid: 1-255.
        version: 2 or 3; version 2 knows IPv4 only.
        priority: 1-254, or 255 for the owner of the addresses, who is active from the start.
        advert_interval_ns: version 3: 10 ms to 40.95 s in steps of 10 ms; version 2: 1 to 255 s in
            whole seconds.
        preempt: whether a backup takes over from an active router of lower priority.
        preempt_delay_ns: how long such a backup lets the lower one be first. It then still waits
            for its down timer, as at any take-over.
        addresses: the virtual addresses, without prefix length; never empty; link-local ones are put
            first (RFC 9568 section 5.2.9).
        source: the address that adverts are sent from; decides the family and ties. IPv6: the
            link-local address of the interface.
        heir_wait_ns: set where it is known, off the VRRP wire, that this router comes next when the
            active one lets go: how long to wait after priority 0 instead of the skew, which is
            there to sort out who comes next. Time enough for the other's address to be gone.
        yields_to: source of the router that takes over in a planned move: while active, any advert
            of it but priority 0 ends this router's role, without a word.
        takes_from: source of the router that this one takes over from in a planned move: while
            active, its adverts do not make this one yield; those under way are out of date.
        unicast_peers: where adverts go, and the only sources heard; empty = multicast.
        checksum: the form sent in version 3 over IPv4; the other is accepted, and reported.
        auth_type: 0 = none, 1 = plain text password (version 2 only).
        auth_data: the password, at most 8 bytes.

    Raises:
        ValueError: what does not go together.
    """

    vrid: int
    addresses: tuple[IPAddress, ...]
    source: IPAddress
    version: int = 3
    priority: int = 100
    advert_interval_ns: int = NS_PER_S
    preempt: bool = True
    preempt_delay_ns: int = 0
    unicast_peers: tuple[IPAddress, ...] = ()
    checksum: Checksum = Checksum.PSEUDO_HEADER
    auth_type: int = 0
    auth_data: bytes = b""
    heir_wait_ns: int | None = None
    yields_to: IPAddress | None = None
    takes_from: IPAddress | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.vrid <= MAX_VRID:
            raise ValueError(f"vrid {self.vrid} is not in 1-255")
        if not 1 <= self.priority <= OWNER_PRIORITY:
            raise ValueError(f"priority {self.priority} is not in 1-255")
        if not self.addresses:
            raise ValueError(f"virtual router {self.vrid} has no addresses")
        if {a.version for a in (*self.addresses, *self.unicast_peers)} != {self.family}:
            raise ValueError(f"virtual router {self.vrid}: addresses of another family")
        if self.version not in MIN_INTERVAL_NS or (self.version == V2 and self.family == IPV6):
            raise ValueError(f"no VRRP version {self.version} for IPv{self.family}")
        step = MIN_INTERVAL_NS[self.version]
        interval = self.advert_interval_ns
        if interval % step or not step <= interval <= MAX_INTERVAL_NS[self.version]:
            raise ValueError(f"VRRPv{self.version} cannot say an interval of {interval} ns")
        if self.auth_type not in (AUTH_NONE, AUTH_PASSWORD) or (
            self.auth_type != AUTH_NONE and self.version == V3
        ):
            raise ValueError(f"VRRPv{self.version} has no authentication type {self.auth_type}")
        if len(self.auth_data) > AUTH_BYTES:
            raise ValueError(f"the authentication data is longer than {AUTH_BYTES} bytes")
        in_order = tuple(sorted(self.addresses, key=lambda a: not a.is_link_local))
        object.__setattr__(self, "addresses", in_order)

    @property
    def family(self) -> int:
        """4 or 6."""
        return self.source.version

    @property
    def destinations(self) -> tuple[IPAddress, ...]:
        """Where adverts go: the unicast peers, else the multicast group."""
        return self.unicast_peers or ((GROUP_V4 if self.family == IPV4 else GROUP_V6),)


# ---- inputs ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """This node contends from now on. Nothing happens if it does already."""


@dataclass(frozen=True, slots=True)
class Released:
    """This node no longer contends: fault, drain, operator. Ends in role `released`."""

    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The engine is about to end. As `Released`, but ends in role `initialize`."""

    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class AdvertisementReceived:
    """A decoded advert with this router's VRID came in. `destination` is where it was sent to."""

    advertisement: Advertisement
    source: IPAddress
    destination: IPAddress


@dataclass(frozen=True, slots=True)
class PeerReleased:
    """A peer said, off the VRRP wire, that the addresses are free: a backup takes them at once.

    Ignored, with an `Observed`, in any other role.
    """

    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class HolderReported:
    """Another node's engine said, off the VRRP wire and yet on this link, that its router is active.

    While adverts are lost in one direction it stands in for those of a router that hears this one.

    Attributes:
        source: that its adverts of this family come from.
        word: what was said; its instants are in the caller's clock.
    """

    source: IPAddress
    word: HolderWord


@dataclass(frozen=True, slots=True)
class Reconfigured:
    """The configuration or the stance changed; VRID and family may not. The role stays."""

    config: VirtualRouterConfig


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing but time. Give it when `deadline_ns` has come, after everything that was received."""


@dataclass(frozen=True, slots=True)
class GroupTookOver:
    """Every member of the group is willing: a backup becomes active. Only `Group` says so."""

    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupLetGo:
    """Another member became backup: an active one does as well. Only `Group` says so."""

    reasons: tuple[Reason, ...]


Input = (
    Started
    | Released
    | Shutdown
    | AdvertisementReceived
    | PeerReleased
    | HolderReported
    | Reconfigured
    | TimePassed
    | GroupTookOver
    | GroupLetGo
)


# ---- outputs -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendAdvertisement:
    """Send this advert to each of the destinations.

    The same object comes again until something in it changes, so its encoding may be cached by
    identity. `checksum` is for `encode`.
    """

    advertisement: Advertisement
    source: IPAddress
    destinations: tuple[IPAddress, ...]
    checksum: Checksum


@dataclass(frozen=True, slots=True)
class InstallAddresses:
    """Put these addresses on the interface. Idempotent."""

    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class RemoveAddresses:
    """Take these addresses off the interface. Idempotent."""

    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class HandOverAddresses:
    """Another router takes these addresses by a planned move: take them off once it has them."""

    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class AnnounceAddresses:
    """Send gratuitous ARP or unsolicited NA for these addresses, with the configured repeats."""

    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """The role is another one since this step. Only `Observed` may come after it."""

    old: Role
    new: Role
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Discarded:
    """The advert of this step was dropped. Comes for each one: count it, do not log it.

    Attributes:
        reason: own-address, source, destination, vrid, version, auth-type, auth, interval,
            address-list.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Observed:
    """Something an operator may want to know. At most one per code in a minute.

    Attributes:
        code: `conflict`, `one-way-loss`, `adverts-heard`, `preempt-off`, `preempt-delay`, `late`, `peer-released-ignored`, or of
            a peer that disagrees: `interval`, `address-list`, `checksum-form`, `first-address`, or
            as in `Discarded`.
        data: the numbers; `suppressed` counts the observations of this code not reported.
    """

    code: str
    text: str
    data: dict[str, int | float | str] = field(default_factory=dict)


Output = (
    SendAdvertisement
    | InstallAddresses
    | RemoveAddresses
    | HandOverAddresses
    | AnnounceAddresses
    | RoleChanged
    | Discarded
    | Observed
)


@dataclass(frozen=True, slots=True)
class RouterSnapshot:
    """A virtual router at one instant.

    Attributes:
        priority: the one advertised; 0 while not contending.
        since_ns: when the role began, in the caller's clock.
        reasons: of the role.
        deadline_ns: when time next matters.
        active_router: source of the last valid advert of another router; None if none is current.
        active_priority: the priority in it.
        active_interval_ns: the interval in it.
        willing: a member of a group that would take over and waits for the other members.
    """

    config: VirtualRouterConfig
    role: Role
    priority: int
    since_ns: int
    reasons: tuple[Reason, ...]
    deadline_ns: int | None
    active_router: IPv4Address | IPv6Address | None = None
    active_priority: int = 0
    active_interval_ns: int = 0
    willing: bool = False
