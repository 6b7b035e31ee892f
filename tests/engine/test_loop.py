"""The loop: what it does with a turn that is never done."""

import os
import signal

from haman.engine.loop import HASTY_MAX, REST_NS, Loop
from haman.engine.reporter import Reporter
from haman.engine.steering import SteeringChild
from haman.system import clock


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


def test_a_child_that_died_unwanted_leaves_nothing_due() -> None:
    loop = Loop()
    child = SteeringChild(loop, Reporter(lambda _: None))

    def turn(now_ns: int) -> int | None:
        child.turn(now_ns)
        process = child._child
        if process.starts and process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            child.want((), now_ns, warm=False)
        gone = process.starts and process.pid is None
        return None if gone else now_ns + REST_NS

    try:
        child.want((), clock.monotonic_ns(), warm=True)
        loop.run(turn)
        assert child.deadline_ns is None
    finally:
        child.stop()
        loop.close()
