"""What happened in a run: time, node, what, why. For people, and for comparing two runs."""

import hashlib
from collections import deque
from typing import NamedTuple

from haman.core.words import Reason

LINES_MAX = 4000
"""Of one run that are kept, the last ones; all of them count for the digest."""
WHY_MAX = 160


class Line(NamedTuple):
    """One thing that happened; `node` "" = in the world."""

    at_ns: int
    node: str
    what: str
    why: str

    def __str__(self) -> str:
        told = f"{self.at_ns / 1e9:10.4f}  {self.node or '-':<8} {self.what}"
        return f"{told}: {self.why}" if self.why else told


class Transcript:
    """The lines of a run."""

    def __init__(self) -> None:
        self.lines: deque[Line] = deque(maxlen=LINES_MAX)
        self.count = 0
        self._hash = hashlib.sha256()

    def note(self, at_ns: int, node: str, what: str, why: str = "") -> None:
        """Add a line."""
        self.count += 1
        line = Line(at_ns, node, what, why[:WHY_MAX])
        self.lines.append(line)
        self._hash.update(f"{at_ns} {node} {what} {why}\n".encode())

    @property
    def digest(self) -> str:
        """Equal digests = the same run."""
        return self._hash.hexdigest()

    def __str__(self) -> str:
        missing = self.count - len(self.lines)
        head = [f"  … {missing} lines before"] if missing else []
        return "\n".join([*head, *map(str, self.lines)])


def first(reasons: tuple[Reason, ...]) -> str:
    """The best reason, in words."""
    return reasons[0].text if reasons else ""
