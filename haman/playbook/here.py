"""This machine, where steps with `at = "here"` run."""

import contextlib
import os
import signal
import subprocess
import threading

from haman.playbook.hosts import Done, HostError, Tell
from haman.playbook.ssh import Tail


def run(text: str, timeout_s: float, tell: Tell | None = None) -> Done:
    """Run shell text here, as `Hosts.run` does on a node.

    Raises:
        HostError: it could not be begun, or did not end in time and was killed.
    """
    kept = Tail(tell)
    try:
        process = subprocess.Popen(
            ["sh", "-c", text],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise HostError(f"here: {error.strerror}") from error
    late = threading.Event()

    def end() -> None:
        late.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(timeout_s, end)
    timer.start()
    try:
        with process:
            assert process.stdout is not None
            while data := os.read(process.stdout.fileno(), 65536):
                kept.take(data)
            status = process.wait()
    finally:
        timer.cancel()
        timer.join()
    kept.end()
    if late.is_set():
        raise HostError(f"here: it did not end within {timeout_s:g} s")
    return Done(status if status >= 0 else 128 - status, kept.text)
