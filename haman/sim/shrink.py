"""A failing schedule made small: faults are left out while the same checker still fails."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from haman.sim.faults import Fault
from haman.sim.world import Outcome, run_again

RUNS_MAX: Final = 120
"""Runs that shrinking may take; what is left by then is small enough."""
SHORTEST_NS: Final = 10_000_000

Run = Callable[[Outcome, tuple[Fault, ...]], Outcome]


def shrink(outcome: Outcome, run: Run = run_again) -> Outcome:
    """The smallest failing run that is found; the one given if nothing can be left out.

    First halves, quarters and so on are left out, down to single faults; then those that are left
    are made shorter.
    """
    if outcome.violation is None:
        return outcome
    search = _Search(outcome, outcome.violation.checker, run)
    search.leave_out()
    search.shorten()
    return search.best


class _Search:
    """The best so far, and how many runs are left."""

    def __init__(self, outcome: Outcome, checker: str, run: Run) -> None:
        self.best = outcome
        self._checker = checker
        self._run = run
        self._left = RUNS_MAX

    def _fails(self, faults: tuple[Fault, ...]) -> bool:
        """Whether a schedule fails as the first one did; if so it is the best."""
        if not self._left:
            return False
        self._left -= 1
        tried = self._run(self.best, faults)
        if tried.violation is None or tried.violation.checker != self._checker:
            return False
        self.best = tried
        return True

    def leave_out(self) -> None:
        """Leave out ever smaller parts, until no single fault can be."""
        size = max(1, len(self.best.faults) // 2)
        shrunk = True
        while shrunk or size > 1:
            if not shrunk:
                size //= 2
            place, shrunk = 0, False
            while place < len(self.best.faults) and self._left:
                faults = self.best.faults
                if self._fails(faults[:place] + faults[place + size :]):
                    shrunk = True
                else:
                    place += size

    def shorten(self) -> None:
        """Halve how long each lasts, while it fails."""
        for place in range(len(self.best.faults)):
            while (for_ns := self.best.faults[place].for_ns // 2) > SHORTEST_NS:
                faults = self.best.faults
                shorter = replace(faults[place], for_ns=for_ns)
                if not self._fails((*faults[:place], shorter, *faults[place + 1 :])):
                    break
