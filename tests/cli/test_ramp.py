"""The ramp: refused on a node that holds load, bounded, and told truly."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from haman.api import schema
from haman.api.client import Client
from haman.cli.ramp import refusal, render
from haman.cli.root import cli
from haman.controller.ramp import Outcome, Ramp, step
from haman.core import calibration
from haman.core.calibration import Calibration, HandshakeCost
from haman.core.knee import Knee, Step
from tests.api.serving import Served, serving
from tests.proxies.rig import Haproxy, free_port, haproxy, running


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as started:
        yield started


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Haproxy]:
    with running(tmp_path) as started:
        yield started


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["calibrate", *arguments])


def quiet(found: schema.Status, **more) -> schema.Status:
    """The same cluster, where this node holds nothing."""
    nodes = tuple(
        msgspec.structs.replace(n, connections=more.get("connections", 3))
        for n in found.nodes
        if not (more.get("unheard") and n.name == found.node)
    )
    services = tuple(
        msgspec.structs.replace(
            s,
            members=tuple(
                msgspec.structs.replace(
                    m,
                    role=more.get("role", "backup") if m.node == found.node else "active",
                    stance=more.get("stance", "") if m.node == found.node else "full",
                )
                for m in s.members
            ),
        )
        for s in found.services
    )
    return msgspec.structs.replace(found, nodes=nodes, services=services)


def test_a_node_without_load_may_be_ramped(served) -> None:
    found = Client(served.socket).status()
    assert refusal(quiet(found)) == ""
    assert refusal(quiet(found, role="released")) == ""
    assert refusal(quiet(found, stance="withdrawn")) == ""


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"role": "active"}, "lb1 serves web"),
        ({"role": "tail"}, "lb1 serves web"),
        ({"stance": "full"}, "lb1 serves web"),
        ({"stance": "shut"}, "lb1 serves web"),
        ({"connections": 11}, "lb1 has 11 clients"),
        ({"connections": None}, "not known, which counts as many"),
        ({"unheard": True}, "not known, which counts as many"),
    ],
    ids=str,
)
def test_a_node_with_load_may_not(served, more, words) -> None:
    assert words in refusal(quiet(Client(served.socket).status(), **more))


def test_the_agent_is_asked_before_the_first_handshake(served) -> None:
    result = run("--ramp", f"127.0.0.1:{free_port()}", "--socket", served.socket)
    assert result.exit_code == 1
    assert "lb1 serves web" in result.stderr
    assert "drain it first, or --force" in result.stderr
    assert result.stdout == ""


def test_without_an_agent_nothing_is_ramped(tmp_path) -> None:
    result = run("--ramp", f"127.0.0.1:{free_port()}", "--socket", str(tmp_path / "none"))
    assert result.exit_code == 1
    assert "name it with --ssh" in result.stderr


def test_bad_options(served) -> None:
    assert run("--ramp", "lb1:443", "--socket", served.socket).exit_code == 2
    upside_down = run("--ramp", "127.0.0.1:443", "--from", "9", "--to", "5")
    assert upside_down.exit_code == 2
    assert "--from 9 is above --to 5" in upside_down.stderr


@haproxy
def test_a_forced_ramp_that_does_not_reach_the_knee_says_so(tmp_path, proxy) -> None:
    result = run(
        *("--ramp", f"127.0.0.1:{proxy.tls_port}", "--socket", str(tmp_path / "none")),
        *("--force", "--from", "10", "--to", "12", "--time-limit-s", "8"),
    )
    assert result.exit_code == 1, result.output
    assert "going on, as --force says" in result.stderr
    assert "OFFERED" in result.stdout
    assert "the knee is above" in result.stdout or "no knee" in result.stdout


def test_a_dead_listener_has_no_knee() -> None:
    steps, found = Ramp(f"127.0.0.1:{free_port()}", "", 20, 40, 1.0, 8, 1).run(lambda _: None)
    assert len(steps) == 1
    assert steps[0].served_per_s == 0
    assert (found.served_per_s, "100 % failed" in found.text) == (None, True)


def test_what_processes_saw_becomes_one_step() -> None:
    one = Outcome((0.01, 0.02, 0.03), (0.0, 0.0, 0.001), 0)
    other = Outcome((0.04,), (0.0, 0.0, 0.0), 2)
    found = step([one, other], seconds=2.0)
    assert (found.offered_per_s, found.served_per_s) == (3.0, 2.0)
    assert found.failed == pytest.approx(1 / 3)
    assert found.p50_s == pytest.approx(0.025)
    assert found.p99_s == pytest.approx(0.04, abs=0.001)


def test_the_verdict_in_words() -> None:
    steps = [Step(100, 100, 0.0, 0.003, 0.01, 0.0), Step(125, 90, 0.0, 0.2, 0.9, 0.0)]
    shown = render(steps, Knee(100, reached=True, text="at 125/s p99 rose to 900 ms"))
    assert shown.endswith("the knee is at 100 full handshakes/s: at 125/s p99 rose to 900 ms")
    assert "█" * 30 in shown
    assert "start lower" in render(steps[:1], Knee(None, reached=True, text="x"))


def test_the_knee_is_kept_in_the_calibration(tmp_path) -> None:
    path = tmp_path / "haman.toml"
    path.write_text(f"""
[node]
name = "lb1"
[proxy]
kind = "haproxy"
socket = "/run/x.sock"
[state]
directory = "{tmp_path}"
""")
    early = run("-c", str(path), "--knee", "1900")
    assert early.exit_code == 1
    assert "measure what handshakes cost first" in early.stderr
    cost = HandshakeCost("127.0.0.1:443", "rsa-2048", "TLSv1.3", 433e-6, 201e-6, 60, "sha256:AB")
    before = Calibration(7, "haproxy", (cost,))
    file = tmp_path / calibration.FILE
    file.write_text(calibration.encode(before))
    assert run("-c", str(path), "--knee", "1900").exit_code == 0
    after = calibration.decode(file.read_bytes())
    assert after.knee_full_per_s == 1900
    assert after.costs[0].fingerprint == "sha256:AB"
