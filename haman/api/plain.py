"""Values as JSON and people can have them, and what is said of peers that are not heard."""

import math
from collections.abc import Iterable

from haman.api import schema
from haman.api.times import duration
from haman.core.reports import PeerView
from haman.core.words import Reason

SESSION_DOWN = "session-down"
"""Code of a stance's reason that says of a router what the node's neighbours say in full."""
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi")
_STEP = 1024.0
_HUNDRED = 100
_ROUTING = ("announcement-", "bfd-", "bgp-", "exabgp-", "lease-", "relay-")


def is_routing(kind: str) -> bool:
    """Tell whether events of this type bear upon every anycast service of their node."""
    return kind.startswith(_ROUTING)


def reasons(found: Iterable[Reason]) -> tuple[schema.Reason, ...]:
    """Show reasons."""
    return tuple(schema.Reason(r.code, r.text, numbers(r.data)) for r in found)


def numbers(data: dict[str, int | float | str]) -> dict[str, int | float | str]:
    """Leave out what JSON lacks."""
    return {k: v for k, v in data.items() if not isinstance(v, float) or math.isfinite(v)}


def finite(number: float | None) -> float | None:
    """Give None for what JSON lacks."""
    return number if number is not None and math.isfinite(number) else None


def age(age_ms: float) -> float:
    """JSON has no infinity, and a peer that was never heard may have that age."""
    return round(age_ms, 3) if math.isfinite(age_ms) else 0.0


def stale(age_ms: float, was: str) -> Reason:
    """Say that a peer is a memory, and of what."""
    text = f"last heard {duration(age_ms / 1000)} ago; it was {was} then"
    return Reason("stale", text, {"age_ms": age_ms})


def no_report(peer: PeerView) -> Reason:
    """Say that a peer is known by its name only."""
    return Reason("no-report", f"{peer.name} has not been heard yet")


def listing(names: Iterable[str]) -> str:
    """A, b and c."""
    *most, last = tuple(names) or ("",)
    return f"{', '.join(most)} and {last}" if most else last


def sentence(text: str) -> str:
    """End a sentence that has no end yet."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def amount(value: float, unit: str) -> str:
    """A quantity as people read it: "1.5 GiB", "0.41 cores", "12 ms", "28232"."""
    if unit.startswith("bytes"):
        step = 0
        while abs(value) >= _STEP and step < len(_BINARY) - 1:
            value, step = value / _STEP, step + 1
        return f"{value:.{1 if step else 0}f} {_BINARY[step]}B{unit.removeprefix('bytes')}"
    if unit == "count":
        return f"{value:.0f}"
    if unit == "s" and abs(value) < 1:
        return f"{_digits(value * 1000)} ms"
    return f"{_digits(value)} {'core' if unit == 'cores' and value == 1 else unit}"


def _digits(value: float) -> str:
    """Three digits, and no exponent: 0.041, 12.5, 1800."""
    return f"{value:.0f}" if abs(value) >= _HUNDRED else f"{round(value, 3):.3g}"
