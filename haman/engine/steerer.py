"""The process that keeps the rules of tails, beside the engine and only while there are any.

It reads the whole desired set, a `Job` for each table, from a SOCK_SEQPACKET, makes the kernel's the
same, and answers with an `Outcome` for each. Everything here may wait, for the kernel's locks and for
dumps of a hundred thousand sockets; the engine does not.

A planned move waits until it runs, on every node: it imports next to nothing (20 ms, and not 150), gets its
commands ready-made, and messages are `marshal`'s, the same interpreter being at both ends.

Its tables live as long as it does (`haman.system.nftables`). It ends when the engine does, and when
the engine has said nothing for some seconds, as an engine that hangs: then its addresses end, too.
"""

import contextlib
import marshal
import select
import socket
import time
from collections.abc import Callable, Iterable

from haman.engine.knowledge import KNOWN, Knowledge, Look
from haman.system.inet_diag import InetDiag, SockDiagError
from haman.system.nftables import Nftables, NftablesError

MESSAGE_BYTES_MAX = 1 << 20
LOOK_S, LOOK_S_MAX, LOOK_SHARE = 0.5, 3.0, 10
"""Between two looks at the sockets: at least, at most, and in times of what the last one took."""


class Job:
    """The rules of one table, as commands of nftables.

    Attributes:
        name: of the table, and of what goes with it.
        place: what a table cannot change; with another one it is made anew.
        begin: makes the table, which then learns connections from their SYNs; a second one is for
            kernels that refuse the first.
        steer: puts the rules in force, in place of those that are there; for each of `begin`.
        end: removes all.
        table: its name in commands, with the family; it has a set `known`.
        addresses: whose connections those are.
        former: what connections that are there already are; see `knowledge`.
        counts: the connections are to be counted.
        passed: prints the set of what was handed on; "" = that is not asked.
        stays: where new rules are refused, the old ones stay; else nothing does.
    """

    __slots__ = (
        "addresses",
        "begin",
        "counts",
        "end",
        "former",
        "name",
        "passed",
        "place",
        "stays",
        "steer",
        "table",
    )

    def __init__(
        self,
        *,
        name: str,
        place: str,
        begin: tuple[str, ...],
        steer: tuple[str, ...],
        end: str,
        table: str,
        addresses: tuple[str, ...],
        former: str,
        counts: bool,
        passed: str,
        stays: bool,
    ) -> None:
        self.name = name
        self.place = place
        self.begin = begin
        self.steer = steer
        self.end = end
        self.table = table
        self.addresses = addresses
        self.former = former
        self.counts = counts
        self.passed = passed
        self.stays = stays


Outcome = tuple[str, int | None, int]
"""Why rules are not in force, "" = they are; connections, None = not counted; handed on lately."""


def pack(jobs: Iterable[Job]) -> bytes:
    """The message for them."""
    each = ({name: getattr(job, name) for name in Job.__slots__} for job in jobs)
    return marshal.dumps(list(each))


def outcomes(message: bytes) -> list[Outcome]:
    """What became of each job of a message, in order."""
    found: list[Outcome] = marshal.loads(message)  # noqa: S302 - of the engine's own child
    return found


class Steerer:
    """Makes the kernel's rules the wanted ones.

    Args:
        make_nftables: opens the library; called when the first rule is wanted.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        diag: InetDiag,
        make_nftables: Callable[[], Nftables] = Nftables,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._diag = diag
        self._make = make_nftables
        self._clock = clock
        self._nftables: Nftables | None = None
        self._there: dict[str, tuple[Job, Knowledge]] = {}
        self._variant = 0
        self._look_at_s = 0.0

    def reconcile(self, jobs: list[Job]) -> list[Outcome]:
        """Have exactly these; what fails is told, and tried again with the next call."""
        for name in self._there.keys() - {job.name for job in jobs}:
            self._end(self._there.pop(name)[0])
        began_s = self._clock()
        due, look = began_s >= self._look_at_s, Look(self._diag)
        found = [self._have(job, look, due=due) for job in jobs]
        if due:
            ended_s = self._clock()
            pause_s = min(max(LOOK_S, LOOK_SHARE * (ended_s - began_s)), LOOK_S_MAX)
            self._look_at_s = ended_s + pause_s
        return found

    def _have(self, job: Job, look: Look, *, due: bool) -> Outcome:
        try:
            there = self._there.get(job.name)
            if there is not None and there[0].place != job.place:
                self._run(there[0].end)
                del self._there[job.name]
                there = None
            if there is None:
                knowledge = self._begin(job)
            else:
                before, knowledge = there
                if job.former == KNOWN != before.former:
                    knowledge.begin(look, former=KNOWN)
                elif due:
                    knowledge.renew(look)
                if job.steer != before.steer:
                    self._run(self._of(job.steer))
            self._there[job.name] = (job, knowledge)
            connections = sum(map(look.served, job.addresses)) if job.counts else None
            passed = self._run(job.passed).count("expires") if job.passed else 0
        except (NftablesError, SockDiagError) as error:
            if not job.stays and job.name in self._there:
                self._end(self._there.pop(job.name)[0])
            return (str(error), None, 0)
        return ("", connections, passed)

    def _begin(self, job: Job) -> Knowledge:
        """In this order no connection is missed: those after the first step are learned by it."""
        try:
            self._run(self._of(job.begin))
        except NftablesError:
            if self._variant + 1 >= len(job.begin):
                raise
            self._run(job.begin[self._variant + 1])
            self._variant += 1
        try:
            knowledge = Knowledge(job.table, job.addresses, self._run)
            knowledge.begin(Look(self._diag), former=job.former)
            self._run(self._of(job.steer))
        except (NftablesError, SockDiagError):
            self._end(job)
            raise
        return knowledge

    def _of(self, variants: tuple[str, ...]) -> str:
        return variants[min(self._variant, len(variants) - 1)]

    def _end(self, job: Job) -> None:
        with contextlib.suppress(NftablesError):  # with its interface the table is gone, too
            self._run(job.end)

    def _run(self, commands: str) -> str:
        if self._nftables is None:
            self._nftables = self._make()
        return self._nftables.run(commands)


def serve(engine: socket.socket, silence_s: float, steerer: Steerer) -> None:
    """Answer until the engine closes its end, or is silent for too long."""
    poll = select.poll()
    poll.register(engine, select.POLLIN)
    while poll.poll(silence_s * 1000):
        message = engine.recv(MESSAGE_BYTES_MAX)
        if not message:
            return
        jobs = [Job(**fields) for fields in marshal.loads(message)]  # noqa: S302 - of the engine
        engine.send(marshal.dumps(steerer.reconcile(jobs)))


def main(arguments: list[str]) -> int:
    """Run: the number of the engine's socket, and for how many seconds the engine may be silent."""
    number, silence_s = arguments
    engine = socket.socket(fileno=int(number))
    engine.setblocking(True)
    # /proc may be hidden: only the name in `ps` is lost.
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as comm:  # noqa: PTH123 - pathlib takes as long to import as all else
        comm.write("haman-handover")
    with contextlib.suppress(OSError):  # the engine is dead, and so is this
        serve(engine, float(silence_s), Steerer(InetDiag()))
    return 0
