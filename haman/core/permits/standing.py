"""What permits mean for the services of this node: the word of `Permits` to ladder and decider."""

from dataclasses import field

from haman.core.frozen import dataclass
from haman.core.heirs import ConfiguredVip
from haman.core.ladder import ConfiguredAnycast, Shed
from haman.core.saturation import Thresholds
from haman.core.words import Reason

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class PermitSettings:
    """What the configuration says, as far as permits go.

    Attributes:
        thresholds: of this node's gate, for every resource that `resources` does not name. `hard`
            is the limit of what is granted, `recover` of what is taken back.
        max_shedding: nodes that shed at once; 0 = nobody ever does.
        hold_ns: the first hold before a node that shed takes load back; doubles with each flap.
    """

    vips: tuple[ConfiguredVip, ...] = ()
    anycast: tuple[ConfiguredAnycast, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)
    resources: dict[str, Thresholds] = field(default_factory=dict)
    max_shedding: int = 1
    hold_ns: int = 30 * NS_PER_S

    def of(self, resource: str) -> Thresholds:
        """The thresholds of one resource."""
        return self.resources.get(resource, self.thresholds)


@dataclass(frozen=True, slots=True)
class Standing:
    """What this node may do about its load now.

    Attributes:
        sheds: by anycast service of which this node serves less than configured.
        holding: why no (further) load may move; None = nobody asked, or it moves now.
    """

    sheds: dict[str, Shed] = field(default_factory=dict)
    holding: Reason | None = None


@dataclass(frozen=True, slots=True)
class VipMove:
    """Move a VIP, and what moves with it, to a peer that consented: begin a failover now."""

    vip: str
    to: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something about permits for the journal.

    Attributes:
        type: of the event: permit-granted, permit-denied, permit-ended.
    """

    type: str
    text: str
    service: str = ""
    reasons: tuple[Reason, ...] = ()
    data: dict[str, int | float | str] = field(default_factory=dict)
