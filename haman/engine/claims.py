"""What may be held: the addresses of one service and family, together on one interface. Pure."""

from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network
from socket import AF_INET, AF_INET6
from typing import Literal

from haman.config.lease import anycast_lease_s
from haman.config.model import Config
from haman.core.frozen import dataclass
from haman.core.vrrp.group import Key
from haman.system.netlink import InterfaceAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Addresses that are held together or not at all.

    Attributes:
        service: name of the VIP or the anycast service; no two services share one.
        lease_s: of the addresses in the kernel.
    """

    service: str
    family: int
    interface: str
    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    lease_s: int
    kind: Literal["vip", "tail", "anycast"] = "vip"

    @property
    def guarded(self) -> bool:
        """The guard takes them off at once when the engine dies. Not those of anycast: see there."""
        return self.kind != "anycast"

    @property
    def key(self) -> Key:
        """Name of the service, and family."""
        return (self.service, self.family)

    def places(self, ifindex: int) -> frozenset[InterfaceAddress]:
        """Its addresses on the interface that bears this index now."""
        family = AF_INET if self.family == 4 else AF_INET6
        return frozenset(
            InterfaceAddress(ifindex, family, str(a.ip), a.network.prefixlen)
            for a in self.addresses
        )


def anycast_claims(config: Config) -> dict[Key, Claim]:
    """The host addresses of every anycast service: 192.0.2.100/32 is held as exactly that.

    Of a prefix that is shorter no address is held: which of them clients use is not in the
    configuration, and a route to the whole of it on `lo` would be the operator's to want. `haman
    check` says so.
    """
    found = {}
    for service in config.anycast:
        prefixes = [ip_network(text) for text in service.prefixes]
        hosts = [ip_interface(p) for p in prefixes if p.prefixlen == p.max_prefixlen]
        for family in sorted({host.version for host in hosts}):
            claim = Claim(
                service=service.name,
                family=family,
                interface=service.interface,
                addresses=tuple(host for host in hosts if host.version == family),
                lease_s=anycast_lease_s(config),
                kind="anycast",
            )
            found[claim.key] = claim
    return found


def every_address(claims: Iterable[Claim]) -> frozenset[tuple[str, str]]:
    """Interface name and address of each."""
    return frozenset((c.interface, str(a.ip)) for c in claims for a in c.addresses)
