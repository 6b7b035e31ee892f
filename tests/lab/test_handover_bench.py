"""What the table of planned moves is made of."""

import pytest

from haman.lab.answers import NS_PER_MS, Reply, doubled, longest_silence_ms
from haman.lab.handover_bench import Move, still_ms, to_markdown
from haman.lab.probe import Attempt, Order, Result
from haman.lab.verdict import StepDone


def replies(*seen: tuple[float, str]) -> list[Reply]:
    return [Reply(round(ms * NS_PER_MS), mac) for ms, mac in seen]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ((), 0),
        (((1, "a"), (2, "a"), (3, "b"), (4, "b")), 0),
        (((1, "a"), (2, "b"), (2.1, "a"), (3, "b"), (3.2, "a")), 2),
        (((1, "a"), (2, "b"), (3000, "a"), (3001, "a")), 0),
        (((1, "a"), (2, "b"), (3000, "a"), (3001, "b")), 1),
    ],
    ids=["nobody", "moved", "both", "back", "both on the way back"],
)
def test_a_second_answer_after_a_move_is_one_too_many(seen, expected: int) -> None:
    assert doubled(replies(*seen)) == expected


def test_the_longest_silence_is_one_in_which_somebody_asked() -> None:
    seen = replies((1, "a"), (2, "a"), (9.5, "b"))
    every_ms = [round(ms * NS_PER_MS) for ms in range(10)]
    assert longest_silence_ms(seen, every_ms) == 6.5
    assert longest_silence_ms(seen, [0, NS_PER_MS, 9 * NS_PER_MS]) == 0.5
    assert longest_silence_ms([], every_ms) == 0


def test_the_table_sums_counts_and_takes_medians() -> None:
    moves = {
        "keepalived": (Move(1000, 1000, 990, 60.0, 0.8, 60.0, 4, 70.0),) * 2,
        "haman": (
            Move(1000, 0, 0, 1.0, 0.8, 0.0, 0, 2.0),
            Move(1000, 0, 0, 3.0, 0.8, 0.0, 0, 2.5),
            Move(1000, 1, 2, 2.0, 0.8, 0.0, 0, 3.0),
        ),
    }
    table = to_markdown(moves).splitlines()
    assert (
        table[0] == "| an address moved by its operator, 1,000 connections | keepalived | haman |"
    )
    assert "| established connections lost | 2,000 of 2,000 | 1 of 3,000 |" in table
    assert "| exchanges that failed | 1980 | 2 |" in table
    assert "| longest gap of new connections | 60.0 ms (60.0–60.0) | 2.0 ms (1.0–3.0) |" in table
    assert "| the same, nobody moving it | 0.8 ms (0.8–0.8) | 0.8 ms (0.8–0.8) |" in table
    assert "| ARP replies of a second node | 8 | 0 |" in table


@pytest.mark.parametrize(("step_ms", "expected_ms"), [(100, 0), (400, 30)])
def test_the_floor_is_as_long_as_what_the_step_can_have_caused(
    step_ms: int, expected_ms: int
) -> None:
    """A new connection waited for 30 ms, long before a step at 1 s and its reach of 100 ms."""
    attempts = [Attempt(ms * NS_PER_MS, ms * NS_PER_MS, "ok") for ms in range(1000)]
    kept = [a for a in attempts if not 600 <= a.start_ns / NS_PER_MS < 630]
    waited = Attempt(600 * NS_PER_MS, 629 * NS_PER_MS, "ok")
    result = Result(
        Order("192.0.2.1", 2, new_per_s=1000),
        0,
        2000 * NS_PER_MS,
        (*kept, waited),
        (),
        0,
        0,
        0.0,
        0,
    )
    step = StepDone(1000 * NS_PER_MS, (1000 + step_ms) * NS_PER_MS, "failover")
    assert still_ms(result, step) == pytest.approx(expected_ms, abs=1)
