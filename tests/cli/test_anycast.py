"""Anycast on the command line: status, why, events and drain, against the real server."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from haman.api import schema, view
from haman.cli import text
from haman.cli.root import cli
from haman.cli.status import render
from haman.core.announcements import NeighborReport
from haman.core.words import Alert, Condition, Reason, Severity, Stance
from tests.api.fake_agent import START_NS, FakeAgent
from tests.api.fake_anycast import DRAINED, SILENT, WRONG_AS, anycast, ladder, mixed, router_down
from tests.api.serving import Served, serving

Running = Callable[[Callable[..., FakeAgent]], AbstractContextManager[Served]]


@pytest.fixture
def running(tmp_path: Path) -> Running:
    @contextmanager
    def on(make: Callable[..., FakeAgent]) -> Iterator[Served]:
        with serving(tmp_path, make) as served:
            yield served

    return on


def run(served: Served, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--socket", served.socket])


def lines(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [line.rstrip() for line in result.stdout.splitlines()]


def test_status_when_all_is_well(running: Running) -> None:
    with running(anycast) as served:
        assert lines(run(served, "status")) == [
            "edge, as lb1 knows it at 12:03:11 UTC, active-active",
            "",
            "SERVICE  STATE  HOLDER         SINCE  ADDRESSES",
            "edge     ok     lb1, lb2, lb3  41 s   192.0.2.100/32 2001:db8::100/128",
            "",
            "NODE  CONDITION   PROXY           CLIENTS  BUSIEST   HEARD",
            "lb1   in-service  haproxy 2.6.12  400      cpu 41 %  here",
            "lb2   in-service  haproxy 2.6.12  400      cpu 41 %  0.1 s ago",
            "lb3   in-service  haproxy 2.6.12  400      cpu 41 %  0.1 s ago",
            "",
            "NODE  edge: weight, share  ROUTERS",
            "lb1   full 100, 33 %       2 of 2 up",
            "lb2   full 100, 33 %       2 of 2 up",
            "lb3   full 100, 33 %       2 of 2 up",
            "",
            "N-1: ok: without lb1, lb2 has cpu at 82 % (steady)",
        ]


def test_status_on_every_rung_and_with_a_router_down(running: Running) -> None:
    with running(ladder) as served:
        served.call(lambda: router_down(served.agent, "lb1", "tor1"))
        shown = lines(run(served, "status"))
        assert shown[2:6] == [
            "SERVICE  STATE     HOLDER    SINCE  ADDRESSES",
            "edge     degraded  lb1, lb2  17 s   192.0.2.100/32 2001:db8::100/128",
            "",
            "edge is degraded: lb4 is withdrawn: proxy haproxy (pid 812) died",
        ]
        assert shown[13:24] == [
            "NODE  edge: weight, share      ROUTERS",
            "lb1   full 100, 67 %           1 of 2 up",
            "lb2   reduced 50 of 100, 33 %  2 of 2 up",
            "lb3   shut 100, 0 %            2 of 2 up",
            "lb4   withdrawn                2 of 2 up",
            "",
            (
                "lb3: drained by the operator; ends with `haman undrain`; "
                "still there: edge (shut), 12 clients"
            ),
            "lb4: proxy haproxy (pid 812) died",
            (
                "lb1: the session with tor1 (10.0.1.1) is down for 12 s, "
                "BFD down (control detection time expired): "
                "nothing came from the router for 9 s; is it up and reachable?"
            ),
            "edge on lb2 is reduced: cpu at 93 % of its ceiling (3.72 of 4 cores)",
            "",
        ]


def test_status_of_both_kinds(running: Running) -> None:
    with running(mixed) as served:
        served.call(lambda: router_down(served.agent, "lb1", "tor1"))
        served.call(lambda: router_down(served.agent, "lb1", "tor2", WRONG_AS, "connecting"))
        served.call(lambda: served.agent.lose("lb2"))
        served.call(lambda: served.agent.never_heard("lb3"))
        shown = lines(run(served, "status"))
        assert shown[3:5] == [
            "web      degraded  lb1     1 min 5 s  10.77.0.100/24",
            "edge     down      -       -          192.0.2.100/32 2001:db8::100/128",
        ]
        assert (
            "lb1   in-service  haproxy 2.6.12  400      cpu 41 %  here      web active 150" in shown
        )
        assert "lb1   full 100, not heard  0 of 2 up" in shown
        assert "lb2   unknown (was full)   unknown" in shown
        assert "lb3   unknown              -" in shown
        wrong = next(line for line in shown if "tor2" in line)
        assert wrong.startswith(
            "lb1: the session with tor2 (10.0.1.3) is connecting for 12 s, BFD down"
        )
        assert wrong.endswith(
            "the router says AS 65009, peer_as says 65000; correct one of the two"
        )


def test_a_session_that_is_up_without_bfd_is_in_trouble(running: Running) -> None:
    with running(anycast) as served:
        served.call(lambda: router_down(served.agent, "lb2", "tor1", session="up"))
        shown = lines(run(served, "status"))
        assert "lb2   full 100, 33 %       2 of 2 up, BFD down" in shown
        assert "lb2: the session with tor1 (10.0.1.1) is up, but BFD down" in shown


def test_a_session_that_flaps_is_in_trouble(running: Running) -> None:
    with running(anycast) as served:
        flaps = Reason("session-flaps", "it went down 4 times within 10 min")
        tor1 = NeighborReport("tor1", "10.0.1.1", "up", START_NS, (flaps,))
        served.agent.nodes["lb2"].neighbors = (tor1,)
        shown = lines(run(served, "status"))
        told = "it went down 4 times within 10 min"
        assert f"lb2: the session with tor1 (10.0.1.1) is up for 41 s: {told}" in shown


def test_what_an_alert_tells_is_told_once(running: Running) -> None:
    with running(anycast) as served:
        served.call(lambda: router_down(served.agent, "lb1", "tor1"))
        text = f"lb1: the session with tor1 is down: {SILENT.text}"
        served.agent.alerts = (Alert("bgp-session-down", Severity.WARNING, text, 1, "lb1"),)
        shown = run(served, "status").stdout
        assert shown.count(SILENT.text) == 1
        assert "lb1: the session with tor1 (10.0.1.1) is down for 12 s, BFD down (" in shown


def status_of(agent: FakeAgent) -> schema.Status:
    return view.status(agent.snapshot(), agent.config)


def test_tables_stay_within_80_columns() -> None:
    names = tuple(f"edge-proxy-{i:02d}" for i in range(1, 17))
    agent = anycast(("lb1", *names))
    agent.announce("edge-proxy-03", Stance.WITHDRAWN)
    found = status_of(agent)
    edge = found.services[0]
    many = tuple(
        schema.Service(
            name, "anycast", edge.mode, edge.state, edge.holders, 17, edge.members,
            prefixes=tuple(f"2001:db8:0:{i}::{n}/128" for n in range(4)),
            reasons=edge.reasons * 9,
        )
        for i, name in enumerate(("edge", "media", "login", "search"))
    )  # fmt: skip
    found = schema.Status(
        1, "edge", "lb1", found.at, False, found.nodes, many, found.headroom, (), found.mode
    )
    shown = click.unstyle(render(found)).splitlines()
    tables = [line for line in shown if not line.startswith(tuple(f"{s.name} is" for s in many))]
    assert max(len(line) for line in tables) <= 80
    assert next(line for line in shown if line.startswith("media ")).split()[:4] == [
        "media", "degraded", "16", "of",
    ]  # fmt: skip
    titles = [line for line in shown if line.endswith("ROUTERS")]
    assert [t.count("share") for t in titles] == [2, 2]
    assert any(line.endswith("; and 5 more") for line in shown)


def test_status_needs_no_colour(running: Running) -> None:
    with running(ladder) as served:
        arguments = ["status", "--socket", served.socket]
        coloured = CliRunner().invoke(cli, arguments, color=True).output
        assert click.style("reduced", fg="yellow") in coloured
        assert click.unstyle(coloured) == CliRunner().invoke(cli, arguments).output


def test_why(running: Running) -> None:
    with running(ladder) as served:
        shown = lines(run(served, "why", "edge"))
        assert shown[0].startswith("edge is degraded: lb1 and lb2 announce it, 2 of 3 that should")
        assert shown[1] == (
            "  lb1 announces it in full (weight 100, 67 % of new connections) "
            "since 12:02:30 UTC (46 s)."
        )
        assert shown[-1].startswith(
            "  2026-11-20T12:03:11.000Z lb4 stance-changed: edge is withdrawn"
        )
        members = json.loads(run(served, "why", "edge", "--json").stdout)["members"]
        assert [m["stance"] for m in members] == ["full", "reduced", "shut", "withdrawn"]
        missing = run(served, "why", "nope")
        assert missing.stderr == 'haman: there is no service "nope"; known: edge\n'


def test_events(running: Running) -> None:
    with running(ladder) as served:
        assert lines(run(served, "events"))[0] == (
            "2026-11-20T12:03:11.000Z lb2 stance-changed edge: edge is reduced on lb2, weight 50 "
            "(cpu at 93 % of its ceiling (3.72 of 4 cores))"
        )


def test_drain_waits_until_the_announcement_is_withdrawn(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    told: list[str] = []
    with running(anycast) as served:
        agent = served.agent

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) >= 3:
                served.call(lambda: agent.announce("lb1", Stance.WITHDRAWN, DRAINED))

        monkeypatch.setattr(
            text.wait_until, "__kwdefaults__", {"clock": lambda: 0.0, "sleep": sleep}
        )
        monkeypatch.setattr(text.Progress, "show", lambda _, line: told.append(line))
        assert lines(run(served, "drain", "--wait")) == [
            "lb1 is drained",
            "lb1 serves nothing any more; 400 clients still connected",
        ]
    assert len(waits) == 3
    assert told == ["lb1 still serves edge (shut), 400 clients connected (0 s)"] * 3 + [""]


def test_drain_of_the_last_announcer_says_that_it_stays(running: Running) -> None:
    with running(lambda **options: anycast(("lb1", "lb2"), **options)) as served:
        served.call(lambda: served.agent.kill_proxy("lb2"))
        served.agent.nodes["lb2"].condition = Condition.FAULT
        result = run(served, "drain", "--wait")
        assert result.exit_code == 1
        assert result.stdout == "lb1 is drained\n"
        assert result.stderr == (
            "haman: lb1 is drained, and stays the last resort for edge, shut: "
            "no other node announces it; 400 clients still connected\n"
        )


def test_drain_gives_up_after_its_time(running: Running) -> None:
    with running(anycast) as served:
        result = run(served, "drain", "--wait", "--timeout", "0.15")
        assert result.exit_code == 1
        assert result.stderr == (
            "haman: lb1 still serves edge (shut), 400 clients connected after 0.15 s; "
            "lb1 stays drained\n"
        )
