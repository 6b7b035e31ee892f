"""What `haman calibrate` left in the state directory, read again when it changes."""

import logging
from pathlib import Path

from haman.config.model import Config
from haman.controller.settings import read_calibration, read_tickets, tickets_shared
from haman.core import calibration, tickets

NS_PER_S = 1_000_000_000
LOOK_NS = NS_PER_S

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int] | None


class Kept:
    """The calibration of this node and its last ticket check.

    Attributes:
        calibration: None = none was run, or it cannot be used.
        calibration_problem: why it cannot; "" if it can, or there is none.
        tickets_shared: nodes were proven to resume each other's sessions.
        tickets_problem: what is wrong with that, "" if nothing is known to be.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        folder = config.state.directory
        self._paths = (str(Path(folder, calibration.FILE)), str(Path(folder, tickets.FILE)))
        self._due_ns = 0
        self._stamps = self._stamped()
        self._read()

    def _read(self) -> None:
        self.calibration, self.calibration_problem = read_calibration(self._config)
        self.tickets_problem = read_tickets(self._config)
        self.tickets_shared = tickets_shared(self._config)

    def look(self, now_ns: int) -> bool:
        """Whether something else is kept now; looks at the files once a second at most.

        They are replaced as a whole, and so are never seen half written.
        """
        if now_ns < self._due_ns:
            return False
        self._due_ns = now_ns + LOOK_NS
        stamps = self._stamped()
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        self._read()
        log.info("%s changed; read again", self._config.state.directory)
        return True

    def _stamped(self) -> tuple[Stamp, ...]:
        return tuple(map(_stamp, self._paths))


def _stamp(path: str) -> Stamp:
    """What tells one version of a file from the next; None if it cannot be looked at."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
