"""A glyph, a word and a colour for each word of haman: colour is never the only signal.

Every glyph is one cell wide and in the common monospace fonts.
"""

from dataclasses import dataclass

from haman.core.headroom import Verdict
from haman.core.words import Condition, Role, Severity, Stance


@dataclass(frozen=True, slots=True)
class Mark:
    """How a word is drawn; `style` names a variable of the theme."""

    glyph: str
    style: str


QUIET = "$quiet"
STRONG = "bold $foreground"
GOOD = "$success"
WATCH = "$warning"
BAD = "$error"

PLAIN = Mark("·", QUIET)

CONDITIONS: dict[str, Mark] = {
    Condition.STARTING: Mark("◌", QUIET),
    Condition.IN_SERVICE: Mark("●", GOOD),
    Condition.SATURATED: Mark("▲", WATCH),
    Condition.DRAINED: Mark("○", WATCH),
    Condition.FAULT: Mark("✖", BAD),
    Condition.ISOLATED: Mark("◍", BAD),
    Condition.STALE: Mark("?", BAD),
    "unknown": Mark("?", QUIET),  # of the past: the journal does not tell
}

ROLES: dict[str, Mark] = {
    Role.ACTIVE: Mark("◆", GOOD),
    Role.BACKUP: Mark("◇", "$foreground"),
    Role.RELEASED: Mark("○", QUIET),
    Role.INITIALIZE: Mark("◌", QUIET),
    Role.TAIL: Mark("◈", WATCH),
    # Stances of an anycast service stand in the same place.
    Stance.FULL: Mark("◆", GOOD),
    Stance.REDUCED: Mark("◈", WATCH),
    Stance.SHUT: Mark("◇", WATCH),
    Stance.WITHDRAWN: Mark("○", QUIET),
    "unheard": Mark("▲", BAD),  # announced, and no router hears it
    "unknown": Mark("?", QUIET),
}

SESSIONS: dict[str, Mark] = {
    "up": Mark("●", GOOD),
    "init": Mark("◌", WATCH),
    "connecting": Mark("◌", WATCH),
    "idle": Mark("○", WATCH),
    "down": Mark("✖", BAD),
    "admin-down": Mark("○", QUIET),
    "unknown": Mark("?", WATCH),
}
"""Of BGP sessions and of BFD."""

SERVICE_STATES: dict[str, Mark] = {
    "ok": Mark("●", GOOD),
    "degraded": Mark("▲", WATCH),
    "down": Mark("✖", BAD),
    "conflict": Mark("✖", BAD),
}

VERDICTS: dict[str, Mark] = {
    Verdict.OK: Mark("●", GOOD),
    Verdict.TIGHT: Mark("▲", WATCH),
    Verdict.INSUFFICIENT: Mark("✖", BAD),
    Verdict.UNKNOWN: Mark("?", WATCH),
}

PHASES = ("steady", "step", "storm")
"""Of a loss, in the order in which they come."""

SEVERITIES: dict[str, Mark] = {
    Severity.CRITICAL: Mark("✖", BAD),
    Severity.WARNING: Mark("▲", WATCH),
    Severity.INFO: Mark("·", QUIET),
}


def mark(table: dict[str, Mark], word: str) -> Mark:
    """The mark of `word`; a plain one for a word that a newer agent may use."""
    return table.get(word, PLAIN)
