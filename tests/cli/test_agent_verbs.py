"""The verbs that talk to an agent, against the real server: what they print and exit with."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from haman.api import schema
from haman.cli import text
from haman.cli.root import cli
from haman.cli.status import headroom_line
from haman.controller.surface import Refused
from haman.core.headroom import Headroom, LossScenario, SurvivorLoad, Verdict
from haman.core.words import Alert, Reason, Role, Severity
from tests.api.serving import Served, serving

Run = Callable[..., Result]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def run(served: Served) -> Run:
    def call(*arguments: str) -> Result:
        return CliRunner().invoke(cli, [*arguments, "--socket", served.socket])

    return call


def lines(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [line.rstrip() for line in result.stdout.splitlines()]


def test_status_for_people(run: Run) -> None:
    assert lines(run("status")) == [
        "edge, as lb1 knows it at 12:03:11 UTC, active-passive",
        "",
        "SERVICE  STATE  HOLDER  SINCE  ADDRESSES",
        "web      ok     lb1     41 s   10.77.0.100/24",
        "",
        "NODE  CONDITION   PROXY           CLIENTS  BUSIEST   HEARD      SERVICES",
        "lb1   in-service  haproxy 2.6.12  812      cpu 41 %  here       web active 150",
        "lb2   in-service  haproxy 2.6.12  0        cpu 41 %  0.1 s ago  web backup 100",
        "",
        "N-1: ok: without lb1, lb2 has cpu at 82 % (steady)",
    ]


def test_status_in_trouble(served: Served, run: Run) -> None:
    served.call(lambda: served.agent.kill_proxy("lb1"))
    served.call(lambda: served.agent.saturate("lb2"))
    served.call(lambda: served.agent.lose("lb2", age_s=200))
    shown = "\n".join(lines(run("status")))
    assert "web      down   -       -      10.77.0.100/24" in shown
    assert "fault      haproxy 2.6.12, down" in shown
    assert "stale      haproxy 2.6.12" in shown
    assert "lb1: proxy haproxy (pid 812) died" in shown
    assert "lb2: last heard 3 min 20 s ago; it was saturated then; tls at 94 %" in shown
    assert "warning: lb2: tls at 94 % (saturated)" in shown


def test_status_of_a_peer_never_heard(served: Served, run: Run) -> None:
    served.call(lambda: served.agent.never_heard("lb2"))
    assert any(
        line.split() == ["lb2", "stale", "-", "-", "-", "never", "web", "unknown"]
        for line in lines(run("status"))
    )


def test_status_for_machines(run: Run) -> None:
    found = json.loads(run("status", "--json").stdout)
    assert found["services"][0]["holders"] == ["lb1"]


def test_status_again_and_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("haman.cli.status.time.sleep", sleep)
    shown = lines(run("status", "--watch", "--json", "--interval", "0.5"))
    assert looks == [0.5, 0.5, 0.5]
    assert [json.loads(line)["node"] for line in shown] == ["lb1", "lb1", "lb1"]


def test_status_says_why_a_service_is_degraded_and_a_fault_only_once(
    served: Served, run: Run
) -> None:
    served.call(lambda: served.agent.kill_proxy("lb1"))
    alert = Alert("fault", Severity.CRITICAL, "lb1: proxy haproxy (pid 812) died", 1, "lb1")
    served.agent.alerts = (alert,)
    shown = run("status").stdout
    assert "\nweb is degraded: no other node could take over now\n" in shown
    assert shown.count("proxy haproxy (pid 812) died") == 1


def test_status_of_a_survivor_that_is_not_heard() -> None:
    worst = schema.Worst(("lb2",), "lb1", "", "steady", 1.0)
    shown = click.unstyle(headroom_line(schema.Headroom("insufficient", worst)))
    assert shown == "N-1: insufficient: without lb2, lb1 would have to serve, and it is not heard"


def test_why(served: Served, run: Run) -> None:
    served.call(lambda: served.agent.kill_proxy("lb1"))
    shown = lines(run("why", "web"))
    assert shown == [
        "web is degraded: lb2 serves it; no other node could take over now",
        (
            "  lb2 serves it since 12:03:11 UTC (0 s): "
            "lb1 released it: proxy haproxy (pid 812) died."
        ),
        "  lb1 is released since 12:03:11 UTC (0 s), for that reason.",
        "",
        "What happened last, as this node saw it:",
        (
            "  2026-11-20T12:03:11.000Z lb1 vip-released: lb1 released web (proxy haproxy (pid 812) "
            "died)"
        ),
        (
            "  2026-11-20T12:03:11.000Z lb2 vip-acquired: lb2 acquired web (lb1 released it: proxy "
            "haproxy (pid 812) died)"
        ),
    ]
    assert json.loads(run("why", "web", "--json").stdout)["state"] == "degraded"


def test_why_of_nothing(run: Run) -> None:
    result = run("why", "nope")
    assert (result.exit_code, result.stderr) == (
        1,
        'haman: there is no service "nope"; known: web\n',
    )


def test_headroom(run: Run) -> None:
    shown = lines(run("headroom"))
    assert shown[0] == "N-1: ok: without lb1, lb2 has cpu at 82 % (steady)"
    assert shown[3].split() == ["lb1", "ok", "lb2", "cpu", "82", "%", "steady", "-", "-"]
    assert json.loads(run("headroom", "--json").stdout)["verdict"] == "ok"
    assert lines(run("headroom", "--without", "lb2"))[1].split()[:2] == ["lb2", "ok"]


def test_headroom_with_all_its_numbers(served: Served, run: Run, monkeypatch) -> None:
    why = (
        "if lb1 is lost, lb2 needs 2.33 s for the handshakes of 5369 clients, 433 µs each (default): "
        "93 % of half of the clients' timeout of 5 s"
    )
    load = SurvivorLoad("lb2", "tls", "storm", 0.93)
    lost = LossScenario(
        ("lb1",), Verdict.TIGHT, (load,), (Reason("storm-load", why),), 5772, 2.3252
    )
    site = LossScenario(("lb1", "lb3", "lb5", "lb7", "lb9"), Verdict.UNKNOWN)
    monkeypatch.setattr(
        served.agent, "_headroom", lambda: Headroom(Verdict.UNKNOWN, lost, (site, lost))
    )
    monkeypatch.setattr("haman.api.routes.assess_loss", lambda *_: lost)
    shown = lines(run("headroom"))
    assert max(map(len, shown)) <= 80
    assert shown[2].split() == ["LOST", "VERDICT", "BINDS", "SURVIVABLE", "DRAIN"]
    assert shown[3].split() == ["lb1,", "lb3,", "lb5", "and", "2", "more", "unknown", "-", "-", "-"]
    assert shown[4].split() == [
        "lb1",
        "tight",
        "lb2",
        "tls",
        "93",
        "%",
        "storm",
        "5772",
        "2.3",
        "s",
    ]
    assert " ".join(line.strip() for line in shown[6:]) == why
    assert len(lines(run("headroom", "--without", "lb1"))) == 5
    told = json.loads(run("headroom", "--without", "lb1", "--json").stdout)
    assert (told["survivable_connections"], told["drain_s"]) == (5772, 2.3252)
    assert run("headroom", "--without", "lb1", "--check").exit_code == 0


def test_headroom_without_several(served: Served, run: Run) -> None:
    both = ("headroom", "--without", "lb1", "--without", "lb2")
    assert "no other node is left" in " ".join(lines(run(*both)))
    assert run(*both, "--check").exit_code == 1
    assert "lb9" in run("headroom", "--without", "lb1", "--without", "lb9").stderr


def test_headroom_as_a_question(served: Served, run: Run) -> None:
    assert run("headroom", "--check").exit_code == 0
    served.agent.verdict = type(served.agent.verdict).INSUFFICIENT
    assert run("headroom", "--check").exit_code == 1
    assert run("headroom", "--without", "lb1", "--check").exit_code == 1
    assert run("headroom").exit_code == 0


def test_drain_and_undrain(served: Served, run: Run) -> None:
    assert lines(run("drain")) == ["lb1 is drained"]
    assert lines(run("undrain")) == ["lb1 is back in service"]
    assert lines(run("drain", "lb2", "--force")) == ["lb2 is drained"]
    assert served.agent.wishes == [("drain", "lb1"), ("undrain", "lb1"), ("drain", "lb2", "force")]


def test_an_unsafe_drain_is_refused_with_the_numbers(served: Served, run: Run) -> None:
    reason = Reason("n-minus-1", "without lb1, lb2 would reach tls at 93 %")
    served.agent.refusal = Refused("unsafe", "the others could not carry lb1's load", (reason,))
    result = run("drain", "lb1")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "haman: the others could not carry lb1's load\n"
        "  n-minus-1: without lb1, lb2 would reach tls at 93 %\n"
        "--force does it all the same\n"
    )
    assert run("drain", "lb1", "--force").exit_code == 0


def test_drain_waits_until_nothing_is_served(
    served: Served, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def sleep(_seconds: float) -> None:
        looks.append(1)
        served.agent.nodes["lb1"].role = Role.TAIL if len(looks) < 3 else Role.RELEASED

    monkeypatch.setattr(text.wait_until, "__kwdefaults__", {"clock": lambda: 0.0, "sleep": sleep})
    served.agent.nodes["lb2"].role = Role.INITIALIZE

    def keep(*_: object) -> None:
        served.agent.nodes["lb1"].role = Role.TAIL

    monkeypatch.setattr(served.agent, "_move_away", keep)
    assert lines(run("drain", "--wait")) == [
        "lb1 is drained",
        "lb1 serves nothing any more; 812 clients still connected",
    ]
    assert len(looks) == 3


def test_drain_waits_no_longer_than_told(
    served: Served, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.agent, "_move_away", lambda *_: None)
    result = run("drain", "--wait", "--timeout", "0.15")
    assert result.exit_code == 1
    assert result.stderr == (
        "haman: lb1 still serves web (active), 812 clients connected after 0.15 s; "
        "lb1 stays drained\n"
    )


def test_failover(served: Served, run: Run) -> None:
    assert lines(run("failover", "web", "--to", "lb2", "--wait")) == [
        "web moves from lb1",
        "web is served by lb2",
    ]
    assert served.agent.wishes == [("failover", "web", "lb2")]


def test_failover_that_does_not_happen(
    served: Served, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.agent, "_move_away", lambda *_: None)
    served.agent.nodes["lb2"].role = Role.INITIALIZE
    result = run("failover", "web", "--wait", "--timeout", "0.15")
    assert result.exit_code == 1
    assert "haman: web is served by nobody after 0.15 s" in result.stderr


def test_failover_of_nothing(run: Run) -> None:
    result = run("failover", "nope")
    assert (result.exit_code, result.stderr) == (1, 'haman: there is no VIP "nope"; known: web\n')


def test_pause_and_resume(served: Served, run: Run) -> None:
    assert lines(run("pause")) == ["automatic moves are held"]
    assert "paused" in lines(run("status"))[0]
    assert lines(run("resume")) == ["automatic moves go on"]
    assert not served.agent.paused


def test_events(served: Served, run: Run) -> None:
    served.call(lambda: [served.agent.emit("peer-lost", f"event {n}") for n in range(30)])
    assert len(lines(run("events"))) == 20
    assert lines(run("events"))[-1] == ("2026-11-20T12:03:11.000Z lb1 peer-lost web: event 29")
    assert len(lines(run("events", "--since", "25"))) == 5
    assert len(lines(run("events", "--since", "2026-11-20T12:00:00Z"))) == 30
    assert lines(run("events", "--since", "2036-11-20T12:00:00Z")) == []
    assert json.loads(lines(run("events", "--since", "29", "--json"))[0])["seq"] == 30


def test_more_events_than_a_page(served: Served, run: Run) -> None:
    served.call(lambda: [served.agent.emit("peer-lost", f"event {n}") for n in range(2500)])
    assert len(lines(run("events", "--since", "0"))) == 2500


def test_events_by_age(served: Served, run: Run) -> None:
    served.call(lambda: served.agent.emit("peer-lost", "long ago"))
    assert lines(run("events", "--since", "1s")) in ([], lines(run("events")))
    result = run("events", "--since", "yesterday")
    assert result.exit_code == 2
    assert "is neither a sequence number, nor an age like 15m" in result.stderr


def test_events_live(served: Served, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    served.call(lambda: served.agent.emit("peer-lost", "one"))
    shown: list[str] = []

    def echo(line: str = "", **_: object) -> None:
        shown.append(click.unstyle(line))
        if len(shown) == 1:
            served.call(lambda: served.agent.emit("peer-found", "two"))
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr("haman.cli.events.click.echo", echo)
    assert run("events", "--follow").exit_code == 0
    assert [line.rsplit(": ", 1)[1] for line in shown] == ["one", "two"]


@pytest.mark.parametrize(
    "verb",
    [
        ("status",),
        ("why", "web"),
        ("headroom",),
        ("events",),
        ("events", "--follow"),
        ("drain",),
        ("undrain",),
        ("failover", "web"),
        ("pause",),
        ("resume",),
    ],
    ids=" ".join,
)
def test_an_agent_that_is_not_there(verb: tuple[str, ...], tmp_path: Path) -> None:
    path = str(tmp_path / "none.sock")
    result = CliRunner().invoke(cli, [*verb, "--socket", path])
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr == (
        f"haman: {path}: no such socket; is the agent running? (another place: --socket PATH)\n"
    )


def test_the_socket_may_come_from_the_environment(served: Served) -> None:
    result = CliRunner().invoke(cli, ["status"], env={"HAMAN_SOCKET": served.socket})
    assert result.exit_code == 0


def test_a_target_that_is_none(run: Run) -> None:
    result = run("status", "--ssh", "ops@lb2:x")
    assert result.exit_code == 2
    assert '"ops@lb2:x" is not USER@HOST[:PORT]' in result.stderr


def test_a_host_that_is_not_reached(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    result = run("status", "--ssh", "ops@127.0.0.1:1")
    assert result.exit_code == 3
    assert result.stderr.startswith("haman: 127.0.0.1:1: ")


def test_words_have_colours_on_a_terminal_only(served: Served) -> None:
    coloured = CliRunner().invoke(cli, ["status", "--socket", served.socket], color=True)
    assert click.style("ok", fg="green") in coloured.output
    plain = CliRunner().invoke(cli, ["status", "--socket", served.socket])
    assert "\x1b" not in plain.output
