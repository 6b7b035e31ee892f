"""The calibration file: read as it was written, and refused with one line when it is something else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.core.calibration import Calibration, CalibrationError, HandshakeCost, decode, encode

COST = HandshakeCost("127.0.0.1:443", "rsa-2048 CN=edge", "TLSv1.3", 433e-6, 201e-6, 60)
GOOD = Calibration(1_790_000_000_000_000_000, "haproxy 2.6.12", (COST,), 2100.0)


def test_what_is_written_is_read() -> None:
    assert decode(encode(GOOD)) == GOOD
    assert decode(encode(GOOD).encode()) == GOOD


def test_the_costliest_certificate_counts() -> None:
    rsa_4096 = HandshakeCost("127.0.0.1:444", "rsa-4096", "TLSv1.3", 3166e-6, 200e-6)
    assert Calibration(1, "", (COST, rsa_4096)).costliest is rsa_4096


def test_a_later_version_may_say_more() -> None:
    more = json.loads(encode(GOOD)) | {"host": "lb1"}
    more["costs"][0]["cipher"] = "TLS_AES_256_GCM_SHA384"
    assert decode(json.dumps(more)) == GOOD


def changed(**values: object) -> str:
    return json.dumps(json.loads(encode(GOOD)) | values)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no calibration of schema 1"),
        (changed(schema=2), "no calibration of schema 1"),
        (changed(costs=[]), "costs is missing or empty"),
        (changed(costs=["x"]), "an entry of costs is no table"),
        (changed(costs=[{"full_us": 0, "resumed_us": 1}]), "full_us is 0"),
        (changed(costs=[{"full_us": float("nan"), "resumed_us": 1}]), "full_us is nan"),
        (changed(costs=[{"full_us": True, "resumed_us": 1}]), "full_us is no number"),
        (changed(costs=[{"full_us": 5}]), "resumed_us is no number"),
        (changed(knee_full_per_s=-5), "knee_full_per_s is -5"),
        (changed(at_ns="now"), "at_ns is no number"),
        (changed(at_ns=10**400), "at_ns is 1000"),
    ],
    ids=lambda text: repr(text)[:40],
)
def test_what_is_no_calibration_is_refused(text, why) -> None:
    with pytest.raises(CalibrationError, match=why):
        decode(text)


@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text(),
        lambda c: (
            st.lists(c)
            | st.dictionaries(st.sampled_from(["costs", "schema", "full_us", "at_ns"]), c)
        ),
    )
)
def test_no_json_breaks_the_reader(value) -> None:
    with pytest.raises(CalibrationError):
        decode(json.dumps(value))
