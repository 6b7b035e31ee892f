"""Runs a plan: takes its acts, does them, journals what happens, and tells whoever shows it.

Nothing here knows a terminal: events go out through `tell`, questions through `ask`. Both may be called
from several threads.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from haman.api import schema
from haman.playbook.cluster import Cluster
from haman.playbook.commands import Commands
from haman.playbook.conditions import Looker
from haman.playbook.events import ClusterWorsened, Event, RunEnded, TaskBegun, TaskEnded, TaskSaid
from haman.playbook.facts import (
    Act,
    Ended,
    Fact,
    Finish,
    Outcome,
    RollBackAsked,
    StopAsked,
    Worsened,
)
from haman.playbook.hosts import Host, Hosts
from haman.playbook.journal import Header, Journal
from haman.playbook.model import Run
from haman.playbook.moves import OnCluster
from haman.playbook.perform import Ask, Performer
from haman.playbook.plan import Plan, Snapshot
from haman.playbook.script import HERE, Guard, Soak, script
from haman.playbook.shell import Place
from haman.playbook.undo import MARK
from haman.playbook.watch import Watch
from haman.playbook.work import OnNode


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run works with.

    Attributes:
        hosts: the nodes.
        tell: takes events.
        ask: asks a person; see `perform.Ask`.
        here: holds a folder for each run, with the marks of what runs on this machine.
    """

    hosts: Hosts
    tell: Callable[[Event], None]
    ask: Ask
    here: str


class Runner:
    """One run, from where its plan is to its end.

    Args:
        header: what is run.
        plan: new, or as the journal left it.
        journal: takes everything before it is done.
        around: what it works with.
    """

    def __init__(self, header: Header, plan: Plan, journal: Journal, around: Surroundings) -> None:
        self._plan = plan
        self._folder = Path(around.here, header.run)
        self._journal = journal
        self._tell = around.tell
        self._facts: queue.SimpleQueue[Fact] = queue.SimpleQueue()
        self._stop = threading.Event()
        laid_out = script(header.playbook, header.nodes)
        cluster = Cluster(around.hosts, [h.node for h in header.hosts])
        directory = header.playbook.inventory.directory
        commands = Commands(
            around.hosts,
            Place(directory, header.run),
            Place(around.here, header.run),
            self._stop.is_set,
        )
        facts = facts_of(header.hosts, header.nodes, commands.there, str(self._folder))
        looker = Looker(around.hosts, cluster, header.before, facts)
        self._performer = Performer(
            OnNode(commands, facts),
            OnCluster(
                cluster, looker, header.force, header.playbook.leaves == "drained", self._stop
            ),
            around.ask,
            self._stop,
        )
        guards = (t for t in laid_out.tasks if isinstance(t.work, Guard))
        self._out = {
            t.node: (*t.work.meant_out, t.node) for t in guards if isinstance(t.work, Guard)
        }
        self._watch = self._watching(cluster, header.before)

    @property
    def journal(self) -> Path:
        """Where the run is written down; the file has the run's name."""
        return self._journal.path

    def snapshot(self) -> Snapshot:
        """What became of everything so far. May be called from anywhere."""
        return self._plan.snapshot()

    def stop(self) -> None:
        """Stop after what is under way; waits end at once. May be called from anywhere."""
        self._stop.set()
        self._facts.put(StopAsked())

    def roll_back(self) -> None:
        """Take everything back after what is under way. May be called from anywhere."""
        self._facts.put(RollBackAsked())

    def run(self, first: Fact | None) -> Finish:
        """Go on until the end.

        Args:
            first: Began, Resumed or RollBackAsked; None = the run was cut off: what was under way is
                settled, and it goes on.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._watch is not None:
            self._watch.start()
        try:
            return self._loop(first)
        finally:
            if self._watch is not None:
                self._watch.end()

    def _loop(self, first: Fact | None) -> Finish:
        back = isinstance(first, RollBackAsked)
        acts: tuple[Act | Finish, ...] = tuple(
            Act(a.task, a.attempt, settles=True, only_looks=back) for a in self._plan.under_way
        )
        if first is not None:
            acts += self._take(first)
        while True:
            for act in acts:
                if isinstance(act, Finish):
                    self._journal.finish(act)
                    self._tell(RunEnded(act))
                    return act
                self._journal.give(act)
                self._attend(act)
                self._tell(TaskBegun(act))
                # As many as a stage is wide; daemons, for a run that is broken off waits for nobody.
                threading.Thread(
                    target=self._do, args=(act,), name=act.task.key, daemon=True
                ).start()
            acts = self._take(self._facts.get())

    def _take(self, fact: Fact) -> tuple[Act | Finish, ...]:
        """Journal a fact, and let the plan decide."""
        if not self._plan.takes(fact):
            return ()  # too late to matter
        self._journal.fact(fact)
        if isinstance(fact, Worsened):
            self._tell(ClusterWorsened(fact.reasons))
        return self._plan.step(fact)

    def _do(self, act: Act) -> None:
        began = time.monotonic()
        key, shown = act.task.key, isinstance(act.task.work, Run) and act.task.work.show
        try:
            told = self._performer.perform(act, lambda line: self._tell(TaskSaid(key, line, shown)))
            outcome, text = told.outcome, told.text
        except Exception as error:  # noqa: BLE001 - a bug must not leave the run waiting for ever
            outcome, text = Outcome.UNKNOWN, f"haman itself failed: {type(error).__name__}: {error}"
        self._tell(TaskEnded(act, outcome, text, time.monotonic() - began))
        self._facts.put(Ended(key, act.attempt, outcome, text))

    def _attend(self, act: Act) -> None:
        """Tell the watch who is at work: a guarded node, until its soak looks by itself."""
        if self._watch is None:
            return
        resting = isinstance(act.task.work, Soak) or act.task.key.startswith(MARK)
        self._watch.at_work(() if resting else self._out.get(act.task.node, ()))

    def _watching(self, cluster: Cluster, before: schema.Status | None) -> Watch | None:
        if before is None:
            return None
        return Watch(cluster, before, lambda reasons: self._facts.put(Worsened(reasons)))


def facts_of(
    hosts: Iterable[Host], nodes: tuple[str, ...], there: Place, folder: str
) -> dict[str, dict[str, str]]:
    """What text may be filled with, by node; HERE's is for what concerns none."""
    known = {h.node: h for h in hosts}
    addresses = " ".join(known[node].address for node in nodes)
    common = {"run": there.run, "nodes.addresses": addresses, "run.folder": folder}
    return {HERE: common} | {
        h.node: {
            **common,
            "node": h.node,
            "node.address": h.address,
            "node.site": h.site,
            "node.folder": there.folder,
        }
        for h in known.values()
    }
