"""From the configuration to virtual routers: one member per VIP and address family. Pure."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from pathlib import Path
from typing import Final

from haman.config.lease import lease_s
from haman.config.model import Config, Vip
from haman.core.facts import VipStance
from haman.core.frozen import dataclass
from haman.core.vrrp.group import Key
from haman.core.vrrp.messages import VirtualRouterConfig
from haman.core.vrrp.packet import Checksum, IPAddress
from haman.engine.claims import Claim
from haman.engine.wires import Wire

# A holder that lets go has its addresses off within 1-2 ms of priority 0 (measured); a guard within
# 1 ms. Less than the shortest advert interval.
HEIR_WAIT_NS: Final = 5_000_000
_NOWHERE: Final[dict[int, IPAddress]] = {4: IPv4Address(0), 6: IPv6Address(0)}
_PASSWORD_BYTES: Final = 8

GroupKey = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member(Claim):
    """One virtual router to be.

    Attributes:
        group: what it moves together with: ("group", its name), or ("vip", its name) alone.
        password: version 2 only; empty = no authentication.
    """

    vip: Vip
    group: GroupKey
    peers: tuple[IPAddress, ...]
    password: bytes = b""

    @property
    def wire(self) -> Wire:
        """Where its adverts go."""
        return (self.interface, self.family)

    @property
    def identity(self) -> tuple[Wire, int]:
        """What makes it another virtual router when it changes."""
        return (self.wire, self.vip.vrid)

    def router(self, source: IPAddress | None, stance: VipStance | None) -> VirtualRouterConfig:
        """The configuration of the virtual router.

        Args:
            source: None = not known yet; such a router must not contend.
            stance: None = not declared yet.
        """
        vip = self.vip
        return VirtualRouterConfig(
            vrid=vip.vrid,
            version=vip.version,
            priority=stance.priority if stance else vip.priority,
            advert_interval_ns=vip.advert_interval_ms * 1_000_000,
            preempt=vip.preempt and (stance is None or stance.preempt),
            preempt_delay_ns=round(vip.preempt_delay_s * 1e9),
            heir_wait_ns=HEIR_WAIT_NS if stance and stance.heir else None,
            addresses=tuple(a.ip for a in self.addresses),
            source=source or _NOWHERE[self.family],
            unicast_peers=self.peers,
            checksum=Checksum(vip.checksum),
            auth_type=1 if self.password else 0,
            auth_data=self.password,
        )


def members(config: Config, passwords: Mapping[str, bytes]) -> dict[Key, Member]:
    """Every virtual router of the configuration."""
    found = {}
    for vip in config.vip:
        addresses = [ip_interface(text) for text in vip.addresses]
        peers = [ip_address(text) for text in vip.unicast_peers]
        for family in sorted({a.version for a in addresses}):
            member = Member(
                service=vip.name,
                family=family,
                interface=vip.interface,
                addresses=tuple(a for a in addresses if a.version == family),
                lease_s=lease_s(config, vip),
                vip=vip,
                group=("group", vip.group) if vip.group else ("vip", vip.name),
                peers=tuple(p for p in peers if p.version == family),
                password=passwords.get(vip.name, b""),
            )
            found[member.key] = member
    return found


def read_passwords(config: Config) -> dict[str, bytes]:
    """The authentication data of version 2 VIPs: what the file says up to the line's end, 8 bytes.

    Raises:
        OSError: a file cannot be read.
    """
    return {
        vip.name: Path(vip.auth_password_file)
        .read_bytes()
        .split(b"\n")[0]
        .strip()[:_PASSWORD_BYTES]
        for vip in config.vip
        if vip.auth_password_file
    }
