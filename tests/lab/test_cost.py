"""What an agent costs, by the kernel's books: tried on processes of this very test."""

import subprocess
import sys

import pytest

from haman.lab import cost, kernel

BUSY = "import threading,time\nthreading.Thread(target=lambda: [0 for _ in iter(int, 1)], daemon=True).start()\ntime.sleep(60)"
CHILDREN = "import subprocess\nwhile True: subprocess.run(['sh', '-c', 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done'])"


@pytest.mark.parametrize("code", [BUSY, CHILDREN], ids=["a thread", "children that it waits for"])
def test_time_of_threads_and_of_children_counts(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            monkeypatch.setattr(kernel, "processes_beside", lambda _: [(process.pid, "agent")])
            assert kernel.wait_until(lambda: cost.cost(1, "agent", 0.3).cpu_percent > 2, 20)
            assert cost.cost(1, "agent", 0.1).pss_mb > 1
            assert cost.cost(1, "other", 0.0) == cost.Cost(0.0, 0.0)
        finally:
            process.kill()


def test_what_has_ended_meanwhile_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
        monkeypatch.setattr(kernel, "processes_beside", lambda _: [(process.pid, "agent")])
        assert cost.cost(1, "agent", 0.0) == cost.Cost(0.0, 0.0)
