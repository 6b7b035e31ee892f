"""Who held a service when, as far as journal and status tell: pure."""

from dataclasses import dataclass
from datetime import datetime

from haman.api.schema import Event, Member, Service
from haman.core.words import Role, Stance
from tui.past import changes_of, standing
from tui.views.type import moment

HOLDING = frozenset({Role.ACTIVE, Stance.FULL, Stance.REDUCED, Stance.SHUT})


@dataclass(frozen=True, slots=True)
class Turn:
    """From `start` on (None = ever) a node stood so; "" = nobody tells how."""

    start: datetime | None
    word: str


def turns(service: Service, member: Member, events: tuple[Event, ...]) -> tuple[Turn, ...]:
    """How one node stood to a service, oldest first; each turn lasts until the next."""
    at = {e.seq: moment(e.at) for e in events}
    changes = changes_of(events, standing, member.node, service.name)
    found = [Turn(None, (changes[0].before or "") if changes else "")]
    found += [Turn(at[c.seq], c.after) for c in changes]
    since = moment(member.since)
    now = member.role or member.stance
    last = found[-1].start
    if since and now and (last is None or since > last) and found[-1].word != now:
        found.append(Turn(since, now))
    return tuple(found)


def begins(service: Service, events: tuple[Event, ...]) -> datetime | None:
    """Where a timeline should start: a little before the first thing that is known to have happened."""
    known = [
        turn.start
        for member in service.members
        for turn in turns(service, member, events)
        if turn.start is not None
    ]
    return min(known, default=None)


def strip(found: tuple[Turn, ...], start: datetime, end: datetime, width: int) -> tuple[str, ...]:
    """For each of `width` equal spans between two instants, the word at its end; "" = unknown.

    A span in which it changed and came back says so with "*".
    """
    span = (end - start) / max(1, width)
    words = []
    for index in range(width):
        left, right = start + span * index, start + span * (index + 1)
        word = ""
        changed = 0
        for turn in found:
            if turn.start is not None and turn.start > right:
                break
            changed += turn.start is not None and turn.start > left
            word = turn.word
        words.append("*" if changed > 1 else word)
    return tuple(words)
