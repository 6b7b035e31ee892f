"""Control packets as bytes: golden vectors, scapy as an oracle both ways, any bytes at all."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.contrib.bfd import BFD, OptionalAuth

from haman.core.bfd.packet import (
    BfdError,
    ControlPacket,
    Diagnostic,
    Discard,
    SessionState,
    decode,
    diagnostic_words,
    encode,
)
from tests.core.bfd.path import steady

PLAIN = ControlPacket(SessionState.DOWN, 0, 1, 0, 3, 1_000_000, 50_000)
UP = ControlPacket(SessionState.UP, 0, 0x2B, 0xCAFE, 3, 50_000, 50_000, poll=True)
SAID = ControlPacket(
    SessionState.DOWN, 1, 0x11223344, 0x55667788, 255, 0xFFFFFFFF, 0, 77, final=True, demand=True
)

# Read alike by tshark 4.0.
GOLDEN = {
    "down": (PLAIN, "20400318 00000001 00000000 000f4240 0000c350 00000000"),
    "up-poll": (UP, "20e00318 0000002b 0000cafe 0000c350 0000c350 00000000"),
    "extremes": (SAID, "2152ff18 11223344 55667788 ffffffff 00000000 0000004d"),
    "admin-down": (
        replace(PLAIN, state=SessionState.ADMIN_DOWN, diagnostic=7, independent=True),
        "27080318 00000001 00000000 000f4240 0000c350 00000000",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_vectors_both_ways(name):
    packet, text = GOLDEN[name]
    assert encode(packet).hex() == text.replace(" ", "")
    assert decode(bytes.fromhex(text), ttl=255) == packet


u32 = st.integers(0, 0xFFFFFFFF)


@st.composite
def packets(draw):
    state = draw(st.sampled_from(SessionState))
    yours = draw(u32 if state <= SessionState.DOWN else st.integers(1, 0xFFFFFFFF))
    flags = draw(st.sampled_from(({}, {"poll": True}, {"final": True})))
    return ControlPacket(
        state,
        draw(st.integers(0, 31)),
        draw(st.integers(1, 0xFFFFFFFF)),
        yours,
        draw(st.integers(1, 255)),
        *(draw(u32) for _ in range(3)),
        **flags,
        independent=draw(st.booleans()),
        demand=draw(st.booleans()),
    )


def by_scapy(packet: ControlPacket) -> BFD:
    flags = {"P": packet.poll, "F": packet.final, "C": packet.independent, "D": packet.demand}
    return BFD(
        diag=packet.diagnostic,
        sta=int(packet.state),
        flags="".join(name for name, is_set in flags.items() if is_set),
        detect_mult=packet.detect_mult,
        my_discriminator=packet.my_discriminator,
        your_discriminator=packet.your_discriminator,
        min_tx_interval=packet.desired_min_tx_us,
        min_rx_interval=packet.required_min_rx_us,
        echo_rx_interval=packet.required_min_echo_rx_us,
    )


@steady
@given(packets())
def test_as_scapy_has_it_both_ways(packet):
    theirs = bytes(by_scapy(packet))
    assert encode(packet) == theirs
    assert decode(theirs, ttl=255) == packet


@steady
@given(packets(), st.binary(max_size=40))
def test_what_follows_the_packet_is_ignored(packet, more):
    assert decode(encode(packet) + more, ttl=255) == packet


# ---- RFC 5880 section 6.8.6 ----------------------------------------------------------------------


def changed(at: int, value: int, data: bytes = encode(UP)) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


WITH_AUTH = bytes(BFD(sta=3, flags="A", optional_auth=OptionalAuth(auth_type=1, auth_key="secret")))

DISCARDED = {
    "version 0": (changed(0, 0x00), Discard.VERSION),
    "version 2": (changed(0, 0x40), Discard.VERSION),
    "version 7, nothing else": (b"\xe0", Discard.VERSION),
    "nothing": (b"", Discard.LENGTH),
    "23 bytes": (encode(UP)[:23], Discard.LENGTH),
    "length field 23": (changed(3, 23), Discard.LENGTH),
    "length field beyond the payload": (changed(3, 25), Discard.LENGTH),
    "authentication bit, length field 24": (changed(1, 0xC4), Discard.LENGTH),
    "authentication bit, length field 25": (
        changed(1, 0xC4, changed(3, 25)) + b"xx",
        Discard.LENGTH,
    ),
    "multiplier 0": (changed(2, 0), Discard.DETECT_MULT),
    "multipoint": (changed(1, 0xC1), Discard.MULTIPOINT),
    "my discriminator 0": (changed(7, 0), Discard.MY_DISCRIMINATOR),
    "up, your discriminator 0": (encode(replace(UP, your_discriminator=0)), Discard.STATE),
    "init, your discriminator 0": (
        encode(replace(UP, state=SessionState.INIT, your_discriminator=0)),
        Discard.STATE,
    ),
    "authenticated": (WITH_AUTH, Discard.AUTHENTICATION),
}


@pytest.mark.parametrize("name", DISCARDED)
def test_rfc5880_6_8_6_discards(name):
    data, reason = DISCARDED[name]
    with pytest.raises(BfdError) as raised:
        decode(data, ttl=255)
    assert raised.value.reason is reason


@pytest.mark.parametrize("state", [SessionState.DOWN, SessionState.ADMIN_DOWN])
def test_rfc5880_6_8_6_who_is_down_need_not_know_our_discriminator(state):
    assert decode(encode(replace(PLAIN, state=state)), ttl=255).state is state


@pytest.mark.parametrize("ttl", [0, 1, 64, 254])
def test_rfc5881_5_any_ttl_but_255_is_discarded_before_all_else(ttl):
    for data in (encode(UP), b"", WITH_AUTH):
        with pytest.raises(BfdError) as raised:
            decode(data, ttl=ttl)
        assert raised.value.reason is Discard.TTL


def read(data: bytes, ttl: int) -> ControlPacket | BfdError:
    """What `decode` makes of it; anything but its own error passes through, and fails the test."""
    try:
        return decode(data, ttl=ttl)
    except BfdError as error:
        return error


@steady
@given(st.binary(max_size=60), st.integers(-1, 256))
@example(b"\x20", 255)
@example(b"\xff" * 24, 255)
def test_any_bytes_are_a_packet_or_an_error_with_a_reason(data, ttl):
    found = read(data, ttl)
    if isinstance(found, BfdError):
        assert found.reason in Discard
        assert str(found)
    else:
        assert found.my_discriminator > 0
        assert found.detect_mult > 0


@steady
@given(packets(), st.integers(0, 23), st.integers(0, 255))
def test_one_wrong_byte_is_a_packet_or_an_error_with_a_reason(packet, at, value):
    found = read(changed(at, value, encode(packet)), 255)
    assert isinstance(found, ControlPacket) or found.reason in Discard


@pytest.mark.parametrize(
    "wrong",
    [
        {"my_discriminator": 0},
        {"detect_mult": 0},
        {"detect_mult": 256},
        {"desired_min_tx_us": -1},
        {"required_min_rx_us": 1 << 32},
        {"diagnostic": 32},
        {"poll": True, "final": True},
    ],
    ids=str,
)
def test_what_no_receiver_would_take_is_not_encoded(wrong):
    with pytest.raises(ValueError):
        encode(replace(PLAIN, **wrong))


def test_every_diagnostic_has_words():
    words = [diagnostic_words(n) for n in range(32)]
    assert len(set(words)) == 32
    assert words[Diagnostic.DETECTION_TIME_EXPIRED] == "Control Detection Time Expired"
    assert words[Diagnostic.ADMINISTRATIVELY_DOWN] == "Administratively Down"
    assert words[31] == "Reserved (31)"


def test_the_states_have_the_words_of_the_reports():
    assert [state.word for state in SessionState] == ["admin-down", "down", "init", "up"]
