"""What the controller offers to the API: a frozen picture, the journal, and the operator's verbs."""

from collections.abc import AsyncIterator
from dataclasses import field
from typing import Protocol

from haman.config.model import Config
from haman.core.facts import EngineReported
from haman.core.frozen import dataclass
from haman.core.headroom import Headroom
from haman.core.reports import NodeReport, PeerView
from haman.core.words import Alert, Event, Reason


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """The whole cluster as this node knows it now.

    Attributes:
        at_ns: wall clock.
        own: this node's latest report of itself.
        engine: the engine's last report; None before the first.
        datagrams_rejected: from the cluster's port, since the start, by reason.
        bgp_counters: of the BGP driver and its relay, by name; empty without `[bgp]`.
        permit_counts: since the start, by outcome and reason: granted, denied and ended for this
            node's own asks; given, refused and revoked for those of its peers.
    """

    cluster: str
    node: str
    at_ns: int
    paused: bool
    own: NodeReport
    peers: tuple[PeerView, ...]
    alerts: tuple[Alert, ...]
    headroom: Headroom
    engine: EngineReported | None = None
    datagrams_rejected: dict[str, int] = field(default_factory=dict)
    bgp_counters: dict[str, int] = field(default_factory=dict)
    permit_counts: dict[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An event with its place in this node's journal; `seq` grows by one, also over restarts."""

    seq: int
    node: str
    event: Event


@dataclass(frozen=True, slots=True)
class Accepted:
    """An operator's wish was done (and is on disk, where it must outlive the process)."""

    text: str
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """An operator's wish was not done.

    Attributes:
        code: unknown-node, unknown-vip, unsafe, not-durable, unreachable, …
    """

    code: str
    text: str
    reasons: tuple[Reason, ...] = ()


Outcome = Accepted | Refused


class Agent(Protocol):
    """The controller, as the API sees it. `node` "" means this node."""

    @property
    def config(self) -> Config:
        """The configuration in force."""

    def snapshot(self) -> ClusterSnapshot:
        """The cluster as known now; cheap."""

    async def drain(self, node: str, *, force: bool, plain: bool = False) -> Outcome:
        """Take a node out of service until `undrain`, over restarts.

        `plain`: release what cannot be handed over.
        """

    async def undrain(self, node: str) -> Outcome:
        """Put a node back into service."""

    async def failover(self, vip: str, to: str, *, force: bool, plain: bool = False) -> Outcome:
        """Move a VIP away from its holder; `to` "" = the best peer.

        `plain`: where it cannot be handed over, release it.
        """

    async def pause(self) -> Outcome:
        """Hold all automatic moves but faults, cluster-wide, until `resume`."""

    async def resume(self) -> Outcome:
        """End `pause`."""

    def events(self, since: int, limit: int) -> tuple[JournalEntry, ...]:
        """Journal entries with seq > since, oldest first, at most `limit`.

        A negative `since` counts from the end: -10 = the last ten.
        """

    def follow(self) -> AsyncIterator[JournalEntry]:
        """Entries as they are written, from now on; a slow reader loses the oldest."""
