"""A recording stepped through again: the same objects, the same inputs, and what they decide now."""

from collections.abc import Iterable, Iterator
from dataclasses import field

from haman.controller.flight import (
    Began,
    DamagedError,
    Expander,
    Inputs,
    Ordered,
    Reconfigured,
    Record,
    digest,
)
from haman.core.decide import Decider, Decision
from haman.core.frozen import dataclass
from haman.core.node import NodeCore, NodeStepped
from haman.core.permits import Permits


@dataclass(frozen=True, slots=True)
class Replayed:
    """One step, decided again.

    Attributes:
        at_ns: wall clock of the recorded step.
        same: the recorded decision was this one.
        certain: it has to be; False where the recording began in the middle of a life, and what had
            been decided before it is not known.
    """

    node: str
    at_ns: int
    inputs: Inputs
    stepped: NodeStepped
    same: bool
    certain: bool

    @property
    def decision(self) -> Decision:
        """What is decided now."""
        return self.stepped.decision


@dataclass(slots=True)
class Replay:
    """Steps through records; a life that begins in them begins with fresh objects.

    Attributes:
        steps: that were decided again.
        differing: of those that had to be the same, the ones that were not.
        uncertain: that differ, and may.
        lost: records that the recorder could not write.
        problem: why the recording ends earlier than it should; "" = it does not.
    """

    steps: int = 0
    differing: int = 0
    uncertain: int = 0
    lost: int = 0
    problem: str = ""
    _life: "_Life | None" = field(default=None)

    def run(self, records: Iterable[Record]) -> Iterator[Replayed]:
        """Every step of a file."""
        try:
            for record in records:
                yield from self._take(record)
        except DamagedError as error:
            self.problem = str(error)

    def _take(self, record: Record) -> Iterator[Replayed]:
        if isinstance(record, Began):
            if self._life is None or not self._life.goes_on(record):
                self._life = _Life(record)
                self.lost += record.dropped
            return
        life = self._life
        if life is None:
            raise DamagedError("it does not begin with a beginning")
        match record:
            case Reconfigured(settings=settings):
                life.decider.reconfigure(settings.vips, settings.anycast)
                life.permits.reconfigure(settings)
            case Ordered(now_ns, order):
                life.decider.order(order, now_ns)
            case _:
                inputs = life.expander.expand(record)
                stepped = inputs.step(life.core)
                same = digest(stepped.decision) == record.digest
                self.steps += 1
                self.differing += not same and life.whole
                self.uncertain += not same and not life.whole
                yield Replayed(life.node, record.at_ns, inputs, stepped, same, life.whole)


class _Life:
    """The objects of one life of a controller."""

    def __init__(self, began: Began) -> None:
        self.node = began.node
        self.whole = not began.resumed
        self._identity = _identity(began)
        settings = began.settings
        self.decider = Decider(settings.vips, settings.anycast)
        self.permits = Permits(settings, began.epoch, began.started_ns)
        self.core = NodeCore(self.decider, self.permits)
        self.expander = Expander()

    def goes_on(self, began: Began) -> bool:
        """The next file of the same life, with nothing missing in between."""
        return began.resumed and self._identity == _identity(began)


def _identity(began: Began) -> tuple[str, int, int, int]:
    return began.node, began.epoch, began.started_ns, began.dropped
