"""Advertisements as bytes: golden vectors, scapy as an oracle both ways, any bytes at all."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.vrrp import VRRP, VRRPv3

from haman.core.vrrp.packet import (
    GROUP_V4,
    GROUP_V6,
    MAX_INTERVAL_NS,
    MIN_INTERVAL_NS,
    Advertisement,
    Checksum,
    IPAddress,
    VrrpError,
    decode,
    encode,
)
from tests.core.vrrp.link import steady

US, PEER = IPv4Address("192.0.2.11"), IPv4Address("192.0.2.12")
US_V6 = IPv6Address("fe80::b")
S = 1_000_000_000

PLAIN = Advertisement(3, 51, 100, (IPv4Address("192.0.2.100"),), S)
PLAIN_V2 = Advertisement(2, 51, 100, (IPv4Address("192.0.2.100"),), S)
PLAIN_V6 = Advertisement(3, 51, 100, (IPv6Address("fe80::64"), IPv6Address("2001:db8::64")), S)
PASSWORD = Advertisement(2, 51, 100, (IPv4Address("192.0.2.100"),), S, 1, b"1111")

# Accepted by tcpdump and tshark, and by keepalived 2.2.7, but for the RFC 9568 form.
GOLDEN: dict[str, tuple[Advertisement, IPAddress, IPAddress, Checksum | None, str]] = {
    "v2": (PLAIN_V2, US, GROUP_V4, None, "213364010001b865c00002640000000000000000"),
    "v2-password": (PASSWORD, US, GROUP_V4, None, "2133640101015503c00002643131313100000000"),
    "v3": (PLAIN, US, GROUP_V4, Checksum.PSEUDO_HEADER, "3133640100640568c0000264"),
    "v3-unicast": (PLAIN, US, PEER, Checksum.PSEUDO_HEADER, "313364010064236ec0000264"),
    "v3-rfc9568": (PLAIN, US, GROUP_V4, Checksum.RFC9568, "313364010064a802c0000264"),
    "v3-old-unicast": (PLAIN, US, PEER, Checksum.PSEUDO_HEADER_GROUP, "3133640100640568c0000264"),
    "v6": (
        PLAIN_V6,
        US_V6,
        GROUP_V6,
        None,
        "3133640200643f2bfe80000000000000000000000000006420010db8000000000000000000000064",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_vectors_both_ways(name):
    advertisement, source, destination, form, packet = GOLDEN[name]
    data = encode(
        advertisement,
        source=source,
        destination=destination,
        checksum=form or Checksum.PSEUDO_HEADER,
    )
    assert data.hex() == packet
    decoded = decode(data, source=source, destination=destination, ttl=255)
    assert decoded == advertisement
    assert decoded.checksum is form


def reason(data: bytes, source=US, destination=GROUP_V4, ttl=255, **options) -> str:
    with pytest.raises(VrrpError) as caught:
        decode(data, source=source, destination=destination, ttl=ttl, **options)
    assert str(caught.value)
    return caught.value.reason


def with_checksum(data: bytes, *, source=US, destination=GROUP_V4, version=3) -> bytes:
    """The packet with a right checksum, whatever else is wrong with it."""
    total = int.from_bytes(data[:6] + bytes(2) + data[8:], "big")
    if version == 3:
        total += int(source) + int(destination) + 112 + len(data)
    return data[:6] + (-total % 0xFFFF).to_bytes(2, "big") + data[8:]


V3 = bytes.fromhex(GOLDEN["v3"][4])
V2 = bytes.fromhex(GOLDEN["v2"][4])
V6 = bytes.fromhex(GOLDEN["v6"][4])


def test_rfc9568_7_1_ttl_of_multicast_must_be_255():
    assert reason(V3, ttl=254) == "ttl"
    assert reason(V6, US_V6, GROUP_V6, ttl=64) == "ttl"
    assert decode(V3, source=US, destination=GROUP_V4, ttl=255) == PLAIN


def test_ttl_of_unicast_is_free_unless_asked_for():
    unicast = bytes.fromhex(GOLDEN["v3-unicast"][4])
    assert decode(unicast, source=US, destination=PEER, ttl=61) == PLAIN
    assert reason(unicast, destination=PEER, ttl=253, minimum_ttl=254) == "ttl"
    assert decode(unicast, source=US, destination=PEER, ttl=254, minimum_ttl=254) == PLAIN


@pytest.mark.parametrize("nibble", [0, 1, 4, 15])
def test_rfc9568_7_1_version(nibble):
    assert reason(bytes([nibble << 4 | 1]) + V3[1:]) == "version"


def test_version_2_does_not_exist_over_ipv6():
    assert reason(b"\x21" + V6[1:], US_V6, GROUP_V6) == "version"


def test_rfc9568_5_2_2_type_is_advertisement():
    assert reason(b"\x32" + V3[1:]) == "type"


@pytest.mark.parametrize("data", [b"", V3[:7], V3[:8], V3[:-1], V3 + b"\0", V2[:-8]])
def test_rfc9568_7_1_length(data):
    assert reason(data) == "length"


def test_rfc9568_7_1_checksum():
    for at in range(1, len(V3)):
        if at in (3, 6, 7):
            continue  # the count changes the length; the checksum itself is tried below
        assert reason(V3[:at] + bytes([V3[at] ^ 0x10]) + V3[at + 1 :]) == "checksum"
    assert reason(V3[:6] + b"\x12\x34" + V3[8:]) == "checksum"
    assert reason(V2[:6] + b"\x12\x34" + V2[8:]) == "checksum"
    # The pseudo-header is in it: the same bytes from another address are another packet.
    assert reason(V3, source=IPv4Address("192.0.2.13")) == "checksum"


def test_rfc9568_5_2_3_vrid_0_does_not_exist():
    assert reason(with_checksum(V3[:1] + b"\0" + V3[2:])) == "vrid"


def test_erratum_count_0_is_ignored():
    assert reason(with_checksum(V3[:3] + b"\0" + V3[4:8])) == "count"


def test_erratum_interval_0_is_discarded():
    assert reason(with_checksum(V3[:4] + b"\0\0" + V3[6:])) == "interval"
    assert reason(with_checksum(V2[:5] + b"\0" + V2[6:], version=2)) == "interval"


def test_rfc9568_5_2_6_reserved_bits_are_ignored():
    reserved = with_checksum(V3[:4] + bytes([V3[4] | 0xF0]) + V3[5:])
    assert decode(reserved, source=US, destination=GROUP_V4, ttl=255) == PLAIN


def test_rfc2338_5_3_6_authentication_types():
    assert reason(with_checksum(V2[:4] + b"\2" + V2[5:], version=2)) == "auth-header"
    assert reason(with_checksum(V2[:4] + b"\3" + V2[5:], version=2)) == "auth-type"
    # Data of type 0 mean nothing.
    filled = with_checksum(V2[:-8] + b"whatever", version=2)
    assert decode(filled, source=US, destination=GROUP_V4, ttl=255) == PLAIN_V2


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 4},
        {"interval_ns": 0},
        {"interval_ns": 15_000_000},
        {"interval_ns": MAX_INTERVAL_NS[3] + MIN_INTERVAL_NS[3]},
        {"vrid": 256},
        {"priority": 256},
        {"addresses": ()},
        {"addresses": (IPv6Address("::1"),)},
        {"addresses": (IPv4Address("192.0.2.1"),) * 256},
        {"auth_data": b"123456789"},
    ],
    ids=str,
)
def test_what_the_wire_cannot_carry_is_not_encoded(wrong):
    values = {name: getattr(PLAIN, name) for name in PLAIN.__slots__} | wrong
    with pytest.raises(ValueError, match=r"VRRP|address|authentication|wire"):
        encode(Advertisement(**values), source=US, destination=GROUP_V4)


# ---- any valid advert, against scapy -------------------------------------------------------------

v4 = st.integers(1, 2**32 - 1).map(IPv4Address)
v6 = st.integers(1, 2**128 - 1).map(IPv6Address)


@st.composite
def adverts(draw):
    family = draw(st.sampled_from([4, 6]))
    version = draw(st.sampled_from([2, 3])) if family == 4 else 3
    unit = MIN_INTERVAL_NS[version]
    auth_type = draw(st.integers(0, 1)) if version == 2 else 0
    password = st.binary(max_size=8).map(lambda b: b.rstrip(b"\0"))
    return Advertisement(
        version=version,
        vrid=draw(st.integers(1, 255)),
        priority=draw(st.integers(0, 255)),
        addresses=tuple(draw(st.lists(v4 if family == 4 else v6, min_size=1, max_size=20))),
        interval_ns=unit * draw(st.integers(1, MAX_INTERVAL_NS[version] // unit)),
        auth_type=auth_type,
        auth_data=draw(password) if auth_type else b"",
    )


@st.composite
def sent(draw):
    advertisement = draw(adverts())
    ipv4 = advertisement.addresses[0].version == 4
    source = draw(v4 if ipv4 else v6)
    destination = draw(st.one_of(st.just(GROUP_V4 if ipv4 else GROUP_V6), v4 if ipv4 else v6))
    form = draw(st.sampled_from(Checksum))
    data = encode(advertisement, source=source, destination=destination, checksum=form)
    return advertisement, source, destination, data


@steady
@given(sent())
def test_round_trip(packet):
    advertisement, source, destination, data = packet
    assert decode(data, source=source, destination=destination, ttl=255) == advertisement


@steady
@given(adverts())
def test_scapy_builds_what_we_read_and_reads_what_we_build(advertisement):
    ipv4 = advertisement.addresses[0].version == 4
    source, destination = (US, GROUP_V4) if ipv4 else (US_V6, GROUP_V6)
    fields = {
        "vrid": advertisement.vrid,
        "priority": advertisement.priority,
        "addrlist": [str(a) for a in advertisement.addresses],
        "adv": advertisement.interval_ns // MIN_INTERVAL_NS[advertisement.version],
    }
    if advertisement.version == 2:
        auth = advertisement.auth_data.ljust(8, b"\0")
        fields |= {
            "authtype": advertisement.auth_type,
            "auth1": int.from_bytes(auth[:4], "big"),
            "auth2": int.from_bytes(auth[4:], "big"),
        }
    layer = VRRP(**fields) if advertisement.version == 2 else VRRPv3(**fields)
    header = (
        IP(src=str(source), dst=str(destination), ttl=255, proto=112)
        if ipv4
        else IPv6(src=str(source), dst=str(destination), hlim=255, nh=112)
    )
    whole = bytes(header / layer)
    theirs = whole[20:] if ipv4 else whole[40:]
    assert decode(theirs, source=source, destination=destination, ttl=255) == advertisement
    assert encode(advertisement, source=source, destination=destination) == theirs

    read = (IP if ipv4 else IPv6)(whole)[type(layer)]
    assert [ip_address(a) for a in read.addrlist] == list(advertisement.addresses)
    assert (read.vrid, read.priority) == (advertisement.vrid, advertisement.priority)


# ---- any bytes -----------------------------------------------------------------------------------


def read_or_reject(data, source, destination, ttl):
    try:
        advertisement = decode(data, source=source, destination=destination, ttl=ttl)
    except VrrpError:
        return
    assert advertisement.addresses
    assert advertisement.interval_ns > 0
    assert advertisement.vrid > 0


@steady
@given(st.binary(max_size=2100), st.booleans(), st.integers(0, 255))
@example(b"\x31" + bytes(2**16), True, 255)
def test_no_bytes_raise_anything_but_the_protocol_error(data, ipv4, ttl):
    source, destination = (US, GROUP_V4) if ipv4 else (US_V6, GROUP_V6)
    read_or_reject(data, source, destination, ttl)


@steady
@given(sent(), st.data())
def test_no_mutation_of_a_valid_packet_raises_anything_else(packet, data):
    _, source, destination, raw = packet
    mutated = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    # With the checksum made right, so that what lies behind that check is reached too.
    version = mutated[0] >> 4
    fixed = with_checksum(bytes(mutated), source=source, destination=destination, version=version)
    for candidate in (bytes(mutated), bytes(mutated[:cut]), fixed):
        read_or_reject(candidate, source, destination, 255)
