"""Network namespaces: what is opened inside of one stays there (network_namespaces(7), setns(2))."""

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from haman.system.native import libc

_CLONE_NEWNET = 0x40000000

Opened = TypeVar("Opened")


def is_own(pid: int) -> bool:
    """Whether the process `pid` is in this process's network namespace.

    Raises:
        OSError: it is gone, or may not be looked at.
    """
    return Path(f"/proc/{pid}/ns/net").stat().st_ino == Path("/proc/self/ns/net").stat().st_ino


def open_inside(pid: int, opening: Callable[[], Opened]) -> Opened:
    """Call `opening` in the network namespace of the process `pid`.

    A namespace belongs to a thread, so another one is entered by a thread that ends right after.

    Raises:
        PermissionError: entering another namespace needs CAP_SYS_ADMIN.
        OSError: the process is gone, or what `opening` raised.
    """
    if is_own(pid):
        return opening()
    opened: list[Opened] = []
    failures: list[BaseException] = []

    def enter() -> None:
        try:
            there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                if libc.setns(there, _CLONE_NEWNET) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            finally:
                os.close(there)
            opened.append(opening())
        except BaseException as failure:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(failure)

    thread = threading.Thread(target=enter, name=f"netns of {pid}")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return opened[0]
