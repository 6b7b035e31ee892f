"""The engine's hold on the process that keeps the rules of tails."""

import os
import signal
import time
from collections.abc import Callable

from haman.core.words import Event
from haman.engine.loop import Loop
from haman.engine.reporter import Reporter
from haman.engine.steering import SteeringChild
from tests.engine.net import children

LOOK_NS = 5_000_000
WITHIN_S = 20


def test_one_that_died_and_is_wanted_no_more_leaves_nothing_to_wait_for() -> None:
    told: list[Event] = []
    loop = Loop()
    child = SteeringChild(loop, Reporter(told.append))
    ours = set(children(os.getpid()))
    began = time.monotonic()

    def run_until(condition: Callable[[], bool]) -> None:
        def turn(now_ns: int) -> int | None:
            child.turn(now_ns)
            assert time.monotonic() - began < WITHIN_S
            return None if condition() else now_ns + LOOK_NS

        loop.run(turn)

    def made() -> set[int]:
        return set(children(os.getpid())) - ours

    child.want((), time.monotonic_ns(), warm=True)
    run_until(lambda: bool(made()))
    (pid,) = made()
    os.kill(pid, signal.SIGKILL)
    run_until(lambda: not made())
    child.want((), time.monotonic_ns(), warm=False)
    run_until(lambda: True)
    # One in the past would have the loop turn without end, in real time.
    assert child.deadline_ns is None
    child.stop()
    loop.close()
