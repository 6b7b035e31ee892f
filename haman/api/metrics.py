"""What Prometheus scrapes: the snapshot of the moment, and what was counted since the start."""

from collections import Counter
from collections.abc import Callable

from haman.controller.surface import ClusterSnapshot, JournalEntry

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TRANSITIONS_MAX = 1000
"""Distinct label sets of `haman_transitions_total`; beyond them the reason becomes "other"."""


class Metrics:
    """Turns the picture of the moment into metrics whenever somebody scrapes."""

    def __init__(self, snapshot: Callable[[], ClusterSnapshot]) -> None:
        self._snapshot = snapshot
        self._transitions: Counter[tuple[str, str, str]] = Counter()

    def count(self, entry: JournalEntry) -> None:
        """Count a change of role or of an anycast stance; other events pass."""
        event = entry.event
        if event.type == "role-changed":
            to = event.data.get("new", "")
        elif event.type == "stance-changed" and "stance" in event.data:  # a VIP's has no such word
            to = event.data["stance"]
        else:
            return
        reason = event.reasons[0].code if event.reasons else ""
        key = (event.service, str(to), reason)
        if key not in self._transitions and len(self._transitions) >= TRANSITIONS_MAX:
            key = (event.service, str(to), "other")
        self._transitions[key] += 1

    def render(self) -> bytes:
        """Write the exposition in Prometheus's text format.

        What writes it is loaded by whoever scrapes first: 20 ms that no start should take.
        """
        from haman.api.exposition import exposition  # noqa: PLC0415

        return exposition(self._snapshot(), self._transitions)
