"""The signals for the service, as something to read: none interrupts what the loop is doing."""

import signal
import socket
from collections.abc import Iterable


class Signals:
    """Takes over these signals of the process.

    Args:
        numbers: of the signals.
    """

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._reading, self._wakeup = socket.socketpair()
        for each in (self._reading, self._wakeup):
            each.setblocking(False)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda _number, _frame: None)  # the wake-up byte is what counts

    def fileno(self) -> int:
        """Readable when there was a signal."""
        return self._reading.fileno()

    def read(self) -> list[signal.Signals]:
        """Those since the last call; a storm of one kind is one signal."""
        return [signal.Signals(each) for each in sorted(set(self._reading.recv(4096))) if each]
