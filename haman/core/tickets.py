"""Whether nodes resume each other's TLS sessions: STATE_DIR/tickets.json, as types.

    {"schema": 1, "at_ns": 1790000000000000000, "shared": false,
     "pairs": [{"made_at": "10.0.0.1:443", "resumed_at": "10.0.0.2:443", "resumed": false}]}

After a loss the survivors shake hands with all clients of the lost node anew. Only where a ticket of
one node is good at every other do those cost less than full handshakes; unproven counts as not so.
"""

import json
from typing import Any

from haman.core.frozen import dataclass

SCHEMA = 1
FILE = "tickets.json"
ADDRESSES_MAX = 32


class TicketsError(ValueError):
    """The file is no ticket check; one line for people."""


@dataclass(frozen=True, slots=True)
class TicketPair:
    """A session made at one address, and offered at another (or at the same: the control)."""

    made_at: str
    resumed_at: str
    resumed: bool


@dataclass(frozen=True, slots=True)
class TicketCheck:
    """One run of `haman calibrate --tickets`.

    Attributes:
        at_ns: wall clock.
        pairs: every ordered pair of addresses.
    """

    at_ns: int
    pairs: tuple[TicketPair, ...]

    @property
    def shared(self) -> bool:
        """Whether every session was resumed everywhere."""
        return bool(self.pairs) and all(pair.resumed for pair in self.pairs)

    @property
    def refused(self) -> tuple[TicketPair, ...]:
        """Those that were not."""
        return tuple(pair for pair in self.pairs if not pair.resumed)


def encode(check: TicketCheck) -> str:
    """The file's content."""
    pairs = [
        {"made_at": p.made_at, "resumed_at": p.resumed_at, "resumed": p.resumed}
        for p in check.pairs
    ]
    whole = {"schema": SCHEMA, "at_ns": check.at_ns, "shared": check.shared, "pairs": pairs}
    return json.dumps(whole, indent=1)


def decode(text: bytes | str) -> TicketCheck:
    """A check from the file's content.

    Raises:
        TicketsError: it is something else.
    """
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TicketsError(f"no JSON: {error}") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise TicketsError(f"no ticket check of schema {SCHEMA}")
    pairs, at_ns = found.get("pairs"), found.get("at_ns")
    if not isinstance(pairs, list) or not isinstance(at_ns, int) or isinstance(at_ns, bool):
        raise TicketsError("at_ns or pairs is missing")
    return TicketCheck(at_ns, tuple(map(_pair, pairs)))


def _pair(found: Any) -> TicketPair:
    if not isinstance(found, dict) or not isinstance(found.get("resumed"), bool):
        raise TicketsError("an entry of pairs is no pair")
    return TicketPair(
        str(found.get("made_at", "")), str(found.get("resumed_at", "")), found["resumed"]
    )
