"""What is run on nodes, run here: marks, deadlines, files put in place and back, locks."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from haman.playbook import shell
from haman.playbook.shell import Place


def sh(text: str, given: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["sh", "-c", text], check=False, capture_output=True, input=given)
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(str(tmp_path / "state"), "run-1")


def awaits(path: Path) -> str:
    """Part of a command: it goes on once the test has come that far."""
    return f"until [ -e {path} ]; do sleep 0.02; done"


def test_a_command_is_run_once_and_its_status_is_kept(place: Place, tmp_path: Path) -> None:
    count = tmp_path / "count"
    text = shell.marked(place, "lb1/1", 1, f"echo said; echo x >>{count}; exit 7", 10)
    assert sh(shell.look(place, "lb1/1", 1)).stdout.split() == [shell.NEVER]
    first = sh(text)
    assert (first.returncode, first.stdout) == (7, "said\n")
    assert sh(text).returncode == 7
    assert count.read_text() == "x\n"
    assert sh(shell.look(place, "lb1/1", 1)).stdout.split() == [shell.ENDED, "7"]
    assert sh(shell.marked(place, "lb1/1", 2, "true", 10)).returncode == 0


def test_both_streams_come(place: Place) -> None:
    done = sh(shell.marked(place, "k", 1, "echo out; echo err >&2", 10))
    assert sorted(done.stdout.split()) == ["err", "out"]


def test_a_command_that_hangs_is_ended_by_the_node_itself(place: Place, tmp_path: Path) -> None:
    pid = tmp_path / "pid"  # which a machine that is busy writes late
    done = sh(shell.marked(place, "k", 1, f"echo $$ >{pid}; sleep 100", 2))
    assert done.returncode == shell.TIMED_OUT
    assert not Path("/proc", pid.read_text().strip()).exists()


def test_a_command_outlives_whoever_listens(place: Place, tmp_path: Path) -> None:
    """The connection is cut: nobody reads any more, and the command still does all of its work."""
    ready, go, result = tmp_path / "ready", tmp_path / "go", tmp_path / "result"
    command = f"echo begun; touch {ready}; {awaits(go)}; for i in $(seq 2000); do echo line $i; done; echo whole >{result}"
    text = shell.marked(place, "k", 1, command, 30)
    process = subprocess.Popen(["sh", "-c", text], stdout=subprocess.PIPE)
    assert process.stdout is not None
    until(ready.exists)
    assert sh(shell.look(place, "k", 1)).stdout.split() == [shell.RUNNING]
    assert sh(text).returncode == shell.BEGUN
    process.stdout.close()
    go.touch()
    until(result.exists)
    process.wait(10)
    assert sh(shell.look(place, "k", 1)).stdout.split() == [shell.ENDED, "0"]


def test_a_command_outlives_a_hang_up(place: Place, tmp_path: Path) -> None:
    ready, go, result = tmp_path / "ready", tmp_path / "go", tmp_path / "result"
    command = f"touch {ready}; {awaits(go)}; echo whole >{result}"
    text = shell.marked(place, "k", 1, command, 30)
    process = subprocess.Popen(["sh", "-c", text], start_new_session=True)
    until(ready.exists)
    os.killpg(process.pid, signal.SIGHUP)
    go.touch()
    assert process.wait(10) == 0
    assert result.exists()


def test_a_command_whose_node_restarted_is_lost(place: Place) -> None:
    mark = Path(place.mark("k", 1) + ".begun")
    mark.parent.mkdir(parents=True)
    gone = subprocess.Popen(["true"])
    gone.wait()
    mark.write_text(f"{gone.pid}\n")
    assert sh(shell.look(place, "k", 1)).stdout.split() == [shell.LOST]


def until(condition: object) -> None:
    deadline = time.monotonic() + 10
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def arrive(place: Place, target: Path, content: bytes, **more: str) -> int:
    temporary = f"{target}.new"
    assert sh(shell.receive(temporary), content).returncode == 0
    return sh(shell.put(shell.Arrival(temporary, str(target), place.kept("k"), **more))).returncode


@pytest.fixture
def target(tmp_path: Path, place: Place) -> Path:
    Path(place.folder).mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc/x.cfg"


def test_a_file_is_put_in_place_and_back(place: Place, target: Path) -> None:
    target.write_text("old")
    target.chmod(0o640)
    assert arrive(place, target, b"new") == 0
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert sh(shell.restore(place.kept("k"), str(target))).returncode == 0
    assert target.read_text() == "old"
    assert [p.name for p in target.parent.iterdir()] == ["x.cfg"]


def test_what_was_not_there_is_taken_away_again(place: Place, target: Path) -> None:
    assert arrive(place, target, b"new", mode="0600") == 0
    assert target.stat().st_mode & 0o777 == 0o600
    assert sh(shell.restore(place.kept("k"), str(target))).returncode == 0
    assert not target.exists()


def test_the_first_thing_that_was_replaced_is_kept_over_further_attempts(
    place: Place, target: Path
) -> None:
    target.write_text("old")
    assert arrive(place, target, b"one") == 0
    assert arrive(place, target, b"two") == 0
    sh(shell.restore(place.kept("k"), str(target)))
    assert target.read_text() == "old"


def test_a_file_that_is_not_accepted_leaves_no_trace(place: Place, target: Path) -> None:
    target.write_text("old")
    assert arrive(place, target, b"bad", validate="grep -q good {}".format(f"{target}.new")) != 0
    assert target.read_text() == "old"
    assert [p.name for p in target.parent.iterdir()] == ["x.cfg"]
    sh(shell.restore(place.kept("k"), str(target)))
    assert target.read_text() == "old"


def test_a_link_stays_and_what_it_leads_to_is_replaced(place: Place, target: Path) -> None:
    real = target.parent / "real.cfg"
    real.write_text("old")
    target.symlink_to(real)
    assert arrive(place, target, b"new") == 0
    assert target.is_symlink()
    assert real.read_text() == "new"


def test_half_a_file_never_stays(tmp_path: Path) -> None:
    """The file may not grow beyond 512 bytes: as on a full disk, cat fails."""
    text = f"ulimit -f 1; trap '' XFSZ; {shell.receive(str(tmp_path / 'x'))}"
    done = sh(text, b"y" * 100_000)
    assert done.returncode != 0
    assert list(tmp_path.iterdir()) == []


def test_one_run_at_a_time(place: Place) -> None:
    other = Place(place.directory, "run-2")
    assert sh(shell.lock(place, "me@here")).returncode == 0
    assert sh(shell.lock(place, "me@here")).returncode == 0
    refused = sh(shell.lock(other, "you@there"))
    assert refused.returncode == shell.LOCKED
    assert refused.stdout == "run-1\nme@here\n"
    sh(shell.unlock(other))
    assert sh(shell.lock(other, "you@there")).returncode == shell.LOCKED
    sh(shell.unlock(place))
    assert sh(shell.lock(other, "you@there")).returncode == 0


def test_marks_of_old_runs_are_forgotten(place: Place) -> None:
    for number in range(shell.RUNS_KEPT + 3):
        sh(shell.marked(Place(place.directory, f"old-{number}"), "k", 1, "true", 10))
    sh(shell.lock(place, "me"))
    sh(shell.unlock(place))
    assert len(list(Path(place.directory).iterdir())) == shell.RUNS_KEPT
