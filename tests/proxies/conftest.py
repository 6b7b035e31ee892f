"""Fixtures of the proxies' tests."""

from pathlib import Path

import pytest

from haman.proxies.process import ProcessSet
from tests.proxies.table import Box, FakeTable


@pytest.fixture
def box(tmp_path: Path) -> Box:
    table = FakeTable()
    pidfile = tmp_path / "pid"
    pidfile.write_text("10\n")
    return Box(table, pidfile, ProcessSet(table, pidfile=str(pidfile)))
