"""What certificates are called: against those that OpenSSL makes, and against damage."""

import ssl
import subprocess
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.core.certificates import describe, fingerprint


@cache
def made(kind: str, subject: str) -> bytes:
    key = {"rsa-1024": "rsa:1024"}.get(kind)
    curve = {"p-256": "prime256v1", "p-384": "secp384r1"}.get(kind)
    new = ["-newkey", key] if key else ["-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{curve}"]
    if kind == "ed25519":
        new = ["-newkey", "ed25519"]
    command = ["openssl", "req", "-x509", *new, "-nodes", "-keyout", "/dev/null", "-out", "-"]
    pem = subprocess.run(
        [*command, "-subj", subject, "-utf8"], check=True, capture_output=True, text=True
    ).stdout
    return ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERT") :])


@pytest.mark.parametrize("kind", ["rsa-1024", "p-256", "p-384", "ed25519"])
def test_kind_and_name(kind) -> None:
    assert describe(made(kind, "/O=Edge/CN=www.example.net")) == f"{kind} CN=www.example.net"


def test_names_of_all_sorts() -> None:
    assert describe(made("p-256", "/O=no name")) == "p-256"
    assert describe(made("p-256", "/CN=møøse")) == "p-256 CN=møøse"


def test_the_fingerprint_is_that_of_openssl() -> None:
    der = made("p-256", "/CN=x")
    shown = subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-noout", "-fingerprint", "-sha256"],
        input=der,
        check=True,
        capture_output=True,
    ).stdout.decode()
    assert shown.partition("=")[2].startswith(fingerprint(der).removeprefix("sha256:"))


@given(st.binary(max_size=200))
def test_garbage_is_unknown(garbage) -> None:
    assert describe(garbage) == "unknown"


@given(st.data())
def test_no_damage_breaks_it(data) -> None:
    der = made("rsa-1024", "/CN=x")
    at = data.draw(st.integers(0, len(der) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=3))
    assert isinstance(describe(der[:at] + damage + der[at + len(damage) :]), str)
    assert isinstance(describe(der[:at]), str)
