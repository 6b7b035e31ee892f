"""Where the picture comes from: an agent's API, as the terminal UI needs it."""

from collections.abc import AsyncIterator
from typing import Literal, Protocol

from haman.api.client import RefusedError, UnreachableError
from haman.api.schema import Done, Event, Intent, Problem, Scenario, Status, Why

Verb = Literal["drain", "undrain", "failover", "pause", "resume"]


class Source(Protocol):
    """An agent, or several of which any one is enough: what `haman.api.reaching.Reaching` offers.

    Every question raises UnreachableError when no agent can be talked to, and RefusedError when
    one answers no.
    """

    @property
    def place(self) -> str:
        """Where the answers come from now; each place has a journal of its own."""

    async def status(self) -> Status:
        """Ask for the whole cluster as this agent knows it now."""

    def follow(self, since: int | None = None) -> AsyncIterator[Event]:
        """Yield journal lines after `since` (-10 = the last ten), then live ones, until it fails."""

    async def why(self, service: str) -> Why:
        """Ask who serves, since when, because of what."""

    async def scenario(self, without: tuple[str, ...]) -> Scenario:
        """Ask what the loss of these nodes would do, with every figure."""

    async def act(self, verb: str, wish: Intent) -> Done:
        """Have a verb done."""


def problem_of(error: UnreachableError | RefusedError) -> Problem:
    """Why a question was not answered."""
    if isinstance(error, RefusedError):
        return error.problem
    return Problem("unreachable", str(error))
