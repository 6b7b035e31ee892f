"""The metastable trap: all signs for a while, and only then; and missing data change nothing."""

from dataclasses import replace

import pytest

from haman.core.trap import CLEAR_NS, DWELL_NS, GONE_NS, NS_PER_S, Signs, Trap, TrapState

TICK = NS_PER_S // 5
TRAPPED = Signs(cpu=0.02, delay_s=2.2, accepted_per_s=1800, failed_per_s=1780)
TIMEOUT_S = 1.0


def seen(trap: Trap, signs: Signs, for_ns: int, from_ns: int = 0) -> int:
    for at_ns in range(from_ns, from_ns + for_ns, TICK):
        trap.step(signs, at_ns)
    return from_ns + for_ns


def test_all_signs_for_the_dwell() -> None:
    trap = Trap(TIMEOUT_S)
    trap.step(TRAPPED, 0)
    assert (trap.state, trap.text) == (TrapState.SUSPECTED, "")
    seen(trap, TRAPPED, DWELL_NS + TICK)
    assert trap.state is TrapState.TRAPPED
    assert "clients wait 2.2 s in the accept queue and give up after 1 s" in trap.text
    assert "99 % of what is accepted is dead, while the CPU is used to 2 %" in trap.text
    assert "Lower the backlog of the listeners to some 900" in trap.text


@pytest.mark.parametrize(
    "sign",
    [
        {"cpu": 0.95},
        {"delay_s": 0.9},
        {"failed_per_s": 400},
        {"accepted_per_s": 0.0, "failed_per_s": 0.0},
    ],
    ids=["the CPU is busy", "clients still wait", "most succeed", "nobody comes"],
)
def test_without_one_of_the_signs_it_is_something_else(sign) -> None:
    trap = Trap(TIMEOUT_S)
    seen(trap, replace(TRAPPED, **sign), 10 * DWELL_NS)
    assert trap.state is TrapState.CLEAR


def test_a_moment_is_no_trap() -> None:
    trap = Trap(TIMEOUT_S)
    now_ns = 0
    for _ in range(5):
        now_ns = seen(trap, TRAPPED, DWELL_NS, now_ns)
        now_ns = seen(trap, replace(TRAPPED, delay_s=0.1), GONE_NS, now_ns)
    assert trap.state is TrapState.CLEAR


def test_between_two_bursts_the_queue_looks_empty() -> None:
    trap = Trap(TIMEOUT_S)
    now_ns = 0
    for _ in range(DWELL_NS // TICK):
        now_ns = seen(trap, replace(TRAPPED, delay_s=0.0), TICK, seen(trap, TRAPPED, TICK, now_ns))
    assert trap.state is TrapState.TRAPPED


@pytest.mark.parametrize("missing", ["cpu", "delay_s", "accepted_per_s", "failed_per_s"])
def test_missing_data_neither_raise_nor_clear(missing) -> None:
    trap = Trap(TIMEOUT_S)
    unknown = replace(TRAPPED, **{missing: None})
    now_ns = seen(trap, unknown, 10 * DWELL_NS)
    assert trap.state is TrapState.CLEAR
    now_ns = seen(trap, TRAPPED, 2 * DWELL_NS, now_ns)
    assert trap.state is TrapState.TRAPPED
    seen(trap, unknown, 10 * CLEAR_NS, now_ns)
    assert trap.state is TrapState.TRAPPED


def test_it_clears_when_the_signs_have_been_gone_for_a_while() -> None:
    trap = Trap(TIMEOUT_S)
    now_ns = seen(trap, TRAPPED, 2 * DWELL_NS)
    well = Signs(0.3, 0.0, 500, 0)
    now_ns = seen(trap, well, CLEAR_NS - TICK, now_ns)
    assert trap.text
    seen(trap, well, 2 * TICK, now_ns)
    assert (trap.state, trap.text) == (TrapState.CLEAR, "")
