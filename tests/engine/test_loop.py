"""The loop: what it does with a turn that is never done."""

from haman.engine.loop import HASTY_MAX, REST_NS, Loop


def test_a_deadline_that_never_passes_does_not_take_the_whole_processor() -> None:
    loop = Loop()
    times_ns: list[int] = []

    def turn(now_ns: int) -> int | None:
        times_ns.append(now_ns)
        return now_ns if len(times_ns) < HASTY_MAX + 20 else None

    try:
        loop.run(turn)
    finally:
        loop.close()
    rested = [b - a for a, b in zip(times_ns[HASTY_MAX:], times_ns[HASTY_MAX + 1 :], strict=False)]
    assert min(rested) >= 0.9 * REST_NS
