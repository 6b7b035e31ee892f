"""Reading the configuration anew, beside the loop: a file may have to wait for a disk."""

import os
import threading
import traceback
from collections.abc import Callable, Sequence

from haman.config.model import Config
from haman.core.frozen import dataclass
from haman.engine.members import read_passwords

Load = Callable[[], tuple[Config | None, Sequence[str]]]
"""Reads the configuration: it, or None and every problem as a line."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration with all that it refers to; or None, and why."""

    config: Config | None
    passwords: dict[str, bytes]
    problems: tuple[str, ...] = ()


class Reload:
    """One reading at a time, in a thread that lives as long as that takes.

    A wish that comes meanwhile is fulfilled by another reading: the file may have changed since this
    one began. What the reader stumbles over is a problem like any other: a reload must not end an
    engine that holds addresses.

    Args:
        load: called in the thread.
        on_start: called in the thread before, to raise its priority.
    """

    def __init__(self, load: Load, on_start: Callable[[], None]) -> None:
        self._load = load
        self._on_start = on_start
        self._done = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread: threading.Thread | None = None
        self._loaded = Loaded(None, {})
        self._again = False

    def fileno(self) -> int:
        """Readable when a reading is done."""
        return self._done

    def begin(self) -> None:
        """Read; once more after the reading that is under way, if one is."""
        if self._thread is not None:
            self._again = True
            return
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)
        self._thread.start()

    def collect(self) -> Loaded:
        """What was read; once for each time that `fileno` is readable."""
        os.eventfd_read(self._done)
        loaded, self._thread = self._loaded, None
        if self._again:
            self._again = False
            self.begin()
        return loaded

    def _run(self) -> None:
        try:
            self._on_start()
            self._loaded = self._read()
        except Exception as error:  # noqa: BLE001 - told as the reload's problem, with its traceback
            traceback.print_exc()
            self._loaded = Loaded(None, {}, (f"the reader failed: {error!r}",))
        finally:
            os.eventfd_write(self._done, 1)

    def _read(self) -> Loaded:
        config, problems = self._load()
        if config is None:
            return Loaded(None, {}, tuple(problems))
        try:
            return Loaded(config, read_passwords(config))
        except OSError as error:
            return Loaded(None, {}, (str(error),))
