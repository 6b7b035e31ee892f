"""The ticket check as a file: what was written is read, and nothing else."""

import pytest

from haman.core.tickets import TicketCheck, TicketPair, TicketsError, decode, encode

SHARED = TicketCheck(7, (TicketPair("a:1", "b:1", True), TicketPair("b:1", "a:1", True)))
PARTLY = TicketCheck(7, (TicketPair("a:1", "b:1", True), TicketPair("b:1", "a:1", False)))


@pytest.mark.parametrize("check", [SHARED, PARTLY])
def test_what_was_written_is_read(check) -> None:
    assert decode(encode(check)) == check


def test_shared_means_everywhere() -> None:
    assert SHARED.shared
    assert not PARTLY.shared
    assert PARTLY.refused == (TicketPair("b:1", "a:1", False),)
    assert not TicketCheck(7, ()).shared  # unproven


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 2, "at_ns": 1, "pairs": []}',
        '{"schema": 1, "at_ns": "now", "pairs": []}',
        '{"schema": 1, "at_ns": 1}',
        '{"schema": 1, "at_ns": 1, "pairs": [7]}',
        '{"schema": 1, "at_ns": 1, "pairs": [{"resumed": 1}]}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_what_is_no_check_is_refused(text) -> None:
    with pytest.raises(TicketsError):
        decode(text)
