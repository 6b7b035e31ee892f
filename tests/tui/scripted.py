"""An agent by script: what each call answers is set by the test, and what was asked is kept."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from msgspec import structs

from haman.api import runs
from haman.api.client import RefusedError, UnreachableError
from haman.api.schema import Done, Event, Intent, Problem, Scenario, Status, Why
from tui.programs import ProgramError
from tui.runs import Order

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


class ScriptedChild:
    """A run that tells what the test puts into `told`; None ends it with `status`."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[runs.Line | None] = asyncio.Queue()
        self.words: list[runs.Word] = []
        self.status = 0
        self.complaint = ""

    def tell(self, *lines: runs.Line | None) -> None:
        for line in lines:
            self.told.put_nowait(line)

    async def lines(self) -> AsyncIterator[runs.Line]:
        while (line := await self.told.get()) is not None:
            yield line

    async def end(self) -> tuple[int, str]:
        return self.status, self.complaint

    def say(self, word: runs.Word) -> None:
        self.words.append(word)


class ScriptedPrograms:
    """Offers what the test says; what is started is kept."""

    def __init__(self, *offers: runs.Offer) -> None:
        self.known = offers
        self.problem = ""
        self.wrong: tuple[str, ...] = ()
        self.orders: list[Order] = []
        self.child = ScriptedChild()

    async def offers(self) -> tuple[runs.Offer, ...]:
        if self.problem:
            raise ProgramError(self.problem)
        return self.known

    async def settled(self, order: Order) -> runs.Offer:
        return structs.replace(order.offer, problems=self.wrong)

    async def start(self, order: Order) -> ScriptedChild:
        if self.problem:
            raise ProgramError(self.problem)
        self.orders.append(order)
        return self.child
