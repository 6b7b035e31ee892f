"""The lease of what is announced: how long it outlives the controller's last word.

    state      entered                                        what is announced
    held       renewed                                        what the controller declared
    shut       `shut_after_ns` after the last renewal         the same, with 65535:0
    withdrawn  `withdraw_after_ns` after the last renewal     nothing

Both times count from the last renewal; 0 = that state is never entered. A renewal leads back to
`held` from wherever it finds the lease. The relay's start counts as a renewal: a controller that is
just being started gets its time. Invariant: without a renewal the state only moves down the table.
"""

from enum import StrEnum

from haman.core.frozen import dataclass

NS_PER_MS = 1_000_000


class LeaseState(StrEnum):
    """What the controller's silence has come to."""

    HELD = "held"
    SHUT = "shut"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as last renewed; times in ns, monotonic."""

    renewed_ns: int
    shut_after_ns: int
    withdraw_after_ns: int

    def state(self, now_ns: int) -> LeaseState:
        """What it is at this instant."""
        silent_ns = now_ns - self.renewed_ns
        if self.withdraw_after_ns and silent_ns >= self.withdraw_after_ns:
            return LeaseState.WITHDRAWN
        if self.shut_after_ns and silent_ns >= self.shut_after_ns:
            return LeaseState.SHUT
        return LeaseState.HELD

    def deadline_ns(self, now_ns: int) -> int | None:
        """When the state changes next if nobody renews; None = never."""
        ends = (self.renewed_ns + after for after in self._ends())
        return min((end for end in ends if end > now_ns), default=None)

    def _ends(self) -> tuple[int, ...]:
        return tuple(after for after in (self.shut_after_ns, self.withdraw_after_ns) if after)
