"""What the terminal UI costs and how quick it is: `python -m tests.tui.bench_tui [--soak-s N]`.

Each figure is of the real program on a real (pseudo-)terminal, asking a real server, which runs in a
process of its own. The table shows the bounds beside the figures.

    first picture   from the start of `haman tui` until a node and "live" are written to the terminal
    key             from a key written to the terminal until the app has handed the picture with the
                    cursor moved to it; 64 nodes × 64 services that change at 5 Hz, 200×50
    idle            CPU of `haman tui` while it watches a pair on which nothing happens
    soak            memory with 64 × 64 at 5 Hz and 20 events/s: growth after the first quarter
"""

import argparse
import asyncio
import fcntl
import os
import pty
import selectors
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from aiohttp import web

from haman.api.schema import Event
from tests.tui import samples

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
BOUNDS = {"first picture": "≤ 1000 ms", "key": "≤ 50 ms", "idle": "≤ 3 %", "soak": "flat"}
HURRIED_HZ = 5.0
APP = """
import asyncio, os, sys, time
from contextlib import nullcontext
from haman.api.reaching import Reaching, Way
from tui.app import FleetApp
from tui.feed import Pace

report = os.fdopen({report}, "w", buffering=1)

class Timed(FleetApp):
    drawn = None
    def _display(self, screen, renderable):
        super()._display(screen, renderable)
        now = (self.fleet.cursor.node, self.fleet.cursor.service)
        if renderable is not None and now != self.drawn:
            self.drawn = now
            print(time.monotonic_ns(), file=report)

way = Way("bench", lambda: nullcontext({socket!r}))
asyncio.run(Timed(Reaching([way]), "bench", pace=Pace(poll_s={poll_s})).run_async())
"""


def fleet(step: int) -> bytes:
    """64 nodes × 64 services; every figure is another at every step."""
    size = 64
    names = [f"edge-{i:02d}" for i in range(size)]
    nodes = tuple(
        samples.node(n, (step * 7 + i * 37) % 90 / 100, (step * 11 + i * 53) % 95 / 100, 0.05)
        for i, n in enumerate(names)
    )
    services = tuple(
        samples.vip(
            f"service-{k:02d}",
            [
                samples.member(names[(k + j) % size], "backup" if j else "active", 150 - j)
                for j in range(size)
            ],
        )
        for k in range(size)
    )
    at = f"2026-11-20T10:{15 + step // 300 % 40:02d}:{step // 5 % 60:02d}Z"
    return msgspec.json.encode(samples.pair(nodes=nodes, services=services, at=at))


def serve(socket: str, kind: str, events_hz: float) -> None:
    """Answer as an agent would: "pair" on which nothing happens, or "fleet" that never rests."""
    fleets = [fleet(step) for step in range(25)] if kind == "fleet" else []
    pair = msgspec.json.encode(samples.pair())
    asked = 0

    async def status(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        body = fleets[asked % len(fleets)] if fleets else pair
        return web.Response(body=body, content_type="application/json")

    async def events(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        seq = 0
        while not request.transport or not request.transport.is_closing():
            seq += 1
            at = f"2026-11-20T10:{seq // 60 % 60:02d}:{seq % 60:02d}Z"
            event = Event(seq, at, "edge-01", "role-changed", "service-01", f"change {seq}")
            body = msgspec.json.encode(event).decode() if events_hz else ""
            with suppress(ConnectionError):  # it has been ended
                await stream.write(f"data: {body}\n\n".encode() if body else b": heartbeat\n\n")
            await asyncio.sleep(1 / events_hz if events_hz else 10)
        return stream

    async def run() -> None:
        app = web.Application()
        app.add_routes([web.get("/v1/status", status), web.get("/v1/events", events)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.UnixSite(runner, socket).start()
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def serving(kind: str, events_hz: float = 0.0) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/haman.sock"
        code = f"from tests.tui.bench_tui import serve; serve({socket!r}, {kind!r}, {events_hz})"
        process = subprocess.Popen([sys.executable, "-c", code])
        try:
            end = time.monotonic() + 60
            while not Path(socket).exists():
                assert time.monotonic() < end, "the server does not start"
                time.sleep(0.02)
            yield socket
        finally:
            process.kill()
            process.wait()


class Watched:
    """A program on a pseudo-terminal, whose output is read all the time."""

    def __init__(
        self, command: list[str], size: tuple[int, int], pass_fds: tuple[int, ...] = ()
    ) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        environment.pop("NO_COLOR", None)
        self.started_ns = time.monotonic_ns()
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, pass_fds=pass_fds
        )
        os.close(theirs)
        self.shown = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.ours, selectors.EVENT_READ)

    def read(self, for_s: float, until: bytes = b"") -> None:
        """Read on, for so long, or until something is written."""
        end = time.monotonic() + for_s
        while (left := end - time.monotonic()) > 0 and not (until and until in self.shown):
            if not self._selector.select(left):
                break
            try:
                self.shown = (self.shown + os.read(self.ours, 1 << 20))[-(1 << 20) :]
            except OSError as error:
                said = self.shown[-2000:].decode(errors="replace")
                raise RuntimeError(f"the program ended: {said}") from error
        assert not until or until in self.shown, f"{until!r} was not written within {for_s} s"

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def rss_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * PAGE_BYTES / 1e6

    def close(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._selector.close()
        os.close(self.ours)


def first_picture_ms(repetitions: int) -> list[float]:
    taken = []
    with serving("pair") as socket:
        for _ in range(repetitions):
            command = [sys.executable, "-m", "haman.cli", "tui", "--socket", socket]
            watched = Watched(command, (120, 40))
            try:
                watched.read(60, b"live")
                taken.append((time.monotonic_ns() - watched.started_ns) / 1e6)
                assert b"lb1" in watched.shown
            finally:
                watched.close()
    return taken


@contextmanager
def hurried(socket: str) -> Iterator[tuple[Watched, int]]:
    """The app on 64 × 64 at 5 Hz, and where it writes when it has drawn a move of the cursor."""
    reading, writing = os.pipe()
    code = APP.format(report=writing, socket=socket, poll_s=1 / HURRIED_HZ)
    watched = Watched([sys.executable, "-c", code], (200, 50), (writing,))
    os.close(writing)
    try:
        watched.read(60, b"live")
        watched.read(3)
        os.set_blocking(reading, False)
        yield watched, reading
    finally:
        watched.close()
        os.close(reading)


def key_ms(presses: int) -> list[float]:
    taken = []
    with serving("fleet") as socket, hurried(socket) as (watched, reading):
        _drain(reading)
        for press in range(presses):
            watched.read(0.13)  # out of step with the updates
            key = b"\x1b[B" if press % 60 < 30 else b"\x1b[A"
            pressed_ns = time.monotonic_ns()
            os.write(watched.ours, key)
            end = time.monotonic() + 10
            drawn = b""
            while not drawn:
                watched.read(0.002)
                drawn = _drain(reading)
                assert time.monotonic() < end, "the key was not drawn"
            taken.append((int(drawn.split()[0]) - pressed_ns) / 1e6)
    return taken


def _drain(reading: int) -> bytes:
    try:
        return os.read(reading, 65536)
    except BlockingIOError:
        return b""


def idle_percent(for_s: float) -> float:
    with serving("pair") as socket:
        watched = Watched([sys.executable, "-m", "haman.cli", "tui", "--socket", socket], (120, 40))
        try:
            watched.read(60, b"live")
            watched.read(5)
            before, start = watched.cpu_s(), time.monotonic()
            watched.read(for_s)
            return 100 * (watched.cpu_s() - before) / (time.monotonic() - start)
        finally:
            watched.close()


def soak_mb(for_s: float) -> list[float]:
    with serving("fleet", events_hz=20) as socket, hurried(socket) as (watched, _):
        taken = []
        end = time.monotonic() + for_s
        while time.monotonic() < end:
            watched.read(for_s / 40)
            os.write(watched.ours, b"\x1b[B")
            taken.append(watched.rss_mb())
        return taken


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the terminal UI.")
    parser.add_argument("--starts", type=int, default=9)
    parser.add_argument("--presses", type=int, default=200)
    parser.add_argument("--idle-s", type=float, default=30)
    parser.add_argument("--soak-s", type=float, default=120)
    wanted = parser.parse_args()
    rows = []
    starts = first_picture_ms(wanted.starts)
    rows.append(
        ("first picture", f"{statistics.median(starts):.0f} ms", f"worst {max(starts):.0f} ms")
    )
    keys = sorted(key_ms(wanted.presses))
    p99 = keys[int(len(keys) * 0.99) - 1]
    rows.append(
        ("key", f"{statistics.median(keys):.1f} ms", f"p99 {p99:.1f} ms, worst {keys[-1]:.1f} ms")
    )
    rows.append(("idle", f"{idle_percent(wanted.idle_s):.2f} %", f"over {wanted.idle_s:g} s"))
    soak = soak_mb(wanted.soak_s)
    settled, rest = soak[len(soak) // 4], soak[len(soak) // 4 :]
    grown = statistics.mean(rest[-5:]) - statistics.mean(rest[:5])
    rows.append(("soak", f"{settled:.0f} MB", f"{grown:+.1f} MB in {wanted.soak_s * 3 / 4:g} s"))
    table = ["| | figure | | must reach |", "|---|---|---|---|"]
    table += [f"| {name} | {figure} | {more} | {BOUNDS[name]} |" for name, figure, more in rows]
    sys.stdout.write("\n".join(table) + "\n")


if __name__ == "__main__":
    main()
