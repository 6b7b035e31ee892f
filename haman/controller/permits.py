"""Between the pure permits and the peers: packets in and out, notes into the journal."""

from haman.cluster.packets import Packet, PermitPacket, permit_packet
from haman.config.model import Config
from haman.controller.anycast import configured_anycast
from haman.controller.node import configured_vips
from haman.controller.peer_side import PeerSide
from haman.controller.ports import Clock
from haman.controller.settings import gate_settings
from haman.core.permits import Heard, Note, Permits, PermitSettings, PermitsSnapshot, Tell
from haman.core.reports import PermitReport
from haman.core.words import Event

INBOX_MAX = 256
"""Messages between two steps; more are dropped, as if the network had."""


def permit_settings(config: Config) -> PermitSettings:
    """What the configuration says of permits."""
    gate = gate_settings(config)
    return PermitSettings(
        vips=configured_vips(config),
        anycast=configured_anycast(config),
        thresholds=gate.thresholds,
        resources=gate.resources,
        max_shedding=config.saturation.max_shedding,
        hold_ns=gate.hold_ns,
    )


class PermitSide:
    """One node's permits and their way to the peers.

    Args:
        config: of this node.
        peers: the way to them.
        clock: the wall's tells this life of the node from earlier ones.
    """

    def __init__(self, config: Config, peers: PeerSide, clock: Clock) -> None:
        self.epoch, self.started_ns = clock.wall_ns(), clock.monotonic_ns()
        self.permits = Permits(permit_settings(config), self.epoch, self.started_ns)
        self._peers = peers
        self._inbox: list[Heard] = []

    def reconfigure(self, config: Config) -> None:
        """Take over another configuration."""
        self.permits.reconfigure(permit_settings(config))

    def snapshot(self) -> PermitsSnapshot:
        """The permits now."""
        return self.permits.snapshot()

    @property
    def report(self) -> PermitReport:
        """What peers must know of them."""
        return self.permits.snapshot().report

    def hear(self, peer: str, packet: Packet) -> bool:
        """Keep a message for the next step; False = the packet is about something else."""
        if not isinstance(packet, PermitPacket):
            return False
        if len(self._inbox) < INBOX_MAX:
            self._inbox.append(Heard(peer, packet.message))
        return True

    def take(self) -> tuple[Heard, ...]:
        """What was heard since the last step."""
        heard, self._inbox = tuple(self._inbox), []
        return heard

    def send(self, tells: tuple[Tell, ...]) -> None:
        """Send what a step said."""
        for tell in tells:
            self._peers.tell(tell.peer, permit_packet(tell.message))


def permit_events(notes: tuple[Note, ...], at_ns: int) -> tuple[Event, ...]:
    """For the journal."""
    return tuple(Event(n.type, at_ns, n.text, n.service, n.reasons, n.data) for n in notes)
