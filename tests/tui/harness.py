"""Running the app against a script, with time standing still."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from tests.tui.scripted import FrozenClock, ScriptedSource
from tui.app import FleetApp
from tui.feed import Pace
from tui.widgets.line import Line

DEADLINE_S = 30.0
"""Generous: a condition that never holds is a failure, one that holds late is a busy machine."""
PLACE = "/run/haman/haman.sock"
PACE = Pace(poll_s=0.03, backoff_s=0.1, backoff_max_s=0.1, gather_s=0.0, settle_s=0.0)

STILL = Pace(
    poll_s=3600,
    tick_s=3600,
    loss_s=3600,
    backoff_s=3600,
    backoff_max_s=3600,
    gather_s=0.0,
    settle_s=0.0,
)
"""Everything is asked once, and no timer runs: what is drawn depends on what happened alone."""


def app_on(source: ScriptedSource, *, pace: Pace = PACE, **options: Any) -> Any:
    app = FleetApp(source, PLACE, clock=FrozenClock(), pace=pace, **options)
    app.NOTIFICATION_TIMEOUT = 3600  # what was said is looked at, however late
    return app


async def until(pilot: Any, holds: Callable[[], bool], for_s: float = DEADLINE_S) -> None:
    """Wait for a condition, at most `for_s`."""
    end = time.monotonic() + for_s
    while not holds():
        assert time.monotonic() < end, "the condition did not come true"
        await asyncio.sleep(0.005)
    await pilot.pause()


async def settled(pilot: Any) -> None:
    """Wait until the app knows how it stands with the agent, and has drawn it."""
    app = pilot.app
    source = app._source._source
    asked = source.asked
    await until(pilot, lambda: bool(app.fleet.status or app.fleet.problem))
    await until(pilot, lambda: source.asked > asked + 1)
    await pilot.pause()


async def asked(pilot: Any, key: str) -> None:
    """Press a key that asks for something, and wait until the line to type into has the keyboard."""
    await pilot.press(key)
    line = pilot.app.page.query_one("#prompt-line")
    await until(pilot, lambda: pilot.app.focused is line)


async def still(pilot: Any) -> None:
    """Wait until nothing is left to be drawn: the same picture, twice in a row."""
    before = ""

    def same() -> bool:
        nonlocal before
        now = pilot.app.export_screenshot(simplify=True)
        before, was = now, before
        return now == was

    await until(pilot, same)


def text_of(app: Any, selector: str) -> str:
    return app.page.query_one(selector, Line)._shown.plain


def notes(app: Any) -> list[str]:
    return [n.message for n in app._notifications]
