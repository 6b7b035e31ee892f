"""A run from outside: begin it, go on with it, take it back, or give it up."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from haman.api import schema
from haman.playbook import journal, prepare
from haman.playbook.check import staying
from haman.playbook.cluster import Cluster, SilentError
from haman.playbook.events import Prepared
from haman.playbook.facts import Began, Fact, Finish, Resumed, RollBackAsked, Verdict
from haman.playbook.hosts import Hosts
from haman.playbook.inventory import Chosen
from haman.playbook.journal import Header, Journal, Record
from haman.playbook.model import Drain, Failover, Playbook, Reload, Restart, Run, Undrain, Upload
from haman.playbook.parameters import Value
from haman.playbook.plan import Mark, Plan, Snapshot
from haman.playbook.prepare import UnpreparedError
from haman.playbook.runner import Runner, Surroundings
from haman.playbook.script import Restore, Revert, script
from haman.playbook.shell import Place

CHANGING = (Run, Upload, Drain, Undrain, Failover, Reload, Restart, Restore, Revert)


class NotResumableError(Exception):
    """A run is over; the text says how it ended."""


@dataclass(frozen=True, slots=True)
class Order:
    """What shall be run.

    Attributes:
        by: who asks for it.
        force: go below N−1.
    """

    playbook: Playbook
    parameters: dict[str, Value]
    chosen: Chosen
    by: str
    force: bool = False


Running = Callable[[Runner], None]
"""Is given the runner before it begins, to be able to stop it."""


def begin(order: Order, around: Surroundings, folder: Path, running: Running) -> tuple[str, Finish]:
    """Run a playbook; its run's name, and how it ended.

    Raises:
        UnpreparedError: nodes cannot be reached, or are another run's; nothing was done.
        JournalError: the run cannot be written down.
    """
    playbook, chosen = order.playbook, order.chosen
    if playbook.exclusive:
        around.tell(Prepared(f"reaching {len(chosen.hosts)} nodes"))
        prepare.reach(around.hosts, chosen.hosts, chosen.nodes, agents=playbook.agents)
    before = first_look(around.hosts, chosen) if playbook.agents else None
    if before is not None and order.force:
        for node, what in staying(playbook, chosen, before):
            around.tell(Prepared(f"{node} {what}"))
    header = Header(
        format=journal.FORMAT,
        run=journal.new_run(playbook.name),
        by=order.by,
        at=journal.now(),
        playbook=playbook,
        parameters=order.parameters,
        nodes=chosen.nodes,
        hosts=tuple(chosen.hosts.values()),
        force=order.force,
        before=before,
    )
    with journal.create(folder, header) as kept:
        try:
            lock(header, around)
        except UnpreparedError:
            kept.discard()
            raise
        runner = Runner(header, Plan(script(playbook, chosen.nodes)), kept, around)
        running(runner)
        return header.run, _go(runner, Began(), header, around)


def first_look(hosts: Hosts, chosen: Chosen) -> schema.Status:
    """Ask for the cluster as it is before anything is done.

    Raises:
        UnpreparedError: no agent answers.
    """
    try:
        return Cluster(hosts, chosen.hosts).status()
    except SilentError as error:
        raise UnpreparedError([str(error)], unreachable=True) from error


def lock(header: Header, around: Surroundings) -> None:
    """Take the nodes of a run, unless it is one that only looks; as `prepare.lock`."""
    if not header.playbook.exclusive:
        return
    around.tell(Prepared(f"locking {len(header.hosts)} nodes"))
    inventory = {h.node: h for h in header.hosts}
    prepare.lock(around.hosts, inventory, Place(header.playbook.inventory.directory, header.run))


def replay(record: Record) -> Plan:
    """Bring a plan to where a run was.

    Raises:
        JournalError: the journal is not of this playbook.
    """
    header = record.header
    plan = Plan(script(header.playbook, header.nodes))
    try:
        for fact in journal.facts(record):
            plan.step(fact)
    except ValueError as error:
        raise journal.JournalError(
            f"{header.run}: its journal contradicts itself: {error}"
        ) from error
    return plan


def resume(
    kept: Journal, record: Record, around: Surroundings, running: Running, *, back: bool
) -> Finish:
    """Go on with a run that ended before its end, or was cut off.

    Args:
        kept: its journal, reopened.
        record: what the journal says.
        around: what the run works with.
        running: given the runner.
        back: take everything back instead.

    Raises:
        NotResumableError: there is nothing left to do.
        UnpreparedError: as `begin`.
        JournalError: as `replay`.
    """
    header = record.header
    plan = replay(record)
    first = _first(plan, record, back=back)
    if header.playbook.exclusive:
        around.tell(Prepared(f"reaching {len(header.hosts)} nodes"))
        inventory = {h.node: h for h in header.hosts}
        prepare.reach(around.hosts, inventory, (), agents=False)
    lock(header, around)
    runner = Runner(header, plan, kept, around)
    running(runner)
    return _go(runner, first, header, around)


def _first(plan: Plan, record: Record, *, back: bool) -> Fact | None:
    """With what a run goes on; None = what was under way is settled first."""
    finish = plan.snapshot().finish
    if finish is None:
        if not record.lines:
            return Began()
        return RollBackAsked() if back else None
    if back:
        if finish.verdict is Verdict.ROLLED_BACK:
            raise NotResumableError(f"{record.header.run} was rolled back already")
        return RollBackAsked()
    if not finish.verdict.resumable:
        raise NotResumableError(f"{record.header.run} is {finish.verdict}; nothing is left to do")
    return Resumed()


def _go(runner: Runner, first: Fact | None, header: Header, around: Surroundings) -> Finish:
    """Run to the end, and let the nodes go unless something is half done on one."""
    finish = runner.run(first)
    if not half_done(runner.snapshot()):
        give_up(header, around)
    if not finish.verdict.resumable:
        shutil.rmtree(Path(around.here, header.run), ignore_errors=True)
    return finish


def give_up(header: Header, around: Surroundings) -> None:
    """Let the nodes of a run go."""
    if not header.playbook.exclusive:
        return
    place = Place(header.playbook.inventory.directory, header.run)
    for problem in prepare.unlock(around.hosts, [h.node for h in header.hosts], place):
        around.tell(Prepared(problem))


def half_done(snapshot: Snapshot) -> bool:
    """Whether a node is neither as it was nor as it shall be: then nobody else may work there."""
    if snapshot.finish is None or snapshot.finish.verdict is Verdict.ROLLED_BACK:
        return snapshot.finish is None
    for view in snapshot.lanes:
        touched = any(
            isinstance(t.task.work, CHANGING) and t.mark not in {Mark.PENDING, Mark.SKIPPED}
            for t in view.tasks
        )
        whole = all(t.mark in {Mark.DONE, Mark.SKIPPED, Mark.PASSED} for t in view.tasks)
        if touched and not whole:
            return True
    return False
