"""A ticket check that failed is an alert, from the next start of the senses on."""

from pathlib import Path

import pytest

from haman.config.model import Config, State
from haman.controller.settings import read_tickets
from haman.core import tickets
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
