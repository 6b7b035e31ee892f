"""Asking a proxy, whatever it does: an answer or a reason, within the time-out."""

import asyncio
import errno
import os
from collections.abc import Awaitable

from haman.proxies.answers import Answer, Unavailable

TIMEOUT_S = 0.25
LIMIT_BYTES = 1 << 20
READ_BYTES = 1 << 16

_FAILURES: dict[type[OSError], tuple[str, str]] = {
    FileNotFoundError: ("absent", "it does not exist; is the proxy configured to make it?"),
    ConnectionRefusedError: ("refused", "nobody listens on it"),
    PermissionError: ("forbidden", "this user may not open it; let the agent's group do so"),
}


class MalformedError(ValueError):
    """The answer is not what was asked for; the text says in what way."""


class RefusedStatusError(Exception):
    """The answer is HTTP, with another status than 200."""

    def __init__(self, status: int, target: str) -> None:
        super().__init__(f"GET {target}: status {status}")
        self.status = status


async def bounded(
    question: Awaitable[Answer], source: str, timeout_s: float, hint: str = ""
) -> Answer | Unavailable:
    """Await the answer to a question.

    Args:
        question: may raise OSError, OverflowError, MalformedError and RefusedStatusError.
        source: who is asked, for the reason.
        timeout_s: for the whole of it.
        hint: what to do about an answer that says no.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await question
    except TimeoutError:
        code, why = "timeout", f"no answer within {timeout_s * 1000:g} ms"
    except MalformedError as error:
        code, why = "malformed", str(error)
    except RefusedStatusError as error:
        code, why = "status", f"{error}; {hint}" if hint else str(error)
    except OverflowError:
        code, why = "too-long", f"more than {LIMIT_BYTES} bytes"
    except OSError as error:
        code, why = _why_not(error)
    return Unavailable(code, f"{source}: {why}")


def _why_not(error: OSError) -> tuple[str, str]:
    if error.errno == errno.EAGAIN:
        return "failed", "its backlog is full"
    words = os.strerror(error.errno) if error.errno else str(error) or "connection closed"
    return _FAILURES.get(type(error), ("failed", words))
