"""What it looks like: few pictures, each of another situation and size."""

import pytest

from haman.api.schema import Problem
from tests.tui import samples
from tests.tui.harness import app_on, settled, until
from tests.tui.scripted import ScriptedSource
from tui.messages import Ticked
from tui.screens.confirm import RefusedDialog


@pytest.fixture
def looks(snap_compare, monkeypatch):
    """Compare with the accepted picture, after `keys` and with time standing still."""
    monkeypatch.delenv("NO_COLOR", raising=False)

    def compare(status, size, keys=(), *, light=False, then=None):
        source = ScriptedSource(status, samples.events(40))
        source.answers = [Problem("unsafe", "lb2 would not fit on lb1", samples.UNSAFE_REASONS)]

        async def ready(pilot):
            await settled(pilot)
            await until(pilot, lambda: len(pilot.app.fleet.events) == 40)
            await pilot.press(*keys)
            await settled(pilot)
            if then:
                await then(pilot)

        return snap_compare(app_on(source, light=light), terminal_size=size, run_before=ready)

    return compare


def test_a_pair_on_the_smallest_terminal(looks):
    assert looks(samples.pair(), (80, 24))


def test_trouble(looks):
    assert looks(samples.troubled(), (120, 36), ("down", "right"))


def test_a_fleet_on_a_large_light_terminal(looks):
    assert looks(samples.fleet(), (200, 50), ("down", "right"), light=True)


def test_every_rung_of_anycast(looks):
    assert looks(samples.seen(samples.rungs()), (80, 24))


def test_an_anycast_service_in_full(looks):
    assert looks(samples.seen(samples.rungs()), (120, 36), ("right", "enter"))


def test_a_node_whose_routers_are_in_trouble(looks, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert looks(samples.seen(samples.deaf()), (80, 24), ("down", "enter"))


def test_without_colour(looks, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert looks(samples.troubled(), (80, 24), ("down",))


def test_refused(looks):
    async def refused(pilot):
        await pilot.press("y")
        await until(pilot, lambda: isinstance(pilot.app.screen, RefusedDialog))

    assert looks(samples.pair(), (80, 24), ("down", "d"), then=refused)


def test_an_agent_that_went_away(looks):
    async def lost(pilot):
        app = pilot.app
        app._source._source.down = "nobody listens there; the agent is not running"
        await until(pilot, lambda: bool(app.fleet.problem))
        app._clock.now_s += 3
        app.tell(Ticked(app._clock()))
        await until(pilot, lambda: app.fleet.age_s == 3)

    assert looks(samples.pair(), (120, 36), then=lost)
