"""The intervals of RFC 9568 section 6.1, in nanoseconds."""

from typing import Final

from haman.core.vrrp.packet import V2

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000
ADVERTS_MISSED: Final = 3


def skew_ns(version: int, priority: int, interval_ns: int) -> int:
    """How much longer a backup waits the lower its priority is.

    Version 3: (256 − priority) / 256 of the active router's interval; version 2: of one second
    (RFC 3768 section 6.1).
    """
    return (256 - priority) * (NS_PER_S if version == V2 else interval_ns) // 256


def down_ns(version: int, priority: int, interval_ns: int) -> int:
    """Active_Down_Interval: the silence after which a backup of this priority takes over."""
    return ADVERTS_MISSED * interval_ns + skew_ns(version, priority, interval_ns)


def span(ns: int) -> str:
    """A duration for people: "3.609 s", "609.4 ms", "0.039 ms"."""
    return f"{ns / NS_PER_S:.4g} s" if ns >= NS_PER_S else f"{ns / NS_PER_MS:.4g} ms"
