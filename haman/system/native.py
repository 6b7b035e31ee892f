"""The C library, for the few calls that Python 3.11 does not offer."""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)


def failure(call: str) -> str:
    """Why the last call into `libc` failed, for people."""
    return f"{call}: {os.strerror(ctypes.get_errno())}"
