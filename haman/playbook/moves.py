"""What the agents do for a run: moves of nodes and VIPs, and looks at what came of them."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from haman.api import schema
from haman.api.client import UnreachableError
from haman.playbook.cluster import Cluster, SilentError
from haman.playbook.commands import Told, done, failed
from haman.playbook.conditions import Looker
from haman.playbook.facts import Outcome
from haman.playbook.guards import (
    as_last_resort,
    last_resort,
    may_leave,
    missing,
    serving_nothing,
    worse,
)
from haman.playbook.model import Assert, Drain, Failover, Undrain, WaitFor
from haman.playbook.script import Guard, Soak, Task

POLL_S = 0.2
GUARD_S = 5.0
"""Somebody who just came back may need a moment to be seen as such by the one who is asked."""
BAD_LOOKS = 3
"""Looks in a row at which something must be worse to count: one look may be unlucky."""


@dataclass(frozen=True, slots=True)
class OnCluster:
    """Does what needs an agent.

    Attributes:
        cluster: the agents.
        looker: looks whether states hold.
        force: go below N−1 where a person said so.
        stays_out: the run leaves its nodes drained.
        stop: set when the run shall stop: waits end at once.
    """

    cluster: Cluster
    looker: Looker
    force: bool
    stays_out: bool
    stop: threading.Event

    def do(
        self, task: Task, work: Guard | Soak | Drain | Undrain | Failover | WaitFor | Assert
    ) -> Told:
        """Do a task."""
        match work:
            case Guard():
                told = self._guard(task, work)
            case Soak():
                told = self._soak(task, work)
            case Drain():
                told = self._drain(task)
            case Undrain():
                told = done(self.cluster.act(task.node, "undrain", schema.Intent()).text)
            case Failover():
                told = self._failover(task, work)
            case WaitFor():
                told = self._wait_for(task, work)
            case Assert():
                lacks = self.looker.lacks(work, task.node)
                told = failed("; ".join(lacks)) if lacks else done()
        return told

    def interrupted(self) -> Told:
        """Say that a wait was ended, as somebody wants the run to stop."""
        return Told(Outcome.UNKNOWN, "interrupted; it will be done again")

    def _guard(self, task: Task, guard: Guard) -> Told:
        if self._drained_before(task.node) and not guard.stays_out:
            return failed(f"{task.node} was drained before: undrain it, or leave it out")

        def against() -> list[str]:
            now, loss = self.cluster.status(), self.cluster.loss(guard.asked)
            return may_leave(now, task.node, loss, guard.meant_out, force=self.force)

        return self._wait(min(task.timeout_s, GUARD_S), against)

    def _soak(self, task: Task, soak: Soak) -> Told:
        before = self.looker.before
        if before is None:
            raise RuntimeError("a soak without a cluster")

        def lacks() -> list[str]:
            now = self.cluster.status()
            bad = worse(before, now, soak.meant_out, settled=True)
            return bad + ([] if soak.drained else missing(before, now, task.node))

        told = self._wait(soak.come_back_s, lacks)
        if told.outcome is not Outcome.DONE:
            return told
        end, bad_looks = time.monotonic() + soak.seconds, 0
        while time.monotonic() < end:
            if self.stop.wait(POLL_S):
                return self.interrupted()
            try:
                bad = lacks()
            except SilentError as error:
                bad = [str(error)]
            bad_looks = bad_looks + 1 if bad else 0
            if bad_looks >= BAD_LOOKS:
                return failed("; ".join(bad))
        return done(f"for {soak.seconds:g} s" if soak.seconds else "")

    def _drain(self, task: Task) -> Told:
        node = task.node
        if self._drained_before(node):  # not the run's to take back
            return Told(Outcome.SKIPPED, "was drained before")
        accepted = self.cluster.act(node, "drain", schema.Intent(force=self.force))
        kept: list[str] = []

        def lacks() -> list[str]:
            now = self.cluster.own(node)
            kept[:] = last_resort(now, node)
            return serving_nothing(now, node, kept)

        waited = self._wait(task.timeout_s, lacks)
        if waited.outcome is not Outcome.DONE:
            return waited
        if kept and not self.stays_out:
            return failed(f"{as_last_resort(node, kept)}, and cannot be worked on")
        return done(as_last_resort(node, kept) if kept else accepted.text)

    def _wait_for(self, task: Task, work: WaitFor) -> Told:
        if work.connections_max is not None and self.stays_out:
            kept = last_resort(self.cluster.own(task.node), task.node)
            if kept:  # new clients come as others leave
                return Told(Outcome.SKIPPED, as_last_resort(task.node, kept))
        return self._wait(task.timeout_s, lambda: self.looker.lacks(work, task.node))

    def _drained_before(self, node: str) -> bool:
        nodes = self.looker.before.nodes if self.looker.before is not None else ()
        return any(n.drained for n in nodes if n.name == node)

    def _failover(self, task: Task, work: Failover) -> Told:
        vip, to = work.vip, work.to.replace("{{node}}", task.node)
        was = self._holders(vip)
        if to and was == (to,):
            return done(f"{vip} is on {to} already")
        if not was:
            return failed(f"nobody holds {vip}")
        self.cluster.act(was[0], "failover", schema.Intent(vip=vip, to=to, force=self.force))

        def lacks() -> list[str]:
            now = self._holders(vip)
            moved = now == (to,) if to else bool(now) and now != was
            return [] if moved else [f"{vip} is on {', '.join(now) or 'nobody'}"]

        waited = self._wait(task.timeout_s, lacks)
        if waited.outcome is not Outcome.DONE:
            return waited
        return done(f"{vip} moved from {', '.join(was)} to {', '.join(self._holders(vip))}")

    def _holders(self, vip: str) -> tuple[str, ...]:
        services = self.cluster.status().services
        return next((s.holders for s in services if s.name == vip), ())

    def _wait(self, timeout_s: float, lacks: Callable[[], list[str]]) -> Told:
        """Look until nothing is missing any more."""
        began = time.monotonic()
        while True:
            try:
                bad = lacks()
            except (SilentError, UnreachableError) as error:
                bad = [str(error)]
            if not bad:
                return done()
            if time.monotonic() - began >= timeout_s:
                return failed(f"{'; '.join(bad)}, after {timeout_s:g} s")
            if self.stop.wait(POLL_S):
                return self.interrupted()
