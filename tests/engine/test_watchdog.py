"""Who is told that the loop turns."""

import os
from pathlib import Path

from haman.config.model import Engine
from haman.core.words import Event
from haman.engine.reporter import Reporter
from haman.engine.watchdog import NS_PER_S, Watchdog
from haman.system.systemd import Notifier


def watchdog(device: str, told: list[Event], **environment: str) -> tuple[Watchdog, Notifier]:
    notifier = Notifier(environment)
    config = Engine(watchdog=device, watchdog_s=6)
    return Watchdog(config, notifier, Reporter(told.append)), notifier


def test_a_device_is_fed_three_times_within_its_time_and_disarmed(tmp_path: Path) -> None:
    path = tmp_path / "watchdog"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    told: list[Event] = []
    made, _ = watchdog(str(path), told)
    made.begin(0)
    for tenth in range(61):
        made.turn(tenth * NS_PER_S // 10)
    assert os.read(reading, 100) == b"...."  # at 0, 2, 4 and 6 s
    made.close()
    assert os.read(reading, 100) == b"V"
    assert os.read(reading, 100) == b""
    assert made.deadline_ns is None
    os.close(reading)
    assert not told


def test_it_is_off_unless_it_is_asked_for() -> None:
    told: list[Event] = []
    made, _ = watchdog("", told)
    made.begin(0)
    assert made.deadline_ns is None
    made.close()
    assert not told


def test_a_device_that_is_not_there_is_told_and_nothing_else(tmp_path: Path) -> None:
    told: list[Event] = []
    made, _ = watchdog(str(tmp_path / "none"), told)
    made.begin(0)
    made.turn(0)
    assert [event.type for event in told] == ["watchdog-refused"]
    assert "No such file" in told[0].text
    made.close()
