"""Both sides of the protocol in one node: what it asks of its peers, and what it grants them."""

from dataclasses import field

from haman.core.frozen import dataclass
from haman.core.permits.asker import Asker
from haman.core.permits.consent import OwnMoves
from haman.core.permits.crowd import Crowd
from haman.core.permits.granter import Granter
from haman.core.permits.messages import Answer, Ask, End, Revoke, Tell
from haman.core.permits.scene import Scene
from haman.core.permits.standing import Note, PermitSettings, Standing, VipMove
from haman.core.reports import PermitReport


@dataclass(frozen=True, slots=True)
class PermitsStepped:
    """What came out of one step.

    Attributes:
        standing: for `Situation.permits`, in force until the next step.
        tells: packets to send now; each may be lost.
        moves: failovers to begin now.
        notes: for the journal.
    """

    standing: Standing = field(default_factory=Standing)
    tells: tuple[Tell, ...] = ()
    moves: tuple[VipMove, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class PermitsSnapshot:
    """The permits of a node now.

    Attributes:
        report: for `NodeReport.permits`.
        counts: since the start, by outcome (granted, denied, ended, revoked) and reason's code.
    """

    standing: Standing
    report: PermitReport
    counts: dict[tuple[str, str], int]


class Permits:
    """The engine of `haman.core.permits`; see there for states, timers and invariants.

    Args:
        settings: what the configuration says.
        epoch: of this life of the node; must differ from those before.
        now_ns: the monotonic instant.
    """

    def __init__(self, settings: PermitSettings, epoch: int, now_ns: int) -> None:
        self._settings = settings
        self._crowd = Crowd(settings)
        self._asker = Asker(settings, self._crowd, epoch)
        self._granter = Granter(settings, self._crowd, now_ns)
        self._standing = Standing()

    def reconfigure(self, settings: PermitSettings) -> None:
        """Take over other services, thresholds and ceilings; grants and sheds that fit are kept."""
        self._settings = settings
        self._crowd.reconfigure(settings)
        self._asker.reconfigure(settings)
        self._granter.reconfigure(settings)

    @property
    def deadline_ns(self) -> int | None:
        """When a step is due though nothing was heard; None = not by time."""
        due = (self._asker.deadline_ns, self._granter.deadline_ns)
        return min((each for each in due if each is not None), default=None)

    @property
    def report(self) -> PermitReport:
        """What peers must know of them."""
        return PermitReport(
            sheds=self._asker.sheds,
            asks=self._asker.asks,
            granted_to=self._granter.granted_to,
            reserved=self._granter.reserved,
            reserved_clients=self._granter.reserved_clients,
        )

    def snapshot(self) -> PermitsSnapshot:
        """The permits now."""
        counts = self._asker.counts + self._granter.counts
        return PermitsSnapshot(self._standing, self.report, dict(counts))

    def step(self, scene: Scene, now_ns: int) -> PermitsStepped:
        """Take in what was heard and what is the case; say what to send and to do."""
        self._crowd.observe(scene, now_ns)
        self._granter.step(scene, now_ns)
        for heard in scene.heard:
            match heard.message:
                case Ask() as ask:
                    self._asked(heard.peer, ask, scene, now_ns)
                case Answer() as answer:
                    self._asker.answered(heard.peer, answer)
                case Revoke() as revoke:
                    self._asker.revoked(heard.peer, revoke)
                case End(permit):
                    self._granter.ended(heard.peer, permit, now_ns)
        self._asker.step(scene, now_ns, granted_to=self._granter.granted_to)
        self._standing = self._asker.standing
        return PermitsStepped(
            self._standing,
            (*self._granter.tells(), *self._asker.tells()),
            self._asker.moves(),
            (*self._granter.notes(), *self._asker.notes()),
        )

    def _asked(self, peer: str, ask: Ask, scene: Scene, now_ns: int) -> None:
        """Of two that ask each other the busier goes first; of equals, the first by name."""
        self._asker.met(peer, ask, scene, now_ns)
        own = OwnMoves(self._asker.asks, self._asker.sheds)
        self._granter.asked(peer, ask, scene, now_ns, own)
