"""The tests' own leash, for programs that would outlive tests that are killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.engine.net import wait

CODE = """
import subprocess, sys, time
from tests import leash
for held in (True, False):
    started = subprocess.Popen(["sleep", "60"], start_new_session=True, stdout=subprocess.DEVNULL)
    leash.hold(started.pid)
    if not held:
        leash.give_back(started.pid)
    print(started.pid, flush=True)
time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_is_held_ends_with_tests_that_are_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE) as tests:
        assert tests.stdout
        held, given_back = int(tests.stdout.readline()), int(tests.stdout.readline())
        try:
            assert alive(held)
            tests.kill()
            wait(lambda: not alive(held), what="the leash")
            assert alive(given_back)
        finally:
            os.kill(given_back, signal.SIGKILL)
