"""What an operator calls a certificate: its kind of key, its name, and a fingerprint.

As much of DER (X.690) and of X.509 (RFC 5280, section 4.1) as that takes. The kind of key decides
what a full handshake costs.
"""

import hashlib
from collections.abc import Iterator

_SEQUENCE, _INTEGER, _OID, _BIT_STRING, _VERSION = 0x30, 0x02, 0x06, 0x03, 0xA0
_LONG = 0x80
_LENGTH_BYTES_MAX = 4
_COMMON_NAME = bytes.fromhex("550403")
_RSA = bytes.fromhex("2a864886f70d010101")
_CURVES = {
    bytes.fromhex("2a8648ce3d030107"): "p-256",
    bytes.fromhex("2b81040022"): "p-384",
    bytes.fromhex("2b81040023"): "p-521",
    bytes.fromhex("2b6570"): "ed25519",
    bytes.fromhex("2b6571"): "ed448",
}
_NAME_MAX = 64
_SHOWN = 16


def describe(der: bytes) -> str:
    """Kind of key and common name: "rsa-2048 CN=edge"; "unknown" for what is no certificate."""
    try:
        return _describe(der)
    except (ValueError, IndexError, StopIteration):
        return "unknown"


def fingerprint(der: bytes) -> str:
    """The beginning of its SHA-256, as tools show it: "sha256:AB:CD:…"."""
    digest = hashlib.sha256(der).hexdigest().upper()[:_SHOWN]
    return "sha256:" + ":".join(digest[n : n + 2] for n in range(0, _SHOWN, 2))


def _describe(der: bytes) -> str:
    fields = list(_inside(_only(_only(der, _SEQUENCE), _SEQUENCE)))
    if fields[0][0] == _VERSION:
        fields = fields[1:]
    _serial, _algorithm, _issuer, _validity, subject, key = fields[:6]
    name = _common_name(subject[1])
    return f"{_key(key[1])} CN={name}" if name else _key(key[1])


def _key(content: bytes) -> str:
    algorithm, bits = (value for _, value in _inside(content))
    identifiers = [value for tag, value in _inside(algorithm) if tag == _OID]
    if identifiers[0] == _RSA:
        modulus = _only(_only(bits[1:], _SEQUENCE), _INTEGER)
        return f"rsa-{int.from_bytes(modulus).bit_length()}"
    return next((_CURVES[i] for i in reversed(identifiers) if i in _CURVES), "unknown")


def _common_name(subject: bytes) -> str:
    for _, relative in _inside(subject):
        for _, attribute in _inside(relative):
            (_, kind), (_, value) = _inside(attribute)
            if kind == _COMMON_NAME:
                text = value.decode("utf-8", errors="replace")[:_NAME_MAX]
                return "".join(c if c.isprintable() else "?" for c in text)
    return ""


def _only(content: bytes, tag: int) -> bytes:
    """The first value in it, which must be of this tag."""
    found, value = next(_inside(content))
    if found != tag:
        raise ValueError(f"tag {found:#x} where {tag:#x} must be")
    return value


def _inside(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Tags and values, one after the other."""
    at = 0
    while at < len(content):
        tag, length = content[at], content[at + 1]
        at += 2
        if length & _LONG:
            count = length & ~_LONG
            if not 1 <= count <= _LENGTH_BYTES_MAX:
                raise ValueError("length")
            length = int.from_bytes(content[at : at + count])
            at += count
        if at + length > len(content):
            raise ValueError("cut short")
        yield tag, content[at : at + length]
        at += length
