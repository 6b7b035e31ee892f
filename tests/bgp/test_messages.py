"""What the relay and the controller accept of each other: exactly what they were meant to hear."""

import json
from dataclasses import asdict
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.bgp.lease import LeaseState
from haman.bgp.messages import (
    MAX_MESSAGE,
    Declaration,
    RelayReport,
    SessionReport,
    decode_declaration,
    decode_report,
    encode_declaration,
    encode_report,
)
from haman.core.announcements import Announcement

EDGE = Announcement("edge", ("192.0.2.1/32", "2001:db8::1/128"), True, 7, ("65001:1", "1:2:3"), 0)
DECLARATION = Declaration(3, 65001, (ip_address("10.0.1.1"),), (EDGE,), 10_000, 60_000)
REPORT = RelayReport(
    3,
    LeaseState.SHUT,
    (EDGE,),
    True,
    (SessionReport("10.0.1.1", "up", "ESTABLISHED", 5, "why", 3, 2, 1),),
    "a problem",
    {"commands": 4},
)


def test_what_is_encoded_is_decoded() -> None:
    assert decode_declaration(encode_declaration(DECLARATION)) == DECLARATION
    assert decode_report(encode_report(REPORT)) == REPORT


def changed(**more) -> bytes:
    content = json.loads(encode_declaration(DECLARATION))
    return json.dumps({**content, **more}).encode()


ANNOUNCEMENT = asdict(EDGE)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b"announce route 192.0.2.1/32 next-hop self",
        b"[" * 100_000,
        changed(more=1),
        changed(generation=0),
        changed(generation=True),
        changed(generation="1"),
        changed(local_as=2**32),
        changed(neighbors=["10.0.1.1 ; shutdown "]),
        changed(neighbors="10.0.1.1"),
        changed(neighbors=["10.0.1.1"] * 65),
        changed(lease_shut_ms=-1),
        changed(lease_shut_ms=1.5),
        changed(announcements=[{**ANNOUNCEMENT, "prefixes": ["reload "]}]),
        changed(announcements=[{**ANNOUNCEMENT, "prefixes": ["192.0.2.1/24"]}]),
        changed(announcements=[{**ANNOUNCEMENT, "communities": ["graceful-shutdown"]}]),
        changed(announcements=[{**ANNOUNCEMENT, "weight": 1_000_001}]),
        changed(announcements=[{**ANNOUNCEMENT, "weight": "1"}]),
        changed(announcements=[{**ANNOUNCEMENT, "shut": 1}]),
        changed(announcements=[{**ANNOUNCEMENT, "extra": 1}]),
        changed(announcements=[ANNOUNCEMENT, ANNOUNCEMENT]),
        changed(
            announcements=[
                {**ANNOUNCEMENT, "prefixes": [f"10.{n}.{m}.0/24" for m in range(256)]}
                for n in range(5)
            ]
        ),
    ],
)
def test_what_is_no_declaration_is_refused(packet: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_declaration(packet)


def test_a_declaration_that_is_too_large_is_refused_at_its_source() -> None:
    many = tuple(Announcement("x" * 99, (f"10.0.{n}.0/24",)) for n in range(256)) * 4
    with pytest.raises(ValueError, match="bytes"):
        encode_declaration(Declaration(1, 1, (), many, 0, 0))
    assert MAX_MESSAGE < 212_992  # what a Unix socket buffers by default


@given(st.binary(max_size=300))
def test_no_packet_raises_anything_else(packet: bytes) -> None:
    for decode in (decode_declaration, decode_report):
        with pytest.raises(ValueError, match=r"(?s)."):
            decode(packet)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    st.sampled_from(sorted(asdict(DECLARATION)) + sorted(asdict(REPORT))),
)
def test_no_field_raises_anything_else(value: object, key: str) -> None:
    for decode, packet in (
        (decode_declaration, encode_declaration(DECLARATION)),
        (decode_report, encode_report(REPORT)),
    ):
        content = json.loads(packet)
        if key not in content:
            continue
        content[key] = value
        try:
            decode(json.dumps(content).encode())
        except ValueError:
            continue
