"""`--events`: a program attends to a run. Lines of JSON go out; answers come in, and the wish to stop.

Standard input is the attendant. When it ends, nobody watches the run any more and nobody can be asked:
the run stops after what is under way. When nobody reads, what would be told is in the journal all the same.
"""

import os
import sys
import threading
from collections.abc import Callable

import click
import msgspec

from haman.api import runs

_WORDS = msgspec.json.Decoder(runs.Word)
READ_BYTES = 64 * 1024
LINE_BYTES_MAX = 64 * 1024


class Attendant:
    """The program at the other end.

    Args:
        stop: called, on another thread, when it wants the run to stop, or is gone; may be called twice.
    """

    def __init__(self, stop: Callable[[], None], into: int = 0, out: int = 1) -> None:
        self._stop = stop
        self._into, self._out = into, out
        self._writing = threading.Lock()
        self._listens = True
        self._changed = threading.Condition()
        self._answers: dict[int, bool | None] = {}
        self._asked = 0
        self._gone = False
        self._over = False

    def attend(self) -> None:
        """Begin to listen; the thread ends with the program."""
        sys.stdout.flush()
        threading.Thread(target=self._listen, name="attendant", daemon=True).start()

    def over(self) -> None:
        """The run has ended: the attendant may leave."""
        self._over = True

    def tell(self, line: runs.Line) -> None:
        """Write a line; from any thread."""
        data = msgspec.json.encode(line) + b"\n"
        with self._writing:
            try:
                while data and self._listens:
                    data = data[os.write(self._out, data) :]
            except OSError:
                self._listens = False  # the end of standard input says so too, and stops the run

    def ask(self, question: str, timeout_s: float) -> bool:
        """Ask a question; silence is a no."""
        with self._changed:
            self._asked += 1
            number = self._asked
            self._answers[number] = None
        self.tell(runs.Asked(number, question, timeout_s))
        with self._changed:
            self._changed.wait_for(
                lambda: self._gone or self._answers[number] is not None, timeout_s
            )
            yes = bool(self._answers.pop(number))
        self.tell(runs.Settled(number, yes))
        return yes

    def _listen(self) -> None:
        rest = b""
        # Not sys.stdin: its lock, held by a thread that waits, is in the way when the program ends.
        while part := self._read():
            *lines, rest = (rest + part).split(b"\n")
            for line in filter(None, lines):
                self._take(line)
            if len(rest) > LINE_BYTES_MAX:
                click.echo("haman: a line on standard input is too long; passed over", err=True)
                rest = b""
        with self._changed:
            self._gone = True
            self._changed.notify_all()
        if not self._over:
            self._stop()

    def _read(self) -> bytes:
        try:
            return os.read(self._into, READ_BYTES)
        except OSError:
            return b""

    def _take(self, line: bytes) -> None:
        try:
            word = _WORDS.decode(line)
        except msgspec.DecodeError as error:
            click.echo(f"haman: standard input: no answer and no stop: {error}", err=True)
            return
        if isinstance(word, runs.Stop):
            self._stop()
            return
        with self._changed:
            if self._answers.get(word.id, False) is None:
                self._answers[word.id] = word.yes
                self._changed.notify_all()
