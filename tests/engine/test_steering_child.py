"""The engine's hold on the process that keeps rules: it comes and goes, and the engine never spins."""

import os
import signal
from functools import partial

from haman.engine.loop import Loop
from haman.engine.reporter import Reporter
from haman.engine.steering import SteeringChild
from haman.system import clock
from tests.engine.net import wait


class Rig:
    """A loop that turns one child, and stops when it is told to."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.told: list[str] = []
        self.child = SteeringChild(self.loop, Reporter(lambda event: self.told.append(event.type)))

    def want(self, *, warm: bool) -> None:
        self.child.want((), clock.monotonic_ns(), warm=warm)

    def turn(self) -> None:
        self.child.turn(clock.monotonic_ns())

    @property
    def pid(self) -> int | None:
        return self.child._child.pid

    def runs(self, former: int | None = None) -> bool:
        """Whether there is a process, and another one than that."""
        return self.pid not in {None, former}

    def run_until(self, done) -> int:
        """Turn the loop until then; how often that was."""
        turns = 0
        until_ns = clock.monotonic_ns() + 20 * 10**9

        def turn(now_ns: int) -> int | None:
            nonlocal turns
            turns += 1
            self.child.turn(now_ns)
            if done() or now_ns > until_ns:
                return None
            due_ns = self.child.deadline_ns
            soon_ns = now_ns + 20_000_000
            return soon_ns if due_ns is None else min(due_ns, soon_ns)

        self.loop.run(turn)
        assert done()
        return turns


def test_one_that_is_wanted_again_while_the_last_one_ends_is_waited_for_without_spinning() -> None:
    rig = Rig()
    for _ in range(4):
        rig.want(warm=True)
        rig.run_until(rig.runs)
        first = rig.pid
        rig.want(warm=False)
        rig.turn()
        rig.want(warm=True)
        due_ns = rig.child.deadline_ns
        assert due_ns is None or due_ns > clock.monotonic_ns()
        began_ns = clock.monotonic_ns()
        turns = rig.run_until(partial(rig.runs, first))
        # Every 20 ms by this test's own wish, and no oftener than what happens asks for.
        assert turns <= (clock.monotonic_ns() - began_ns) / 20e6 + 10
    # It was sent away each time: that is no failure, and no reason to wait ever longer.
    assert rig.child._child._backoff_ns == 10**8
    assert rig.told == []
    rig.child.stop()
    rig.loop.close()
    wait(lambda: rig.pid is None)


def test_one_that_died_and_is_wanted_no_more_leaves_nothing_due() -> None:
    rig = Rig()
    rig.want(warm=True)
    rig.run_until(rig.runs)
    assert rig.pid is not None
    os.kill(rig.pid, signal.SIGKILL)
    rig.run_until(lambda: rig.pid is None)
    rig.want(warm=False)
    rig.turn()
    # One in the past would have the loop turn without end, in real time.
    assert rig.child.deadline_ns is None
    rig.child.stop()
    rig.loop.close()
