"""The BFD sessions of this node, running: one per BGP neighbour that has `bfd`.

A session says how fast the neighbour and this node may lose each other; it is no tool for draining.
Nothing here acts on a session that goes down: the router does, and ExaBGP's own session ends with
the path. What this node lets go, it shuts and withdraws by BGP first.

A session keeps its sockets for life. Where they cannot be had (the local address is not there yet),
another try follows every second, and the report says why.
"""

import errno
import random
from collections import deque
from collections.abc import Iterable
from dataclasses import field
from ipaddress import ip_address
from typing import Final

from haman.config.model import Neighbor
from haman.core.announcements import BfdReport
from haman.core.bfd.messages import (
    ControlReceived,
    Disabled,
    Discarded,
    Input,
    Reconfigured,
    SendControl,
    SessionConfig,
    StateChanged,
    TimePassed,
)
from haman.core.bfd.packet import (
    MAX_U32,
    PORT,
    TTL,
    BfdError,
    ControlPacket,
    Diagnostic,
    Discard,
    SessionState,
    decode,
    diagnostic_words,
    encode,
)
from haman.core.bfd.session import Session
from haman.core.frozen import dataclass
from haman.core.words import Reason
from haman.engine.loop import QUIET, Loop
from haman.engine.reporter import Reporter
from haman.system import clock
from haman.system.bfd_sockets import BfdListener, BfdSender

RETRY_NS: Final = 1_000_000_000
TOLD_MAX: Final = 10
TOLD_WITHIN_NS: Final = 60_000_000_000
"""So many changes of a session become events in that time; a neighbour may flap with each packet."""

_Ends = tuple[str, str]
"""Local address and neighbour's: what makes it another session when it changes."""


@dataclass(slots=True)
class _Running:
    """One session, and what it costs to say and hear the same again: nothing but the system calls.

    Attributes:
        session: None while there are no sockets.
        retry_at_ns: when to try for sockets again.
        problem: why nothing is sent or heard; "" = nothing is known to be wrong.
        until_heard: only a packet of the neighbour's ends the problem.
        heard: the last datagram that was taken in, and what it was read as.
        sent: the last packet, encoded.
        told_ns: when the last changes became events.
        untold: changes since then that did not.
    """

    neighbor: Neighbor
    config: SessionConfig
    since_wall_ns: int
    session: Session | None = None
    sender: BfdSender | None = None
    retry_at_ns: int = 0
    problem: str = ""
    until_heard: bool = False
    heard: tuple[bytes, ControlReceived] | None = None
    sent: tuple[ControlPacket, bytes] | None = None
    told_ns: deque[int] = field(default_factory=lambda: deque(maxlen=TOLD_MAX))
    untold: int = 0

    @property
    def place(self) -> str:
        """For texts: its name and address."""
        return f"{self.neighbor.name} ({self.neighbor.address})"


class BfdSessions:
    """All of them. Nothing here waits."""

    def __init__(self, loop: Loop, reporter: Reporter) -> None:
        self._loop = loop
        self._reporter = reporter
        self._random = random.Random()
        self._running: dict[_Ends, _Running] = {}
        self._listeners: dict[str, BfdListener] = {}

    # ---- configuration -------------------------------------------------------------------------

    def configure(self, neighbors: Iterable[Neighbor], now_ns: int) -> None:
        """Have a session with each of these that has `bfd`, and no other.

        Sessions between the same addresses stay; changed intervals are polled for.
        """
        wanted = {_ends(neighbor): neighbor for neighbor in neighbors if neighbor.bfd}
        for ends in [ends for ends in self._running if ends not in wanted]:
            self._retire(ends, "no longer configured", now_ns)
        for local in set(self._listeners) - {e[0] for e in wanted}:
            self._close_listener(local)
        for ends, neighbor in wanted.items():
            config = _session_config(neighbor)
            running = self._running.get(ends)
            if running is None:
                running = _Running(neighbor, config, clock.wall_ns())
                self._running[ends] = running
                self._open(ends, running, now_ns)
            running.neighbor = neighbor
            if running.config != config:
                running.config = config
                self._step(running, Reconfigured(config), now_ns)
        self._reporter.changed = True

    def _open(self, ends: _Ends, running: _Running, now_ns: int) -> None:
        local, neighbor = ends
        try:
            if local not in self._listeners:
                self._listen(local)
            running.sender = BfdSender(ip_address(local), ip_address(neighbor))
        except OSError as error:
            problem = _cannot_open(local, error)
            running.retry_at_ns = now_ns + RETRY_NS
            if problem != running.problem:
                running.problem = problem
                text = f"no BFD with {running.place}: {problem}; tries again every second"
                self._reporter.noise("socket-failed", text, about=running.neighbor.name)
            return
        running.problem = ""
        running.session = Session(running.config, self._discriminator(), now_ns)
        self._reporter.changed = True

    def _listen(self, local: str) -> None:
        listener = BfdListener(ip_address(local))
        self._listeners[local] = listener
        self._loop.watch(listener, lambda: self._read(local, listener))

    def _close_listener(self, local: str) -> None:
        listener = self._listeners.pop(local)
        self._loop.forget(listener)
        listener.close()

    def _discriminator(self) -> int:
        taken = {r.session.discriminator for r in self._running.values() if r.session}
        while True:
            found = self._random.randint(1, MAX_U32)
            if found not in taken:
                return found

    def _retire(self, ends: _Ends, why: str, now_ns: int) -> None:
        running = self._running.pop(ends)
        self._step(running, Disabled(), now_ns, why)
        if running.sender is not None:
            running.sender.close()

    def close(self, now_ns: int) -> None:
        """Say to every neighbour that the session ends on purpose, and give all sockets back."""
        for ends in list(self._running):
            self._retire(ends, "the agent is ending", now_ns)
        for local in list(self._listeners):
            self._close_listener(local)

    # ---- inputs --------------------------------------------------------------------------------

    @property
    def deadline_ns(self) -> int | None:
        """When `turn` is due at the latest."""
        due = [at for running in self._running.values() if (at := _due_ns(running)) is not None]
        return min(due, default=None)

    def turn(self, now_ns: int) -> None:
        """Do what is due, after everything that was received."""
        for ends, running in self._running.items():
            due_ns = _due_ns(running)
            if due_ns is None or now_ns < due_ns:
                continue
            if running.session is None:
                self._open(ends, running, now_ns)
            self._step(running, TimePassed(), now_ns)

    def _read(self, local: str, listener: BfdListener) -> object:
        try:
            datagrams = listener.receive()
        except OSError as error:
            self._count_failure("receive", error)
            return None
        now_ns = clock.monotonic_ns()
        quiet: object = QUIET
        for data, source, ttl in datagrams:
            running = self._running.get((local, source))
            if running is None or running.session is None:
                self._discard(Discard.NEIGHBOR, f"from {source}, which has no session", None)
            elif ttl == TTL and running.heard is not None and data == running.heard[0]:
                received = running.heard[1]
                # A heartbeat only puts a deadline off, which the loop need not know.
                flagged = received.packet.poll or received.packet.final
                if flagged or running.session.state is not SessionState.UP:
                    quiet = None
                self._take_in(running, received, now_ns)
            else:
                quiet = None
                self._decode(running, data, ttl, now_ns)
        return quiet

    def _decode(self, running: _Running, data: bytes, ttl: int, now_ns: int) -> None:
        try:
            received = ControlReceived(decode(data, ttl=ttl))
        except BfdError as error:
            self._discard(error.reason, str(error), running)
            return
        running.heard = (data, received)
        self._take_in(running, received, now_ns)

    def _take_in(self, running: _Running, received: ControlReceived, now_ns: int) -> None:
        self._reporter.counters["bfd_packets_received"] += 1
        if self._step(running, received, now_ns) and running.problem:
            running.problem, running.until_heard = "", False
            self._reporter.changed = True

    def _step(self, running: _Running, event: Input, now_ns: int, why: str = "") -> bool:
        """Give an input and carry out what comes of it; False = the packet was discarded."""
        if running.session is None:
            return False
        taken = True
        for output in running.session.step(event, now_ns, self._random.random()):
            match output:
                case SendControl(packet):
                    self._send(running, packet)
                case StateChanged():
                    self._changed(running, output, why)
                case Discarded(reason, text):
                    taken = False
                    self._discard(reason, text, running)
        return taken

    # ---- outputs -------------------------------------------------------------------------------

    def _send(self, running: _Running, packet: ControlPacket) -> None:
        if running.sent is None or running.sent[0] is not packet:
            running.sent = (packet, encode(packet))
        if running.sender is None:
            return
        try:
            try:
                running.sender.send(running.sent[1])
            except ConnectionRefusedError:
                text = f"{running.neighbor.address} refuses BFD: nothing listens on its port {PORT}"
                self._trouble(running, text, until_heard=True)
                running.sender.send(running.sent[1])  # the refusal was of an earlier packet
        except OSError as error:
            self._count_failure("send", error)
            self._trouble(running, f"sending fails: {error.strerror}", until_heard=False)
            return
        self._reporter.counters["bfd_packets_sent"] += 1
        if running.problem and not running.until_heard:
            running.problem = ""
            self._reporter.changed = True

    def _changed(self, running: _Running, change: StateChanged, why: str) -> None:
        self._reporter.changed = True
        running.since_wall_ns = clock.wall_ns()
        if SessionState.UP not in (change.old, change.new) or self._is_too_much(running):
            return
        data: dict[str, int | float | str] = {"neighbor": running.neighbor.name}
        if running.untold:
            data["suppressed"], running.untold = running.untold, 0
        if change.new is SessionState.UP:
            self._reporter.event("bfd-up", f"BFD with {running.place} is up", data=data)
        else:
            code, text = _why_down(change)
            data["diagnostic"] = diagnostic_words(change.diagnostic)
            data["remote_diagnostic"] = diagnostic_words(change.remote_diagnostic)
            text = f"{text}: {why}" if why else text
            self._reporter.event(
                "bfd-down",
                f"BFD with {running.place} is down: {text}",
                reasons=(Reason(code, text, data),),
                data=data,
            )

    def _is_too_much(self, running: _Running) -> bool:
        """Whether its changes fill the journal; the state is reported all the same."""
        now_ns = clock.monotonic_ns()
        told_ns = running.told_ns
        if len(told_ns) == TOLD_MAX and now_ns - told_ns[0] < TOLD_WITHIN_NS:
            running.untold += 1
            return True
        told_ns.append(now_ns)
        return False

    def _discard(self, reason: Discard, text: str, running: _Running | None) -> None:
        self._reporter.counters[f"bfd_discarded:{reason}"] += 1
        place = running.place if running else "a stranger"
        self._reporter.noise(
            "packet-dropped",
            f"BFD from {place}: {text}",
            about=f"bfd {place} {reason}",
            data={"reason": reason},
        )
        up = running and running.session and running.session.state is SessionState.UP
        if running is not None and not up:
            self._trouble(running, f"its packets are dropped: {text}", until_heard=True)

    def _trouble(self, running: _Running, text: str, *, until_heard: bool) -> None:
        if text != running.problem:
            running.problem = text
            self._reporter.changed = True
            self._reporter.noise(
                "bfd-hampered", f"BFD with {running.place}: {text}", about=running.neighbor.name
            )
        running.until_heard = until_heard

    def _count_failure(self, what: str, error: OSError) -> None:
        name = errno.errorcode.get(error.errno or 0, "unknown").lower()
        self._reporter.counters[f"error:bfd-{what}-{name}"] += 1

    # ---- state ---------------------------------------------------------------------------------

    def reports(self) -> tuple[BfdReport, ...]:
        """What each session is."""
        return tuple(_report(running) for running in self._running.values())


def _ends(neighbor: Neighbor) -> _Ends:
    return (str(ip_address(neighbor.local_address)), str(ip_address(neighbor.address)))


def _session_config(neighbor: Neighbor) -> SessionConfig:
    if neighbor.bfd is None:
        raise ValueError(f"neighbor {neighbor.name} has no BFD")
    interval_us = neighbor.bfd.interval_ms * 1000
    return SessionConfig(
        desired_min_tx_us=interval_us,
        required_min_rx_us=interval_us,
        detect_mult=neighbor.bfd.multiplier,
    )


def _due_ns(running: _Running) -> int | None:
    return running.retry_at_ns if running.session is None else running.session.deadline_ns


def _cannot_open(local: str, error: OSError) -> str:
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this host does not have the local address {local}"
    if error.errno == errno.EADDRINUSE:
        return f"another program has UDP port {PORT} of {local}: does BIRD or FRR run BFD here?"
    return error.strerror or str(error)


def _why_down(change: StateChanged) -> tuple[str, str]:
    """Code and words."""
    words = diagnostic_words(change.diagnostic)
    if change.diagnostic is Diagnostic.DETECTION_TIME_EXPIRED:
        return "bfd-silence", f"{words}: silent for {change.detection_ns / 1e6:g} ms"
    if change.diagnostic is Diagnostic.NEIGHBOR_SIGNALED_DOWN:
        return (
            "bfd-signaled",
            f"{words}; its own diagnostic: {diagnostic_words(change.remote_diagnostic)}",
        )
    return "bfd-admin-down", words


def _report(running: _Running) -> BfdReport:
    name = running.neighbor.name
    if running.session is None:
        return BfdReport(name, "down", running.since_wall_ns, problem=running.problem)
    state = running.session.snapshot()
    return BfdReport(
        name,
        state.state.word,
        running.since_wall_ns,
        diagnostic_words(state.diagnostic) if state.diagnostic else "",
        diagnostic_words(state.remote_diagnostic) if state.remote_diagnostic else "",
        state.detection_ns / 1e6,
        running.problem,
    )
