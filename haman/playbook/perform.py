"""Does one task, and says what came of it. Expected trouble is an outcome, never an exception."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from haman.api.client import RefusedError, UnreachableError
from haman.playbook.cluster import SilentError
from haman.playbook.commands import Told, done, failed
from haman.playbook.facts import Act, Outcome
from haman.playbook.hosts import CutError, HostError, Tell
from haman.playbook.model import (
    Assert,
    Call,
    Confirm,
    Download,
    Drain,
    Failover,
    Pause,
    Reload,
    Restart,
    Run,
    Undrain,
    Upload,
    WaitFor,
)
from haman.playbook.moves import OnCluster
from haman.playbook.script import Guard, Restore, Revert, Soak
from haman.playbook.work import OnNode

MARKED = (Run, Revert, Restart, Reload, Upload, Restore)
"""Work that leaves marks on its node, by which its end can be found."""

Ask = Callable[[str, float], bool]
"""Asks a person a question, for so many seconds; no answer is a no."""


@dataclass(frozen=True, slots=True)
class Performer:
    """Does tasks; may be called from several threads.

    Attributes:
        nodes: does what needs a shell.
        cluster: does what needs an agent.
        ask: asks a person.
        stop: set when the run shall stop: waits end at once.
    """

    nodes: OnNode
    cluster: OnCluster
    ask: Ask
    stop: threading.Event

    def perform(self, act: Act, tell: Tell) -> Told:
        """Do a task; the delay before a further attempt is kept here."""
        if act.delay_s and self.stop.wait(act.delay_s):
            return self.cluster.interrupted()
        try:
            return self._do(act, tell)
        except RefusedError as error:
            problem = error.problem
            return failed("; ".join([problem.message, *(r.text for r in problem.reasons)]))
        except (UnreachableError, SilentError, HostError, CutError) as error:
            # A cut of what may be done again; commands settle their own.
            return failed(str(error).removeprefix(f"{act.task.node}: "))

    def _do(self, act: Act, tell: Tell) -> Told:
        task, work = act.task, act.task.work
        if not act.settles and (why := self._skips(act)):
            return Told(Outcome.SKIPPED, why)
        if act.only_looks and not isinstance(work, MARKED):
            return failed("given up before its end")
        match work:
            case Run() | Revert() | Restart() | Reload() | Upload() | Restore() | Download():
                return self.nodes.do(act, work, tell)
            case Guard() | Soak() | Drain() | Undrain() | Failover() | WaitFor() | Assert():
                return self.cluster.do(task, work)
            case Confirm(question=question):
                yes = self.ask(self.nodes.text(question, task.node), task.timeout_s)
                return done("yes") if yes else failed("nobody said yes")
            case Pause(seconds=seconds):
                return self.cluster.interrupted() if self.stop.wait(seconds) else done()
            case Call():
                raise TypeError("a call is replaced by its steps when it is read")

    def _skips(self, act: Act) -> str:
        when = getattr(act.task.work, "when", None)
        return self.cluster.looker.skips(when, act.task.node) if when is not None else ""
