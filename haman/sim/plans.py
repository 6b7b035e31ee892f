"""What the simulated nodes are configured with: the part of a configuration that cores see."""

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address

from haman.core.gate import GateSettings
from haman.core.handover.messages import VipPlace
from haman.core.handover.steering import LinkPlace
from haman.core.heirs import ConfiguredVip
from haman.core.ladder import ConfiguredAnycast
from haman.core.permits import PermitSettings
from haman.core.vrrp.packet import IPAddress

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class VipPlan:
    """One VIP, as all nodes are configured for it.

    Attributes:
        families: 4, 6 or both: one virtual router each.
        lease_ns: of its addresses in the kernel.
    """

    name: str
    vrid: int
    families: tuple[int, ...] = (4,)
    group: str = ""
    advert_ns: int = NS_PER_S
    preempt_delay_ns: int = 0
    lease_ns: int = 3 * NS_PER_S

    def addresses(self, family: int) -> tuple[IPAddress, ...]:
        """Of one of its virtual routers."""
        if family == 4:
            return (IPv4Address(f"192.0.2.{self.vrid}"),)
        return (IPv6Address(f"2001:db8::{self.vrid:x}"),)


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What one node is configured with.

    Attributes:
        place: from 1; its addresses end in 10 more.
        capacity: full handshakes per second at the knee.
        priorities: by VIP.
        fresh_ns: a report older than that is not fresh.
    """

    name: str
    place: int
    site: str
    vips: tuple[VipPlan, ...]
    anycast: tuple[ConfiguredAnycast, ...]
    gate: GateSettings
    capacity: float
    priorities: dict[str, int] = field(default_factory=dict)
    preempt: bool = True
    report_ns: int = 200 * NS_PER_MS
    sample_ns: int = 200 * NS_PER_MS
    probe_ns: int = NS_PER_S
    probe_timeout_ns: int = 500 * NS_PER_MS
    client_timeout_ns: int = 5 * NS_PER_S
    max_shedding: int = 1

    @property
    def fresh_ns(self) -> int:
        """A report that is older is not fresh."""
        return max(3 * self.report_ns, 500 * NS_PER_MS)

    @property
    def configured_vips(self) -> tuple[ConfiguredVip, ...]:
        """As decisions see them."""
        return tuple(
            ConfiguredVip(v.name, self.priorities[v.name], self.preempt, v.group) for v in self.vips
        )

    @property
    def permits(self) -> PermitSettings:
        """As permits see it."""
        return PermitSettings(
            self.configured_vips,
            self.anycast,
            self.gate.thresholds,
            self.gate.resources,
            self.max_shedding,
            self.gate.hold_ns,
        )

    @property
    def places(self) -> tuple[VipPlace, ...]:
        """Where its adverts come from, by VIP."""
        return tuple(
            VipPlace(v.name, "", tuple(str(self.source(f)) for f in v.families)) for v in self.vips
        )

    @property
    def links(self) -> tuple[LinkPlace, ...]:
        """On which it speaks BGP."""
        return (LinkPlace(f"02:00:00:00:00:{10 + self.place:02x}", (str(self.source(4)),)),)

    def source(self, family: int) -> IPAddress:
        """Where its adverts come from."""
        if family == 4:
            return IPv4Address(f"10.0.0.{10 + self.place}")
        return IPv6Address(f"fe80::{10 + self.place:x}")


def varied(plan: NodePlan, amount: float) -> NodePlan:
    """Another configuration of the same node; `amount`, 0 to 1, says in what."""
    if amount < 0.4:
        return replace(plan, preempt=not plan.preempt)
    if amount < 0.7:
        moved = {name: max(1, priority - 25) for name, priority in plan.priorities.items()}
        return replace(plan, priorities=moved)
    return replace(plan, gate=replace(plan.gate, dwell_ns=plan.gate.dwell_ns + NS_PER_S))
