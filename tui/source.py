"""Where the picture comes from: one agent's API, as the terminal UI needs it."""

from collections.abc import AsyncIterator
from typing import Literal, Protocol

from haman.api.client import RefusedError, UnreachableError
from haman.api.schema import Done, Event, Intent, Problem, Status, Why

Verb = Literal["drain", "undrain", "failover", "pause", "resume"]


class Source(Protocol):
    """An agent: what `haman.api.async_client.AsyncClient` offers.

    Every question raises UnreachableError when the agent cannot be talked to, and RefusedError
    when it answers no.
    """

    async def status(self) -> Status:
        """Ask for the whole cluster as this agent knows it now."""

    def follow(self, since: int | None = None) -> AsyncIterator[Event]:
        """Yield journal lines after `since` (-10 = the last ten), then live ones, until it fails."""

    async def why(self, service: str) -> Why:
        """Ask who serves, since when, because of what."""

    async def act(self, verb: str, wish: Intent) -> Done:
        """Have a verb done."""


def problem_of(error: UnreachableError | RefusedError) -> Problem:
    """Why a question was not answered."""
    if isinstance(error, RefusedError):
        return error.problem
    return Problem("unreachable", str(error))
