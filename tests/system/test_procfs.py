"""What /proc tells, checked against what is known: this process, children, and a busy loop."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from haman.core.processes import ProcessGone, ProcessId, ProcessStatus
from haman.core.resources import ProcessSample
from haman.system.procfs import ProcessReader, ProcFs
from tests.engine.net import wait

NS_PER_S = 1_000_000_000


@pytest.fixture
def procfs() -> ProcFs:
    return ProcFs()


def identity(procfs: ProcFs, pid: int) -> ProcessId:
    status = procfs.status(pid)
    assert isinstance(status, ProcessStatus)
    return status.process


def reader_of(procfs: ProcFs, pid: int) -> ProcessReader:
    reader = procfs.open(identity(procfs, pid))
    assert isinstance(reader, ProcessReader)
    return reader


def sampled(reader: ProcessReader) -> ProcessSample:
    sample = reader.sample()
    assert isinstance(sample, ProcessSample)
    return sample


@contextmanager
def child(code: str = "input()") -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_this_process(procfs) -> None:
    status = procfs.status(os.getpid())
    assert status == ProcessStatus(
        identity(procfs, os.getpid()), Path("/proc/self/comm").read_text().strip(), os.getppid()
    )


def test_nobody_has_this_pid(procfs) -> None:
    pid = 2**22 + 1
    assert procfs.status(pid) == ProcessGone(pid)
    assert procfs.children(pid) == ()
    assert procfs.arguments(pid) == ()
    assert procfs.open(ProcessId(pid, 1)) == ProcessGone(pid)


def test_children_and_zombies(procfs) -> None:
    with child() as process:
        assert process.pid in procfs.children(os.getpid())
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert process.pid in procfs.children(os.getpid())
        assert procfs.status(process.pid) == ProcessGone(process.pid)
    assert process.pid not in procfs.children(os.getpid())


def test_children_without_help_from_the_kernel(procfs) -> None:
    procfs._lists_children = False
    with child() as process:
        assert process.pid in procfs.children(os.getpid())


def test_a_name_with_brackets_and_spaces(procfs) -> None:
    code = "open('/proc/self/comm', 'w').write('a) Z (b c'); print(flush=True); input()"
    with child(code) as process:
        assert process.stdout is not None
        process.stdout.readline()
        status = procfs.status(process.pid)
        assert isinstance(status, ProcessStatus)
        assert (status.name, status.parent) == ("a) Z (b c", os.getpid())
        assert process.pid in procfs.find("a) Z (b c")


def test_names_are_compared_as_the_kernel_keeps_them(procfs) -> None:
    code = "open('/proc/self/comm', 'w').write('fifteen-letters'); print(flush=True); input()"
    with child(code) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert process.pid in procfs.find("fifteen-letters-and-more")
        assert process.pid not in procfs.find("fifteen")


def test_the_command_line(procfs) -> None:
    code = "print(flush=True); input()"
    with child(code) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert procfs.arguments(process.pid)[1:4] == ("-S", "-c", code)


def test_a_reused_pid_is_gone(procfs) -> None:
    other = ProcessId(os.getpid(), identity(procfs, os.getpid()).start_ticks - 1)
    assert procfs.open(other) == ProcessGone(os.getpid())


def listed(pid: int) -> int:
    """Descriptors; an interpreter that starts opens and closes some."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_descriptors_are_those_that_are_listed(procfs) -> None:
    with child() as process:
        reader = reader_of(procfs, process.pid)
        wait(lambda: sampled(reader).fds == listed(process.pid), what="a child that has started")
        reader.close()


def test_descriptors_are_counted_as_they_come(procfs) -> None:
    reader = reader_of(procfs, os.getpid())
    before = sampled(reader).fds
    more = [os.open("/dev/null", os.O_RDONLY) for _ in range(25)]
    after = sampled(reader).fds
    for fd in more:
        os.close(fd)
    reader.close()
    assert before is not None
    assert after == before + 25


def test_descriptors_on_kernels_that_do_not_count_them(procfs) -> None:
    procfs.counts_fds = False
    with child() as process:
        reader = reader_of(procfs, process.pid)
        wait(lambda: sampled(reader).fds == listed(process.pid), what="a child that has started")
        reader.close()


def test_the_soft_limit(procfs) -> None:
    with child(
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (77, 99)); print(flush=True); input()"
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        reader = reader_of(procfs, process.pid)
        assert sampled(reader).fd_limit == 77
        reader.close()


def test_cpu_of_a_busy_process_is_what_the_kernel_charged_it(procfs) -> None:
    code = "while True: pass"
    with child(code) as process:
        reader = reader_of(procfs, process.pid)
        before, begun = sampled(reader), time.monotonic()
        spent_s = 0.0
        while spent_s < 0.2:  # soon, unless others have the CPUs
            time.sleep(0.1)
            after, took_s = sampled(reader), time.monotonic() - begun
            spent_s = (after.cpu_ns[process.pid] - before.cpu_ns[process.pid]) / NS_PER_S
            assert spent_s <= took_s + 0.05
            assert took_s < 30
        reader.close()


def test_the_wait_for_a_cpu_is_what_the_kernel_says(procfs) -> None:
    with child("while True: pass") as process, child("while True: pass") as rival:
        for each in (process, rival):
            os.sched_setaffinity(each.pid, {min(os.sched_getaffinity(0))})
        reader = reader_of(procfs, process.pid)
        before = sampled(reader)
        end = time.monotonic() + 10
        while sampled(reader).waited_ns[process.pid] - before.waited_ns[process.pid] < NS_PER_S / 5:
            assert time.monotonic() < end, "two processes on one CPU do not wait for each other"
            time.sleep(0.02)
        reader.close()


def test_cpu_is_told_by_thread(procfs) -> None:
    stop = Event()
    sleeper = Thread(target=stop.wait)
    reader = reader_of(procfs, os.getpid())
    before = sampled(reader).cpu_ns
    sleeper.start()
    during = sampled(reader).cpu_ns
    stop.set()
    sleeper.join()
    assert sleeper.native_id in during
    assert sleeper.native_id not in before
    end = time.monotonic() + 5
    while sleeper.native_id in sampled(reader).cpu_ns:
        assert time.monotonic() < end
    reader.close()


def test_a_process_that_ends_between_samples_is_a_value(procfs) -> None:
    with child() as process:
        reader = reader_of(procfs, process.pid)
        sampled(reader)
        process.kill()
        process.wait()
        assert reader.sample() == ProcessGone(process.pid)
        reader.close()


def test_a_reader_gives_its_descriptors_back(procfs) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    reader = reader_of(procfs, os.getpid())
    sampled(reader)
    reader.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
