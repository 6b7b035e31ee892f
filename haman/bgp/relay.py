"""The relay: ExaBGP's helper, between its pipes and the controller's socket.

    python -m haman.bgp.relay SOCKET SHUT_MS WITHDRAW_MS

Standard input is read without end, or ExaBGP blocks writing to it; standard output is never waited
for. One controller at a time, the newest; its packets are `messages.Declaration`s, and each is
answered by a `RelayReport`, which also comes unasked when something changes. What it does not read is
dropped, for the next report says everything again.

ExaBGP ends for good when its helper keeps dying, so nothing here is worth dying for: a socket that
cannot be made is tried again, while the lease runs out. The relay ends when ExaBGP has: its pipe is
closed then. Only the standard library is loaded, of that little: it is started by every ExaBGP.
"""

import contextlib
import os
import select
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from haman.bgp.messages import (
    MAX_MESSAGE,
    RelayReport,
    decode_declaration,
    encode_report,
)
from haman.bgp.relaying import DeclarationReceived, Input, LineRead, Relaying, TimePassed

CHUNK: Final = 65_536
MAX_LINE: Final = 262_144
"""A line of ExaBGP's that is longer is dropped; `show neighbor json` takes some 1.5 kB a neighbour."""
MAX_OUTPUT: Final = 262_144
"""Of commands that ExaBGP has not read; the window of unanswered ones stays far below."""
TURN_MS: Final = 1000
"""The longest sleep: a socket that could not be made is tried again, an orphan notices."""
STDIN: Final = 0
STDOUT: Final = 1


class Relay:
    """The process: pipes, socket, clock."""

    def __init__(self, path: Path, shut_ms: int, withdraw_ms: int) -> None:
        self._path = path
        self._core = Relaying(time.monotonic_ns(), shut_ms, withdraw_ms)
        self._input = b""
        self._skipping = False
        self._output = b""
        self._listening: socket.socket | None = None
        self._controller: socket.socket | None = None
        self._reported: RelayReport | None = None
        self._parent = os.getppid()

    def run(self) -> None:
        """Until ExaBGP is gone."""
        os.set_blocking(STDIN, False)
        os.set_blocking(STDOUT, False)
        self._step(TimePassed())
        while os.getppid() == self._parent and self._turn():
            pass

    def _turn(self) -> bool:
        self._listen()
        poll = select.poll()
        poll.register(STDIN, select.POLLIN)
        if self._output:
            poll.register(STDOUT, select.POLLOUT)
        for end in (self._listening, self._controller):
            if end is not None:
                poll.register(end, select.POLLIN)
        now_ns = time.monotonic_ns()
        wait_ms = (self._core.deadline_ns(now_ns) - now_ns) // 1_000_000 + 1
        ready = {number for number, _ in poll.poll(min(wait_ms, TURN_MS))}
        alive = STDIN not in ready or self._read()
        if self._listening is not None and self._listening.fileno() in ready:
            self._accept()
        elif self._controller is not None and self._controller.fileno() in ready:
            self._hear(self._controller)
        self._step(TimePassed())
        self._report(asked=False)
        return alive

    # ---- ExaBGP --------------------------------------------------------------------------------

    def _read(self) -> bool:
        """Take in what ExaBGP wrote; False when it has closed its end."""
        try:
            chunk = os.read(STDIN, CHUNK)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        *lines, self._input = (self._input + chunk).split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
            else:
                self._step(LineRead(line.decode("ascii", "replace").rstrip()))
        if len(self._input) > MAX_LINE:
            self._core.counters["lines_too_long"] += 1
            self._input, self._skipping = b"", True
        return True

    def _step(self, fact: Input) -> None:
        lines = self._core.step(fact, time.monotonic_ns())
        self._output += "".join(f"{line}\n" for line in lines).encode("ascii")
        if len(self._output) > MAX_OUTPUT:
            raise RuntimeError("the window of unanswered commands does not hold")
        if self._output:
            # A pipe without a reader is ExaBGP's end: standard input tells.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                self._output = self._output[os.write(STDOUT, self._output) :]

    # ---- controller ----------------------------------------------------------------------------

    def _listen(self) -> None:
        if self._listening is not None:
            return
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        mask = os.umask(0o177)
        try:
            self._path.unlink(missing_ok=True)  # of a relay that is gone
            listening.bind(str(self._path))
            listening.listen(4)
        except OSError as error:
            listening.close()
            self._core.counters["socket_failures"] += 1
            print(f"haman relay: {self._path}: {error.strerror}", file=sys.stderr)  # noqa: T201
        else:
            self._listening = listening
        finally:
            os.umask(mask)

    def _accept(self) -> None:
        if self._listening is None:
            return
        try:
            accepted, _ = self._listening.accept()
        except OSError:
            return  # it left before its turn came
        accepted.setblocking(False)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MAX_MESSAGE)
        if self._controller is not None:
            self._controller.close()
        self._controller, self._reported = accepted, None
        self._core.counters["controllers"] += 1

    def _hear(self, controller: socket.socket) -> None:
        try:
            packet = controller.recv(MAX_MESSAGE + 1)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            controller.close()
            self._controller = None
            return
        try:
            declaration = decode_declaration(packet)
        except ValueError:
            self._core.counters["declarations_malformed"] += 1
        else:
            self._step(DeclarationReceived(declaration))
        self._report(asked=True)

    def _report(self, *, asked: bool) -> None:
        """Tell the controller everything, if it asked or something changed."""
        if self._controller is None:
            return
        report = self._core.snapshot()
        if self._reported is not None and not asked:
            news = replace(report, counters=self._reported.counters)
            if news == self._reported:
                return
        try:
            self._controller.send(encode_report(report))
        except BlockingIOError:
            self._core.counters["reports_unread"] += 1
        except OSError:
            self._controller.close()
            self._controller = None
        else:
            self._reported = report


def main(arguments: Sequence[str]) -> int:
    """Run it; the arguments are those of the configuration that this package wrote."""
    path, shut_ms, withdraw_ms = arguments
    Relay(Path(path), int(shut_ms), int(withdraw_ms)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
