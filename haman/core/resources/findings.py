"""What a meter makes of a reading: one resource, seen from one source."""

from haman.core.frozen import dataclass
from haman.core.words import Confidence, Utilization

NS_PER_S = 1_000_000_000

COUNT = "count"
CORES = "cores"
CORE_SECONDS = "core-s/s"
SECONDS = "s"
BYTES = "bytes"
BYTES_PER_S = "bytes/s"

UNITS = {
    "cpu": CORES,
    "tls": CORE_SECONDS,
    "connections": COUNT,
    "fds": COUNT,
    "ports": COUNT,
    "memory": BYTES,
    "hol": SECONDS,
    "accept_queue": SECONDS,
    "conntrack": COUNT,
    "nic": BYTES_PER_S,
}
"""The native unit of each resource."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A resource may have several sources (cpu: thread, quota, interrupts); the worst one binds.

    Attributes:
        hard: what proves by itself that the resource is used up, in words; "" = nothing does.
        slow: its source is read once a second, or less often.
    """

    at_ns: int
    source: str
    utilization: Utilization
    hard: str = ""
    slow: bool = False


def measured(
    name: str,
    used: float | None,
    ceiling: float | None,
    *,
    detail: str = "",
    origin: str = "",
    problem: str = "",
) -> Utilization:
    """A resource in its native unit, with a ceiling that was read and not assumed."""
    return Utilization(
        name,
        used,
        ceiling,
        UNITS[name],
        Confidence.MEASURED,
        detail=detail,
        origin=origin,
        problem=problem,
    )
