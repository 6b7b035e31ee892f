"""Connections that netfilter tracks (kernel: networking/nf_conntrack-sysctl)."""

from haman.core.resources import ConntrackSampled
from haman.system.kept import KeptFile

_COUNT = "/proc/sys/net/netfilter/nf_conntrack_count"
_MAX = "/proc/sys/net/netfilter/nf_conntrack_max"


class Conntrack:
    """The table of the network namespace in which this is opened.

    Raises:
        FileNotFoundError: nothing is tracked here.
    """

    def __init__(self) -> None:
        self._count = KeptFile(_COUNT)
        try:
            self._max = KeptFile(_MAX)
        except OSError:
            self._count.close()
            raise

    def close(self) -> None:
        """Give the descriptors back."""
        self._count.close()
        self._max.close()

    def sample(self, now_ns: int) -> ConntrackSampled:
        """Entries now, and the most that there may be; 0 = no limit."""
        return ConntrackSampled(now_ns, int(self._count.read()), int(self._max.read()) or None)
