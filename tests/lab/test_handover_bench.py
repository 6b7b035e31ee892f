"""What the table of planned moves is made of."""

import pytest
from msgspec.structs import replace

from haman.lab.answers import NS_PER_MS, Reply, doubled, longest_silence_ms, taken_over_ns
from haman.lab.handover_bench import Move, gap_ms, still_ms, to_markdown
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


def seen_by_a_client(*waited_ms: int) -> Result:
    """Two seconds of a client with a new connection each ms; at these, one waited for 30 ms."""
    attempts = [
        Attempt(ms * NS_PER_MS, ms * NS_PER_MS, "ok")
        for ms in range(2000)
        if not any(at <= ms < at + 30 for at in waited_ms)
    ]
    attempts += [Attempt(at * NS_PER_MS, (at + 29) * NS_PER_MS, "ok") for at in waited_ms]
    order = Order("192.0.2.1", 2, new_per_s=1000)
    return Result(order, 0, 2000 * NS_PER_MS, tuple(attempts), (), 0, 0, 0.0, 0)


WORD = StepDone(1000 * NS_PER_MS, 1500 * NS_PER_MS, "failover")
"""What the operator said at 1 s, and was answered half a second later."""


@pytest.mark.parametrize(("waited_ms", "expected_ms"), [(700, 0), (820, 30), (1010, 0)])
def test_the_floor_is_what_the_client_saw_just_before_the_word(
    waited_ms: int, expected_ms: int
) -> None:
    assert still_ms(seen_by_a_client(waited_ms), WORD) == pytest.approx(expected_ms, abs=1)


@pytest.mark.parametrize(
    ("waited_ms", "moved_ms", "expected_ms"),
    [(1010, 1300, 0), (1180, 1300, 30), (1390, 1300, 30), (1450, 1300, 0), (1010, None, 30)],
    ids=["the verb starts", "before", "after", "long after", "nobody else answers"],
)
def test_a_gap_counts_around_the_instant_of_the_move(
    waited_ms: int, moved_ms: int | None, expected_ms: int
) -> None:
    moved = None if moved_ms is None else moved_ms * NS_PER_MS
    result = seen_by_a_client(waited_ms)
    gap = gap_ms(result, WORD, moved, (0, result.ended_ns))
    assert gap == pytest.approx(expected_ms, abs=1)


def test_a_failed_connection_makes_a_gap_count_wherever_it_was() -> None:
    result = seen_by_a_client(1700)
    failed = Attempt(1705 * NS_PER_MS, 1706 * NS_PER_MS, "refused")
    result = replace(result, attempts=(*result.attempts, failed))
    assert gap_ms(result, WORD, 1300 * NS_PER_MS, (0, result.ended_ns)) == pytest.approx(30, abs=1)


def test_an_address_has_moved_when_another_node_answers() -> None:
    assert taken_over_ns(replies((1, "a"), (2, "a"), (3, "b"), (4, "a"))) == 3 * NS_PER_MS
    assert taken_over_ns(replies((1, "a"), (2, "a"))) is None
    assert taken_over_ns([]) is None
