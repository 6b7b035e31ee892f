"""Process file descriptors (pidfd_open(2), Linux 5.3): readable the moment a process has exited."""

import os
import select

from haman.core.processes import ProcessGone, ProcessId
from haman.system.procfs import ProcFs


class PidFd:
    """Stands for one process, for ever; give it to epoll or to `loop.add_reader`.

    The kernel reports the exit when the last thread has ended and the descriptors of the process
    are closed, whether or not its parent has waited for it.
    """

    def __init__(self, process: ProcessId, fd: int) -> None:
        self.process = process
        self._fd = fd

    @classmethod
    def open(cls, process: ProcessId, procfs: ProcFs) -> "PidFd | ProcessGone":
        """Watch exactly this process; gone if its pid belongs to another by now.

        Raises:
            OSError: out of descriptors, or a kernel older than 5.3.
        """
        try:
            fd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return ProcessGone(process.pid)
        status = procfs.status(process.pid)  # after opening: it cannot change any more
        if isinstance(status, ProcessGone) or status.process != process:
            os.close(fd)
            return ProcessGone(process.pid)
        return cls(process, fd)

    def fileno(self) -> int:
        """Readable = exited."""
        return self._fd

    @property
    def exited(self) -> bool:
        """Whether the process has ended."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)
