"""What was measured of this node is used when it changes; a ticket check that failed is an alert."""

from pathlib import Path

import pytest

from haman.config.model import Config, State
from haman.controller.kept import NS_PER_S, Kept
from haman.controller.settings import read_tickets
from haman.core import calibration, tickets
from haman.core.calibration import Calibration, HandshakeCost
from haman.core.tickets import TicketCheck, TicketPair
from tests.controller.test_senses import HostClock, Senses


def config(folder: Path) -> Config:
    return Config(state=State(directory=str(folder)))


def written(folder: Path, *resumed: bool) -> None:
    pairs = tuple(TicketPair(f"10.0.0.{n}:443", "10.0.0.9:443", r) for n, r in enumerate(resumed))
    (folder / tickets.FILE).write_text(tickets.encode(TicketCheck(7, pairs)))


def alerts(folder: Path) -> dict[str, str]:
    senses = Senses(config(folder), HostClock(), lambda: None)
    return {alert.code: alert.text for alert in senses.snapshot().alerts}


def test_tickets_that_are_not_shared(tmp_path: Path) -> None:
    written(tmp_path, True, False)
    text = alerts(tmp_path)["tickets-not-shared"]
    assert "of 10.0.0.1:443 at 10.0.0.9:443" in text
    assert "10.0.0.0" not in text
    written(tmp_path, *[False] * 5)
    assert "and 2 more" in alerts(tmp_path)["tickets-not-shared"]


def test_shared_tickets_and_no_check_are_no_alert(tmp_path: Path) -> None:
    assert "tickets-not-shared" not in alerts(tmp_path)
    written(tmp_path, True, True)
    assert "tickets-not-shared" not in alerts(tmp_path)


@pytest.mark.parametrize("content", ["", "{}", "garbage"])
def test_a_broken_check_is_said_and_not_used(tmp_path: Path, content: str) -> None:
    (tmp_path / tickets.FILE).write_text(content)
    assert f"{tmp_path / tickets.FILE}: no" in read_tickets(config(tmp_path))
    assert "is not used" in alerts(tmp_path)["tickets-not-shared"]


def test_a_check_that_is_run_later_is_taken_up_without_a_restart(tmp_path: Path) -> None:
    written(tmp_path, True)
    kept = Kept(config(tmp_path))
    assert kept.tickets_shared
    assert not kept.look(NS_PER_S)
    (tmp_path / tickets.FILE).unlink()
    written(tmp_path, False)
    assert not kept.look(NS_PER_S + 1)  # once a second is enough
    assert kept.look(2 * NS_PER_S)
    assert not kept.tickets_shared
    assert "of 10.0.0.0:443" in kept.tickets_problem
    assert not kept.look(3 * NS_PER_S)


def test_a_calibration_that_is_made_broken_and_removed_later(tmp_path: Path) -> None:
    kept = Kept(config(tmp_path))
    assert kept.calibration is None
    file = tmp_path / calibration.FILE
    cost = HandshakeCost("127.0.0.1:443", "rsa-2048", "TLSv1.3", 1e-3, 5e-4)
    file.write_text(calibration.encode(Calibration(7, "haproxy", (cost,))))
    assert kept.look(NS_PER_S)
    assert kept.calibration is not None
    assert kept.calibration.costs == (cost,)
    file.write_text("{}")
    assert kept.look(2 * NS_PER_S)
    assert kept.calibration is None
    assert "no calibration" in kept.calibration_problem
    file.unlink()
    assert kept.look(3 * NS_PER_S)
    assert kept.calibration_problem == ""
