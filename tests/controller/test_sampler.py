"""One round of readings: whose sockets are the proxy's, other namespaces, and processes that come and go."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from haman.controller import sampler as sampler_module
from haman.controller.sampler import OwnListeners, Sampler
from haman.core.processes import ProcessId, ProcessStatus
from haman.core.resources import (
    GroupsSampled,
    InterfacesSampled,
    MemorySampled,
    ProcessesSampled,
    QueuesSampled,
    Reading,
    SoftirqSampled,
    SourceFailed,
)
from haman.system.procfs import ProcFs
from haman.system.sockdiag import Listener
from tests.engine.net import Namespace

NS_PER_S = 1_000_000_000
LISTENS = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0), backlog=5)
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


def identity(pid: int) -> ProcessId:
    status = ProcFs().status(pid)
    assert isinstance(status, ProcessStatus)
    return status.process


@contextmanager
def listening(*prefix: str) -> Iterator[tuple[ProcessId, int]]:
    """A process that listens, and on which port."""
    command = [*prefix, sys.executable, "-S", "-c", LISTENS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            yield identity(process.pid), port
        finally:
            process.kill()


class Sampled:
    """A sampler, with all that it read."""

    def __init__(self, probe_port: int | None = None) -> None:
        self.readings: list[Reading] = []
        self.sampler = Sampler(ProcFs(), self.readings.append, probe_port, lambda: (None, None))
        self.now_ns = 10 * NS_PER_S

    def round(self, *members: ProcessId, near: frozenset[str] = frozenset()) -> list[Reading]:
        self.readings.clear()
        self.sampler.sample(members, (), near, self.now_ns)
        self.now_ns += NS_PER_S // 5
        return list(self.readings)

    def close(self) -> None:
        self.sampler.close()


def kinds(readings: list[Reading]) -> set[type]:
    return {type(reading) for reading in readings}


def queues(readings: list[Reading]) -> QueuesSampled:
    (found,) = [r for r in readings if isinstance(r, QueuesSampled)]
    return found


def test_fast_sources_in_every_round_and_slow_ones_once_a_second() -> None:
    with listening() as (process, _), closing(Sampled()) as sampled:
        rounds = [kinds(sampled.round(process)) for _ in range(10)]
    for kind, times in (
        (ProcessesSampled, 10),
        (GroupsSampled, 10),
        (QueuesSampled, 5),
        (MemorySampled, 2),
        (SoftirqSampled, 2),
        (InterfacesSampled, 2),
    ):
        assert sum(kind in found for found in rounds) == times, kind


def test_what_is_near_its_ceiling_is_read_in_every_round() -> None:
    with listening() as (process, _), closing(Sampled()) as sampled:
        rounds = [kinds(sampled.round(process, near=frozenset({"memory"}))) for _ in range(5)]
    assert all(MemorySampled in found for found in rounds)


def test_its_own_sockets_are_those_that_it_has_open() -> None:
    with (
        listening() as (process, port),
        socket.create_server(("127.0.0.1", 0)) as other,
        closing(Sampled()) as sampled,
        socket.create_connection(("127.0.0.1", port)),
    ):
        found = {q.address: q for q in queues(sampled.round(process)).queues}
        mine = found[f"127.0.0.1:{port}"]
        assert (mine.own, mine.waiting, mine.backlog) == (True, 1, 5)
        assert not found[f"127.0.0.1:{other.getsockname()[1]}"].own
        assert sum(q.own for q in found.values()) == 1


class Forbidden:
    """A reader of another user's process."""

    def sockets(self) -> set[int]:
        raise PermissionError(13, "Permission denied")


LISTENERS = [Listener("0.0.0.0:443", 443, 0, 511, 1), Listener("0.0.0.0:22", 22, 0, 128, 2)]
FOREIGN = {ProcessId(7, 7): Forbidden()}


def test_without_permission_the_probe_s_port_tells_them() -> None:
    assert OwnListeners(443).among(LISTENERS, FOREIGN, 0) == {1}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("port", "why"), [(None, "there is no proxy.probe"), (80, "nobody listens on the port")]
)
def test_without_permission_and_probe_it_is_unknown_and_says_what_to_do(port, why) -> None:
    told = OwnListeners(port).among(LISTENERS, FOREIGN, 0)  # type: ignore[arg-type]
    assert isinstance(told, str)
    assert "the sockets of process 7 may not be looked at by this user (CAP_SYS_PTRACE)" in told
    assert why in told


class Counting:
    """A reader that tells how often its descriptors were looked at."""

    def __init__(self, *inodes: int) -> None:
        self.inodes, self.looks = set(inodes), 0

    def sockets(self) -> set[int]:
        self.looks += 1
        return self.inodes


def listeners(*inodes: int) -> list[Listener]:
    return [Listener(f"0.0.0.0:{inode}", inode, 0, 511, inode) for inode in inodes]


def test_descriptors_are_looked_at_for_new_sockets_alone_and_rarely_where_there_are_many() -> None:
    own, few, many = OwnListeners(None), Counting(1), Counting(*range(20_000))
    readers: Any = {ProcessId(7, 7): few}
    assert own.among(listeners(1, 2), readers, 0) == {1}
    assert own.among(listeners(1), readers, 10 * NS_PER_S) == {1}
    assert few.looks == 1  # a socket that closed is no news
    few.inodes.add(3)
    assert own.among(listeners(1, 3), readers, 20 * NS_PER_S) == {1, 3}
    assert few.looks == 2
    own, readers = OwnListeners(None), {ProcessId(7, 7): many}
    for second in range(30):
        own.among(listeners(1, 100_000 + second), readers, second * NS_PER_S)
    assert many.looks == 1


def test_a_process_that_listens_on_nothing_has_no_queue() -> None:
    with closing(Sampled()) as sampled, subprocess.Popen(["sleep", "60"]) as sleeper:
        process = identity(sleeper.pid)
        failed = [r for r in sampled.round(process) if isinstance(r, SourceFailed)]
        sleeper.kill()
    assert ("accept_queue", "the proxy listens on no TCP socket") in [
        (r.resource, r.why) for r in failed
    ]


def test_when_the_leader_ends_another_one_takes_its_place() -> None:
    with closing(Sampled()) as sampled, listening() as (second, port):
        with listening() as (first, _):
            sampled.round(first, second)
        # `first` has ended; a second later its sources would only fail.
        readings = sampled.round(second)
        assert kinds(readings) >= {ProcessesSampled, QueuesSampled, MemorySampled}
        assert not [r for r in readings if isinstance(r, SourceFailed)]
        assert [q.address for q in queues(readings).queues if q.own] == [f"127.0.0.1:{port}"]


def test_without_any_process_nothing_is_read() -> None:
    with closing(Sampled()) as sampled:
        with listening() as (gone, _):
            pass
        assert sampled.round() == []
        assert sampled.round(gone) == []


def test_a_source_that_fails_is_a_reading_and_is_tried_again(monkeypatch) -> None:
    def broken(self: object) -> object:
        raise OSError(5, "Input/output error", "/proc/meminfo")

    with listening() as (process, _), closing(Sampled()) as sampled:
        with monkeypatch.context() as patched:
            patched.setattr(sampler_module.HostMemory, "sizes", broken)
            (failed,) = [r for r in sampled.round(process) if isinstance(r, SourceFailed)]
            assert (failed.resource, failed.why) == ("memory", "Input/output error (/proc/meminfo)")
        assert MemorySampled not in kinds(sampled.round(process))
        later = [kinds(sampled.round(process)) for _ in range(4)]
        assert MemorySampled in later[-1]


def test_nothing_is_left_open() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with listening() as (process, _):
        before = descriptors()
        sampled = Sampled()
        sampled.round(process)
        assert descriptors() > before
        sampled.close()
        assert descriptors() == before


@pytest.mark.privileged
def test_a_proxy_in_another_network_namespace() -> None:
    namespace = Namespace()
    try:
        namespace.run("ip link set lo up")
        inside = listening("nsenter", f"--net={namespace.path}", "--")
        with inside as (process, port), closing(Sampled()) as sampled:
            readings = sampled.round(process)
            assert not [r for r in readings if isinstance(r, SourceFailed)]
            found = queues(readings).queues
            assert [(q.address, q.own) for q in found] == [(f"127.0.0.1:{port}", True)]
    finally:
        namespace.close()


@pytest.mark.privileged
def test_a_namespace_that_may_not_be_entered_is_unknown_with_the_reason(monkeypatch) -> None:
    def refused(pid: int, opening: object) -> object:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(sampler_module, "open_inside", refused)
    with listening() as (process, _), closing(Sampled()) as sampled:
        failed = {r.resource: r.why for r in sampled.round(process) if isinstance(r, SourceFailed)}
    why = "not permitted: Operation not permitted (CAP_SYS_ADMIN)"
    assert failed == {"accept_queue": why, "conntrack": why}
