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
from collections.abc import Callable, Iterable

from haman.system.inet_diag import InetDiag, SockDiagError
from haman.system.nftables import Nftables, NftablesError

MESSAGE_BYTES_MAX = 1 << 20
LEARN_AT_ONCE = 2000


class Job:
    """The rules of one table, as commands of nftables.

    Attributes:
        name: of the table, and of what goes with it.
        place: what a table cannot change; with another one it is made anew.
        begin: makes the table, which then learns connections from their SYNs; a second one is for
            kernels that refuse the first.
        steer: puts the rules in force, in place of those that are there; for each of `begin`.
        end: removes all.
        learn: begins a command that adds elements to the set of known connections.
        addresses: whose connections those are.
        counts: the connections are to be counted.
        passed: prints the set of what was handed on; "" = that is not asked.
        stays: where new rules are refused, the old ones stay; else nothing does.
    """

    __slots__ = (
        "addresses",
        "begin",
        "counts",
        "end",
        "learn",
        "name",
        "passed",
        "place",
        "stays",
        "steer",
    )

    def __init__(
        self,
        *,
        name: str,
        place: str,
        begin: tuple[str, ...],
        steer: tuple[str, ...],
        end: str,
        learn: str,
        addresses: tuple[str, ...],
        counts: bool,
        passed: str,
        stays: bool,
    ) -> None:
        self.name = name
        self.place = place
        self.begin = begin
        self.steer = steer
        self.end = end
        self.learn = learn
        self.addresses = addresses
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
    """

    def __init__(self, diag: InetDiag, make_nftables: Callable[[], Nftables] = Nftables) -> None:
        self._diag = diag
        self._make = make_nftables
        self._nftables: Nftables | None = None
        self._there: dict[str, Job] = {}
        self._variant = 0

    def reconcile(self, jobs: list[Job]) -> list[Outcome]:
        """Have exactly these; what fails is told, and tried again with the next call."""
        for name in self._there.keys() - {job.name for job in jobs}:
            self._end(self._there.pop(name))
        return [self._have(job) for job in jobs]

    def _have(self, job: Job) -> Outcome:
        try:
            there = self._there.get(job.name)
            if there is not None and there.place != job.place:
                self._run(there.end)
                del self._there[job.name]
                there = None
            if there is None:
                self._begin(job)
            elif there.steer != job.steer:
                self._run(self._of(job.steer))
            self._there[job.name] = job
            connections = sum(map(self._diag.served, job.addresses)) if job.counts else None
            passed = self._run(job.passed).count("expires") if job.passed else 0
        except (NftablesError, SockDiagError) as error:
            if not job.stays and job.name in self._there:
                self._end(self._there.pop(job.name))
            return (str(error), None, 0)
        return ("", connections, passed)

    def _begin(self, job: Job) -> None:
        """In this order no connection is missed: those after the first step are learned by it."""
        try:
            self._run(self._of(job.begin))
        except NftablesError:
            if self._variant + 1 >= len(job.begin):
                raise
            self._run(job.begin[self._variant + 1])
            self._variant += 1
        try:
            for address in job.addresses:
                self._learn(job, address)
            self._run(self._of(job.steer))
        except (NftablesError, SockDiagError):
            self._end(job)
            raise

    def _of(self, variants: tuple[str, ...]) -> str:
        return variants[min(self._variant, len(variants) - 1)]

    def _end(self, job: Job) -> None:
        with contextlib.suppress(NftablesError):  # with its interface the table is gone, too
            self._run(job.end)

    def _learn(self, job: Job, address: str) -> None:
        found: list[str] = []
        for each in self._diag.connections(address):
            found.append(element(each, address))
            if len(found) == LEARN_AT_ONCE:
                self._run(f"{job.learn} {{ {', '.join(found)} }}")
                found.clear()
        if found:
            self._run(f"{job.learn} {{ {', '.join(found)} }}")

    def _run(self, commands: str) -> str:
        if self._nftables is None:
            self._nftables = self._make()
        return self._nftables.run(commands)


def element(connection: bytes, address: str) -> str:
    """A connection to `address`, as `InetDiag.connections` gives it, in a set of connections."""
    remote, ports = connection[:-4], connection[-4:]
    text = socket.inet_ntop(socket.AF_INET if len(remote) == 4 else socket.AF_INET6, remote)
    port, local = int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big")
    return f"{text} . {port} . {address} . {local}"


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
