"""Memory of the host: what is there, what could be had, and how long nothing ran for want of it."""

from haman.system.kept import KeptFile

KIB = 1024
NS_PER_US = 1000


class HostMemory:
    """/proc/meminfo and /proc/pressure/memory (kernel: accounting/psi), which may be switched off.

    Raises:
        OSError: no /proc.
    """

    def __init__(self, proc: str = "/proc") -> None:
        self._meminfo = KeptFile(f"{proc}/meminfo")
        self._pressure: KeptFile | None = None
        try:
            self._pressure = KeptFile(f"{proc}/pressure/memory")
            self._pressure.read()
        except OSError:
            self._drop_pressure()

    def _drop_pressure(self) -> None:
        """Without CONFIG_PSI there is no file; with psi=0 it cannot be read."""
        if self._pressure is not None:
            self._pressure.close()
        self._pressure = None

    def close(self) -> None:
        """Give the descriptors back."""
        self._meminfo.close()
        self._drop_pressure()

    def sizes(self) -> tuple[int, int]:
        """MemTotal and MemAvailable, in bytes.

        Raises:
            ValueError: the kernel tells neither.
        """
        sizes = {}
        for line in self._meminfo.read().split(b"\n", 4)[:4]:
            name, _, value = line.partition(b":")
            sizes[name] = int(value.split()[0]) * KIB if value else 0
        try:
            return sizes[b"MemTotal"], sizes[b"MemAvailable"]
        except KeyError as error:
            raise ValueError("/proc/meminfo tells no MemAvailable") from error

    def stalled_ns(self) -> int | None:
        """Time in which every task that could run waited for memory, cumulative."""
        if self._pressure is None:
            return None
        _, _, full = self._pressure.read().partition(b"\nfull ")
        total = full.partition(b"total=")[2].split()
        return int(total[0]) * NS_PER_US if total else None
