"""What handshakes were measured to cost on this node: STATE_DIR/calibration.json, as types.

    {"schema": 1, "at_ns": 1790000000000000000, "proxy": "haproxy 2.6.12", "confidence": "calibrated",
     "costs": [{"address": "127.0.0.1:443", "certificate": "rsa-2048 CN=edge", "protocol": "TLSv1.3",
                "full_us": 433.0, "resumed_us": 201.0, "handshakes": 60}],
     "knee_full_per_s": null}

`costs` has one entry per listener, certificate and protocol; CPU time of the proxy per handshake, in
microseconds. Of a paced measurement the difference full − resumed is what is reliable, and the rest
errs upwards. `knee_full_per_s` is what a ramp found: full handshakes per second at the knee; null
= no ramp was run. Unknown keys are ignored, so that a later version may say more.
"""

import json
from typing import Any

from haman.core.frozen import dataclass

SCHEMA = 1
FILE = "calibration.json"
US_PER_S = 1e6
COST_MAX_US = 1e6
UNIFORM = 1.25


class CalibrationError(ValueError):
    """The file is no calibration; one line for people."""


@dataclass(frozen=True, slots=True)
class HandshakeCost:
    """CPU time of the proxy for one TLS handshake, in seconds.

    Attributes:
        address: of the listener.
        certificate: kind of key, and name: "rsa-2048 CN=edge".
        handshakes: how many were measured.
        fingerprint: of the certificate, "" if it is not known.
    """

    address: str
    certificate: str
    protocol: str
    full_s: float
    resumed_s: float
    handshakes: int = 0
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Calibration:
    """One run of `haman calibrate`.

    Attributes:
        at_ns: wall clock.
        proxy: kind and version.
        costs: at least one.
        knee_full_per_s: full handshakes per second at the knee; None = no ramp was run.
    """

    at_ns: int
    proxy: str
    costs: tuple[HandshakeCost, ...]
    knee_full_per_s: float | None = None

    @property
    def costliest(self) -> HandshakeCost:
        """What counts while the proxy does not tell which certificate a handshake was for."""
        return max(self.costs, key=lambda cost: cost.full_s)

    @property
    def uniform(self) -> bool:
        """Whether all certificates cost about the same, so that their mix does not matter."""
        return self.costliest.full_s <= UNIFORM * min(cost.full_s for cost in self.costs)


def decode(text: bytes | str) -> Calibration:
    """A calibration from the file's content.

    Raises:
        CalibrationError: it is something else.
    """
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CalibrationError(f"no JSON: {error}") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise CalibrationError(f"no calibration of schema {SCHEMA}")
    costs = found.get("costs")
    if not isinstance(costs, list) or not costs:
        raise CalibrationError("costs is missing or empty")
    knee = found.get("knee_full_per_s")
    return Calibration(
        at_ns=int(_number(found, "at_ns", 1e30)),
        proxy=str(found.get("proxy", "")),
        costs=tuple(map(_cost, costs)),
        knee_full_per_s=None if knee is None else _number(found, "knee_full_per_s", 1e9),
    )


def encode(calibration: Calibration) -> str:
    """The file's content."""
    return json.dumps(
        {
            "schema": SCHEMA,
            "at_ns": calibration.at_ns,
            "proxy": calibration.proxy,
            "confidence": "calibrated",
            "costs": [
                {
                    "address": cost.address,
                    "certificate": cost.certificate,
                    "protocol": cost.protocol,
                    "full_us": cost.full_s * US_PER_S,
                    "resumed_us": cost.resumed_s * US_PER_S,
                    "handshakes": cost.handshakes,
                    "fingerprint": cost.fingerprint,
                }
                for cost in calibration.costs
            ],
            "knee_full_per_s": calibration.knee_full_per_s,
        },
        indent=1,
    )


def _cost(found: Any) -> HandshakeCost:
    if not isinstance(found, dict):
        raise CalibrationError("an entry of costs is no table")
    return HandshakeCost(
        address=str(found.get("address", "")),
        certificate=str(found.get("certificate", "")),
        protocol=str(found.get("protocol", "")),
        full_s=_number(found, "full_us", COST_MAX_US) / US_PER_S,
        resumed_s=_number(found, "resumed_us", COST_MAX_US) / US_PER_S,
        handshakes=int(_number(found, "handshakes", 1e12)) if found.get("handshakes") else 0,
        fingerprint=str(found.get("fingerprint", "")),
    )


def _number(found: dict[str, Any], name: str, most: float) -> float:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CalibrationError(f"{name} is no number")
    if not 0 < value <= most:  # no NaN is
        raise CalibrationError(f"{name} is {value}, and must be above 0 and at most {most:g}")
    return float(value)
