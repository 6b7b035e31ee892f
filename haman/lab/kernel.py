"""The few system calls that the lab needs and Python 3.11 does not have."""

import ctypes
import errno
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

CLONE_NEWNET = 0x40000000
CLOCK_MONOTONIC = 1
TFD_NONBLOCK = os.O_NONBLOCK
NS_PER_S = 1_000_000_000
MODULES = {"exabgp": "exabgp", "haman.bgp.relay": "haman-relay"}
"""Processes that run as `python -m MODULE`, and what they are called."""

Result = TypeVar("Result")
_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def periodic_timer(interval_ns: int) -> int:
    """A timerfd on CLOCK_MONOTONIC that fires every `interval_ns`, non-blocking; see timerfd(2)."""
    fd = _checked(_libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), "timerfd_create")
    period = _Timespec(*divmod(interval_ns, NS_PER_S))
    spec = _Itimerspec(period, period)
    _checked(_libc.timerfd_settime(fd, 0, ctypes.byref(spec), None), "timerfd_settime")
    return fd


def in_netns(pid: int, make: Callable[[], Result]) -> Result:
    """What `make` returns when it runs inside the network namespace of a process.

    A socket stays in the namespace that it was made in, so this is how one process listens in
    many. setns(2) concerns one thread only; that thread ends with this call.
    """
    results: list[Result] = []
    failures: list[BaseException] = []

    def enter() -> None:
        try:
            fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                _checked(_libc.setns(fd, CLONE_NEWNET), "setns")
            finally:
                os.close(fd)
            results.append(make())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=enter, name="setns")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def start_ticks(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None when it is gone or a zombie.

    Together with the number this names a process for good: proc_pid_stat(5), field 22.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ESRCH}:
            return None
        raise
    state, *fields = text.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])


def children(pid: int) -> list[int]:
    """The processes that a single-threaded process has forked."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def processes_beside(pid: int) -> list[tuple[int, str]]:
    """Number and name of each process in the PID namespace of `pid`, zombies left out.

    The name is the process's own (comm), but `haman-VERB` for what `haman VERB` runs, and `exabgp` and
    `haman-relay` for what the engine and ExaBGP start; ExaBGP's healthcheck is `exabgp-healthcheck`.
    """
    namespace = Path(f"/proc/{pid}/ns/pid").stat().st_ino
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if (entry / "ns/pid").stat().st_ino != namespace:
                continue
            own = (entry / "comm").read_text().strip()
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it ended while we looked
        if start_ticks(int(entry.name)) is not None:
            found.append((int(entry.name), _name(own, words)))
    return sorted(found)


def _name(own: str, words: list[str]) -> str:
    if own.startswith("haman-"):
        return own
    if ("exabgp", "healthcheck") in itertools.pairwise(words):
        return "exabgp-healthcheck"
    for word, following in itertools.pairwise(words):
        if word == "-m" and following in MODULES:
            return MODULES[following]
        if following and (word == "haman.cli" or Path(word).name == "haman"):
            return f"haman-{following}"
    return own


def wait_until(condition: Callable[[], bool], timeout_s: float, poll_s: float = 0.02) -> bool:
    """Whether a condition became true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_s)
    return True


def netlink_socket(groups: int) -> socket.socket:
    """A route socket of the calling thread's namespace, subscribed to groups; rtnetlink(7)."""
    route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    route.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    route.bind((0, groups))
    route.setblocking(False)
    return route
