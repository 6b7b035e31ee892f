"""Pictures of the terminal UI: `python -m tests.tui.screenshots OUTDIR` writes SVG files.

As root they show the live pair lab, brought up for it in a checkout of its own: how it serves, what a
drain would do, and how lb2 takes over when the proxy of lb1 is killed under load. Without root they
show sample data, and it says so.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from haman.api.reaching import Reaching, Way
from haman.api.schema import Status
from haman.cli.lab import make_cluster_key
from haman.lab import faults, lab
from haman.lab.drill import Step
from haman.lab.runtime import LabError
from tests.tui import samples
from tests.tui.harness import STILL, app_on, still, until
from tests.tui.scripted import ScriptedSource
from tui.app import FleetApp
from tui.screens.confirm import ConfirmDialog

SHIPPED = Path(__file__).parents[2] / "lab"
NARROW, MIDDLE, WIDE = (80, 24), (120, 40), (200, 50)
LOAD = "for i in $(seq 200); do curl -sk -o /dev/null https://10.77.0.100/ || true; done"
"""Bounded: two hundred handshakes, one after the other."""

Save = Callable[[str], None]


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)

    def saving(app: Any) -> Save:
        def save(name: str) -> None:
            (folder / f"{name}.svg").write_text(app.export_screenshot(title=f"haman tui: {name}"))
            say(f"{folder / name}.svg")

        return save

    if os.geteuid() == 0:
        try:
            with live_pair() as pair:
                asyncio.run(of_the_lab(pair, saving))
        except LabError as error:
            say(f"no lab: {error}")
        else:
            return
    else:
        say("not root, so there is no lab: these show sample data")
    for name, (status, size, keys) in SAMPLES.items():
        asyncio.run(of_a_sample(name, status, size, keys, saving))


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


@contextmanager
def live_pair() -> Iterator[lab.Lab]:
    with tempfile.TemporaryDirectory(prefix="haman-pictures-") as tree:
        (Path(tree) / ".git").mkdir()
        path = Path(shutil.copytree(SHIPPED, Path(tree) / "lab")) / "pair.clab.yml"
        try:
            yield lab.up(path, make_cluster_key, say=say)
        finally:
            lab.down(path)


async def of_the_lab(pair: lab.Lab, saving: Callable[[Any], Save]) -> None:
    """What an operator sees of the pair, before, while and after the proxy of lb1 is killed."""
    socket = f"/proc/{pair.runtime.pids['lb2']}/root/run/haman/haman.sock"
    app: Any = FleetApp(Reaching([Way("lb2", lambda: nullcontext(socket))]), "lb2")
    async with app.run_test(size=MIDDLE) as pilot:
        save = saving(app)

        async def see(name: str, holds: Callable[[], bool], *keys: str) -> None:
            await pilot.press(*keys)
            await until(pilot, holds, for_s=60)
            await settle(pilot)
            save(name)

        await until(pilot, lambda: bool(app.fleet.services and app.fleet.events), for_s=60)
        client = pair.runtime.spawn("client", ["sh", "-c", LOAD], stdout=-3)
        await asyncio.sleep(8)  # some of the last minute for the sparklines
        await see("pair", lambda: app.fleet.services[0].holders == ("lb1",), "right")
        await see("headroom", lambda: app.fleet.loss.answer is not None, "3")
        await pilot.press("escape")
        while app.fleet.cursor.node != "lb1":
            await pilot.press("down")
        await see("drain", lambda: isinstance(app.screen, ConfirmDialog), "d")
        await pilot.press("escape")
        kill = Step(at_s=0, fault="kill", node="lb1", process="haproxy")
        await asyncio.to_thread(faults.inflict, pair.runtime, kill)
        await see("takeover", lambda: app.fleet.services[0].holders == ("lb2",))
        await see("service", lambda: bool(app.fleet.detailed_service), "4")
        await see("node", lambda: bool(app.fleet.detailed_node), "1", "2")
        await see("events", lambda: bool(app.page.query("#journal")), "5")
        await pilot.press("1")
        for name, size in (("takeover-80x24", NARROW), ("takeover-200x50", WIDE)):
            await pilot.resize_terminal(*size)
            await see(name, lambda: app.page.is_mounted)
        for theme in ("light", "contrast"):
            await see(f"takeover-{theme}", lambda: True, "t")
        client.terminate()
        await asyncio.to_thread(client.wait)


async def settle(pilot: Any) -> None:
    for _ in range(3):
        await pilot.pause(0.1)


async def of_a_sample(
    name: str,
    status: Status,
    size: tuple[int, int],
    keys: tuple[str, ...],
    saving: Callable[[Any], Save],
) -> None:
    app = app_on(ScriptedSource(status, samples.events(40)), pace=STILL)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: len(app.fleet.events) == 40)
        await pilot.press(*keys)
        await still(pilot)
        saving(app)(name)


SAMPLES: dict[str, tuple[Status, tuple[int, int], tuple[str, ...]]] = {
    "pair": (samples.pair(), MIDDLE, ("right",)),
    "pair-80x24": (samples.pair(), NARROW, ()),
    "trouble": (samples.troubled(), MIDDLE, ("down", "right")),
    "anycast": (samples.seen(samples.rungs()), MIDDLE, ("right",)),
    "fleet": (samples.fleet(64), WIDE, ("down", "right")),
    "headroom": (samples.pair(), MIDDLE, ("3",)),
    "service": (samples.seen(samples.rungs()), MIDDLE, ("right", "4")),
    "node": (samples.seen(samples.deaf()), MIDDLE, ("down", "2")),
    "events": (samples.pair(), MIDDLE, ("5",)),
    "drain": (samples.pair(), NARROW, ("d",)),
}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
