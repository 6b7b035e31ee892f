"""What the controller and the relay tell each other: one JSON object per packet, whole states only.

    controller → relay   Declaration: everything that shall be announced. Each one renews the lease.
    relay → controller   RelayReport: everything that is announced, and what the sessions do.

Neither trusts the other: what does not decode to exactly these types, in range, is a ValueError.
The relay loads the standard library alone, so the decoding is done by hand here.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, field
from ipaddress import ip_address
from typing import Any, Final, TypeVar

from haman.bgp.grammar import Address, routes
from haman.bgp.lease import LeaseState
from haman.core.announcements import Announcement
from haman.core.frozen import dataclass

MAX_MESSAGE: Final = 131_072
"""Bytes of a packet; half of what a Unix socket buffers by default."""
MAX_ANNOUNCEMENTS: Final = 256
MAX_PREFIXES: Final = 1024
MAX_NEIGHBORS: Final = 64
MAX_LEASE_MS: Final = 86_400_000
MAX_REASON: Final = 200
_MAX_TEXT: Final = 100
_MAX_I64: Final = 2**63 - 1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Declaration:
    """What shall be announced, to whom, and for how long without another word.

    Attributes:
        generation: grows with each change; echoed in the report.
        neighbors: every one that is configured; a prefix goes to those of its family.
        lease_shut_ms: after the last declaration; 0 = never. Likewise `lease_withdraw_ms`.
    """

    generation: int
    local_as: int
    neighbors: tuple[Address, ...]
    announcements: tuple[Announcement, ...]
    lease_shut_ms: int
    lease_withdraw_ms: int


@dataclass(frozen=True, slots=True)
class SessionReport:
    """One BGP session as ExaBGP tells of it.

    Attributes:
        state: "up", "connected" (TCP), "down", or "" while nothing is known.
        fsm: RFC 4271's word for it, from the last poll; "" while nothing is known.
        since_ns: wall clock since when it is up, or is not; 0 while nothing is known.
        reason: ExaBGP's own, of the last time it went down.
        connects: TCP connections that came about, since the relay started; `ups`, `downs` likewise.
    """

    address: str
    state: str = ""
    fsm: str = ""
    since_ns: int = 0
    reason: str = ""
    connects: int = 0
    ups: int = 0
    downs: int = 0


@dataclass(frozen=True, slots=True)
class RelayReport:
    """Everything that the relay knows.

    Attributes:
        generation: of the declaration in force; 0 = none was received yet.
        announced: what ExaBGP has acknowledged.
        settled: it is what shall be announced, and nothing is on its way.
        problem: "" if all is well.
        answers: ExaBGP answers in time; if not, nothing of the rest is known to be so still.
    """

    generation: int
    lease: LeaseState
    announced: tuple[Announcement, ...] = ()
    settled: bool = False
    sessions: tuple[SessionReport, ...] = ()
    problem: str = ""
    counters: dict[str, int] = field(default_factory=dict)
    answers: bool = True


def encode_declaration(declaration: Declaration) -> bytes:
    """As it goes over the socket.

    Raises:
        ValueError: it is larger than `MAX_MESSAGE`.
    """
    content = asdict(declaration)
    content["neighbors"] = [str(neighbor) for neighbor in declaration.neighbors]
    return _encode(content)


def encode_report(report: RelayReport) -> bytes:
    """As it goes over the socket.

    Raises:
        ValueError: it is larger than `MAX_MESSAGE`.
    """
    return _encode(asdict(report))


def _encode(content: dict[str, Any]) -> bytes:
    packet = json.dumps(content, separators=(",", ":")).encode()
    if len(packet) > MAX_MESSAGE:
        raise ValueError(f"{len(packet)} bytes are more than {MAX_MESSAGE}")
    return packet


def decode_declaration(packet: bytes) -> Declaration:
    """What the relay accepts.

    Raises:
        ValueError: it is anything else.
    """
    content = _object(packet, Declaration)
    declaration = Declaration(
        generation=_number(content["generation"], 1, _MAX_I64),
        local_as=_number(content["local_as"], 1, 2**32 - 1),
        neighbors=_several(content["neighbors"], _address, MAX_NEIGHBORS),
        announcements=_several(content["announcements"], _announcement, MAX_ANNOUNCEMENTS),
        lease_shut_ms=_number(content["lease_shut_ms"], 0, MAX_LEASE_MS),
        lease_withdraw_ms=_number(content["lease_withdraw_ms"], 0, MAX_LEASE_MS),
    )
    prefixes = [r.prefix for a in declaration.announcements for r in routes(a)]
    if len(prefixes) > MAX_PREFIXES:
        raise ValueError(f"more than {MAX_PREFIXES} prefixes")
    if len(set(prefixes)) != len(prefixes):
        raise ValueError("a prefix stands there twice")
    return declaration


def decode_report(packet: bytes) -> RelayReport:
    """What the controller accepts.

    Raises:
        ValueError: it is anything else.
    """
    content = _object(packet, RelayReport)
    counters = content["counters"]
    if not isinstance(counters, dict) or len(counters) > MAX_NEIGHBORS:
        raise ValueError("counters are not a small object")
    return RelayReport(
        generation=_number(content["generation"], 0, _MAX_I64),
        lease=LeaseState(content["lease"]),
        announced=_several(content["announced"], _announcement, MAX_PREFIXES),
        settled=_boolean(content["settled"]),
        sessions=_several(content["sessions"], _session, MAX_NEIGHBORS),
        problem=_text(content["problem"], MAX_REASON),
        answers=_boolean(content["answers"]),
        counters={_text(k, _MAX_TEXT): _number(v, 0, _MAX_I64) for k, v in counters.items()},
    )


def _object(packet: bytes, kind: type) -> dict[str, Any]:
    try:
        content = json.loads(packet)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return _fields(content, kind)


def _fields(content: object, kind: type) -> dict[str, Any]:
    if not isinstance(content, dict) or content.keys() != set(kind.__slots__):  # type: ignore[attr-defined]
        raise ValueError(f"not a {kind.__name__}")
    return content


def _several(content: object, item: Callable[[object], T], most: int) -> tuple[T, ...]:
    if not isinstance(content, list) or len(content) > most:
        raise ValueError(f"not a list of at most {most}")
    return tuple(item(element) for element in content)


def _number(content: object, least: int, most: int) -> int:
    if type(content) is not int or not least <= content <= most:
        raise ValueError(f"not an integer within {least} and {most}")
    return content


def _text(content: object, most: int = _MAX_TEXT) -> str:
    if not isinstance(content, str) or len(content) > most:
        raise ValueError(f"not a text of at most {most} characters")
    return content


def _boolean(content: object) -> bool:
    if content is True or content is False:
        return content
    raise ValueError("neither true nor false")


def _address(content: object) -> Address:
    return ip_address(_text(content))


def _optional(content: object) -> int | None:
    return None if content is None else _number(content, 0, 2**32 - 1)


def _announcement(content: object) -> Announcement:
    fields = _fields(content, Announcement)
    announcement = Announcement(
        service=_text(fields["service"]),
        prefixes=_several(fields["prefixes"], _text, MAX_PREFIXES),
        shut=_boolean(fields["shut"]),
        weight=_optional(fields["weight"]),
        communities=_several(fields["communities"], _text, MAX_PREFIXES),
        med=_optional(fields["med"]),
    )
    routes(announcement)  # in the grammar, or refused
    return announcement


def _session(content: object) -> SessionReport:
    fields = _fields(content, SessionReport)
    return SessionReport(
        address=str(_address(fields["address"])),
        state=_text(fields["state"]),
        fsm=_text(fields["fsm"]),
        since_ns=_number(fields["since_ns"], 0, _MAX_I64),
        reason=_text(fields["reason"], MAX_REASON),
        connects=_number(fields["connects"], 0, _MAX_I64),
        ups=_number(fields["ups"], 0, _MAX_I64),
        downs=_number(fields["downs"], 0, _MAX_I64),
    )
