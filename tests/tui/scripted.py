"""An agent by script: what each call answers is set by the test, and what was asked is kept."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from haman.api.client import RefusedError, UnreachableError
from haman.api.schema import Done, Event, Intent, Problem, Scenario, Status, Why

T = TypeVar("T")


class ScriptedSource:
    """Answers with whatever the test put in; raises while `down` says why."""

    def __init__(self, status: Status | None = None, events: tuple[Event, ...] = ()) -> None:
        self.current = status
        self.down = "" if status else "no such socket; is the agent running?"
        self.past = events
        self.live: asyncio.Queue[Event | None] = asyncio.Queue()
        self.wishes: list[tuple[str, Intent]] = []
        self.since: list[int | None] = []
        self.place = "lb1"
        self.asked = 0
        self.losses: list[tuple[str, ...]] = []
        self.scenarios: dict[tuple[str, ...], Scenario] = {}
        self.story: Why | Problem = Problem("unknown-service", "no such service")
        self.answers: list[Done | Problem] = []
        self.willing = asyncio.Event()
        self.willing.set()

    async def status(self) -> Status:
        self.asked += 1
        if self.down or self.current is None:
            raise UnreachableError(self.down)
        return self.current

    async def follow(self, since: int | None = None) -> AsyncIterator[Event]:
        self.since.append(since)
        if self.down:
            raise UnreachableError(self.down)
        for event in self.past:
            if event.seq > (since or 0):
                yield event
        while (new := await self.live.get()) is not None:
            yield new
        raise UnreachableError("the agent ended the stream; it may be stopping")

    async def why(self, service: str) -> Why:
        return self._answered(self.story)

    async def scenario(self, without: tuple[str, ...]) -> Scenario:
        self.losses.append(without)
        if self.down:
            raise UnreachableError(self.down)
        known = self.current.headroom.scenarios if self.current else ()
        found = next((s for s in known if s.lost == without), None)
        return self.scenarios.get(without) or found or Scenario(without, "unknown")

    async def act(self, verb: str, wish: Intent) -> Done:
        if self.down:
            raise UnreachableError(self.down)
        self.wishes.append((verb, wish))
        await self.willing.wait()
        return self._answered(self.answers.pop(0) if self.answers else Done(f"{verb}: done"))

    def _answered(self, answer: T | Problem) -> T:
        if isinstance(answer, Problem):
            raise RefusedError(409, answer)
        return answer


class FrozenClock:
    """Monotonic seconds that move only when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s
