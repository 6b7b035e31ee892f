"""What the driver knows of each neighbour: the relay's word on its session, and what was found out."""

from collections import deque
from ipaddress import ip_address
from typing import Final

from haman.bgp.diagnosis import Finding
from haman.bgp.messages import SessionReport
from haman.bgp.reasons import FLAP_WINDOW_S, lasting, reasons, session_word, spoken
from haman.config.model import Bgp, Neighbor
from haman.core.announcements import NeighborReport
from haman.core.words import Event, Reason

NS_PER_S: Final = 1_000_000_000
SETTLE_S: Final = 2.0
"""A session is given this long to come about before anybody asks why it does not."""
AGAIN_S: Final = 10.0
"""Between two questions."""
BACK_OFF_S: Final = 4.0
BACK_OFF_MAX_S: Final = 60.0
"""After a NOTIFICATION before the session was up ExaBGP waits, longer each time, up to a minute; all
that time it does not try, and there is nothing more to explain."""
MAX_DOWNS: Final = 100
_WORDLESS: Final = {"closed-by-router", "connection-lost"}
"""Reasons that say less than what the router said when it ended the session."""


class Watch:
    """One neighbour; `now_ns` is monotonic, `wall_ns` for people."""

    def __init__(self, neighbor: Neighbor, now_ns: int) -> None:
        self.neighbor = neighbor
        self._session: SessionReport | None = None
        self._before: SessionReport | None = None
        self._finding: Finding | None = None
        self._moved_ns = now_ns
        self._asked_ns: int | None = None
        self._failed = 0
        self._downs: deque[int] = deque(maxlen=MAX_DOWNS)
        self._told_up = False
        self._parting: Reason | None = None

    @property
    def address(self) -> str:
        """Its address, as the relay spells it."""
        return str(ip_address(self.neighbor.address))

    def report(self, bgp: Bgp, now_ns: int) -> NeighborReport:
        """What to show of it while the relay is reached."""
        session = self._session
        why = reasons(bgp, self.neighbor, session, self._finding, self._recent_downs(now_ns))
        if self._parting is not None and why and why[0].code in _WORDLESS:
            why = (self._parting, *why)
        return NeighborReport(
            self.neighbor.name,
            self.neighbor.address,
            session_word(session, self._finding),
            session.since_ns if session else 0,
            why,
        )

    def _recent_downs(self, now_ns: int) -> int:
        return sum(now_ns - at_ns <= FLAP_WINDOW_S * NS_PER_S for at_ns in self._downs)

    def lost(self) -> None:
        """The relay is not reached; if it is the same one afterwards, it goes on counting."""
        self._before, self._session = self._session or self._before, None

    def heard(
        self, session: SessionReport, bgp: Bgp, now_ns: int, wall_ns: int
    ) -> tuple[Event, ...]:
        """Take in what the relay reports; returns what is worth telling."""
        before = self._session or self._before or SessionReport(session.address)
        self._session, self._before = session, None
        counts = (session.connects, session.ups, session.downs)
        if counts != (before.connects, before.ups, before.downs):
            self._failed += max(0, session.connects - before.connects)
            if self._told_up or session.state == "up" or spoken(session.reason):
                self._moved_ns, self._asked_ns, self._finding = now_ns, None, None
        if session.state == "up":
            self._failed = 0
        events: list[Event] = []
        downs = max(0, session.downs - before.downs)
        if self._told_up and (downs or session.state != "up"):
            self._downs.extend([now_ns] * min(max(1, downs), MAX_DOWNS))
            self._told_up = False
            why = reasons(bgp, self.neighbor, session, None, self._recent_downs(now_ns))
            self._parting = next(filter(lasting, why), None)
            events.append(self._event("down", why, wall_ns))
        if session.state == "up" and not self._told_up:
            self._told_up, self._parting = True, None
            events.append(self._event("up", (), wall_ns))
        return tuple(events)

    def _event(self, state: str, why: tuple[Reason, ...], wall_ns: int) -> Event:
        name = self.neighbor.name
        because = f": {why[0].text}" if why else ""
        verb = "is up" if state == "up" else "went down"
        text = f"the session with {name} ({self.address}) {verb}{because}"
        return Event(f"bgp-session-{state}", wall_ns, text, "", why, {"neighbor": name})

    # ---- why there is no connection ------------------------------------------------------------

    def puzzling(self, now_ns: int) -> bool:
        """ExaBGP should have had a connection by now, and it is time to ask why it has none."""
        if self._session is None or self._session.state in {"up", "connected"}:
            return False
        patience_s = SETTLE_S
        if spoken(self._session.reason):
            patience_s += min(BACK_OFF_MAX_S, BACK_OFF_S * self._failed)
        if now_ns - self._moved_ns < patience_s * NS_PER_S:
            return False
        return self._asked_ns is None or now_ns - self._asked_ns >= AGAIN_S * NS_PER_S

    def explained(self, finding: Finding, asked_ns: int) -> None:
        """Take in an answer to the question asked at `asked_ns`, unless it has come about since."""
        if self._moved_ns <= asked_ns and self._session and self._session.state != "up":
            self._finding, self._asked_ns = finding, asked_ns
