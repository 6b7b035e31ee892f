"""The client: new connections at a steady rate beside long-lived ones, timed to the microsecond.

`python -m haman.lab.prober ORDER RESULT` reads an Order (JSON), prints `ready <monotonic ns>` once
the long-lived connections stand, probes for the ordered time, or until a file beside RESULT ends in
`.end`, and writes a Result (JSON). One thread, one epoll, one timerfd, real-time scheduling where
allowed; it measures its own lateness and
reports it, because no figure is better than that.

Connections end with a reset (SO_LINGER 0), so that ports are not used up by TIME_WAIT.
"""

import contextlib
import errno
import gc
import os
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from haman.lab import kernel
from haman.lab.probe import NS_PER_MS, OK, Attempt, Lost, Order, Result

PENDING_MAX = 2000
BURST_MAX = 20
BURIALS_PER_TICK = 4
PRIORITY = 60
"""Real-time, above the engines of the nodes (50): a client is another machine, and pauses for none."""
IDLE_TICK_NS = 5 * NS_PER_MS
ESTABLISH_TIMEOUT_S = 5.0
LOOK_EVERY_NS = 50 * NS_PER_MS
RECONNECT_DELAY_NS = 100 * NS_PER_MS
END_SUFFIX = ".end"
LINGER_OFF = struct.pack("ii", 1, 0)
OUTCOMES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.EPIPE: "reset",
}


class New:
    """A new connection on its way."""

    __slots__ = ("asked", "sock", "start_ns")

    def __init__(self, sock: socket.socket, start_ns: int) -> None:
        self.sock = sock
        self.start_ns = start_ns
        self.asked = False


class Echo:
    """A long-lived connection, or one that waits to be made again."""

    __slots__ = ("counted", "sent_ns", "sock", "up")

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.up = False
        self.sent_ns = 0
        self.counted = False


class Prober:
    """One run of one order."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.family = socket.AF_INET6 if ":" in order.address else socket.AF_INET
        self.poll = select.epoll()
        self.pending: dict[int, New] = {}
        self.oldest: deque[New] = deque()
        self.echoes: dict[int, Echo] = {}
        self.turns: deque[tuple[int, Echo]] = deque()
        self.buried: deque[socket.socket] = deque()
        self.attempts: list[Attempt] = []
        self.lost: list[Lost] = []
        self.exchanges = 0
        self.unanswered = 0
        self.skipped = 0
        self.late_ns_max = 0
        self.request = f"GET / HTTP/1.1\r\nHost: {order.address}\r\n\r\n".encode()

    def establish(self) -> int:
        """Make the long-lived connections; how many stand in the end."""
        all_echoes = [Echo() for _ in range(self.order.connections)]
        for echo in all_echoes:
            self.connect_echo(echo, time.monotonic_ns())
        deadline = time.monotonic() + ESTABLISH_TIMEOUT_S
        while time.monotonic() < deadline and not all(echo.up for echo in all_echoes):
            for fd, _ in self.poll.poll(0.1):
                self.handle(fd, time.monotonic_ns())
        now = time.monotonic_ns()
        interval = self.order.echo_interval_ms * NS_PER_MS
        for i, echo in enumerate(all_echoes):
            echo.counted = echo.up
            self.turns.append((now + interval * i // len(all_echoes), echo))
        return sum(echo.up for echo in all_echoes)

    def run(self, start_ns: int, ended: Callable[[], bool] = lambda: False) -> int:
        """Probe for the ordered time, or until `ended` says so; the instant of the end."""
        rate = self.order.new_per_s
        tick_ns = 1_000_000_000 // rate if rate else IDLE_TICK_NS
        timer = kernel.periodic_timer(tick_ns)
        self.poll.register(timer, select.EPOLLIN)
        end_ns = start_ns + int(self.order.duration_s * 1e9)
        due_ns = look_ns = start_ns
        while (now := time.monotonic_ns()) < end_ns:
            ready = {fd for fd, _ in self.poll.poll()}
            # The timer comes last: it closes and opens sockets, whose numbers are used again.
            for fd in ready - {timer}:
                self.handle(fd, time.monotonic_ns())
            if timer not in ready:
                continue
            os.read(timer, 8)
            now = time.monotonic_ns()
            ticks = (now - due_ns) // tick_ns
            if ticks > 0:
                self.late_ns_max = max(self.late_ns_max, now - due_ns - tick_ns)
                due_ns += ticks * tick_ns
                self.tick(ticks if rate else 0, now)
            if now >= look_ns:
                look_ns = now + LOOK_EVERY_NS
                if ended():
                    break
        os.close(timer)
        for sock in self.buried:
            sock.close()
        for new in self.pending.values():
            # Its time was not up: it says nothing either way.
            new.sock.close()
        return now

    def tick(self, count: int, now: int) -> None:
        """Expire, start what is due, and let the long-lived ones speak."""
        for _ in range(min(BURIALS_PER_TICK, len(self.buried))):
            self.buried.popleft().close()
        timeout_ns = self.order.attempt_timeout_ms * NS_PER_MS
        while self.oldest and self.oldest[0].start_ns + timeout_ns <= now:
            new = self.oldest.popleft()
            if self.pending.get(new.sock.fileno()) is new:
                self.finish(new, now, "timeout")
        started = min(count, BURST_MAX, PENDING_MAX - len(self.pending))
        self.skipped += count - started
        for _ in range(started):
            self.start(now)
        interval = self.order.echo_interval_ms * NS_PER_MS
        while self.turns and self.turns[0][0] <= now:
            due, echo = self.turns.popleft()
            self.turns.append((max(due + interval, now), echo))
            self.speak(echo, now)

    def start(self, now: int) -> None:
        """One new connection."""
        sock = self.socket()
        new = New(sock, now)
        failed = sock.connect_ex((self.order.address, self.order.port))
        if failed not in {0, errno.EINPROGRESS}:
            self.attempts.append(Attempt(now, time.monotonic_ns(), outcome_of(failed)))
            sock.close()
            return
        self.pending[sock.fileno()] = new
        self.oldest.append(new)
        self.poll.register(sock, select.EPOLLOUT)

    def handle(self, fd: int, now: int) -> None:
        """A socket has something to say."""
        if (new := self.pending.get(fd)) is not None:
            self.advance(new, now)
        elif (echo := self.echoes.get(fd)) is not None:
            self.hear(echo, now)

    def advance(self, new: New, now: int) -> None:
        """A new connection was established or refused, or its answer came."""
        try:
            if not new.asked:
                if failed := new.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self.finish(new, now, outcome_of(failed))
                elif self.order.mode == "connect":
                    self.finish(new, now, OK)
                else:
                    new.sock.send(self.request)
                    new.asked = True
                    self.poll.modify(new.sock, select.EPOLLIN)
                return
            answer = new.sock.recv(512)
        except BlockingIOError:
            return
        except OSError as error:
            self.finish(new, now, outcome_of(error.errno or 0))
            return
        if not answer:
            self.finish(new, now, "closed")
        else:
            good = answer.startswith(b"HTTP/1.1 200")
            self.finish(new, now, OK if good else "status", node_of(answer))

    def finish(self, new: New, now: int, outcome: str, node: str = "") -> None:
        """Note how a new connection went, and end it."""
        self.attempts.append(Attempt(new.start_ns, now, outcome, node))
        del self.pending[new.sock.fileno()]
        new.sock.close()

    def connect_echo(self, echo: Echo, now: int) -> None:
        """Begin to make a long-lived connection."""
        sock = self.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        echo.sock, echo.up, echo.sent_ns = sock, False, now
        if sock.connect_ex((self.order.address, self.order.echo_port)) != errno.EINPROGRESS:
            self.drop(echo)
            return
        self.echoes[sock.fileno()] = echo
        self.poll.register(sock, select.EPOLLIN | select.EPOLLOUT)

    def speak(self, echo: Echo, now: int) -> None:
        """A long-lived connection's turn: send, give up, or connect again."""
        if echo.sock is None:
            if now - echo.sent_ns >= RECONNECT_DELAY_NS:
                self.connect_echo(echo, now)
        elif not echo.up or echo.sent_ns:
            if now - echo.sent_ns > self.order.echo_timeout_ms * NS_PER_MS:
                self.lose(echo, now, "timeout")
        else:
            try:
                echo.sock.send(b"haman\n")
                echo.sent_ns = now
            except OSError as error:
                self.lose(echo, now, outcome_of(error.errno or 0))

    def hear(self, echo: Echo, now: int) -> None:
        """A long-lived connection was established, answered or broke."""
        assert echo.sock is not None
        try:
            if not echo.up:
                if failed := echo.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self.lose(echo, now, outcome_of(failed))
                    return
                echo.up, echo.sent_ns = True, 0
                echo.counted = echo.counted or self.order.count_again
                self.poll.modify(echo.sock, select.EPOLLIN)
                return
            answer = echo.sock.recv(512)
        except BlockingIOError:
            return
        except OSError as error:
            self.lose(echo, now, outcome_of(error.errno or 0))
            return
        if answer:
            self.exchanges += 1
            echo.sent_ns = 0
        else:
            self.lose(echo, now, "closed")

    def lose(self, echo: Echo, now: int, cause: str) -> None:
        """A long-lived connection broke; each of the first ones counts once."""
        self.unanswered += echo.up and echo.sent_ns > 0
        if echo.counted:
            self.lost.append(Lost(now, cause))
            echo.counted = False
        self.drop(echo)
        echo.sent_ns = now

    def drop(self, echo: Echo) -> None:
        """Leave what there is of a long-lived connection; closing many at once would take long."""
        if echo.sock is not None:
            if self.echoes.pop(echo.sock.fileno(), None) is not None:
                self.poll.unregister(echo.sock)
            self.buried.append(echo.sock)
        echo.sock, echo.up = None, False

    def socket(self) -> socket.socket:
        """A non-blocking socket whose end leaves nothing behind."""
        sock = socket.socket(self.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_OFF)
        return sock


def node_of(answer: bytes) -> str:
    """Which proxy sent an HTTP answer, as its header `served-by` says; "" if it does not."""
    _, found, rest = answer.partition(b"\r\nserved-by: ")
    return rest.partition(b"\r")[0].decode("ascii", "replace") if found else ""


def outcome_of(number: int) -> str:
    """The outcome that an errno means."""
    return OUTCOMES.get(number) or errno.errorcode.get(number, "error").lower()


def probe(order: Order, ended: Callable[[], bool] = lambda: False) -> Result:
    """Carry an order out; prints `ready` with the instant it begins."""
    prober = Prober(order)
    established = prober.establish()
    gc.collect()
    gc.freeze()
    gc.disable()
    started_ns = time.monotonic_ns()
    print(f"ready {started_ns}", flush=True)
    ended_ns = prober.run(started_ns, ended)
    return Result(
        order=order,
        started_ns=started_ns,
        ended_ns=ended_ns,
        attempts=tuple(prober.attempts),
        lost=tuple(prober.lost),
        established=established,
        exchanges=prober.exchanges,
        late_ms_max=round(prober.late_ns_max / NS_PER_MS, 3),
        skipped=prober.skipped,
        unanswered=prober.unanswered,
    )


def main() -> int:
    """Run the order of the first argument, write the result to the second."""
    order = msgspec.json.decode(sys.argv[1], type=Order)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    result = Path(sys.argv[2])
    end = result.with_suffix(END_SUFFIX)
    result.write_bytes(msgspec.json.encode(probe(order, end.exists)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
