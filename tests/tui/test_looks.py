"""What it looks like: every page in three sizes and two themes, every dialog, every odd situation.

No timer runs and no clock moves in these; each picture is taken once its condition holds and two
pictures in a row are the same.
"""

import pytest
from msgspec import structs

from haman.api import runs
from haman.api.schema import Event, Figure, Problem, Scenario, Survivor
from tests.tui import run_samples, samples
from tests.tui.harness import STILL, app_on, still, until
from tests.tui.scripted import ScriptedPrograms, ScriptedSource
from tui.messages import RunOver, RunStarted, RunTold, StatusFailed, StatusFetched, Ticked
from tui.runs import Order
from tui.screens.confirm import ConfirmDialog, RefusedDialog
from tui.screens.dialog import HelpDialog, WhyDialog
from tui.screens.ordering import ConfirmRunDialog, ParametersDialog, QuestionDialog
from tui.screens.progress import ProgressDialog
from tui.screens.runs import RunPage

SIZES = {(80, 24): "haman-dark", (120, 40): "haman-light", (200, 50): "haman-dark"}
FIGURES = (
    Figure("cpu", "steady", 0.36, 0.77, 0.9),
    Figure("tls", "steady", 0.46, 0.93, 0.9),
    Figure("ports", "steady", 0.01, 0.02, 0.9),
    Figure("connections", "step", 0.05, 0.11, 0.9),
    Figure("memory", "step", 0.21, 0.25, 0.9),
    Figure("conntrack", "step", None, None, 0.9, "conntrack of lb2 cannot be told: no such file"),
    Figure("accept_queue", "step", 0.0, 0.2, 1.0),
    Figure("tls", "storm", 0.0, 1.18, 1.0),
)
STORY = (
    *samples.events(6),
    Event(7, "2026-11-20T10:11:00Z", "lb1", "role-changed", "web", "backup → active", (),
          {"old": "backup", "new": "active"}),
    Event(8, "2026-11-20T10:12:30Z", "lb1", "condition-changed", "", "lb1 is saturated", (),
          {"from": "in-service", "to": "saturated"}),
    Event(9, "2026-11-20T10:13:30Z", "lb1", "condition-changed", "", "lb1 is in-service", (),
          {"from": "saturated", "to": "in-service"}),
)  # fmt: skip


@pytest.fixture
def looks(snap_compare, monkeypatch):
    """Compare with the accepted picture, after `keys`, once `ready` holds."""
    monkeypatch.delenv("NO_COLOR", raising=False)

    def compare(status, size, keys=(), *, events=None, ready=None, then=None, **options):
        source = ScriptedSource(status, samples.events(40) if events is None else events)
        source.story = samples.WHY
        source.answers = [Problem("unsafe", "lb2 would not fit on lb1", samples.UNSAFE_REASONS)]
        for lost, left in (("lb1", "lb2"), ("lb2", "lb1")):
            worst = Survivor(left, "tls", "storm", 1.18, FIGURES)
            source.scenarios[lost,] = Scenario((lost,), "insufficient", (worst,), 5200, 2.95)

        async def before(pilot):
            app = pilot.app
            await until(pilot, lambda: bool(app.fleet.status or app.fleet.problem))
            if status is not None:
                await until(pilot, lambda: len(app.fleet.events) == len(source.past))
            await still(pilot)  # a page under a dialog is laid out no more
            for key in keys:
                await pilot.press(key)
                await still(pilot)  # the next key is about what this one brings
            if ready:
                await until(pilot, lambda: ready(app))
            if then:
                await then(pilot)
            await still(pilot)

        programs = ScriptedPrograms(*run_samples.OFFERS)
        app = app_on(source, pace=STILL, programs=programs, **options)
        return snap_compare(app, terminal_size=size, run_before=before)

    return compare


def on(kind):
    return lambda app: isinstance(app.screen, kind)


PAGES = {
    "fleet": (samples.pair(), ("right",), None),
    "trouble": (samples.troubled(), ("down", "right"), None),
    "anycast": (samples.seen(samples.rungs()), (), None),
    "node": (samples.seen(samples.deaf()), ("down", "2"), None),
    "service": (samples.pair(), ("right", "4"), STORY),
    "headroom": (samples.pair(), ("3",), None),
    "events": (samples.pair(), ("5", "up", "up"), STORY),
    "past": (samples.pair(), ("5", "up", "enter"), STORY),
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("page", PAGES)
def test_page(looks, page, size):
    status, keys, events = PAGES[page]
    assert looks(status, size, keys, events=events, theme=SIZES[size])


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_what_can_be_run(looks, size):
    async def listed(pilot):
        await until(pilot, lambda: bool(pilot.app.fleet.offers))
        await pilot.press("down", "down", "down")

    assert looks(samples.pair(), size, ("6",), then=listed, theme=SIZES[size])


def running(*lines, over=False, keys=()):
    """A run that has told these lines, begun 58 s ago, and then some keys."""

    async def then(pilot):
        app = pilot.app
        app.tell(RunStarted(Order(run_samples.RESTART), 1000.0))
        for line in lines:
            app.tell(RunTold(line, 1040.0))
        app.tell(RunOver(1, "", 1058.0) if over else Ticked(1058.0))
        await until(pilot, lambda: app.fleet.now_s == 1058.0 and app.fleet.run is not None)
        app.tell(StatusFetched(app.fleet.status, 1058.0, "lb1"))
        await pilot.press("6")
        await until(pilot, lambda: on(RunPage)(app) or on(QuestionDialog)(app))  # lies above all
        await still(pilot)
        await pilot.press(*keys)

    return then


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("state", ["half-way", "stopped"])
def test_a_run(looks, size, state):
    over = state == "stopped"
    lines = run_samples.TO_THE_END if over else run_samples.HALF_WAY
    then = running(*lines, over=over, keys=() if over else ("o",))
    assert looks(samples.pair(), size, then=then, theme=SIZES[size])


def test_parameters(looks):
    async def wrong(pilot):
        app = pilot.app
        await until(pilot, lambda: bool(app.fleet.offers))
        app.programs.wrong = ('parameter.drain_s: "soon" is not a number',)
        app.order(run_samples.RESTART)
        await until(pilot, lambda: on(ParametersDialog)(app))
        app.screen.settle()
        await until(pilot, lambda: "soon" in app.screen.query_one("#problems")._shown.plain)

    assert looks(samples.pair(), (80, 24), ("6",), then=wrong)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_confirming_a_run(looks, size):
    async def ordered(pilot):
        pilot.app.order(run_samples.RESTART)
        await until(pilot, lambda: on(ParametersDialog)(pilot.app))
        pilot.app.screen.settle()
        await until(pilot, lambda: on(ConfirmRunDialog)(pilot.app))

    assert looks(samples.pair(), size, then=ordered, theme=SIZES[size])


def test_a_run_asks(looks):
    asked = runs.Asked(1, "Drain all nodes of ams1: 10.77.0.11 10.77.0.12?", 60)
    then = running(*run_samples.HALF_WAY, asked)
    assert looks(samples.pair(), (80, 24), then=then)


def test_leaving_a_run(looks):
    then = running(*run_samples.HALF_WAY, keys=("q",))
    assert looks(samples.pair(), (80, 24), then=then)


def test_only_reading(looks):
    status = structs.replace(samples.pair(), read_only="ops2 is not in the group haman")
    assert looks(status, (120, 40), ("question_mark",), ready=on(HelpDialog))


def test_a_large_fleet(looks):
    assert looks(samples.fleet(64), (200, 50), ("down", "right"), theme="haman-light")


def test_high_contrast(looks):
    assert looks(samples.troubled(), (80, 24), ("down",), theme="haman-contrast")


@pytest.mark.parametrize(
    "keys", [("down",), ("down", "enter"), ("3",)], ids=["fleet", "node", "headroom"]
)
def test_without_colour(looks, monkeypatch, keys):
    monkeypatch.setenv("NO_COLOR", "1")
    assert looks(samples.troubled(), (80, 24), keys)


def test_confirming(looks):
    assert looks(samples.pair(), (80, 24), ("d",), ready=on(ConfirmDialog))


def test_refused(looks):
    keys = ("down", "d", "y")
    assert looks(samples.pair(), (80, 24), keys, ready=on(RefusedDialog))


def test_progress(looks):
    async def agreed(pilot):
        pilot.app._source._source.answers = []
        await pilot.press("y")
        await until(pilot, lambda: on(ProgressDialog)(pilot.app))
        await until(pilot, lambda: pilot.app.fleet.undertaking.answer is not None)

    assert looks(samples.pair(), (80, 24), ("d",), ready=on(ConfirmDialog), then=agreed)


def test_help(looks):
    assert looks(samples.pair(), (80, 24), ("question_mark",), ready=on(HelpDialog))


def test_why(looks):
    assert looks(samples.pair(), (80, 24), ("right", "w"), ready=on(WhyDialog))


def test_nobody_answers(looks):
    assert looks(None, (80, 24))


def test_an_agent_that_went_away(looks):
    async def lost(pilot):
        app = pilot.app
        app.tell(StatusFailed("nobody listens there", 1003.0, 1005.0))
        app.tell(Ticked(1003.0))
        await until(pilot, lambda: app.fleet.age_s == 3)

    assert looks(samples.pair(), (120, 40), then=lost)
