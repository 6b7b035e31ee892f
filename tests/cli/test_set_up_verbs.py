"""check, keygen, and the frame around all verbs."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import haman
from haman.cli.root import VERBS, cli
from haman.cluster.keys import parse_keys, read_key_file
from tests.api.serving import serving

GOOD = """
[node]
name = "lb1"
[cluster]
key_file = "{folder}/cluster.key"
listen = "10.77.0.11:4710"
[[cluster.peer]]
name = "lb2"
addresses = ["10.77.0.12:4710"]
[proxy]
kind = "haproxy"
socket = "/run/haproxy/admin.sock"
[proxy.probe]
address = "127.0.0.1:443"
[[vip]]
name = "web"
interface = "eth0"
vrid = 51
priority = 100
addresses = ["10.77.0.100/24"]
[api]
socket = "{folder}/haman.sock"
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def call(text: str) -> str:
        path = tmp_path / "haman.toml"
        path.write_text(text.replace("{folder}", str(tmp_path)))
        return str(path)

    return call


Write = Callable[[str], str]


def test_a_good_file(write: Write) -> None:
    path = write(GOOD)
    result = run("check", "--strict", "--offline", path)
    assert (result.exit_code, result.stdout) == (0, f"{path}: ok\n")


def test_every_problem(write: Write) -> None:
    path = write(GOOD.replace("vrid = 51", "vrid = 300").replace("[api]", "[apy]"))
    result = run("check", path)
    assert result.exit_code == 2
    assert result.stdout.splitlines() == [
        f"{path}: apy: unknown key; did you mean api?",
        f"{path}: vip[web].vrid: must be at least 1 and at most 255, not 300",
    ]


def test_a_syntax_error(write: Write) -> None:
    path = write("[node\n")
    result = run("check", path)
    assert result.exit_code == 2
    assert result.stdout.startswith(f"{path}:1:6: ")


def test_a_missing_file(tmp_path: Path) -> None:
    path = str(tmp_path / "none.toml")
    result = run("check", path)
    assert (result.exit_code, result.stdout) == (
        2,
        f"{path}: cannot be read: No such file or directory\n",
    )


def test_warnings_fail_only_when_strict(write: Write) -> None:
    path = write(GOOD + "[engine]\nlease_s = 3")
    result = run("check", "--offline", path)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{path}: engine.lease_s: warning: is shorter than a take-over")
    assert run("check", "--offline", "--strict", path).exit_code == 1


def test_the_host_is_looked_at(write: Write, tmp_path: Path) -> None:
    path = write(GOOD.replace('interface = "eth0"', 'interface = "nosuch0"'))
    shown = run("check", path).stdout
    assert f'{path}: vip[web].interface: warning: this host has no interface "nosuch0"' in shown
    key = tmp_path / "cluster.key"
    assert f"{path}: cluster.key_file: warning: {key}: no such file; make one with" in shown
    run("keygen", str(key))
    assert "cluster.key_file" not in run("check", path).stdout


def test_the_loopback_network_is_seen(write: Write) -> None:
    path = write(GOOD.replace('interface = "eth0"', 'interface = "lo"'))
    assert "10.77.0.100 is in no network of lo (127.0.0.0/8" in run("check", path).stdout


def test_a_running_agent_is_asked(write: Write, tmp_path: Path) -> None:
    path = write(GOOD)
    with serving(tmp_path):
        assert (
            f"{path}: vip[web].priority: warning: 100 is also the priority of lb2"
            in run("check", path).stdout
        )
        # The agent of another node knows nothing of this file.
        other = write(GOOD.replace('name = "lb1"', 'name = "lb7"'))
        assert "vip[web].priority" not in run("check", other).stdout


def test_a_key_on_stdout() -> None:
    (key,) = parse_keys(run("keygen").stdout.encode(), "stdout")
    assert len(key.secret) == 32


def test_a_key_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cluster.key"
    result = run("keygen", str(path))
    assert result.exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_text()
    result = run("keygen", str(path))
    assert result.exit_code == 1
    assert "exists, and a key is never overwritten" in result.stderr
    assert path.read_text() == before


def test_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "cluster.key"
    run("keygen", str(path))
    path.write_text("# edge\n" + path.read_text().rstrip())
    path.chmod(0o640)
    (old,) = read_key_file(path)
    assert run("keygen", "--rotate", str(path)).exit_code == 0
    first, second = read_key_file(path)
    assert first == old
    assert second != old
    assert path.read_text().startswith("# edge\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["cluster.key"]  # noqa: PTH208 - names are what matters
    result = run("keygen", "--rotate", str(path))
    assert result.exit_code == 1
    assert "holds 2 keys already; finish that rotation first" in result.stderr


def test_keygen_where_it_cannot_be(tmp_path: Path) -> None:
    assert run("keygen", str(tmp_path / "no" / "folder.key")).exit_code == 1
    assert run("keygen", "--rotate", str(tmp_path / "none.key")).exit_code == 1
    assert run("keygen", "--rotate").exit_code == 2
    broken = tmp_path / "broken.key"
    broken.write_text("nonsense\n")
    broken.chmod(0o600)
    assert "malformed" in run("keygen", "--rotate", str(broken)).stderr


def test_version_and_unknown_verbs() -> None:
    assert run("--version").stdout == f"haman, version {haman.__version__}\n"
    assert run("nosuch").exit_code == 2
    assert run("status", "--nosuch").exit_code == 2


def test_help_names_every_verb_but_the_inner_one() -> None:
    shown = run("--help").stdout
    for name, verb in VERBS.items():
        assert (f"  {name} " in shown) is bool(verb.section)
    assert "controller" not in shown


@pytest.mark.parametrize("verb", [n for n, v in VERBS.items() if v.module.startswith("haman.cli.")])
def test_every_verb_has_help(verb: str) -> None:
    result = run(verb, "--help")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Usage: ")


def test_examples_are_shown_as_they_are() -> None:
    assert "\nExamples:\n  haman drain --wait && systemctl" in run("drain", "--help").stdout


def loaded(*arguments: str) -> set[str]:
    code = (
        "import sys\nfrom haman.cli.root import cli\n"
        f"try:\n cli({list(arguments)!r})\nexcept SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stderr.splitlines()[-1].split()}


@pytest.mark.parametrize(
    "arguments", [("--help",), ("status", "--socket", "/nowhere"), ("keygen",)]
)
def test_verbs_load_only_what_they_need(arguments: tuple[str, ...]) -> None:
    heavy = {"aiohttp", "paramiko", "prometheus_client", "pyroute2", "rich", "textual"}
    assert not loaded(*arguments) & heavy


def of_its_own(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "haman.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-c", "x", "--engine-fd")])
def test_nobody_but_the_agent_starts_a_controller(arguments: tuple[str, ...]) -> None:
    result = of_its_own("controller", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "the agent starts it, nobody else" in result.stderr


@pytest.mark.parametrize("option", ["-c", "--config"])
def test_an_agent_refuses_a_bad_configuration(write: Write, option: str) -> None:
    path = write("[nod]")
    result = of_its_own("agent", option, path)
    assert result.returncode == 2
    assert f"{path}: nod: unknown key; did you mean node?" in result.stderr


def test_what_is_odd_about_the_command_line_of_an_agent_is_told() -> None:
    result = of_its_own("agent", "--confg", "x")
    assert result.returncode == 2
    assert "No such option" in result.stderr


def test_the_controller_refuses_a_bad_configuration(write: Write) -> None:
    path = write("[nod]")
    result = of_its_own("controller", "-c", path, "--engine-fd", "3")
    assert result.returncode == 2
    assert f"{path}: nod: unknown key; did you mean node?" in result.stderr


def test_a_second_agent_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    """It would take the addresses of the first for leftovers."""
    path = tmp_path / "haman.toml"
    api = str(tmp_path / "haman.sock")
    path.write_text(
        f'[proxy]\nkind = "process"\nprocess = "x"\n[api]\nsocket = "{api}"\n', encoding="utf-8"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as first:
        first.bind("\0" + f"haman-agent:{api}"[-107:])
        result = run("agent", "-c", str(path))
    assert result.exit_code == 1
    assert f"another agent runs here ({api})" in result.stderr


def test_a_verb_that_was_mistyped() -> None:
    result = run("stauts")
    assert result.exit_code == 2
    assert "No such command 'stauts'. Did you mean status?" in result.output
    assert "Did you mean" not in run("xyzzy").output


def test_one_address_is_no_ticket_check() -> None:
    result = run("calibrate", "-c", "/nonexistent.toml", "--tickets", "127.0.0.1:443")
    assert result.exit_code == 2
    assert "--tickets wants 2 to" in result.output
