"""What a BFD session is told (inputs, past tense) and what it asks for (outputs, imperative)."""

from haman.core.bfd.packet import (
    MAX_DETECT_MULT,
    MAX_U32,
    ControlPacket,
    Diagnostic,
    Discard,
    SessionState,
)
from haman.core.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """What this end of a session wants.

    Attributes:
        desired_min_tx_us: the least interval between packets sent; 1 µs to 71 min. While the session
            is not up it is at least a second, whatever is said here (RFC 5880 section 6.8.3).
        required_min_rx_us: the least interval between packets that this end takes. Not 0: that
            would ask the neighbour for silence, and there would be nothing to detect.
        detect_mult: intervals of silence after which the neighbour declares this end down; 1-255.

    Raises:
        ValueError: a value out of range.
    """

    desired_min_tx_us: int
    required_min_rx_us: int
    detect_mult: int = 3

    def __post_init__(self) -> None:
        for name in ("desired_min_tx_us", "required_min_rx_us"):
            if not 1 <= getattr(self, name) <= MAX_U32:
                raise ValueError(f"{name} {getattr(self, name)} is not in 1-{MAX_U32}")
        if not 1 <= self.detect_mult <= MAX_DETECT_MULT:
            raise ValueError(f"detect_mult {self.detect_mult} is not in 1-{MAX_DETECT_MULT}")


# ---- inputs ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ControlReceived:
    """A decoded packet came in from this session's neighbour.

    Give the same object again for the same bytes: a packet that says nothing new is then taken in
    at next to no cost.
    """

    packet: ControlPacket


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing but time. Give it when `deadline_ns` has come, after everything that was received."""


@dataclass(frozen=True, slots=True)
class Reconfigured:
    """This end wants other values from now on. The state stays."""

    config: SessionConfig


@dataclass(frozen=True, slots=True)
class Disabled:
    """The session is taken down on purpose, for good; another one may take its place."""


Input = ControlReceived | TimePassed | Reconfigured | Disabled


# ---- outputs -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendControl:
    """Send this packet now.

    The same packet object comes again until something in it changes, so its encoding may be cached
    by identity.
    """

    packet: ControlPacket


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The state is another one since this step.

    Attributes:
        diagnostic: why, if it went down.
        remote_diagnostic: the one in the neighbour's last packet, 0-31.
        detection_ns: the detection time before this step; 0 = none was known.
    """

    old: SessionState
    new: SessionState
    diagnostic: Diagnostic
    remote_diagnostic: int
    detection_ns: int


@dataclass(frozen=True, slots=True)
class Discarded:
    """The packet of this step was dropped. Comes for each one: count it."""

    reason: Discard
    text: str


Output = SendControl | StateChanged | Discarded


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """A session at one instant.

    Attributes:
        since_ns: when the state began, in the caller's clock.
        diagnostic: why the session last went down; NONE before it ever did.
        remote_diagnostic: the one in the neighbour's last packet, 0-31.
        remote_discriminator: 0 = the neighbour is not known, or was silent for too long.
        tx_interval_ns: between packets sent, before jitter; None = nothing is sent periodically.
        detection_ns: silence after which the neighbour is declared down; 0 = not known.
        polling: a poll sequence is under way.
        deadline_ns: when time next matters.
    """

    config: SessionConfig
    state: SessionState
    since_ns: int
    diagnostic: Diagnostic
    remote_diagnostic: int
    local_discriminator: int
    remote_discriminator: int
    remote_state: SessionState
    tx_interval_ns: int | None
    detection_ns: int
    polling: bool
    deadline_ns: int | None
