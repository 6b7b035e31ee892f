"""Time: monotonic for every decision, wall for what people read, and a timer to sleep on."""

import ctypes
import os
import time

from haman.system.native import failure, libc

_TFD_TIMER_ABSTIME = 1
_NS_PER_S = 1_000_000_000


def monotonic_ns() -> int:
    """CLOCK_MONOTONIC; stands still while the machine is suspended, never jumps."""
    return time.monotonic_ns()


def wall_ns() -> int:
    """Time since the epoch: for display, never for decisions."""
    return time.time_ns()


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """A file descriptor that becomes readable at an instant of the monotonic clock (timerfd).

    epoll's own time-out comes in whole milliseconds, ten times what a 10 ms advert may be late.
    """

    def __init__(self) -> None:
        self._fd = int(libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), failure("timerfd_create"))
        self._spec = _Itimerspec()
        self._reference = ctypes.byref(self._spec)
        self._settime = libc.timerfd_settime

    def fileno(self) -> int:
        """For epoll."""
        return self._fd

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)

    def arm(self, at_ns: int | None) -> None:
        """Become readable at `at_ns`, at once if that has passed; None = never."""
        # A value of 0 disarms a timerfd, so that an instant in the past is never written as 0.
        at_ns = 0 if at_ns is None else max(at_ns, 1)
        self._spec.value.seconds, self._spec.value.nanoseconds = divmod(at_ns, _NS_PER_S)
        if self._settime(self._fd, _TFD_TIMER_ABSTIME, self._reference, None) < 0:
            raise OSError(ctypes.get_errno(), failure("timerfd_settime"))
