"""What ExaBGP says on its helper's standard input, line by line.

JSON objects are events, a JSON array is the answer to `SHOW_NEIGHBORS`; `done` and `error` are
acknowledgements, and lines of its RIB belong to `grammar`. Whatever else comes is None: counted by
the reader, and dropped. Routers have a say in some of the text, so none of it is trusted.
"""

import json
from ipaddress import ip_address
from typing import Any, Final

from haman.bgp.grammar import Address
from haman.bgp.messages import MAX_NEIGHBORS, MAX_REASON
from haman.core.frozen import dataclass

ACKNOWLEDGED: Final = "done"
REFUSED: Final = "error"
STATES: Final = ("connected", "up", "down")
NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """A session was connected (TCP), came up, or went down.

    Attributes:
        at_ns: wall clock.
        reason: why it went down, in ExaBGP's words; "" otherwise.
    """

    neighbor: Address
    state: str
    at_ns: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SessionsPolled:
    """Every neighbour that ExaBGP is configured with, and the state of its FSM in RFC 4271's words."""

    fsm: dict[Address, str]


def event(line: str) -> SessionChanged | SessionsPolled | None:
    """What a line of JSON tells of sessions; None if it tells nothing of them."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    try:
        if isinstance(content, list):
            return _polled(content)
        if content["type"] != "state":
            return None
        neighbor = content["neighbor"]
        changed = SessionChanged(
            ip_address(neighbor["address"]["peer"]),
            neighbor["state"],
            int(content["time"] * NS_PER_S),
            _printable(str(neighbor.get("reason", ""))),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    return changed if changed.state in STATES and changed.at_ns >= 0 else None


def _polled(content: list[Any]) -> SessionsPolled:
    return SessionsPolled(
        {
            ip_address(neighbor["peer"]["address"]): _printable(str(neighbor["fsm"]))[:20]
            for neighbor in content[:MAX_NEIGHBORS]
        }
    )


def _printable(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:MAX_REASON])
