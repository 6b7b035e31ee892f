"""Interrupt work by CPU: /proc/stat (proc(5)) and /proc/net/softnet_stat (net/core/net-procfs.c)."""

import os

from haman.core.resources import SoftirqSampled
from haman.system.kept import KeptFile

NS_PER_S = 1_000_000_000
_IRQ, _SOFTIRQ = 6, 7
_DROPPED = 1


class Interrupts:
    """Of this host, whatever the namespace.

    Raises:
        OSError: no /proc.
    """

    def __init__(self, proc: str = "/proc") -> None:
        self._tick_ns = NS_PER_S // os.sysconf("SC_CLK_TCK")
        self._stat = KeptFile(f"{proc}/stat")
        self._softnet = KeptFile(f"{proc}/net/softnet_stat")

    def close(self) -> None:
        """Give the descriptors back."""
        self._stat.close()
        self._softnet.close()

    def sample(self, now_ns: int) -> SoftirqSampled:
        """Time in interrupts by CPU, and packets dropped for want of room in a backlog."""
        busy_ns = {}
        for line in self._stat.read().split(b"\n"):
            if not line.startswith(b"cpu"):
                break
            words = line.split(None, _SOFTIRQ + 1)
            if words[0] != b"cpu":
                ticks = int(words[_IRQ]) + int(words[_SOFTIRQ])
                busy_ns[int(words[0][3:])] = ticks * self._tick_ns
        rows = self._softnet.read().splitlines()
        return SoftirqSampled(
            now_ns, busy_ns, sum(int(row.split(None, _DROPPED + 1)[_DROPPED], 16) for row in rows)
        )
