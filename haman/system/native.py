"""The C library, for the few calls that Python 3.11 does not offer."""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG = 1


def failure(call: str) -> str:
    """Why the last call into `libc` failed, for people."""
    return f"{call}: {os.strerror(ctypes.get_errno())}"


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send this process a signal when its parent dies (prctl(2)).

    Must follow any change of user, which clears the setting. The kernel cannot refuse it.
    """
    libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
