"""memory: of the host and of the control groups that limit the proxy, whichever is nearer its end.

What proxies say of their memory is not asked: HAProxy's pools held 1.7 MB of the 23 MB that 1,500 idle
TLS connections took, the rest being OpenSSL's.
"""

from collections.abc import Iterator

from haman.core.processes import ProcessId
from haman.core.resources.findings import Finding, measured
from haman.core.resources.readings import CountersSampled, MemorySampled

STALLED = 0.1
"""Share of the time in which nothing ran for want of memory: the host is thrashing."""
MB = 1_000_000


class MemoryMeter:
    """Use against limits; stalls and failed allocations are hard facts."""

    def __init__(self, stale_ns: int) -> None:
        self._stale_ns = stale_ns
        self._before: MemorySampled | None = None
        self._pool: tuple[ProcessId, int] | None = None
        self._refused = ""

    def step(self, now: MemorySampled) -> Iterator[Finding]:
        """The host, and each group with a limit."""
        before, self._before = self._before, now
        stalled = _stalled(before, now, self._stale_ns)
        resident = f"{now.resident_bytes / MB:.0f} MB resident in the proxy"
        hard = self._refused
        if stalled >= STALLED:
            hard = f"the host stood still for {100 * stalled:.0f} % of the time, for want of memory"
        yield Finding(
            now.at_ns,
            "host",
            measured(
                "memory",
                max(0, now.total_bytes - now.available_bytes),
                now.total_bytes,
                detail=f"the host, {resident}",
                origin="memory of the host",
            ),
            hard=hard,
            slow=True,
        )
        for group in now.groups:
            yield Finding(
                now.at_ns,
                f"group {group.group}",
                measured(
                    "memory",
                    group.used_bytes,
                    group.limit_bytes,
                    detail=f"control group {group.group}, {resident}",
                    origin="memory limit of its control group",
                ),
                slow=True,
            )

    def counters(self, now: CountersSampled) -> None:
        """Take in whether the proxy was refused memory since the last answer."""
        if now.pool_failed is None:
            return
        before, self._pool = self._pool, (now.epoch, now.pool_failed)
        refused = before is not None and before[0] == now.epoch and now.pool_failed > before[1]
        self._refused = "the proxy was refused memory" if refused else ""


def _stalled(before: MemorySampled | None, now: MemorySampled, stale_ns: int) -> float:
    if before is None or before.stalled_ns is None or now.stalled_ns is None:
        return 0.0
    took_ns = now.at_ns - before.at_ns
    if not 0 < took_ns <= stale_ns or now.stalled_ns < before.stalled_ns:
        return 0.0
    return (now.stalled_ns - before.stalled_ns) / took_ns
