"""A pidfd is readable when, and only when, its process has ended."""

import asyncio
import os
import signal

from haman.core.processes import ProcessGone, ProcessId
from haman.system.pidfd import PidFd
from haman.system.procfs import ProcFs
from tests.system.test_procfs import child, identity


def opened(pid: int) -> PidFd:
    procfs = ProcFs()
    pidfd = PidFd.open(identity(procfs, pid), procfs)
    assert isinstance(pidfd, PidFd)
    return pidfd


def test_alive_and_then_not() -> None:
    with child() as process:
        pidfd = opened(process.pid)
        before = pidfd.exited
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert (before, pidfd.exited) == (False, True)  # although nobody has waited for it
        pidfd.close()


def test_a_stopped_process_has_not_ended() -> None:
    with child() as process:
        pidfd = opened(process.pid)
        process.send_signal(signal.SIGSTOP)
        assert not pidfd.exited
        pidfd.close()


def test_gone_and_reused() -> None:
    procfs = ProcFs()
    with child() as process:
        known = identity(procfs, process.pid)
    assert PidFd.open(known, procfs) == ProcessGone(known.pid)
    other = ProcessId(os.getpid(), 1)
    assert PidFd.open(other, procfs) == ProcessGone(os.getpid())


async def test_the_loop_is_woken() -> None:
    with child() as process:
        pidfd = opened(process.pid)
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(pidfd, woken.set)
        process.kill()
        async with asyncio.timeout(5):
            await woken.wait()
        loop.remove_reader(pidfd)
        pidfd.close()
