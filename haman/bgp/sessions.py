"""The sessions as the relay sees them: ExaBGP's events, and its answers where it has no event."""

from collections.abc import Iterable
from dataclasses import replace

from haman.bgp.events import SessionChanged, SessionsPolled
from haman.bgp.grammar import Address
from haman.bgp.messages import MAX_NEIGHBORS, SessionReport


class Sessions:
    """One report per neighbour, at most `MAX_NEIGHBORS`.

    Attributes:
        known: neighbours in the configuration that ExaBGP runs, as far as it said.
    """

    def __init__(self) -> None:
        self._reports: dict[Address, SessionReport] = {}
        self.known: frozenset[Address] = frozenset()

    def reports(self) -> tuple[SessionReport, ...]:
        """Every neighbour of which something is known."""
        return tuple(self._reports.values())

    @property
    def quiet(self) -> bool:
        """All that are known are up."""
        return bool(self._reports) and all(r.state == "up" for r in self._reports.values())

    def keep(self, neighbors: Iterable[Address]) -> None:
        """Forget all others."""
        self._reports = {n: self._reports[n] for n in neighbors if n in self._reports}

    def changed(self, event: SessionChanged) -> None:
        """Take in an event."""
        old = self._report(event.neighbor)
        if old is None:
            return
        if event.state == "up":
            self.known |= {event.neighbor}
        self._reports[event.neighbor] = replace(
            old,
            state=event.state,
            since_ns=event.at_ns if self._turned(old, event) else old.since_ns,
            reason=event.reason or old.reason,
            connects=old.connects + (event.state == "connected"),
            ups=old.ups + (event.state == "up"),
            downs=old.downs + (event.state == "down"),
        )

    def polled(self, answer: SessionsPolled) -> None:
        """Take in an answer; it corrects what events said, for a relay may have missed some."""
        self.known = frozenset(answer.fsm)
        for neighbor, fsm in answer.fsm.items():
            old = self._report(neighbor)
            if old is None:
                continue
            state = old.state
            if fsm == "ESTABLISHED":
                state = "up"
            elif state in {"up", ""}:
                state = "down"
            self._reports[neighbor] = replace(old, fsm=fsm, state=state)

    @staticmethod
    def _turned(old: SessionReport, event: SessionChanged) -> bool:
        """Whether it came up or went down; a try that fails leaves it as long down as it was."""
        return not old.since_ns or (event.state == "up") != (old.state == "up")

    def _report(self, neighbor: Address) -> SessionReport | None:
        if neighbor not in self._reports and len(self._reports) >= MAX_NEIGHBORS:
            return None
        return self._reports.get(neighbor) or SessionReport(str(neighbor))
