"""Tails of anycast services in the daemon: what is noted of them in the journal.

What they say travels in this node's report, what they want goes to the engine with the stances, and what
peers and the engine say comes back to them with each decision (`core.handover.tails`).
"""

from haman.core.handover.pivot_facts import TailNote
from haman.core.words import Event

_TEXTS = {
    "tail-started": "the tail of {} began",
    "tail-ended": "the tail of {} is over",
    "tail-refused": "{} has no tail",
}


def tail_events(notes: tuple[tuple[str, TailNote], ...], at_ns: int) -> tuple[Event, ...]:
    """For the journal: of each note, with its service; `at_ns`: wall clock."""
    return tuple(_event(service, note, at_ns) for service, note in notes)


def _event(service: str, note: TailNote, at_ns: int) -> Event:
    text = f"{_TEXTS[note.kind].format(service)}: {note.reason.text}"
    data: dict[str, int | float | str] = {"with": ", ".join(note.survivors), "cut": note.cut}
    return Event(note.kind, at_ns, text, service, (note.reason,), data)
