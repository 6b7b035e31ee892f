"""What a controller is put together from; `process` puts them together."""

from dataclasses import field

from haman.cluster.mesh import Mesh
from haman.controller.bgp_side import MakeAnnouncer
from haman.controller.engine_side import EngineSide
from haman.controller.intent import IntentKeeper
from haman.controller.journal import Journal
from haman.controller.ports import Clock
from haman.controller.recorder import FlightRecorder, Off
from haman.controller.sensing import MakeSenses
from haman.core.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts.

    Attributes:
        mesh: None = the node stands alone.
        announcer: makes the BGP driver, for a configuration that has `[bgp]`.
    """

    clock: Clock
    engine: EngineSide
    senses: MakeSenses
    journal: Journal
    intent: IntentKeeper
    mesh: Mesh | None = None
    announcer: MakeAnnouncer | None = None
    recorder: FlightRecorder = field(default_factory=Off)
