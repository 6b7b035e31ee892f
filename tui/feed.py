"""The workers that listen to the agent. They touch no widget; they tell what happened.

They run until cancelled. Each failure waits longer, up to `Pace.backoff_max_s`, and the first
answer resets the wait.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from haman.api.client import RefusedError, UnreachableError
from haman.api.schema import Event, Problem, Scenario
from tui.messages import (
    EventsArrived,
    EventsBroke,
    EventsOpened,
    Fact,
    LossAnswered,
    StatusFailed,
    StatusFetched,
)
from tui.source import Source, problem_of
from tui.state import EVENTS_MAX

BATCH_MAX = 200


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, and how patiently.

    Attributes:
        poll_s: between two answers of status.
        loss_s: between two answers of what a loss would do.
        tick_s: between two looks at the clock: ages grow, silence shows.
        gather_s: events that come closer together are shown at once.
        settle_s: a stream that did not fail for so long stands, though nothing may have happened.
    """

    poll_s: float = 0.5
    loss_s: float = 2.0
    tick_s: float = 1.0
    backoff_s: float = 0.5
    backoff_max_s: float = 5.0
    gather_s: float = 0.05
    settle_s: float = 1.0

    def wait_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row."""
        return min(self.backoff_max_s, self.backoff_s * 2.0 ** min(failures - 1, 16))


async def watch_status(
    source: Source, tell: Callable[[Fact], object], clock: Callable[[], float], pace: Pace
) -> None:
    """Ask for the status at `pace`, for ever."""
    failures = 0
    while True:
        try:
            status = await source.status()
        except (UnreachableError, RefusedError) as failure:
            failures += 1
            wait_s = pace.wait_s(failures)
            now_s = clock()
            tell(StatusFailed(str(failure), now_s, now_s + wait_s))
        else:
            failures = 0
            wait_s = pace.poll_s
            tell(StatusFetched(status, clock(), source.place))
        await asyncio.sleep(wait_s)


async def follow_events(source: Source, tell: Callable[[Fact], object], pace: Pace) -> None:
    """Follow the journal, for ever: first its tail; after a break, from the last event seen.

    Each place has a journal of its own: at another one it begins with the tail again.
    """
    failures = 0
    last = -EVENTS_MAX
    place = source.place
    gathered: list[Event] = []

    def flush() -> None:
        if gathered:
            tell(EventsArrived(tuple(gathered), place))
            gathered.clear()

    loop = asyncio.get_running_loop()
    while True:
        if source.place != place:
            place, last = source.place, -EVENTS_MAX
        stands = loop.call_later(pace.settle_s, tell, EventsOpened())
        timer: asyncio.TimerHandle | None = None
        try:
            async for event in source.follow(last):
                failures = 0
                last = event.seq
                if not gathered:
                    timer = loop.call_later(pace.gather_s, flush)
                gathered.append(event)
                if len(gathered) >= BATCH_MAX:
                    flush()
            problem = "the agent ended the stream"
        except (UnreachableError, RefusedError) as failure:
            problem = str(failure)
        finally:
            stands.cancel()
            if timer:
                timer.cancel()
        flush()
        failures += 1
        tell(EventsBroke(problem))
        await asyncio.sleep(pace.wait_s(failures))


async def watch_loss(
    source: Source, tell: Callable[[Fact], object], nodes: tuple[str, ...], pace: Pace
) -> None:
    """Ask what the loss of `nodes` would do, again and again, for ever."""
    failures = 0
    while True:
        answer: Scenario | Problem
        try:
            answer = await source.scenario(nodes)
            failures = 0
        except (UnreachableError, RefusedError) as error:
            answer = problem_of(error)
            failures += 1
        tell(LossAnswered(nodes, answer))
        await asyncio.sleep(pace.wait_s(failures) if failures else pace.loss_s)
