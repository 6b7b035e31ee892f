"""Local ports that the kernel chooses from (ip(7), ip_local_port_range)."""

from haman.system.kept import KeptFile


class PortRange:
    """Of the network namespace in which this is opened.

    Raises:
        OSError: no /proc/sys.
    """

    def __init__(self) -> None:
        self._file = KeptFile("/proc/sys/net/ipv4/ip_local_port_range")

    def close(self) -> None:
        """Give the descriptor back."""
        self._file.close()

    def read(self) -> tuple[int, int]:
        """The lowest and the highest."""
        lowest, highest = self._file.read().split()
        return int(lowest), int(highest)
