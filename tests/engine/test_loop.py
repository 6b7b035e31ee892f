"""The loop: what it does with a turn that is never done."""

import socket
import time

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


def test_what_came_while_it_was_stopped_after_its_look_is_taken_in_before_time_is() -> None:
    loop = Loop()
    (first, say_first), (second, say_second) = socket.socketpair(), socket.socketpair()
    taken: list[str] = []
    due_ns = time.monotonic_ns() + 50_000_000

    def stopped() -> None:
        taken.append(first.recv(9).decode())
        say_second.send(b"meanwhile")
        time.sleep(0.1)

    def turn(now_ns: int) -> int | None:
        if now_ns >= due_ns:
            taken.append("time")
            return None
        return due_ns

    try:
        loop.watch(first, stopped)
        loop.watch(second, lambda: taken.append(second.recv(9).decode()))
        say_first.send(b"before")
        loop.run(turn)
    finally:
        loop.close()
        for each in (first, second, say_first, say_second):
            each.close()
    assert taken == ["before", "meanwhile", "time"]
