"""What a host needs of the world around it, and what may be wrong with it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from haman.core.handover.pivot_facts import TailNote
from haman.core.permits import Message, VipMove
from haman.core.reports import NodeReport
from haman.sim.bgp import Routers
from haman.sim.connections import Connections
from haman.sim.loop import Loop
from haman.sim.network import Network


class Surroundings(Protocol):
    """The world around a host."""

    loop: Loop
    network: Network
    routers: Routers
    connections: Connections

    def note(self, node: str, what: str, why: str = "") -> None:
        """Into the transcript."""

    def gate_changed(self, host: str) -> None:
        """For checkers."""

    def told(self, host: str, peer: str, message: Message) -> None:
        """For checkers: a word about permits was sent."""

    def heard(self, host: str, peer: str, message: Message) -> None:
        """For checkers: one has been read."""

    def reported(self, host: str, peer: str) -> None:
        """For checkers: a report of a peer has been read."""

    def tail_noted(self, host: str, service: str, note: TailNote) -> None:
        """For checkers: a tail began, is over, or is not to be had."""

    def moves(self, host: str, move: VipMove) -> None:
        """For checkers: a VIP is about to move by permit."""


@dataclass(slots=True)
class Troubles:
    """What is wrong with a host, for as long as a fault lasts.

    Attributes:
        deaf: the proxy lives and answers nobody.
        late_ns: how late processes wake, at most.
        lies: what becomes of its reports.
        schema: of the reports it sends.
    """

    deaf: int = 0
    late_ns: int = 0
    lies: tuple[Callable[[NodeReport], NodeReport], ...] = ()
    schema: int = 1
