"""The two workers that listen to the agent. They touch no widget; they tell what happened.

Both run until cancelled. Each failure waits longer, up to `Pace.backoff_max_s`, and the first
answer resets the wait.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from haman.api.client import RefusedError, UnreachableError
from haman.api.schema import Event
from tui.fleet import EVENTS_MAX
from tui.messages import (
    EventsArrived,
    EventsBroke,
    EventsOpened,
    Fact,
    StatusFailed,
    StatusFetched,
)
from tui.source import Source

BATCH_MAX = 200


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, and how patiently.

    Attributes:
        poll_s: between two answers of status.
        answer_max_s: an answer that takes longer counts as none.
        gather_s: events that come closer together are shown at once.
        settle_s: a stream that did not fail for so long stands, though nothing may have happened.
    """

    poll_s: float = 0.5
    answer_max_s: float = 3.0
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
            async with asyncio.timeout(pace.answer_max_s):
                status = await source.status()
        except (UnreachableError, RefusedError, TimeoutError) as failure:
            failures += 1
            wait_s = pace.wait_s(failures)
            problem = str(failure) or f"no answer within {pace.answer_max_s:g} s"
            now_s = clock()
            tell(StatusFailed(problem, now_s, now_s + wait_s))
        else:
            failures = 0
            wait_s = pace.poll_s
            tell(StatusFetched(status, clock()))
        await asyncio.sleep(wait_s)


async def follow_events(source: Source, tell: Callable[[Fact], object], pace: Pace) -> None:
    """Follow the journal, for ever: first its tail; after a break, from the last event seen."""
    failures = 0
    last = -EVENTS_MAX
    gathered: list[Event] = []

    def flush() -> None:
        if gathered:
            tell(EventsArrived(tuple(gathered)))
            gathered.clear()

    loop = asyncio.get_running_loop()
    while True:
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
