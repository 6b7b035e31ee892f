"""The transitions of a session (RFC 5880 sections 6.2, 6.8.4, 6.8.6, 6.8.16), as data.

`session` looks up here what the neighbour's state does to its own; tests hold it to the rest, and
diagrams come from it.
"""

from typing import Final

from haman.core.bfd.messages import ControlReceived, Disabled, Input, TimePassed
from haman.core.bfd.packet import Diagnostic, SessionState
from haman.core.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Transition:
    """One way from a state to another.

    Attributes:
        remote: the state in the packet received; None where no packet is.
        diagnostic: NONE on the way up.
        when: the condition, in words.
    """

    old: SessionState
    event: type[Input]
    remote: SessionState | None
    new: SessionState
    diagnostic: Diagnostic
    when: str


_A, _D, _I, _U = SessionState
_SIGNALED: Final = Diagnostic.NEIGHBOR_SIGNALED_DOWN
_RECEIVED: Final = (
    (_D, _D, _I, Diagnostic.NONE, "it hears nothing from here yet, but is heard"),
    (_D, _I, _U, Diagnostic.NONE, "both ends hear each other"),
    (_I, _I, _U, Diagnostic.NONE, "both ends hear each other"),
    (_I, _U, _U, Diagnostic.NONE, "both ends hear each other"),
    (_I, _A, _D, _SIGNALED, "its operator took it down"),
    (_U, _D, _D, _SIGNALED, "it no longer hears this end, or has started anew"),
    (_U, _A, _D, _SIGNALED, "its operator took it down"),
)

TRANSITIONS: Final = (
    *(
        Transition(old, ControlReceived, remote, new, diagnostic, when)
        for old, remote, new, diagnostic, when in _RECEIVED
    ),
    *(
        Transition(
            old,
            TimePassed,
            None,
            _D,
            Diagnostic.DETECTION_TIME_EXPIRED,
            "the neighbour was silent for the detection time",
        )
        for old in (_I, _U)
    ),
    *(
        Transition(old, Disabled, None, _A, Diagnostic.ADMINISTRATIVELY_DOWN, "at once")
        for old in (_D, _I, _U)
    ),
)

ON_PACKET: Final = {
    (t.old, t.remote): (t.new, t.diagnostic) for t in TRANSITIONS if t.remote is not None
}
"""Own state and the packet's → the new state; what is not here changes nothing."""
