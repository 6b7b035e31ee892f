"""One BFD session: asynchronous mode over one hop, active role (RFC 5880 section 6.8, RFC 5881).

States
    down        the neighbour is not heard, or does not hear this end; sends at most once a second
    init        the neighbour is heard, and has yet to hear this end; as slow
    up          each end hears the other; sends and detects at the negotiated intervals
    admin-down  taken down on purpose, for good; packets say so, none is taken in

Timers
    transmit   next periodic packet: max(own desired TX, neighbour's required RX) after the last one,
               less 0-25 % of jitter, or 10-25 % with a multiplier of 1. A late call sends one packet,
               not those it missed. None while the neighbour takes nothing (its required RX is 0), or
               wishes for nothing (Demand mode of its own, both ends up, no poll under way).
    detection  the neighbour's multiplier × max(own required RX, its desired TX) after its last packet;
               in every state but admin-down, for it also forgets the neighbour's discriminator

Transitions: `transitions.TRANSITIONS`; none is taken that is not there.

Poll sequences (sections 6.5, 6.8.3)
    An up session announces changed intervals with the Poll bit until a packet with Final comes.
    What is faster to send, or longer to detect, holds at once; what is slower to send, or shorter
    to detect, from then on. A change during a poll waits for its end and is a poll of its own, so
    that a Final never confirms what its sender has not seen. A session that is not up applies
    changes at once and does not poll: it detects nothing, and to go up is itself such a change.

Invariants
    While not up, desired TX is announced as a second or more: slow start.
    Whatever changes in the packet, but for Poll and Final, is sent at once.
    A packet answers a Poll or is one, never both. A step sends at most one packet.
    A neighbour that is not known has discriminator 0, and no diagnostic.
    After `TimePassed` the deadline lies in the future, or there is none.

Randomness comes from the caller, as a number in [0, 1) with each step.
"""

from typing import Final

from haman.core.bfd.messages import (
    ControlReceived,
    Disabled,
    Discarded,
    Input,
    Output,
    Reconfigured,
    SendControl,
    SessionConfig,
    SessionSnapshot,
    StateChanged,
    TimePassed,
)
from haman.core.bfd.packet import MAX_U32, ControlPacket, Diagnostic, Discard, SessionState
from haman.core.bfd.transitions import ON_PACKET

NS_PER_US: Final = 1_000
SLOW_TX_US: Final = 1_000_000
"""The least interval announced while a session is not up (RFC 5880 section 6.8.3)."""
_LEAST_FRACTION: Final = 0.75
_ALONE_FRACTION: Final = 0.90


class Session:
    """A session, `down` at first; its first packet is due at once.

    Args:
        config: may change later by `Reconfigured`.
        discriminator: of this end, 1 to 2³²−1: unique on this node, and not to be guessed.
        now_ns: the monotonic clock.
    """

    __slots__ = (
        "_announced",
        "_config",
        "_detect_at",
        "_detection",
        "_diagnostic",
        "_fraction",
        "_heard",
        "_heard_at",
        "_last_down",
        "_next_tx",
        "_packet",
        "_polling",
        "_rx_us",
        "_sent",
        "_sent_at",
        "_since",
        "_tx_us",
        "discriminator",
        "state",
    )

    def __init__(self, config: SessionConfig, discriminator: int, now_ns: int) -> None:
        if not 1 <= discriminator <= MAX_U32:
            raise ValueError(f"discriminator {discriminator} is not in 1-{MAX_U32}")
        self._config = config
        self.discriminator = discriminator
        """Of this end."""
        self.state = SessionState.DOWN
        """The present state."""
        self._since = now_ns
        self._diagnostic = Diagnostic.NONE
        self._last_down = Diagnostic.NONE
        # The neighbour's last packet: all that is known of it. None = it is not known.
        self._heard: ControlPacket | None = None
        self._heard_at = now_ns
        self._detection = 0
        self._detect_at: int | None = None
        # Desired TX and required RX: as announced, and as they hold until a poll has ended.
        self._announced = (max(config.desired_min_tx_us, SLOW_TX_US), config.required_min_rx_us)
        self._tx_us, self._rx_us = self._announced
        self._polling = False
        self._sent_at: int | None = None
        self._next_tx: int | None = now_ns
        self._fraction = 0.0
        self._packet = self._build()
        self._sent: ControlPacket | None = None

    # ---- surface -------------------------------------------------------------------------------

    def step(self, event: Input, now_ns: int, jitter: float) -> tuple[Output, ...]:
        """Take one input in, at `now_ns` of the monotonic clock.

        Args:
            event: what happened.
            now_ns: never less than before.
            jitter: evenly distributed in [0, 1), another one with each step.

        Returns:
            What is to be done, in this order: packets before the change that they tell of.
        """
        match event:
            case ControlReceived(packet):
                # What it says was taken in before; that it lives is all that is new.
                nothing_new = packet is self._heard and not (packet.poll or packet.final)
                if nothing_new and self.state is SessionState.UP:
                    self._heard_at = now_ns
                    self._detect_at = now_ns + self._detection
                    return ()
                return self._received(packet, now_ns, jitter)
            case TimePassed():
                return self._time_passed(now_ns, jitter)
            case Reconfigured(config):
                self._config = config
                self._negotiate()
                return self._tell(now_ns, jitter)
            case Disabled():
                if self.state is SessionState.ADMIN_DOWN:
                    return ()
                change = self._become(
                    SessionState.ADMIN_DOWN, Diagnostic.ADMINISTRATIVELY_DOWN, now_ns
                )
                self._negotiate()
                self._detect_at, self._detection = None, 0
                return (*self._tell(now_ns, jitter), change)

    @property
    def deadline_ns(self) -> int | None:
        """When to `step` with `TimePassed`; None = only another input matters."""
        if self._next_tx is None or self._detect_at is None:
            return self._detect_at if self._next_tx is None else self._next_tx
        return min(self._next_tx, self._detect_at)

    def snapshot(self) -> SessionSnapshot:
        """The present state."""
        heard, interval_us = self._heard, self._interval_us()
        return SessionSnapshot(
            config=self._config,
            state=self.state,
            since_ns=self._since,
            diagnostic=self._last_down,
            remote_diagnostic=heard.diagnostic if heard else 0,
            local_discriminator=self.discriminator,
            remote_discriminator=heard.my_discriminator if heard else 0,
            remote_state=heard.state if heard else SessionState.DOWN,
            tx_interval_ns=None if interval_us is None else interval_us * NS_PER_US,
            detection_ns=self._detection,
            polling=self._polling,
            deadline_ns=self.deadline_ns,
        )

    # ---- inputs --------------------------------------------------------------------------------

    def _received(self, packet: ControlPacket, now: int, jitter: float) -> tuple[Output, ...]:
        """RFC 5880 section 6.8.6, from the choice of the session on."""
        if packet.your_discriminator not in (0, self.discriminator):
            text = (
                f"it is for a session {packet.your_discriminator:#x}, the one here is "
                f"{self.discriminator:#x}: one from before a restart, if the neighbour's forgets it"
            )
            return (Discarded(Discard.YOUR_DISCRIMINATOR, text),)
        if self.state is SessionState.ADMIN_DOWN:
            return (Discarded(Discard.ADMIN_DOWN, "the session here is administratively down"),)
        self._heard, self._heard_at = packet, now
        if packet.final and self._polling:
            self._polling = False
            self._tx_us, self._rx_us = self._announced
        change: tuple[StateChanged, ...] = ()
        new = ON_PACKET.get((self.state, packet.state))
        if new is not None:
            change = (self._become(*new, now),)
        self._negotiate()
        if packet.poll:
            return (*self._answer(now, jitter), *change)
        return (*self._tell(now, jitter), *change)

    def _time_passed(self, now: int, jitter: float) -> tuple[Output, ...]:
        change: tuple[StateChanged, ...] = ()
        if self._detect_at is not None and now >= self._detect_at:
            if self.state is not SessionState.DOWN:
                change = (self._become(SessionState.DOWN, Diagnostic.DETECTION_TIME_EXPIRED, now),)
            self._heard, self._detect_at, self._detection = None, None, 0
            self._negotiate()
            told = self._tell(now, jitter)
            if told:
                return (*told, *change)
        if self._next_tx is not None and now >= self._next_tx:
            return (self._send(now, jitter), *change)
        return change

    # ---- state ---------------------------------------------------------------------------------

    def _become(self, state: SessionState, diagnostic: Diagnostic, now: int) -> StateChanged:
        theirs = self._heard.diagnostic if self._heard else 0
        change = StateChanged(self.state, state, diagnostic, theirs, self._detection)
        self.state, self._since = state, now
        if diagnostic is not Diagnostic.NONE:
            self._diagnostic = self._last_down = diagnostic
        elif state is SessionState.UP:
            self._diagnostic = Diagnostic.NONE
        return change

    # ---- intervals -----------------------------------------------------------------------------

    def _negotiate(self) -> None:
        """Announce the intervals wanted, poll for them if need be, and set the detection timer."""
        up = self.state is SessionState.UP
        tx_us, rx_us = self._config.desired_min_tx_us, self._config.required_min_rx_us
        if not up:
            self._announced = (max(tx_us, SLOW_TX_US), rx_us)
            self._tx_us, self._rx_us = self._announced
            self._polling = False
        elif not self._polling and self._announced != (tx_us, rx_us):
            self._announced = (tx_us, rx_us)
            self._tx_us, self._rx_us = min(self._tx_us, tx_us), max(self._rx_us, rx_us)
            self._polling = True
        heard = self._heard
        if heard is not None:
            remote_us = max(self._rx_us, heard.desired_min_tx_us)
            self._detection = heard.detect_mult * remote_us * NS_PER_US
            self._detect_at = self._heard_at + self._detection

    def _interval_us(self) -> int | None:
        """Between periodic packets, before jitter; None = none are sent."""
        heard = self._heard
        if heard is None:
            return self._tx_us
        silent = heard.demand and self.state is heard.state is SessionState.UP and not self._polling
        if silent or not heard.required_min_rx_us:
            return None
        return max(self._tx_us, heard.required_min_rx_us)

    def _schedule(self) -> None:
        """Set the transmit timer by the interval as it is now, and the last packet sent."""
        interval_us = self._interval_us()
        if interval_us is None:
            self._next_tx = None
        elif self._sent_at is None:
            self._next_tx = self._since
        else:
            most = _ALONE_FRACTION if self._config.detect_mult == 1 else 1.0
            part = most - (most - _LEAST_FRACTION) * self._fraction
            self._next_tx = self._sent_at + int(interval_us * NS_PER_US * part)

    # ---- packets -------------------------------------------------------------------------------

    def _build(self, *, final: bool = False) -> ControlPacket:
        heard = self._heard
        return ControlPacket(
            state=self.state,
            diagnostic=self._diagnostic,
            my_discriminator=self.discriminator,
            your_discriminator=heard.my_discriminator if heard else 0,
            detect_mult=self._config.detect_mult,
            desired_min_tx_us=self._announced[0],
            required_min_rx_us=self._announced[1],
            poll=self._polling and not final,
            final=final,
        )

    def _refresh(self) -> bool:
        """Bring the packet up to date; whether anything but Poll changed since one was sent."""
        packet = self._build()
        if packet != self._packet:
            self._packet = packet
        self._schedule()
        sent = self._sent
        return sent is not None and not _same(packet, sent)

    def _tell(self, now: int, jitter: float) -> tuple[SendControl, ...]:
        """Send the packet at once if it says something new (RFC 5880 section 6.8.7)."""
        return (self._send(now, jitter),) if self._refresh() else ()

    def _answer(self, now: int, jitter: float) -> tuple[SendControl, ...]:
        """Answer a poll: no timer, state or mode keeps it back (RFC 5880 section 6.8.7).

        It tells what is new as well, so that only a poll of our own remains for the next packet.
        """
        if self._refresh():
            self._sent_at, self._fraction = now, jitter
        self._schedule()
        answer = self._build(final=True)
        self._sent = answer
        return (SendControl(answer),)

    def _send(self, now: int, jitter: float) -> SendControl:
        self._sent, self._sent_at, self._fraction = self._packet, now, jitter
        self._schedule()
        return SendControl(self._packet)


def _same(one: ControlPacket, other: ControlPacket) -> bool:
    """Whether two packets say the same, but for Poll and Final; the fields that vary here."""
    return (
        one.state is other.state
        and one.diagnostic == other.diagnostic
        and one.your_discriminator == other.your_discriminator
        and one.detect_mult == other.detect_mult
        and one.desired_min_tx_us == other.desired_min_tx_us
        and one.required_min_rx_us == other.required_min_rx_us
    )
