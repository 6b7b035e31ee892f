"""What the controller sees of BGP: one desired set in, one frozen picture out."""

from dataclasses import field
from typing import Protocol

from haman.config.model import Config
from haman.core.announcements import Announcement, NeighborReport
from haman.core.frozen import dataclass


@dataclass(frozen=True, slots=True)
class AnnouncerSnapshot:
    """What is announced, and to whom.

    Attributes:
        digest: of the ExaBGP configuration that is in force; the engine is told to
            run it. "" = none is.
        problem: what the operator must do something about: the configuration was refused, the relay
            is not reached, a command is not acknowledged; "" if all is well.
        relay: the relay is connected.
        announced: what the relay holds, all commands acknowledged by ExaBGP.
        neighbors: every configured neighbour; `bfd` is the engine's to fill in.
        counters: cumulative: `commands`, `commands_refused`, `acks_late`, `relay_connects`,
            `relay_lost`, `sessions_up`, `sessions_down`, `reconcile_repairs`, …
    """

    digest: str = ""
    problem: str = ""
    relay: bool = False
    announced: tuple[Announcement, ...] = ()
    neighbors: tuple[NeighborReport, ...] = ()
    counters: dict[str, int] = field(default_factory=dict)


class AnnouncerView(Protocol):
    """The driver, as far as the controller uses it. Nothing here waits but `run`."""

    def declare(self, announcements: tuple[Announcement, ...]) -> None:
        """Have exactly this announced; what is not in it is withdrawn. Attributes change in place."""

    def reconfigure(self, config: Config) -> None:
        """Write and validate another configuration; sessions that did not change stay up."""

    def snapshot(self) -> AnnouncerSnapshot:
        """What is known now; cheap."""

    async def run(self) -> None:
        """Work until cancelled."""
