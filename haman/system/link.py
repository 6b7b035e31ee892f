"""The engine's and the controller's ends of the socket between them.

A SOCK_SEQPACKET pair, one message per packet: a byte for its kind, then MessagePack. Neither end
ever blocks, and a peer that does not read costs a bounded amount of memory: of a state (stances,
words of peers, report) only the newest waits, edges (events, orders) wait up to a bound and are counted beyond it.
"""

import contextlib
import errno
import socket
from collections import deque
from typing import Final

import msgspec

from haman.core.facts import (
    EngineReported,
    EventsReported,
    HoldersSaid,
    StancesDeclared,
    TakeoverOrdered,
    ToController,
    ToEngine,
)
from haman.core.frozen import dataclass
from haman.core.words import Event

EVENTS_MAX: Final = 256
"""Events that wait for a controller that does not read."""
EVENTS_PER_MESSAGE: Final = 32
ORDERS_MAX: Final = 64
MESSAGES_PER_RECEIVE: Final = 32
_MESSAGE_BYTES_MAX: Final = 1 << 20
_SEND_BUFFER_BYTES: Final = 2 * _MESSAGE_BYTES_MAX
_SO_SNDBUFFORCE: Final = 32

_Any = ToEngine | ToController
_KINDS: Final[dict[type[_Any], bytes]] = {
    StancesDeclared: b"S",
    TakeoverOrdered: b"T",
    HoldersSaid: b"H",
    EngineReported: b"R",
    EventsReported: b"E",
}
_DECODERS: Final = {
    kind: msgspec.msgpack.Decoder(message_type) for message_type, kind in _KINDS.items()
}
_encoder: Final = msgspec.msgpack.Encoder()


class MalformedMessageError(ValueError):
    """Bytes that are no message of this link."""


class OversizedMessageError(ValueError):
    """A message beyond what the socket takes."""


@dataclass(frozen=True, slots=True)
class Received:
    """What one look at the socket brought.

    Attributes:
        messages: in order.
        malformed: messages that could not be read, each as one line of text.
        closed: the other end is gone.
    """

    messages: tuple[_Any, ...] = ()
    malformed: tuple[str, ...] = ()
    closed: bool = False


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected, non-blocking sockets: the engine's, the controller's."""
    engine, controller = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (engine, controller):
        end.setblocking(False)
        # The default takes the report of some 300 VIPs. Without the privilege it stays so.
        with contextlib.suppress(PermissionError):
            end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER_BYTES)
    return engine, controller


def encode(message: _Any) -> bytes:
    """One packet."""
    return _KINDS[type(message)] + _encoder.encode(message)


def decode(data: bytes) -> _Any:
    """The message in a packet.

    Raises:
        MalformedMessageError: whatever the bytes, nothing else.
    """
    decoder = _DECODERS.get(data[:1])
    if decoder is None:
        raise MalformedMessageError(f"unknown kind of message {data[:1]!r}")
    try:
        message: _Any = decoder.decode(data[1:])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MalformedMessageError(f"message {data[:1]!r}: {error}") from error
    return message


class _End:
    """What both ends do alike. Takes over the socket."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._accepted = frozenset[bytes]()

    def fileno(self) -> int:
        """For epoll or an event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket: the other end sees it."""
        self._socket.close()

    def receive(self) -> Received:
        """Everything that waits, at most `MESSAGES_PER_RECEIVE` messages."""
        messages: list[_Any] = []
        malformed: list[str] = []
        closed = False
        for _ in range(MESSAGES_PER_RECEIVE):
            try:
                data, _, flags, _ = self._socket.recvmsg(_MESSAGE_BYTES_MAX)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                closed = True
                break
            if not data:
                closed = True
                break
            if flags & socket.MSG_TRUNC:
                malformed.append(f"message longer than {_MESSAGE_BYTES_MAX} bytes")
            elif data[:1] not in self._accepted:
                malformed.append(f"unexpected kind of message {data[:1]!r}")
            else:
                try:
                    messages.append(decode(data))
                except MalformedMessageError as error:
                    malformed.append(str(error))
        return Received(tuple(messages), tuple(malformed), closed)

    def _send(self, message: _Any) -> bool:
        """False = it cannot be sent now; perhaps to the next peer (`receive` says `closed`).

        Raises:
            OversizedMessageError: it is too large for any socket.
        """
        try:
            self._socket.send(encode(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise OversizedMessageError(type(message).__name__) from error
            return False  # full (EAGAIN, ENOBUFS), or nobody there (EPIPE, ECONNRESET)
        return True


class EngineEnd(_End):
    """The engine's end: reports and events go out, stances and orders come in."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(connected)
        self._accepted = frozenset({b"S", b"T", b"H"})
        self._report: EngineReported | None = None
        self._events: deque[Event] = deque()
        self._dropped = 0
        self.oversized = 0
        """Reports that were too large to be sent; dropped."""

    def report(self, report: EngineReported) -> None:
        """Send the newest report; it replaces one that still waits."""
        self._report = report
        self.flush()

    def tell(self, event: Event) -> None:
        """Send an event, in order."""
        if len(self._events) >= EVENTS_MAX:
            self._events.popleft()  # the newest tell where things stand
            self._dropped += 1
        self._events.append(event)

    def flush(self) -> bool:
        """Send what waits, events before the report; False = the controller does not read.

        What no socket takes is dropped and counted: the engine must not end because of it.
        """
        most = EVENTS_PER_MESSAGE
        while self._events or self._dropped:
            batch = tuple(self._events)[:most]
            try:
                if not self._send(EventsReported(batch, self._dropped)):
                    return False
            except OversizedMessageError:
                most = len(batch) // 2
                if not most:
                    self._events.popleft()
                    self._dropped += 1
                    most = EVENTS_PER_MESSAGE
                continue
            self._dropped = 0
            for _ in batch:
                self._events.popleft()
        if self._report is not None:
            try:
                if not self._send(self._report):
                    return False
            except OversizedMessageError:
                self.oversized += 1
            self._report = None
        return True

    def inherit(self, other: "EngineEnd") -> None:
        """Take over the events that a dead controller's end still held."""
        self._events, self._dropped = other._events, other._dropped  # noqa: SLF001 - same class
        self.oversized = other.oversized


class ControllerEnd(_End):
    """The controller's end: stances and orders go out, reports and events come in."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(connected)
        self._accepted = frozenset({b"R", b"E"})
        self._stances: StancesDeclared | None = None
        self._orders: deque[TakeoverOrdered] = deque()
        self._holders: HoldersSaid | None = None
        self.dropped = 0
        """Orders that the engine did not read in time; a late one would be wrong anyway."""

    def declare(self, stances: StancesDeclared) -> bool:
        """Send the newest stances; they replace ones that still wait. As `flush`."""
        self._stances = stances
        return self.flush()

    def order(self, order: TakeoverOrdered) -> bool:
        """Send an order, after the stances that wait. As `flush`."""
        if len(self._orders) >= ORDERS_MAX:
            self._orders.popleft()
            self.dropped += 1
        self._orders.append(order)
        return self.flush()

    def tell(self, holders: HoldersSaid) -> bool:
        """Send the newest words of peers; they replace ones that still wait. As `flush`."""
        self._holders = holders
        return self.flush()

    def flush(self) -> bool:
        """Send what waits; False = the engine does not read, try again when writable."""
        if self._stances is not None:
            if not self._send(self._stances):
                return False
            self._stances = None
        while self._orders:
            if not self._send(self._orders[0]):
                return False
            self._orders.popleft()
        if self._holders is not None:
            if not self._send(self._holders):
                return False
            self._holders = None
        return True
