"""Pictures of the terminal UI: `python -m tests.tui.screenshots OUTDIR` writes SVG files."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from haman.api.schema import Problem, Status
from tests.api.fake_agent import FakeAgent
from tests.tui import samples
from tests.tui.harness import app_on, settled
from tests.tui.scripted import ScriptedSource
from tui.messages import StatusFailed, Ticked

Act = Callable[[Any, Any], Awaitable[None]]


async def nothing(app: Any, pilot: Any) -> None:
    await settled(pilot)


def keys(*names: str) -> Act:
    async def act(app: Any, pilot: Any) -> None:
        await pilot.press(*names)
        await settled(pilot)

    return act


async def lost(app: Any, pilot: Any) -> None:
    app.tell(StatusFailed("connection refused: the agent is not listening", 1003, 1005))
    app.tell(Ticked(1003))
    await settled(pilot)


async def refused(app: Any, pilot: Any) -> None:
    await pilot.press("down", "d")
    await settled(pilot)
    await pilot.press("y")
    await settled(pilot)


async def shoot(
    scene: Status | FakeAgent | None, size: tuple[int, int], act: Act, *, light: bool = False
) -> str:
    if isinstance(scene, FakeAgent):
        source = ScriptedSource(samples.seen(scene), samples.journal(scene))
        source.story = samples.story(scene, "edge")
    else:
        source = ScriptedSource(scene, samples.events(40) if scene else ())
        source.story = samples.WHY
    source.answers = [Problem("unsafe", "lb2 would not fit on lb1", samples.UNSAFE_REASONS)]
    app = app_on(source, light=light)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        await act(app, pilot)
        return str(app.export_screenshot())


PICTURES: dict[str, tuple[Status | FakeAgent | None, tuple[int, int], Act, bool]] = {
    "pair-80x24": (samples.pair(), (80, 24), nothing, False),
    "pair-120x36": (samples.pair(), (120, 36), keys("right"), False),
    "pair-200x50": (samples.pair(), (200, 50), keys("right"), False),
    "pair-light-120x36": (samples.pair(), (120, 36), keys("right"), True),
    "trouble-80x24": (samples.troubled(), (80, 24), keys("down", "right"), False),
    "trouble-120x36": (samples.troubled(), (120, 36), keys("down", "right"), False),
    "fleet-80x24": (samples.fleet(), (80, 24), keys("down", "right", "right", "right"), False),
    "fleet-200x50": (samples.fleet(), (200, 50), keys("down", "right"), False),
    "anycast-120x36": (samples.anycast(), (120, 36), keys("down", "right"), False),
    "rungs-80x24": (samples.rungs(), (80, 24), nothing, False),
    "rungs-120x36": (samples.rungs(), (120, 36), keys("right"), False),
    "mixed-80x24": (samples.deaf(), (80, 24), keys("down"), False),
    "mixed-120x36": (samples.deaf(), (120, 36), keys("down"), False),
    "mixed-200x50": (samples.deaf(), (200, 50), keys("down", "right", "right"), False),
    "service-80x24": (samples.rungs(), (80, 24), keys("right", "enter"), False),
    "service-120x36": (samples.rungs(), (120, 36), keys("right", "enter"), False),
    "service-vip-120x36": (samples.pair(), (120, 36), keys("right", "enter"), False),
    "service-light-120x36": (samples.deaf(), (120, 36), keys("right", "right", "enter"), True),
    "node-80x24": (samples.deaf(), (80, 24), keys("down", "enter"), False),
    "node-120x36": (samples.deaf(), (120, 36), keys("down", "enter"), False),
    "drain-anycast-80x24": (samples.rungs(), (80, 24), keys("d"), False),
    "why-anycast-80x24": (samples.rungs(), (80, 24), keys("right", "w"), False),
    "why-anycast-120x36": (samples.rungs(), (120, 36), keys("right", "w"), False),
    "single-80x24": (samples.single(), (80, 24), nothing, False),
    "absent-80x24": (None, (80, 24), nothing, False),
    "lost-120x36": (samples.pair(), (120, 36), lost, False),
    "confirm-80x24": (samples.pair(), (80, 24), keys("down", "d"), False),
    "refused-120x36": (samples.pair(), (120, 36), refused, False),
    "why-120x36": (samples.pair(), (120, 36), keys("right", "w"), False),
    "help-80x24": (samples.pair(), (80, 24), keys("question_mark"), False),
}


def main(outdir: Path) -> None:
    outdir.mkdir(parents=True, exist_ok=True)
    for name, (status, size, act, light) in PICTURES.items():
        picture = asyncio.run(shoot(status, size, act, light=light))
        (outdir / f"{name}.svg").write_text(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
