"""Between the pure permits and the peers: packets in and out, notes into the journal."""

import asyncio

from haman.cluster.packets import Packet, PermitPacket, permit_packet
from haman.config.model import Config
from haman.controller.anycast import configured_anycast
from haman.controller.failovers import Failovers
from haman.controller.flight import Inputs
from haman.controller.node import configured_vips
from haman.controller.peer_side import PeerSide
from haman.controller.ports import Clock
from haman.controller.recorder import FlightRecorder
from haman.controller.settings import gate_settings
from haman.core.decide import Decider, FailoverEnded
from haman.core.node import NodeCore, NodeStepped
from haman.core.permits import FailoverSeen, Heard, Permits, PermitSettings, PermitsSnapshot
from haman.core.reports import NodeReport, PermitReport
from haman.core.situation import Situation
from haman.core.words import Condition, Event

CALM_NS = 990_000_000
MOVING_NS = 390_000_000
"""Ten ms less than five and two reports of the default interval: a tick that comes early must not wait
for one more."""
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
    """One node's permits and decisions, and their way to the peers.

    Args:
        config: of this node.
        decider: its decisions.
        peers: the way to them.
        clock: the wall's tells this life of the node from earlier ones.
        recorder: of all that is decided from.
    """

    def __init__(
        self,
        config: Config,
        decider: Decider,
        peers: PeerSide,
        clock: Clock,
        recorder: FlightRecorder,
    ) -> None:
        settings, epoch, now_ns = permit_settings(config), clock.wall_ns(), clock.monotonic_ns()
        self._permits = Permits(settings, epoch, now_ns)
        self._core = NodeCore(decider, self._permits)
        self._recorder = recorder
        recorder.began(settings, epoch, now_ns)
        self._peers = peers
        self._clock = clock
        self._stepped_ns = now_ns
        self._calm = False
        self._inbox: list[Heard] = []
        self._ended: list[FailoverSeen] = []

    def reconfigure(self, config: Config) -> None:
        """Take over another configuration."""
        settings = permit_settings(config)
        self._permits.reconfigure(settings)
        self._recorder.reconfigured(settings)

    def snapshot(self) -> PermitsSnapshot:
        """The permits now."""
        return self._permits.snapshot()

    @property
    def report(self) -> PermitReport:
        """What peers must know of them."""
        return self._permits.report

    def hear(self, peer: str, packet: Packet) -> bool:
        """Keep a message for the next step; False = the packet is about something else."""
        if not isinstance(packet, PermitPacket):
            return False
        if len(self._inbox) < INBOX_MAX:
            self._inbox.append(Heard(peer, packet.message))
        return True

    def due(self, now_ns: int, *, moving: bool = False) -> bool:
        """Whether it is time to `step` though nothing has happened.

        In service nothing is up to time alone, but what has a deadline: a second is soon enough, half a
        second while something is `moving`.
        """
        deadline_ns = self._core.deadline_ns
        if not self._calm or (deadline_ns is not None and now_ns >= deadline_ns):
            return True
        return now_ns - self._stepped_ns >= (MOVING_NS if moving else CALM_NS)

    def step(
        self,
        situation: Situation,
        own: NodeReport,
        now_ns: int,
        unweighted: frozenset[str],
        *,
        awake: bool,
    ) -> NodeStepped:
        """Decide, with what was heard since the last step."""
        heard, self._inbox = tuple(self._inbox), []
        ended, self._ended = tuple(self._ended), []
        inputs = Inputs(situation, own, now_ns, heard, unweighted, ended, awake)
        stepped = inputs.step(self._core)
        self._recorder.stepped(inputs, stepped.decision)
        self._stepped_ns = now_ns
        self._calm = stepped.decision.condition is Condition.IN_SERVICE
        return stepped

    def follow(self, stepped: NodeStepped, failovers: Failovers) -> tuple[Event, ...]:
        """Tell the peers, order the failovers that are permitted; what is to be noted."""
        for tell in stepped.tells:
            self._peers.tell(tell.peer, permit_packet(tell.message))
        for move in stepped.moves:
            views = self._peers.views()
            waiting = failovers.order(move.vip, move.to, views, plain=False, stays=True)
            waiting.add_done_callback(self._failover_ended)
        at_ns = self._clock.wall_ns()
        return tuple(
            Event(note.type, at_ns, note.text, note.service, note.reasons, note.data)
            for note in stepped.notes
        )

    def _failover_ended(self, done: asyncio.Future[FailoverEnded]) -> None:
        if not done.cancelled():
            self._ended.append(FailoverSeen(done.result().vip, done.result().taker))
