"""Watching the proxy's processes: their end at once, their coming back soon.

Every member has a pidfd in the event loop, so that an exit is known without polling; what it means
is found out by looking anew. Looks are also taken by the clock, for members that come.

States
    unseen  before the first look
    alive   a member serves
    dead    none does

    from    observed                                   to       tells
    unseen  first look: a member serves                alive    found
    unseen  first look: none does                      dead     died
    alive   an exit, or a look: none serves            dead     died, at once
    dead    the same member serves in SETTLED looks    alive    found

Timers: looks, every SEARCH_S while dead, every LOOK_S until CALM_LOOKS in a row found the same, and
every CALM_S at the latest then; while alive a look is wide, which by name means to search all processes, only
every WIDE_S.
Invariant: `died` and `found` alternate. One that comes and goes within a look was never found.
"""

import asyncio
from collections.abc import Callable

from haman.core.processes import ProcessId
from haman.core.words import Reason
from haman.proxies.process import ProcessSet
from haman.system.pidfd import PidFd
from haman.system.procfs import ProcFs

CALM_S = 1.0
LOOK_S = 0.2
SEARCH_S = 0.05
CALM_LOOKS = 5
SETTLED = 2
WIDE_S = 2.0


class ProcessWatch:
    """Calls `died` and `found` from inside the loop, synchronously; they must not block."""

    def __init__(
        self,
        processes: ProcessSet,
        procfs: ProcFs,
        died: Callable[[tuple[Reason, ...]], None],
        found: Callable[[], None],
    ) -> None:
        self._processes = processes
        self._procfs = procfs
        self._died = died
        self._found = found
        self._alive: bool | None = None
        self._watched: dict[ProcessId, PidFd] = {}
        self._candidates: tuple[frozenset[ProcessId], int] = (frozenset(), 0)
        self._calm: tuple[frozenset[ProcessId], int] = (frozenset(), 0)
        self._wide_s: float | None = None
        self._next: asyncio.TimerHandle | None = None
        self.problem = ""
        self.deaths = 0

    async def run(self) -> None:
        """Watch until cancelled.

        The first look is taken before the first await.
        """
        try:
            self._look_by_clock()
            await asyncio.get_running_loop().create_future()  # until cancelled
        finally:
            if self._next is not None:
                self._next.cancel()
            for process in list(self._watched):
                self._unwatch(process)

    @property
    def alive(self) -> bool:
        """Whether a member serves."""
        return bool(self._alive)

    def _look_by_clock(self) -> None:
        now_s = asyncio.get_running_loop().time()
        wide = self._wide_s is None or now_s - self._wide_s >= WIDE_S
        if wide:
            self._wide_s = now_s
        self.look(wide=wide)

    def _look_later(self) -> None:
        """The next look by the clock, after every look of whatever cause."""
        if self._next is not None:
            self._next.cancel()
        members = frozenset(self._processes.members)
        before, looks = self._calm
        self._calm = (members, looks + 1 if members == before and not self.problem else 0)
        loop = asyncio.get_running_loop()
        due_s = loop.time() + (LOOK_S if self._alive else SEARCH_S)
        if self._alive and self._calm[1] >= CALM_LOOKS:
            due_s += CALM_S - LOOK_S
            due_s -= due_s % LOOK_S  # with what else is due then, for one wake-up: see `Ticker`
        self._next = loop.call_at(due_s, self._look_by_clock)

    def look(self, *, wide: bool = False) -> None:
        """Find the members anew, watch them, and tell what that means."""
        self._processes.look(wide=wide)
        self._watch_members()
        serving = frozenset(self._processes.serving)
        if serving:
            self._seen(serving)
        elif self._alive is not False:
            self._lost()
        self._look_later()

    def _seen(self, serving: frozenset[ProcessId]) -> None:
        if self._alive:
            return
        before, looks = self._candidates
        steady = before & serving
        self._candidates = (steady, looks + 1) if steady else (serving, 1)
        if self._alive is None or self._candidates[1] >= SETTLED:
            self._alive = True
            self._found()

    def _lost(self, exited: ProcessId | None = None) -> None:
        first = self._alive is None
        self._alive = False
        self._candidates = (frozenset(), 0)
        source = self._processes.source
        if first:
            self._died((Reason("proxy-not-found", f"no process of the proxy is alive ({source})"),))
            return
        self.deaths += 1
        if exited is None:
            text = f"no process of the proxy serves any more ({source})"
            self._died((Reason("proxy-died", text),))
        else:
            text = f"the proxy died: process {exited.pid} exited, and no other serves ({source})"
            self._died((Reason("proxy-died", text, {"pid": exited.pid}),))

    def _exited(self, process: ProcessId) -> None:
        self._unwatch(process)
        self._processes.look()
        if self._alive and not self._processes.serving:
            self._lost(process)
        self._watch_members()
        self._look_later()

    def _watch_members(self) -> None:
        members = set(self._processes.members)
        for process in self._watched.keys() - members:
            self._unwatch(process)
        self.problem = ""
        for process in members - self._watched.keys():
            try:
                pidfd = PidFd.open(process, self._procfs)
            except OSError as error:
                self.problem = f"process {process.pid} cannot be watched: {error.strerror}"
                continue
            if isinstance(pidfd, PidFd):
                self._watched[process] = pidfd
                asyncio.get_running_loop().add_reader(pidfd, self._exited, process)

    def _unwatch(self, process: ProcessId) -> None:
        pidfd = self._watched.pop(process)
        asyncio.get_running_loop().remove_reader(pidfd)
        pidfd.close()
