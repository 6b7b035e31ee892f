"""Hostile text: what an agent says must not reach the terminal as anything but text."""

import msgspec
import pytest
from rich.cells import cell_len
from textual.content import Content

from haman.api.client import RefusedError, UnreachableError
from haman.api.schema import Event, Problem, Reason
from tests.tui import samples
from tests.tui.harness import app_on, settled, text_of, until
from tests.tui.scripted import ScriptedSource
from tui.clean import Cleaned, answer, text
from tui.views.type import TEXT_MAX, paragraph
from tui.widgets.fleet import NodeRows

HOSTILE = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31m[bold red]日本\u0301\u202e\u200b🔥\n"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("lb1", "lb1"),
        ("backup → active · 93 %", "backup → active · 93 %"),
        ("\x1b[2Jx", "�[2Jx"),
        ("a\nb\tc", "a b c"),
        ("e\u0301", "é"),
        ("x\u0301", "x�"),
        ("日", "�"),
        ("\u202eabc", "�abc"),
        ("\x9b31m", "�31m"),
    ],
)
def test_text(said, shown):
    assert text(said) == shown


def test_a_text_without_end_has_one():
    drawn = paragraph(Content("because "), "x " * 1_000_000, 80)
    assert len(drawn.plain) < 2 * TEXT_MAX


def test_what_is_clean_is_left_alone():
    status = samples.troubled()
    assert answer(status) is status
    event = samples.events(2)[1]
    assert answer(event) is event


def test_every_text_of_an_answer_is_cleaned():
    status = msgspec.structs.replace(samples.troubled(), cluster=HOSTILE)
    status = msgspec.structs.replace(
        status, nodes=(samples.node(HOSTILE, reasons=(Reason("x", HOSTILE, {HOSTILE: HOSTILE}),)),)
    )
    found = msgspec.json.encode(answer(status)).decode()
    assert all(one.isprintable() and cell_len(one) == 1 for one in found)
    assert "\\u" not in found


async def test_problems_are_cleaned_too():
    source = ScriptedSource()
    source.down = HOSTILE
    with pytest.raises(UnreachableError) as caught:
        await Cleaned(source).status()
    assert "\x1b" not in str(caught.value)
    source.down, source.story = "", Problem(HOSTILE, HOSTILE)
    with pytest.raises(RefusedError) as refused:
        await Cleaned(source).why("web")
    assert "\x1b" not in refused.value.problem.message


async def test_a_hostile_agent_draws_nothing_but_text():
    pair = samples.pair()
    bad = samples.node(HOSTILE, condition=HOSTILE, reasons=(Reason("x", HOSTILE),))
    web = samples.vip(HOSTILE, [samples.member(HOSTILE, HOSTILE, 1, HOSTILE)], state=HOSTILE)
    status = samples.pair(
        nodes=(bad, pair.nodes[1]), services=(web,), cluster=HOSTILE, mode=HOSTILE
    )
    event = Event(1, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, (Reason("x", HOSTILE),))
    source = ScriptedSource(status, (event,))
    source.story = Problem("x", HOSTILE)
    app = app_on(source)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await until(pilot, lambda: len(app.fleet.events) == 1)
        for keys in (("right",), ("enter",), ("w",), ("escape",), ("2",), ("3",), ("5",), ("1",)):
            await pilot.press(*keys)
            await pilot.pause()
            drawn = app.export_screenshot()
            assert "\x1b" not in drawn
            assert "日" not in drawn
        assert "[bold red]" in text_of(app, "#heading")


async def test_an_agent_of_another_version():
    """Words, fields and figures that this version does not know."""
    said = msgspec.json.decode(msgspec.json.encode(samples.pair()))
    said["schema"] = 7
    said["mood"] = {"new": [1, 2, 3]}
    said["nodes"][0] |= {"condition": "levitating", "binding": "flux", "shape": "round"}
    said["nodes"][0]["resources"].append(
        {"name": "flux", "used": 1e300, "ceiling": 1e-3, "unit": "T", "utilization": 1e303,
         "confidence": "rumoured", "age_ms": -5}
    )  # fmt: skip
    said["services"][0] |= {"state": "fuzzy", "kind": "multicast", "holders": ["lb9"]}
    said["services"][0]["members"][0] |= {"role": "dreaming", "since": "yesterday"}
    said["headroom"] = {"verdict": "maybe"}
    del said["services"][1]["members"][1]
    status = msgspec.convert(said, type(samples.pair()))
    app = app_on(ScriptedSource(status))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert "▲ API 7, not 1" in text_of(app, "#heading")
        row = "".join(p.plain for p in app.page.query_one(NodeRows)._lines[0])
        assert "levitating" in row
        assert ">999 %" in row
        for keys in (("right", "enter"), ("1", "2"), ("3",), ("5",)):
            await pilot.press(*keys)
            await pilot.pause()
        assert app.return_code is None
