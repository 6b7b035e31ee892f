"""What a network namespace tells of its traffic: interfaces, sockets, dropped connections."""

import contextlib
from pathlib import Path

from haman.core.resources import InterfaceBytes, InterfacesSampled
from haman.system.kept import KeptFile

NS_PER_S = 1_000_000_000
SPEED_NS = 10 * NS_PER_S
BYTES_PER_MBIT = 125_000
_RECEIVED, _SENT = 0, 8


class Interfaces:
    """Bytes by interface, of the network namespace of a process.

    Only hardware and bonds have a speed; what virtual interfaces say is made up. The speed of
    another namespace's interfaces is not told.

    Raises:
        OSError: the process is gone.
    """

    def __init__(self, pid: int, *, own_namespace: bool) -> None:
        self._file = KeptFile(f"/proc/{pid}/net/dev")
        self._own = own_namespace
        self._speeds: dict[str, int | None] = {}
        self._speeds_ns: int | None = None

    def close(self) -> None:
        """Give the descriptor back."""
        self._file.close()

    def sample(self, now_ns: int) -> InterfacesSampled:
        """Every interface but the loopback."""
        if self._speeds_ns is None or now_ns - self._speeds_ns >= SPEED_NS:
            self._speeds, self._speeds_ns = {}, now_ns
        found = []
        for line in self._file.read().decode(errors="replace").splitlines()[2:]:
            label, _, numbers = line.partition(":")
            name, words = label.strip(), numbers.split()
            if name == "lo":
                continue
            if name not in self._speeds:
                self._speeds[name] = speed(name) if self._own else None
            found.append(
                InterfaceBytes(name, int(words[_RECEIVED]), int(words[_SENT]), self._speeds[name])
            )
        return InterfacesSampled(now_ns, tuple(found))


def speed(name: str, folder: str = "/sys/class/net") -> int | None:
    """Bytes per second and each way; None for what is virtual, down, or does not tell."""
    place = Path(folder, name)
    if not (place / "device").exists() and not (place / "bonding").exists():
        return None
    try:
        mbit = int((place / "speed").read_text())
    except (OSError, ValueError):  # EINVAL while it is down, or if its driver knows none
        return None
    return mbit * BYTES_PER_MBIT if mbit > 0 else None


class SocketTotals:
    """/proc/PID/net/sockstat: how many TCP sockets there are at all, in 4 µs.

    Raises:
        OSError: the process is gone.
    """

    def __init__(self, pid: int) -> None:
        self._v4 = KeptFile(f"/proc/{pid}/net/sockstat")
        self._v6: KeptFile | None = None
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            self._v6 = KeptFile(f"/proc/{pid}/net/sockstat6")

    def close(self) -> None:
        """Give the descriptors back."""
        self._v4.close()
        if self._v6 is not None:
            self._v6.close()

    def sample(self) -> int:
        """Sockets in use and in TIME_WAIT, listening ones included, of both families."""
        words = self._v4.read().partition(b"TCP:")[2].split(b"\n", 1)[0].split()
        told = dict(zip(words[::2], words[1::2], strict=False))
        total = int(told.get(b"inuse", 0)) + int(told.get(b"tw", 0))
        if self._v6 is not None:
            total += int((self._v6.read().partition(b"TCP6: inuse")[2].split() or [b"0"])[0])
        return total


class Overflows:
    """/proc/PID/net/netstat: connections dropped because an accept queue was full.

    Raises:
        OSError: the process is gone.
    """

    def __init__(self, pid: int) -> None:
        self._file = KeptFile(f"/proc/{pid}/net/netstat")
        self._names, self._place = b"", 0

    def close(self) -> None:
        """Give the descriptor back."""
        self._file.close()

    def sample(self) -> int:
        """ListenOverflows, cumulative."""
        names, _, rest = self._file.read().partition(b"\nTcpExt:")
        if names != self._names:
            self._names, self._place = names, names.split().index(b"ListenOverflows") - 1
        return int(rest.partition(b"\n")[0].split(None, self._place + 1)[self._place])
