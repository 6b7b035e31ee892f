"""The operator's program, told of every event: one at a time, in order, bounded in time.

keepalived runs notify scripts at once and out of order, so that a script cannot know what is true
now. Here the next one starts only when the last has ended or was killed after 10 s; when more than
256 wait, the oldest are dropped and the program's next run is preceded by a warning in the journal.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from io import BufferedRandom
from shlex import split

import msgspec

from haman.controller.surface import JournalEntry

WAITING_MAX = 256
RUN_S = 10.0
STDERR_BYTES = 200
_NS_PER_S = 1_000_000_000

log = logging.getLogger(__name__)

OnFailure = Callable[[str], None]


class Hooks:
    """Runs `[hooks] on_event`.

    Args:
        command: program and arguments; "" = none.
        on_failure: told once when runs begin to fail, and not again until one succeeded.
        run_s: a run that takes longer is killed.
    """

    def __init__(self, command: str, on_failure: OnFailure, run_s: float = RUN_S) -> None:
        self.command = command
        self._on_failure = on_failure
        self._run_s = run_s
        self._waiting: deque[JournalEntry] = deque()
        self._ready = asyncio.Event()
        self._failing = False
        self._dropped = 0

    def offer(self, entry: JournalEntry) -> None:
        """Let the program know, when its turn comes."""
        if not self.command:
            return
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(entry)
        self._ready.set()

    async def run(self) -> None:
        """Run the program for each event, until cancelled."""
        while True:
            while not self._waiting:
                self._ready.clear()
                await self._ready.wait()
            entry = self._waiting.popleft()
            failure = await self._run_once(entry)
            if self._dropped:
                failure = failure or f"too slow: {self._dropped} events were not told"
                self._dropped = 0
            if failure and not self._failing:
                self._on_failure(f"hook {self.command}: {failure}")
            self._failing = bool(failure)

    async def _run_once(self, entry: JournalEntry) -> str:
        """Run it; returns what went wrong, "" if nothing.

        Standard input and error are files in memory, not pipes: a child of the program that
        outlives it would hold a pipe open, and whoever waits for the pipe's end waits for ever.
        """
        with _memory_file("event") as told, _memory_file("stderr") as said:
            told.write(event_json(entry))
            told.seek(0)
            try:
                process = await asyncio.create_subprocess_exec(
                    *split(self.command),
                    stdin=told,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=said,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                return f"cannot be started: {error}"
            try:
                async with asyncio.timeout(self._run_s):
                    status = await process.wait()
            except TimeoutError:
                return f"killed after {self._run_s:g} s at {entry.event.type}"
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    await process.wait()
            if status == 0:
                return ""
            said.seek(0)
            words = said.read(STDERR_BYTES).decode(errors="replace").strip()
            return f"exit status {status} at {entry.event.type}: {words}"


def _memory_file(name: str) -> BufferedRandom:
    return os.fdopen(os.memfd_create(name), "w+b")


def event_json(entry: JournalEntry) -> bytes:
    """An event as the API shows it."""
    event = entry.event
    at = datetime.fromtimestamp(event.at_ns / _NS_PER_S, UTC)
    return msgspec.json.encode(
        {
            "seq": entry.seq,
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "node": entry.node,
            "type": event.type,
            "service": event.service,
            "text": event.text,
            "reasons": event.reasons,
            "data": event.data,
        }
    )
