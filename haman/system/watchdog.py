"""The kernel's watchdog device (Documentation/watchdog/watchdog-api.rst): resets a machine that hangs."""

import contextlib
import fcntl
import os
import struct
from typing import Final

_WDIOC_SETTIMEOUT: Final = 0xC0045706
_INT: Final = struct.Struct("=i")


class WatchdogDevice:
    """An open device; from now on it wants to hear of somebody, or the machine is reset.

    Args:
        path: /dev/watchdog.
        timeout_s: how long it waits; a device may round it, or know only its own.

    Raises:
        OSError: it cannot be opened, another process has it.
    """

    def __init__(self, path: str, timeout_s: int) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self.timeout_s = timeout_s
        with contextlib.suppress(
            OSError
        ):  # then its own is in force, which nobody can ask for here
            answer = fcntl.ioctl(self._fd, _WDIOC_SETTIMEOUT, _INT.pack(timeout_s))
            self.timeout_s = _INT.unpack(answer)[0]

    def alive(self) -> None:
        """Begin the time anew."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._fd, b".")

    def close(self) -> None:
        """Disarm it (the magic close), unless the kernel was told never to."""
        with contextlib.suppress(OSError):
            os.write(self._fd, b"V")
        os.close(self._fd)
