"""What nodes say to each other, as bytes: MessagePack of tagged structs, at most 8 KiB sealed.

What is larger is packed: the byte 0xC1, which no MessagePack begins with, and zlib. A report of 255 VIPs
is 72 KB and packs into 5, for one VIP is told like the other (measured).

A packet that cannot be decoded is a value with a reason, never an exception: it was authenticated,
but may come from another version. Unknown fields are ignored for the same reason.
"""

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import msgspec
from msgspec import Struct

from haman.core import permits
from haman.core.handover.messages import Said
from haman.core.reports import NodeReport
from haman.core.words import Reason

BODY_BYTES_MAX = 8 * 1024 - 256
"""A datagram is at most 8 KiB; the rest is for header, tag and handshake."""
UNPACKED_BYTES_MAX = 1 << 20
"""What is packed may be no larger: bounded memory, whatever a peer sends."""
_PACKED = b"\xc1"
_LEVEL = 1
_REASONS_KEPT = 3
_TEXT_KEPT = 120

Verb = Literal["drain", "undrain", "failover", "pause", "resume"]


class Report(Struct, frozen=True, tag="report", array_like=True):
    """Everything the sender says of itself."""

    report: NodeReport


class Released(Struct, frozen=True, tag="released", array_like=True):
    """The sender let go of `vip`, the kernel confirmed it, and `heir` should take it at once."""

    vip: str
    heir: str
    reasons: tuple[Reason, ...] = ()


class Order(Struct, frozen=True, tag="order", array_like=True):
    """An operator's wish, for the receiver to do.

    Attributes:
        id: chosen by the sender; the same id is done once, however often it arrives.
        by: the node that the operator asked, for the journal.
    """

    id: str
    verb: Verb
    vip: str = ""
    to: str = ""
    force: bool = False
    by: str = ""
    plain: bool = False


class Answer(Struct, frozen=True, tag="answer", array_like=True):
    """What became of the order `id`; `code` "" = accepted."""

    id: str
    code: str
    text: str
    reasons: tuple[Reason, ...] = ()


class PermitAsk(Struct, frozen=True, tag="permit-ask", array_like=True):
    """The sender asks to move load to the receiver, or to others."""

    message: permits.Ask


class PermitAnswer(Struct, frozen=True, tag="permit-answer", array_like=True):
    """The sender's word on an ask of the receiver's."""

    message: permits.Answer


class PermitEnd(Struct, frozen=True, tag="permit-end", array_like=True):
    """The sender needs the receiver's grant no more."""

    message: permits.End


class PermitRevoke(Struct, frozen=True, tag="permit-revoke", array_like=True):
    """The sender takes its grant back."""

    message: permits.Revoke


class Handover(Struct, frozen=True, tag="handover", array_like=True):
    """The sender's side of a planned move of VIPs: see `haman.core.handover`."""

    said: Said


class Hello(Struct, frozen=True, tag="hello", array_like=True):
    """Nothing but the handshake that every packet carries."""


PermitPacket = PermitAsk | PermitAnswer | PermitEnd | PermitRevoke
Packet = Report | Released | Order | Answer | PermitPacket | Hello | Handover

_Reduce = Callable[[tuple[Reason, ...]], tuple[Reason, ...]]
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Packet] = msgspec.msgpack.Decoder(Packet)


def permit_packet(message: permits.Message) -> PermitPacket:
    """The packet for a message about permits."""
    match message:
        case permits.Ask():
            return PermitAsk(message)
        case permits.Answer():
            return PermitAnswer(message)
        case permits.End():
            return PermitEnd(message)
        case permits.Revoke():
            return PermitRevoke(message)


def encode(packet: Packet) -> bytes | None:
    """The packet as bytes; None if it stays too large even packed, with its reasons cut down."""
    body = _packed(_encoder.encode(packet))
    if len(body) <= BODY_BYTES_MAX:
        return body
    for reduce in (_without_data, _shortened, _only_the_first):
        body = _packed(_encoder.encode(_with_reasons(packet, reduce)))
        if len(body) <= BODY_BYTES_MAX:
            return body
    return None


def decode(body: bytes) -> Packet | None:
    """The packet in `body`, None if it is malformed."""
    try:
        return _decoder.decode(_unpacked(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, zlib.error):
        return None


def _packed(body: bytes) -> bytes:
    """As it is where it fits so: then peers of any version can read it."""
    if not BODY_BYTES_MAX < len(body) <= UNPACKED_BYTES_MAX:
        return body
    return _PACKED + zlib.compress(body, _LEVEL)


def _unpacked(body: bytes) -> bytes:
    """What was packed; b"" where that is too large, or not whole."""
    if not body.startswith(_PACKED):
        return body
    unpacking = zlib.decompressobj()
    unpacked = unpacking.decompress(body[len(_PACKED) :], UNPACKED_BYTES_MAX)
    return unpacked if unpacking.eof else b""


def _without_data(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    return tuple(Reason(r.code, r.text) for r in reasons)


def _shortened(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    return tuple(Reason(r.code, r.text[:_TEXT_KEPT]) for r in reasons[:_REASONS_KEPT])


def _only_the_first(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    return _shortened(reasons[:1])


def _with_reasons(packet: Packet, reduce: _Reduce) -> Packet:
    if isinstance(packet, Report):
        report = packet.report
        return Report(
            replace(
                report,
                reasons=reduce(report.reasons),
                vips=tuple(replace(v, reasons=reduce(v.reasons)) for v in report.vips),
                anycast=tuple(replace(a, reasons=reduce(a.reasons)) for a in report.anycast),
                neighbors=tuple(replace(n, reasons=reduce(n.reasons)) for n in report.neighbors),
            )
        )
    if isinstance(packet, Released | Answer):
        return msgspec.structs.replace(packet, reasons=reduce(packet.reasons))
    if isinstance(packet, PermitAnswer):
        answer = packet.message
        return PermitAnswer(replace(answer, reasons=reduce(answer.reasons)))
    if isinstance(packet, PermitRevoke):
        revoke = packet.message
        return PermitRevoke(replace(revoke, reasons=reduce(revoke.reasons)))
    return packet
