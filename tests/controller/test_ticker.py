"""Ticks: on the grid that all share, never more than one for what was slept through."""

import asyncio
import time
from collections.abc import Callable

from haman.controller.ticker import Ticker

INTERVAL_S = 0.02
DEADLINE_S = 10.0


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(INTERVAL_S / 4)


def hold_up(intervals: int) -> None:
    """The loop does nothing else meanwhile."""
    time.sleep(intervals * INTERVAL_S)


class Calls:
    """Counts calls, and remembers how late they were."""

    def __init__(self, work: Callable[[], None] = lambda: None) -> None:
        self.late_s: list[float] = []
        self.work = work

    def __call__(self, late_s: float) -> None:
        self.late_s.append(late_s)
        self.work()


async def test_calls_go_on_until_they_are_cancelled() -> None:
    calls, ticker = Calls(), Ticker(INTERVAL_S)
    ticker.call(calls)
    await until(lambda: len(calls.late_s) >= 5)
    assert min(calls.late_s) >= -1e-6
    ticker.cancel()
    count = len(calls.late_s)
    await asyncio.sleep(5 * INTERVAL_S)
    assert len(calls.late_s) == count


async def test_what_is_behind_the_grid_comes_after_what_is_on_it() -> None:
    order: list[str] = []
    tickers = [Ticker(INTERVAL_S, INTERVAL_S / 10), Ticker(INTERVAL_S)]
    for name, ticker in zip(("behind", "on it"), tickers, strict=True):
        ticker.call(lambda _late_s, name=name: order.append(name))
    hold_up(3)  # both are due, and the loop looks at them in one turn
    await until(lambda: len(order) >= 2)
    for ticker in tickers:
        ticker.cancel()
    assert order[:2] == ["on it", "behind"]


async def test_what_was_slept_through_is_one_tick() -> None:
    calls, ticker = Calls(), Ticker(INTERVAL_S)
    ticker.call(calls)
    hold_up(20)
    await until(lambda: bool(calls.late_s))
    ticker.cancel()
    assert len(calls.late_s) <= 2
    assert calls.late_s[0] > 10 * INTERVAL_S


async def test_work_that_fails_is_told_to_the_loop_and_called_again() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    def fail() -> None:
        raise ValueError

    calls, ticker = Calls(fail), Ticker(INTERVAL_S)
    ticker.call(calls)
    await until(lambda: len(told) >= 2)
    ticker.cancel()
    assert len(calls.late_s) >= 2


async def test_another_pace_is_kept_from_the_next_tick_on() -> None:
    calls, ticker = Calls(), Ticker(INTERVAL_S)
    ticker.call(calls)
    await until(lambda: bool(calls.late_s))
    ticker.pace(3600.0)
    count = len(calls.late_s)
    await asyncio.sleep(10 * INTERVAL_S)
    assert len(calls.late_s) <= count + 1
    ticker.cancel()
