"""Commands on nodes: begun once, followed to their end, and found again after a cut connection."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from haman.playbook import here, shell
from haman.playbook.facts import Outcome
from haman.playbook.hosts import CutError, Done, HostError, Hosts, Tell
from haman.playbook.script import Task

SLACK_S = 15.0
"""Beyond a command's own deadline, which the node keeps, for the network."""
LOOK_S = 10.0
FIND_AGAIN_S = 20.0
"""For a node to be reached again after the connection was cut."""
LOOK_EVERY_S = 0.5
LINES_TOLD = 4
"""Of what a command said that failed."""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of something: its outcome, and a line about it."""

    outcome: Outcome
    text: str = ""


def done(text: str = "") -> Told:
    """It was done."""
    return Told(Outcome.DONE, text)


def failed(text: str) -> Told:
    """It was not."""
    return Told(Outcome.FAILED, text)


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs commands with marks.

    Attributes:
        hosts: the nodes.
        there: where the marks are on nodes.
        local: where those of this machine are.
        stopped: whether somebody wants the run to stop: then nobody waits for a node to come back.
    """

    hosts: Hosts
    there: shell.Place
    local: shell.Place
    stopped: Callable[[], bool] = lambda: False

    def place(self, task: Task) -> shell.Place:
        """Where the marks of a task are."""
        return self.local if task.here else self.there

    def _plain(self, task: Task, text: str, timeout_s: float, tell: Tell | None = None) -> Done:
        if task.here:
            return here.run(text, timeout_s, tell)
        return self.hosts.run(task.node, text, timeout_s, tell=tell)

    def once(
        self,
        task: Task,
        attempt: int,
        command: str,
        *,
        settles: bool = False,
        tell: Tell | None = None,
    ) -> Told:
        """Run a command that must not run twice.

        Args:
            task: says where, and its deadline, which the node itself keeps.
            attempt: of the task; with its key it names the marks.
            command: shell text.
            settles: it was begun before: find out what became of it first.
            tell: takes its output.
        """
        if settles and (told := self.settle(task, attempt)):
            return told
        node, timeout_s = task.node, task.timeout_s
        text = shell.marked(self.place(task), task.key, attempt, command, timeout_s)
        for _ in range(2):
            try:
                ended = self._plain(task, text, timeout_s + SLACK_S, tell)
            except CutError as error:
                told = self.settle(task, attempt, str(error))
                if told is not None:
                    return told
                continue  # it was cut before it was begun
            except HostError as error:
                return failed(_bare(str(error), node))
            if ended.status == shell.BEGUN:
                return self.settle(task, attempt) or failed("its marks are gone")
            return _told(ended, timeout_s)
        return failed("the connection was cut twice before it could be begun")

    def settle(self, task: Task, attempt: int, why: str = "") -> Told | None:
        """Find out what became of an attempt, waiting for its end; None = it was never begun."""
        node, timeout_s = task.node, task.timeout_s
        text = shell.look(self.place(task), task.key, attempt)
        reached_by = time.monotonic() + FIND_AGAIN_S
        end_by = time.monotonic() + timeout_s + SLACK_S
        while True:
            now = time.monotonic()
            try:
                said = self._plain(task, text, LOOK_S).output.split()
            except (HostError, CutError) as error:
                if now > reached_by or self.stopped():
                    lost = why or str(error)
                    return Told(
                        Outcome.UNKNOWN, f"{_bare(lost, node)}; what became of it is not known"
                    )
            else:
                reached_by = now + FIND_AGAIN_S
                match said:
                    case [shell.ENDED, status]:
                        return _told(Done(int(status), ""), timeout_s, again=True)
                    case [shell.NEVER]:
                        return None
                    case [shell.LOST]:
                        return failed(
                            "it was begun, and ended without a word: did the node restart?"
                        )
                    case _ if now > end_by:
                        return Told(Outcome.UNKNOWN, "it is still running, after its deadline")
                    case _:
                        pass
            time.sleep(LOOK_EVERY_S)


def _told(ended: Done, timeout_s: float, *, again: bool = False) -> Told:
    if ended.status == 0:
        return done("done; the connection was cut meanwhile" if again else ended.last_line)
    if ended.status in {shell.TIMED_OUT, shell.KILLED}:
        return failed(f"did not end within {timeout_s:g} s, and was killed")
    said = ended.last_lines(LINES_TOLD)
    return failed(f"status {ended.status}{f': {said}' if said else ''}")


def _bare(text: str, node: str) -> str:
    """Without the node's name, which stands before it anyway."""
    return text.removeprefix(f"{node}: ")
