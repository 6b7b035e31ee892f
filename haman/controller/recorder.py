"""The flight recorder: writes down what decisions are made from, always, in bounded space.

Two files take turns, each up to half of the bound: `flight/current` grows, and becomes
`flight/previous` when it is full. A new life writes on where the one before ended. Records are put together by the event loop and written once a
second by a thread; a disk that does not take them costs records, which are counted, and nothing else.
"""

import logging
import threading
from pathlib import Path
from typing import BinaryIO, Protocol

import haman
from haman.controller.flight import (
    MAGIC,
    Began,
    Compactor,
    Inputs,
    Ordered,
    Reconfigured,
    Record,
    sound_bytes,
    to_frame,
)
from haman.controller.ports import Clock
from haman.core.decide import Decision, FailoverOrdered
from haman.core.permits import PermitSettings

FOLDER = "flight"
CURRENT, PREVIOUS = "current", "previous"
WAITING_MAX = 5_000
"""Records: ten seconds of the busiest controller, and some minutes of a usual one."""
EVERY_S = 1.0
CLOSE_S = 1.0

log = logging.getLogger(__name__)


class FlightRecorder(Protocol):
    """What a controller tells."""

    def began(self, settings: PermitSettings, epoch: int, started_ns: int) -> None:
        """A life began; `epoch` is that of its permits."""

    def reconfigured(self, settings: PermitSettings) -> None:
        """What is decided by from now on."""

    def ordered(self, order: FailoverOrdered, now_ns: int) -> None:
        """A failover was ordered."""

    def stepped(self, inputs: Inputs, decision: Decision) -> None:
        """The node decided."""


class Off:
    """Records nothing."""

    def began(self, settings: PermitSettings, epoch: int, started_ns: int) -> None:
        """See `FlightRecorder`."""

    def reconfigured(self, settings: PermitSettings) -> None:
        """See `FlightRecorder`."""

    def ordered(self, order: FailoverOrdered, now_ns: int) -> None:
        """See `FlightRecorder`."""

    def stepped(self, inputs: Inputs, decision: Decision) -> None:
        """See `FlightRecorder`."""


class Recorder:
    """Records one life of a controller; a `FlightRecorder`.

    Args:
        directory: of the state; `flight` is made in it.
        bytes_max: of both files together.
    """

    def __init__(self, directory: Path, bytes_max: int, node: str, clock: Clock) -> None:
        self._folder = directory / FOLDER
        self._segment_bytes_max = bytes_max // 2
        self._node = node
        self._clock = clock
        self._life = (0, 0)
        self._settings = PermitSettings()
        self._compactor = Compactor()
        self._waiting: list[Record] = []
        self._wake = threading.Condition()
        self._closing = False
        self._full = False
        self._file: BinaryIO | None = None
        self._written = 0
        self.dropped = 0
        """Records that were never written."""
        self.problem = ""
        """Why nothing is written now; "" = it is."""
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    # ---- from the event loop -------------------------------------------------------------------

    def began(self, settings: PermitSettings, epoch: int, started_ns: int) -> None:
        """A life began, and the recording with it."""
        self._settings, self._life = settings, (epoch, started_ns)
        self._begin(resumed=False)

    def reconfigured(self, settings: PermitSettings) -> None:
        """What is decided by from now on."""
        self._settings = settings
        self._put(Reconfigured(self._clock.monotonic_ns(), settings))

    def ordered(self, order: FailoverOrdered, now_ns: int) -> None:
        """A failover was ordered."""
        self._put(Ordered(now_ns, order))

    def stepped(self, inputs: Inputs, decision: Decision) -> None:
        """The node decided."""
        if self._full:
            self._begin(resumed=True)
        self._put(self._compactor.compact(inputs, self._clock.wall_ns(), decision))

    def _begin(self, *, resumed: bool) -> None:
        epoch, started_ns = self._life
        self._full = False
        self._compactor.reset()
        self._put(
            Began(
                self._node,
                haman.__version__,
                self._clock.monotonic_ns(),
                self._clock.wall_ns(),
                started_ns,
                epoch,
                self._settings,
                resumed,
                self.dropped,
            )
        )

    def _put(self, record: Record) -> None:
        with self._wake:
            if len(self._waiting) >= WAITING_MAX:
                self.dropped += len(self._waiting)
                self._waiting.clear()
                self._full = True  # what comes next must not lean on what was lost
            self._waiting.append(record)

    def close(self) -> None:
        """Write what waits, for a second at most, and end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(CLOSE_S)

    # ---- the thread ----------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closing, EVERY_S)
                last_turn = self._closing
                batch, self._waiting = self._waiting, []
            try:
                self._write(batch)
                self.problem = ""
            except OSError as error:
                self._failed(batch, error)
            if last_turn:
                self._drop()
                return

    def _write(self, batch: list[Record]) -> None:
        begins = [i for i, record in enumerate(batch) if isinstance(record, Began)]
        for begin, end in zip([0, *begins], [*begins, len(batch)], strict=True):
            records = batch[begin:end]
            if records and isinstance(records[0], Began):
                self._turn()
            if not records or self._file is None:
                self.dropped += len(records)
                continue
            frame = to_frame(records)
            self._file.write(frame)
            self._file.flush()
            self._written += len(frame)
        self._full = self._file is None or self._written >= self._segment_bytes_max

    def _turn(self) -> None:
        """Open the file to write to: the one that is there, or a new one in the place of a full one."""
        self._drop()
        self._folder.mkdir(mode=0o750, exist_ok=True)
        current = self._folder / CURRENT
        kept = sound_bytes(current.read_bytes()) if current.exists() else 0
        if kept >= self._segment_bytes_max:
            current.replace(self._folder / PREVIOUS)
            kept = 0
        self._file = current.open("r+b" if kept else "wb")
        self._file.truncate(kept)
        self._file.seek(kept)
        if not kept:
            self._file.write(MAGIC)
        self._written = max(kept, len(MAGIC))

    def _failed(self, batch: list[Record], error: OSError) -> None:
        if not self.problem:
            log.error("flight recorder %s: %s; records are lost", self._folder, error)
        self.problem = f"flight recorder {self._folder}: {error}"
        self.dropped += len(batch)
        self._drop()
        self._full = True  # the next step begins anew

    def _drop(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            file.close()
        except OSError as error:
            log.debug("flight recorder: closing: %s", error)
