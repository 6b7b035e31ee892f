"""The other end of `--events`: reads the lines, writes the words."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from haman.api import runs

DEADLINE_S = 30.0
Kind = TypeVar("Kind")


class Attending:
    """Both pipes; `into` and `out` are what the run reads and writes."""

    def __init__(self) -> None:
        self.into, self._ours = os.pipe()
        self._reading, self.out = os.pipe()
        self.lines: list[runs.Line] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with os.fdopen(self._reading, "rb") as file:
            for line in file:
                self.lines.append(msgspec.json.decode(line, type=runs.Line))

    def say(self, word: runs.Word) -> None:
        os.write(self._ours, msgspec.json.encode(word) + b"\n")

    def say_raw(self, data: bytes) -> None:
        os.write(self._ours, data)

    def leave(self) -> None:
        """What a program that ends does: its end of the pipe is closed."""
        ours, self._ours = self._ours, -1  # first: closing may bring the signal that ends this
        if ours >= 0:
            os.close(ours)

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [line for line in self.lines if isinstance(line, kind)]

    def until(self, holds: Callable[[], object]) -> None:
        end = time.monotonic() + DEADLINE_S
        while not holds():
            assert time.monotonic() < end, f"it did not come: {self.lines}"
            time.sleep(0.005)

    def close(self) -> None:
        self.leave()
        os.close(self.out)
        self._thread.join(DEADLINE_S)
        os.close(self.into)


@contextmanager
def attending() -> Iterator[Attending]:
    program = Attending()
    try:
        yield program
    finally:
        program.close()
