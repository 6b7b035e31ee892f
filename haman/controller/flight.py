r"""The flight recording: what the decisions of a node were made from, as bytes.

    file    = "haman flight 1\n", then frames
    frame   = length and CRC-32 of what follows (4 + 4 bytes, big-endian), then zlib of records
    records = MessagePack maps of tagged structs, one after another

A frame holds about a second. A file begins with `Began`, and can be read without any other; each life
of a controller begins with one, too. A file whose end was cut off, or damaged, is read up to there, and
is written on from there. What has not changed since the record before is
left out, and put in again by the reader.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

import msgspec
from msgspec import Struct

from haman.cluster.packets import PermitPacket, decode, encode, permit_packet
from haman.core.decide import Decision, FailoverOrdered
from haman.core.node import NodeCore, NodeStepped
from haman.core.permits import FailoverSeen, Heard, PermitSettings
from haman.core.reports import NodeReport, PeerView
from haman.core.situation import Situation

MAGIC = b"haman flight 1\n"
FRAME_BYTES_MAX = 64 * 1024 * 1024
_HEAD = struct.Struct(">II")
_LEVEL = 1
"""Of zlib: reports resemble each other, so that the fastest one halves them ten times over."""


class Began(Struct, frozen=True, tag="began", omit_defaults=True):
    """A file begins.

    Attributes:
        now_ns: monotonic, of this record.
        started_ns: monotonic, when the controller's life began.
        at_ns: wall clock, of this record.
        epoch: of the node's permits.
        settings: services, and what is decided by.
        resumed: the life began in an earlier file, or records are missing: what was decided before is
            not known here.
        dropped: records of this life that were lost before because the disk did not take them.
    """

    node: str
    version: str
    now_ns: int
    at_ns: int
    started_ns: int
    epoch: int
    settings: PermitSettings
    resumed: bool = False
    dropped: int = 0


class Reconfigured(Struct, frozen=True, tag="reconfigured", omit_defaults=True):
    """Another configuration came into force."""

    now_ns: int
    settings: PermitSettings


class Ordered(Struct, frozen=True, tag="ordered", omit_defaults=True):
    """A failover was ordered, by an operator or by permit."""

    now_ns: int
    order: FailoverOrdered


class Peer(Struct, frozen=True, array_like=True):
    """A peer as it was seen; `report` None = the one before, or none yet."""

    name: str
    age_ms: float
    fresh: bool
    report: NodeReport | None = None


class Message(Struct, frozen=True, array_like=True):
    """A packet about permits."""

    peer: str
    packet: bytes


class Stepped(Struct, frozen=True, tag="stepped", omit_defaults=True):
    """The node decided.

    Attributes:
        situation: without peers, resources and the engine's age; None = as before.
        digest: of the decision, to compare a replay with.
    """

    now_ns: int
    at_ns: int
    own: NodeReport
    peers: tuple[Peer, ...] = ()
    situation: Situation | None = None
    engine_age_ms: float = 0.0
    heard: tuple[Message, ...] = ()
    unweighted: frozenset[str] = frozenset()
    ended: tuple[FailoverSeen, ...] = ()
    awake: bool = True
    digest: bytes = b""


Record = Began | Reconfigured | Ordered | Stepped

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[list[Record]] = msgspec.msgpack.Decoder(list[Record])


class DamagedError(ValueError):
    """A recording cannot be read from here on."""


class Inputs(Struct, frozen=True):
    """What one step of `NodeCore` is given."""

    situation: Situation
    own: NodeReport
    now_ns: int
    heard: tuple[Heard, ...]
    unweighted: frozenset[str]
    ended: tuple[FailoverSeen, ...]
    awake: bool

    def step(self, core: NodeCore) -> NodeStepped:
        """Give it these."""
        return core.step(
            self.situation,
            self.own,
            self.now_ns,
            self.heard,
            self.unweighted,
            ended=self.ended,
            awake=self.awake,
        )


class Compactor:
    """Leaves out what the record before said already. `reset` where a file begins."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """The next record says everything."""
        self._situation: Situation | None = None
        self._reports: dict[str, NodeReport | None] = {}

    def compact(self, inputs: Inputs, at_ns: int, decision: Decision) -> Stepped:
        """The record of one step."""
        said = inputs.situation
        rest = replace(said, peers=(), resources=(), engine_age_ms=0.0)
        changed, self._situation = rest != self._situation, rest
        before, self._reports = self._reports, {p.name: p.report for p in said.peers}
        return Stepped(
            inputs.now_ns,
            at_ns,
            inputs.own,
            tuple(
                Peer(
                    p.name, p.age_ms, p.fresh, None if p.report is before.get(p.name) else p.report
                )
                for p in said.peers
            ),
            rest if changed else None,
            said.engine_age_ms,
            tuple(Message(h.peer, encode(permit_packet(h.message)) or b"") for h in inputs.heard),
            inputs.unweighted,
            inputs.ended,
            inputs.awake,
            digest(decision),
        )


class Expander:
    """Puts in again what a `Compactor` left out."""

    def __init__(self) -> None:
        self._situation: Situation | None = None
        self._reports: dict[str, NodeReport | None] = {}

    def expand(self, record: Stepped) -> Inputs:
        """What the step was given.

        Raises:
            DamagedError: the first record after a beginning leaves something out.
        """
        self._situation = record.situation or self._situation
        if self._situation is None:
            raise DamagedError("a step without a situation before it")
        before = self._reports
        self._reports = {p.name: p.report or before.get(p.name) for p in record.peers}
        peers = tuple(
            PeerView(p.name, self._reports[p.name], p.age_ms, p.fresh) for p in record.peers
        )
        situation = replace(
            self._situation,
            peers=peers,
            resources=record.own.resources,
            engine_age_ms=record.engine_age_ms,
        )
        return Inputs(
            situation,
            record.own,
            record.now_ns,
            tuple(_heard(record.heard)),
            record.unweighted,
            record.ended,
            record.awake,
        )


def _heard(messages: tuple[Message, ...]) -> Iterator[Heard]:
    for each in messages:
        packet = decode(each.packet)
        if isinstance(packet, PermitPacket):
            yield Heard(each.peer, packet.message)


def digest(decision: Decision) -> bytes:
    """Eight bytes that tell one decision from another, its reasons included."""
    return hashlib.blake2b(_encoder.encode(decision), digest_size=8).digest()


def to_frame(records: list[Record]) -> bytes:
    """Some records as one frame."""
    body = zlib.compress(_encoder.encode(records), _LEVEL)
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def read(data: bytes) -> Iterator[Record]:
    """The records of a file, in order.

    Raises:
        DamagedError: after what could be read: why no more can.
    """
    if not data.startswith(MAGIC):
        raise DamagedError("this is no flight recording")
    at = len(MAGIC)
    while at < len(data):
        body = _body(data, at)
        if body is None:
            raise DamagedError(f"cut off or damaged at byte {at}")
        yield from _records(body, at)
        at += _HEAD.size + len(body)


def sound_bytes(data: bytes) -> int:
    """How much of a file can be read, from its start; 0 = it is no recording."""
    if not data.startswith(MAGIC):
        return 0
    at = len(MAGIC)
    while (body := _body(data, at)) is not None:
        at += _HEAD.size + len(body)
    return at


def _body(data: bytes, at: int) -> bytes | None:
    """Of the frame at `at`; None = there is none, or not all of it."""
    if len(data) - at < _HEAD.size:
        return None
    length, crc = _HEAD.unpack_from(data, at)
    body = data[at + _HEAD.size : at + _HEAD.size + length]
    return body if len(body) == length and zlib.crc32(body) == crc else None


def _records(body: bytes, at: int) -> list[Record]:
    try:
        opened = zlib.decompressobj()
        raw = opened.decompress(body, FRAME_BYTES_MAX)
        if opened.unconsumed_tail:
            raise DamagedError(f"the frame at byte {at} is larger than any that is written")
        return _decoder.decode(raw)
    except (zlib.error, msgspec.MsgspecError, RecursionError) as error:
        raise DamagedError(f"the frame at byte {at} cannot be read: {error}") from error
