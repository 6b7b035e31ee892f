"""Instants and durations as machines and people read them."""

from datetime import UTC, datetime, timedelta

NS_PER_S = 1_000_000_000

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def iso(at_ns: int) -> str:
    """Write an instant, ns since the epoch, as in `2026-11-20T12:03:11.042Z`."""
    seconds, rest = divmod(at_ns, NS_PER_S)
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03}Z"


def parse_iso(text: str) -> int:
    """Read what `iso` wrote (or any ISO 8601 instant with a zone) as ns since the epoch.

    Raises:
        ValueError: it is no instant, or has no zone.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    since = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1000


def clock(at_ns: int, now_ns: int) -> str:
    """Write the time of day in UTC, with the date if that was another day than `now_ns`."""
    text, today = iso(at_ns), iso(now_ns)
    same_day = text[:10] == today[:10]
    return f"{text[11:19]} UTC" if same_day else f"{text[:10]} {text[11:19]} UTC"


def duration(seconds: float) -> str:
    """Write a duration in its two largest units: `41 s`, `3 min 20 s`, `2 d 4 h`; `0.3 s` below 10."""
    seconds = max(0.0, seconds)
    if seconds < 10:  # where a tenth still says something
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    left = int(seconds)
    parts: list[tuple[int, str]] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count)
