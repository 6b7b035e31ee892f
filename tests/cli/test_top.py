"""`haman top`: one line for each resource, the binding one marked, and no zero for the unknown."""

from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from haman.api import schema
from haman.api.plain import amount
from haman.cli import top as command
from haman.cli.root import cli
from haman.cli.top import SPARKS, Trends, render
from tests.api.serving import Served, serving


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as running:
        yield running


def run(served: Served, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["top", *arguments, "--socket", served.socket])


def resource(name: str, used: float | None, ceiling: float | None, **more) -> schema.Resource:
    known = used is not None and ceiling is not None
    return schema.Resource(
        name=name,
        used=used,
        ceiling=ceiling,
        unit=more.pop("unit", "count"),
        utilization=used / ceiling if known and ceiling else None,
        confidence=more.pop("confidence", "measured"),
        age_ms=100.0,
        **more,
    )


def picture(*resources: schema.Resource, binding: str = "", alerts=()) -> schema.Status:
    node = schema.Node(
        name="lb1",
        site="",
        condition="in-service",
        reasons=(),
        age_ms=0.0,
        version="1",
        proxy=schema.Proxy("haproxy", "2.6.12", up=True),
        resources=resources,
        binding=binding,
        connections=17,
        engine=schema.Engine(),
    )
    other = msgspec.structs.replace(node, name="lb2", resources=(resource("nic", 1, 1),))
    return schema.Status(
        schema=1,
        cluster="edge",
        node="lb1",
        at="2026-11-20T12:03:11.042Z",
        paused=False,
        nodes=(other, node),
        services=(),
        headroom=schema.Headroom("unknown"),
        alerts=alerts,
    )


def shown(found: schema.Status, trends: Trends | None = None) -> list[str]:
    return click.unstyle(render(found, trends or Trends())).splitlines()


def test_fullest_first_and_the_binding_one_marked() -> None:
    lines = shown(
        picture(
            resource("fds", 100, 1000, detail="process 7"),
            resource(
                "tls", 1.5, 1.8, unit="core-s/s", confidence="calibrated", origin="0.9 of 2 cores"
            ),
            resource("hol", 0.012, None, unit="s", problem="no probe is configured"),
            binding="tls",
        )
    )
    assert lines[0] == "lb1 in-service · haproxy 2.6.12, 17 clients · 12:03:11 UTC"
    tls, fds, hol = lines[3:6]
    assert tls.split() == [
        *("▶", "tls", "█" * 8 + "··", "83", "%"),
        *("1.5", "core-s/s", "1.8", "core-s/s", "calibrated:", "0.9", "of", "2", "cores"),
    ]
    assert fds.split()[:1] == ["fds"]
    assert fds.endswith("process 7")
    assert hol.split() == ["hol", "·" * 10, "?", "12", "ms", "unknown"]
    assert lines[-2] == "tls runs out first, at 1.8 core-s/s (calibrated: 0.9 of 2 cores)"
    assert lines[-1] == "hol is unknown: no probe is configured"
    assert "nic" not in "\n".join(lines)  # that is another node's


def test_the_unknown_is_no_zero() -> None:
    line = shown(picture(resource("tls", None, 1.8, unit="core-s/s")))[3]
    assert line.split()[:4] == ["tls", "·" * 10, "?", "unknown"]


def test_what_only_grows_says_when_it_is_used_up() -> None:
    line = shown(picture(resource("fds", 500, 1000, exhausted_in_s=200.0)))[3]
    assert "↑ used up in 3 min 20 s" in line


def test_no_line_of_the_table_is_wider_than_the_terminal() -> None:
    found = picture(resource("fds", 950, 1000, hard=0.9, origin="RLIMIT_NOFILE", detail="x" * 80))
    narrow, wide = (render(found, Trends(), width).splitlines()[3] for width in (60, None))
    assert len(click.unstyle(narrow)) == 60
    assert click.unstyle(narrow).endswith("…")
    assert narrow.count("\x1b[") == wide.count("\x1b[")


def test_thresholds_are_colours() -> None:
    found = picture(
        resource("cpu", 0.95, 1.0, soft=0.75, hard=0.9),
        resource("tls", 0.8, 1.0, soft=0.75, hard=0.9),
        resource("fds", 0.5, 1.0, soft=0.75, hard=0.9),
    )
    lines = render(found, Trends()).splitlines()[3:6]
    red, yellow, green = (click.style("█", fg=c)[:5] for c in ("red", "yellow", "green"))
    assert [c in line for c, line in zip((red, yellow, green), lines, strict=True)] == [True] * 3


def test_alerts_of_this_node_and_of_no_other() -> None:
    alerts = (
        schema.Alert("proxy-partly-sensed", "warning", "no limit is set", "", "lb1"),
        schema.Alert("fault", "critical", "not mine", "", "lb2"),
    )
    lines = shown(picture(resource("cpu", 0.1, 1.0), alerts=alerts))
    assert lines[-1] == "warning: no limit is set (proxy-partly-sensed)"
    assert "not mine" not in "\n".join(lines)


def trend(*utilizations: float | None) -> str:
    trends = Trends()
    for utilization in utilizations:
        trends.add(picture(resource("cpu", utilization, 1.0)).nodes[1])
    return trends.words("cpu")


def test_trends() -> None:
    assert trend(0.1, 0.1, 0.1) == ""
    assert trend(0.1, 0.1, 0.11, 0.1).endswith("→")
    assert trend(0.1, 0.2, 0.4, 0.6).endswith("↑")
    assert trend(0.6, 0.4, 0.2, 0.1).endswith("↓")
    assert trend(0.0, 0.5, 1.0, 9.0) == f"{SPARKS[0]}{SPARKS[4]}{SPARKS[-1]}{SPARKS[-1]} ↑"
    assert trend(0.1, 0.2, 0.4, None) == ""  # a gap begins anew
    assert trend(*[0.1] * 1000).startswith(SPARKS[0] * 10 + " ")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1536, "bytes", "1.5 KiB"),
        (12, "bytes", "12 B"),
        (5 * 1024**3, "bytes", "5.0 GiB"),
        (125e6, "bytes/s", "119.2 MiB/s"),
        (28232, "count", "28232"),
        (0.41, "cores", "0.41 cores"),
        (1.0, "cores", "1 core"),
        (0.000622, "core-s/s", "0.001 core-s/s"),
        (1800, "full/s", "1800 full/s"),
        (1200.0, "s", "1200 s"),
        (0.0123, "s", "12.3 ms"),
        (2.5, "s", "2.5 s"),
    ],
)
def test_amounts(value, unit, text) -> None:
    assert amount(value, unit) == text


def test_what_is_no_terminal_gets_it_once(served) -> None:
    result = run(served)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("lb1 in-service")
    marked = [line for line in result.stdout.splitlines() if line.startswith("▶")]
    assert len(marked) == 1
    assert "cpu" in marked[0]
    assert "\x1b" not in result.stdout


def test_on_a_terminal_it_goes_on_until_ctrl_c(served, monkeypatch) -> None:
    looks = []

    class Terminal:
        def isatty(self) -> bool:
            return True

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "sys", type("Sys", (), {"stdout": Terminal()}))
    monkeypatch.setattr(command.time, "sleep", sleep)
    result = run(served, "--interval", "0.5")
    assert result.exit_code == 0, result.output
    assert looks == [0.5] * 5
    assert result.stdout.count("lb1 in-service") == 5
    assert "→" in result.stdout


def test_without_an_agent() -> None:
    result = CliRunner().invoke(cli, ["top", "--socket", "/nonexistent.sock"])
    assert result.exit_code == 3
