"""The real program in a real terminal, on the live pair lab."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from haman.cli.lab import make_cluster_key
from haman.lab import faults, lab, run
from haman.lab.drill import Step
from tests.api.serving import serving
from tests.lab.labs import quiet
from tests.tui.terminal import Terminal

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.real("tmux"),
    pytest.mark.skipif(not shutil.which("tmux"), reason="needs tmux"),
]
SHIPPED = Path(__file__).parents[2] / "lab"
HAMAN = (sys.executable, "-m", "haman.cli")
TUI = (*HAMAN, "tui")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Lab]:
    tree = tmp_path_factory.mktemp("tree")
    (tree / ".git").mkdir()
    path = Path(shutil.copytree(SHIPPED, tree / "lab")) / "pair.clab.yml"
    try:
        yield lab.up(path, make_cluster_key, say=quiet)
    finally:
        lab.down(path)


@pytest.fixture
def terminal(pair: lab.Lab, tmp_path: Path) -> Iterator[Terminal]:
    """The terminal UI on the agent of lb2."""
    socket = f"/proc/{pair.runtime.pids['lb2']}/root/run/haman/haman.sock"
    shown = Terminal(tmp_path, [*TUI, "--socket", socket], (120, 40))
    try:
        shown.shows("lb2 answers", "● live", "◆ active")
        yield shown
    finally:
        shown.close()
        run.recover(pair)


def row_of(screen: str, node: str) -> str:
    """The line of a node in the matrix, the first that begins with its name."""
    inside = (line.strip("│▌ ") for line in screen.splitlines())
    return next((line for line in inside if line.startswith(f"{node} ")), "")


@pytest.mark.privileged
@pytest.mark.real("haproxy")
def test_the_proxy_is_killed_and_the_screen_tells_it(pair: lab.Lab, terminal: Terminal) -> None:
    faults.inflict(pair.runtime, Step(at_s=0, fault="kill", node="lb1", process="haproxy"))
    terminal.until(lambda s: "✖ fault" in row_of(s, "lb1"), "lb1 is in fault")
    terminal.until(lambda s: "◆ active" in row_of(s, "lb2"), "lb2 is active")
    terminal.shows("web degraded")
    terminal.press("Right", "w")
    terminal.shows("lb2 serves it since", "haproxy")


@pytest.mark.privileged
@pytest.mark.real("haproxy")
def test_a_drain_from_the_screen_moves_the_address(pair: lab.Lab, terminal: Terminal) -> None:
    assert pair.holders() == {"web": ("lb1",)}
    terminal.until(lambda s: "lb1" in s, "lb1")
    while "▌ lb1" not in terminal.screen:
        terminal.press("Down")
        terminal.until(lambda s: "▌ lb" in s, "the cursor")
    terminal.press("d")
    terminal.shows("Drain lb1?", "web is handed over to lb2", "Headroom afterwards")
    terminal.press("y")
    # An idle lab may not know its headroom, and then the agent wants to be forced: by the name.
    screen = terminal.until(lambda s: "lb1 is drained" in s or "and press Enter" in s, "an answer")
    if "and press Enter" in screen:
        terminal.press("l", "b", "1", "Enter")
    terminal.shows("● lb1 is drained", "● web is served by lb2", "Done.")
    assert pair.holders() == {"web": ("lb2",)}
    terminal.press("Escape")
    terminal.until(lambda s: "○ drained" in row_of(s, "lb1"), "lb1 is drained")


@pytest.fixture
def operator(pair: lab.Lab, tmp_path: Path) -> Iterator[Terminal]:
    """The terminal UI where an operator is: on the client, through SSH to lb1."""
    checkout = str(pair.topology.path.parent.parent)
    inside = ["env", "-C", checkout, *HAMAN, "lab", "exec", "client", "--"]
    words = ["haman", "tui", "--ssh", "root@10.77.0.11", "--identity", "/etc/lab/ssh/client_key"]
    runs = f"HAMAN_RUNS={tmp_path / 'runs'}"
    shown = Terminal(tmp_path, [*inside, "env", runs, *words], (120, 40))
    try:
        shown.shows("lb1 answers", "● live", "◆ active")
        yield shown
    finally:
        shown.close()
        run.recover(pair)


def begin_rolling_restart(terminal: Terminal) -> None:
    """Choose it, give it the lab's own command, confirm it."""
    terminal.press("6")
    terminal.shows("rolling-restart", "On each node, 8 at once:")
    names = [line.strip("│▌ ").split(" ")[0] for line in terminal.screen.splitlines()]
    for _ in range(names.index("rolling-restart") - names.index("collect-support")):
        terminal.press("Down")
    terminal.shows("▌ rolling-restart ")
    terminal.until(lambda s: "On each node, one at a time" in s, "what it does")
    terminal.press("Enter")
    terminal.shows("connections_max", "Next")
    terminal.press("C-u")
    terminal.until(lambda s: "│  systemctl restart" not in s, "the line is empty")
    terminal.type("/etc/lab/service.sh restart haproxy", "│  /etc/lab/service.sh restart haproxy")
    terminal.press("C-n")
    terminal.shows("Run rolling-restart?", "Headroom without", "/etc/lab/service.sh restart")
    terminal.press("y")


@pytest.mark.privileged
@pytest.mark.real("haproxy")
@pytest.mark.real("sshd")
@pytest.mark.skipif(not shutil.which("/usr/sbin/sshd"), reason="needs openssh-server")
def test_a_playbook_run_from_the_screen(pair: lab.Lab, operator: Terminal, tmp_path: Path) -> None:
    before = {
        n: pair.runtime.exec(n, ["cat", "/run/haproxy/haproxy.pid"]).stdout for n in ("lb1", "lb2")
    }
    begin_rolling_restart(operator)
    operator.shows("▸ running", "● restart the proxy")
    operator.shows("● done  16 of 16 steps", "v shows the report")  # which is told after the end
    operator.press("v")
    operator.shows("# rolling-restart: done", "serves again, and nothing is worse")
    operator.press("Escape")
    operator.until(lambda s: "Report:" not in s, "the report is closed")
    operator.press("q")
    operator.shows("ended with 0")
    after = {n: pair.runtime.exec(n, ["cat", "/run/haproxy/haproxy.pid"]).stdout for n in before}
    assert all(after[n] != before[n] for n in before)
    (journal,) = (tmp_path / "runs").glob("rolling-restart-*.jsonl")
    assert '"verdict":"done"' in journal.read_text()


@pytest.mark.privileged
@pytest.mark.real("haproxy")
@pytest.mark.real("sshd")
@pytest.mark.skipif(not shutil.which("/usr/sbin/sshd"), reason="needs openssh-server")
def test_a_screen_that_is_left_stops_its_run_which_can_be_resumed(
    pair: lab.Lab, operator: Terminal, tmp_path: Path
) -> None:
    begin_rolling_restart(operator)
    operator.shows("▸ running", "● drain, until it serves nothing")
    child = operator.pid_of("--events")
    operator.press("q")
    operator.shows("Stop and leave", "haman playbook resume")
    operator.press("y")
    operator.shows("was told to stop", "haman playbook resume", "ended with 0")
    operator.until(lambda _: not Path(f"/proc/{child}").exists(), "its program has ended")
    (journal,) = (tmp_path / "runs").glob("rolling-restart-*.jsonl")
    assert '"verdict":"interrupted"' in journal.read_text()
    words = ["haman", "playbook", "resume", journal.stem, "--journal", str(tmp_path / "runs")]
    done = pair.runtime.exec("client", [*words, "-i", "/etc/lab/ssh/client_key"], timeout_s=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("end", "status"), [("q", 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_it_leaves_the_terminal_as_it_was(tmp_path: Path, end: str | int, status: int) -> None:
    with serving(tmp_path) as agent:
        shown = Terminal(tmp_path, [*TUI, "--socket", agent.socket], (80, 24))
        try:
            shown.shows("● live", "lb2")
            assert shown.modes == "1 1"
            if isinstance(end, str):
                shown.press(end)
            else:
                os.kill(shown.pid_of("haman.cli"), end)
            screen = shown.shows(f"ended with {status}")
            assert shown.modes == "0 0"
            assert "Traceback" not in screen
        finally:
            shown.close()


def test_without_colour_no_colour_reaches_the_terminal(tmp_path: Path) -> None:
    with serving(tmp_path) as agent:
        command = ["env", "NO_COLOR=1", *TUI, "--socket", agent.socket]
        shown = Terminal(tmp_path, command, (80, 24))
        try:
            shown.shows("● live", "lb2")
            coloured = shown._tmux("capture-pane", "-p", "-e")
            codes = {
                c for part in coloured.split("\x1b[")[1:] for c in part.partition("m")[0].split(";")
            }
            hues = {str(n) for n in (*range(31, 37), *range(41, 47), *range(91, 97))}
            assert not codes & hues
        finally:
            shown.close()
