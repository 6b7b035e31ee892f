"""BFD control packets as bytes: RFC 5880 section 4.1.

```
version|diagnostic  state|P F C A D M  detect-mult length
my discriminator    your discriminator
desired min TX      required min RX     required min echo RX     (µs)
```

UDP, IP and the TTL are not part of it: RFC 5881 has the TTL be 255 in both directions, so that a
packet cannot come from beyond the link; the caller gives the one received.

Authentication is not supported: as section 6.8.6 has it, a packet that carries it is discarded.
"""

import struct
from enum import IntEnum, StrEnum
from typing import Final

from haman.core.frozen import dataclass

VERSION: Final = 1
PORT: Final = 3784
SOURCE_PORTS: Final = range(49152, 65536)
"""Where control packets are sent to, and from (RFC 5881 section 4)."""
TTL: Final = 255
LENGTH: Final = 24
LENGTH_WITH_AUTH: Final = 26
LAYOUT: Final = struct.Struct("!BBBBIIIII")
MAX_U32: Final = 0xFFFFFFFF
MAX_DETECT_MULT: Final = 255

_POLL, _FINAL, _INDEPENDENT, _AUTH, _DEMAND, _MULTIPOINT = 0x20, 0x10, 0x08, 0x04, 0x02, 0x01


class SessionState(IntEnum):
    """The states of a session, as on the wire."""

    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3

    @property
    def word(self) -> str:
        """As reports spell it: "admin-down", "down", "init", "up"."""
        return self.name.lower().replace("_", "-")


_STATES: Final = tuple(SessionState)


class Diagnostic(IntEnum):
    """Why a session last changed its state: RFC 5880 section 4.1; 9 by RFC 6428."""

    NONE = 0
    DETECTION_TIME_EXPIRED = 1
    ECHO_FAILED = 2
    NEIGHBOR_SIGNALED_DOWN = 3
    FORWARDING_PLANE_RESET = 4
    PATH_DOWN = 5
    CONCATENATED_PATH_DOWN = 6
    ADMINISTRATIVELY_DOWN = 7
    REVERSE_CONCATENATED_PATH_DOWN = 8
    MISCONNECTIVITY = 9


_WORDS: Final = (
    "No Diagnostic",
    "Control Detection Time Expired",
    "Echo Function Failed",
    "Neighbor Signaled Session Down",
    "Forwarding Plane Reset",
    "Path Down",
    "Concatenated Path Down",
    "Administratively Down",
    "Reverse Concatenated Path Down",
    "Mis-connectivity Defect",
)


def diagnostic_words(diagnostic: int) -> str:
    """A diagnostic in the words of the RFC; 0-31, those not assigned as "Reserved (n)"."""
    return _WORDS[diagnostic] if diagnostic < len(_WORDS) else f"Reserved ({diagnostic})"


class Discard(StrEnum):
    """Why a packet is not processed: the rules of RFC 5880 section 6.8.6, in their order.

    TTL is RFC 5881 section 5. NEIGHBOR: it comes from where no session is. ADMIN_DOWN: the session
    here is administratively down.
    """

    TTL = "ttl"
    NEIGHBOR = "neighbor"
    VERSION = "version"
    LENGTH = "length"
    DETECT_MULT = "detect-mult"
    MULTIPOINT = "multipoint"
    MY_DISCRIMINATOR = "my-discriminator"
    YOUR_DISCRIMINATOR = "your-discriminator"
    STATE = "state"
    AUTHENTICATION = "authentication"
    ADMIN_DOWN = "admin-down"


class BfdError(Exception):
    """A packet that is not to be processed; `reason` is for metrics."""

    def __init__(self, reason: Discard, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ControlPacket:
    """One control packet without authentication.

    Attributes:
        state: of the sender's session.
        diagnostic: 0-31, see `Diagnostic`.
        my_discriminator: the sender's, never 0.
        your_discriminator: the receiver's as far as the sender knows it; 0 = unknown.
        detect_mult: 1-255.
        desired_min_tx_us: the sender would not send more often.
        required_min_rx_us: the sender cannot take more; 0 = send nothing periodically.
        required_min_echo_rx_us: 0 = it does not reflect echo packets.
        poll: asks for a `final`; never both.
        independent: the sender's BFD does not share the fate of its control plane.
        demand: the sender wishes for no periodic packets while both ends are up.
    """

    state: SessionState
    diagnostic: int
    my_discriminator: int
    your_discriminator: int
    detect_mult: int
    desired_min_tx_us: int
    required_min_rx_us: int
    required_min_echo_rx_us: int = 0
    poll: bool = False
    final: bool = False
    independent: bool = False
    demand: bool = False


def encode(packet: ControlPacket) -> bytes:
    """The packet as the payload of a UDP datagram.

    Raises:
        ValueError: a field that the wire format cannot carry, or that no receiver would accept.
    """
    if packet.poll and packet.final:
        raise ValueError("a packet cannot both ask and answer a poll (RFC 5880 section 6.5)")
    if not packet.my_discriminator or not packet.detect_mult:
        raise ValueError(f"a discriminator or multiplier of 0 is always discarded: {packet}")
    if not 0 <= packet.diagnostic <= 31:
        raise ValueError(f"diagnostic {packet.diagnostic} is not in 0-31")
    flags = (
        packet.state << 6
        | (_POLL if packet.poll else 0)
        | (_FINAL if packet.final else 0)
        | (_INDEPENDENT if packet.independent else 0)
        | (_DEMAND if packet.demand else 0)
    )
    try:
        return LAYOUT.pack(
            VERSION << 5 | packet.diagnostic,
            flags,
            packet.detect_mult,
            LENGTH,
            packet.my_discriminator,
            packet.your_discriminator,
            packet.desired_min_tx_us,
            packet.required_min_rx_us,
            packet.required_min_echo_rx_us,
        )
    except struct.error as error:
        raise ValueError(f"{packet} does not fit the wire format: {error}") from error


def decode(data: bytes, *, ttl: int) -> ControlPacket:
    """Check and read a control packet: RFC 5881 section 5, RFC 5880 section 6.8.6.

    Whether `your_discriminator` is that of a session is for the session to say. What follows the
    packet's own length is ignored.

    Args:
        data: the UDP payload.
        ttl: TTL or hop limit received.

    Raises:
        BfdError: and nothing else, whatever the bytes.
    """
    if ttl != TTL:
        raise BfdError(Discard.TTL, f"TTL {ttl}, expected {TTL}: not from this link")
    _check_length(data)
    first, flags, detect_mult, _, mine, yours, tx_us, rx_us, echo_us = LAYOUT.unpack_from(data)
    if not detect_mult:
        raise BfdError(Discard.DETECT_MULT, "detection multiplier 0")
    if flags & _MULTIPOINT:
        raise BfdError(Discard.MULTIPOINT, "the multipoint bit is set")
    if not mine:
        raise BfdError(Discard.MY_DISCRIMINATOR, "its own discriminator is 0")
    state = _STATES[flags >> 6]
    if not yours and state > SessionState.DOWN:
        text = f"state {state.word} without the discriminator of a session here"
        raise BfdError(Discard.STATE, text)
    if flags & _AUTH:
        text = "it carries authentication, which is not supported: take it off at the neighbour"
        raise BfdError(Discard.AUTHENTICATION, text)
    return ControlPacket(
        state,
        first & 0x1F,
        mine,
        yours,
        detect_mult,
        tx_us,
        rx_us,
        echo_us,
        poll=bool(flags & _POLL),
        final=bool(flags & _FINAL),
        independent=bool(flags & _INDEPENDENT),
        demand=bool(flags & _DEMAND),
    )


def _check_length(data: bytes) -> None:
    """Version and lengths; the version first, for another one may be laid out in another way."""
    if not data:
        raise BfdError(Discard.LENGTH, "an empty datagram")
    if data[0] >> 5 != VERSION:
        raise BfdError(Discard.VERSION, f"BFD version {data[0] >> 5}, expected {VERSION}")
    if len(data) < LENGTH:
        raise BfdError(Discard.LENGTH, f"{len(data)} bytes, a control packet has {LENGTH}")
    least = LENGTH_WITH_AUTH if data[1] & _AUTH else LENGTH
    if not least <= data[3] <= len(data):
        text = f"its length field says {data[3]}, legal are {least} to {len(data)} here"
        raise BfdError(Discard.LENGTH, text)
