"""A control group with a CPU quota, made for a test."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TREES = ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup")


@contextmanager
def quota_group(quota_us: int) -> Iterator[Path]:
    """A group of whichever version can be written here; else the test is skipped, with the reason."""
    tree = next((p for p in map(Path, TREES) if p.exists()), None)
    if tree is None:
        pytest.skip("no control groups are mounted")
    group = tree / f"haman-test-{os.getpid()}"
    try:
        group.mkdir()
        if (group / "cpu.cfs_quota_us").exists():
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        elif (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{quota_us} 100000")
        else:
            group.rmdir()
            pytest.skip("the cpu controller is not enabled here")
    except OSError as error:
        if group.exists():
            group.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield group
    finally:
        end = time.monotonic() + 10
        while (group / "cgroup.procs").read_text() and time.monotonic() < end:
            time.sleep(0.01)
        group.rmdir()
