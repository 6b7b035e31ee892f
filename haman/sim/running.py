"""What an engine keeps of its VIPs."""

from dataclasses import dataclass, field

from haman.core.facts import VipStance
from haman.core.vrrp.group import Group, Key
from haman.core.vrrp.messages import VirtualRouterConfig
from haman.core.words import Reason, Role
from haman.sim.plans import VipPlan


@dataclass(slots=True)
class RunningGroup:
    """The virtual routers that move together."""

    core: Group
    keys: tuple[Key, ...]
    silent_ns: int
    lease_ns: int
    last_sent_ns: int = 0


@dataclass(slots=True)
class RunningVip:
    """A VIP, and what it is here."""

    plan: VipPlan
    since_ns: int
    stance: VipStance | None = None
    told: tuple[Reason, ...] | None = None
    role: Role = Role.INITIALIZE
    reasons: tuple[Reason, ...] = ()
    configs: dict[int, VirtualRouterConfig] = field(default_factory=dict)
