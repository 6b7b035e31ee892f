"""What the engine and the controller of a simulated host are surrounded by."""

from typing import Protocol

from haman.core.announcements import Announcement, AnycastStance
from haman.core.facts import EngineReported, HoldersSaid, ServingProxy, VipStance
from haman.core.handover.pivot_facts import TailNote
from haman.core.handover.steering import SteerOrder
from haman.core.permits import Message, VipMove
from haman.core.situation import OperatorIntent
from haman.core.vrrp.group import Key
from haman.core.vrrp.messages import SendAdvertisement
from haman.core.words import Reason
from haman.sim.peers import Posted
from haman.sim.senses import Proxy

Declared = tuple[
    tuple[VipStance, ...], tuple[AnycastStance, ...], tuple[SteerOrder, ...], ServingProxy | None
]
"""By a controller to its engine: stances for VIPs and anycast services, orders for tails, who serves."""


class AroundEngine(Protocol):
    """What an engine is surrounded by."""

    def multicast(self, key: Key, advert: SendAdvertisement) -> None:
        """Send to everybody on the link."""

    def engine_said(self, report: EngineReported) -> None:
        """Tell the controller."""

    def vip_released(self, vip: str, reasons: tuple[Reason, ...]) -> None:
        """Tell the controller that the kernel has let go of a VIP."""

    def note(self, what: str, why: str = "") -> None:
        """Into the transcript."""


class AroundController(Proxy, Protocol):
    """What a controller is surrounded by."""

    intent: OperatorIntent
    """On disk."""

    def declare(self, wanted: Declared) -> None:
        """Tell the engine."""

    def order(self, vip: str, reasons: tuple[Reason, ...]) -> None:
        """Have the engine take a VIP."""

    def holders_said(self, said: HoldersSaid) -> None:
        """Tell the engine what peers said."""

    def announce(self, wanted: tuple[Announcement, ...]) -> None:
        """Tell the relay."""

    def announced(self) -> tuple[Announcement, ...] | None:
        """What the relay holds; None while it is not reached."""

    def sessions_up(self) -> int:
        """Routers that hear this host."""

    def greet(self) -> None:
        """Have the peers say at once what they are."""

    def publish(self, posted: Posted) -> None:
        """Tell the peers."""

    def tell_released(self, heir: str, vip: str, reasons: tuple[Reason, ...]) -> None:
        """Tell the heir that a VIP is free."""

    def tell(self, peer: str, message: Message) -> None:
        """Send a peer a word about permits."""

    def moves(self, move: VipMove) -> None:
        """A VIP is about to move by permit."""

    def tail_noted(self, service: str, note: TailNote) -> None:
        """A tail of a service began, is over, or is not to be had."""
