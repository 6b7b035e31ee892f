"""The process that keeps the rules of tails, beside the engine and only while there are any.

`python -m haman.engine.steerer FD SILENCE_S`: reads the whole desired set (`Wanted`) from a
SOCK_SEQPACKET, makes the kernel's the same, and answers what is there (`Steered`). Everything here
may wait, for the kernel's locks and for dumps of a hundred thousand sockets; the engine does not.

Its tables live as long as it does (`haman.system.nftables`). It ends when the engine does, and when
the engine has said nothing for SILENCE_S, as an engine that hangs: then its addresses end, too.
"""

import contextlib
import itertools
import select
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from haman.core.frozen import dataclass
from haman.core.handover.messages import Side
from haman.engine import anycast_rules
from haman.engine import steering_rules as rules
from haman.engine.anycast_rules import Diversion
from haman.engine.steering_rules import Steering
from haman.system.nftables import Nftables, NftablesError
from haman.system.sockdiag import SockDiag, SockDiagError

MESSAGE_BYTES_MAX = 1 << 20
LEARN_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Engine → here: every VIP and family that is in a handover now, and every tail of anycast."""

    steerings: tuple[Steering, ...]
    diversions: tuple[Diversion, ...] = ()


@dataclass(frozen=True, slots=True)
class Steered:
    """Here → engine: the rules of one of them.

    Attributes:
        problem: why they are not in force; "" = they are.
        connections: to its addresses, not at their end; None = not counted, as of a taker.
    """

    steering: Steering
    problem: str = ""
    connections: int | None = None


@dataclass(frozen=True, slots=True)
class Diverted:
    """The same of a tail of anycast; `passed`: handed on lately."""

    steering: Diversion
    problem: str = ""
    connections: int | None = None
    passed: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of the last `Wanted`, whole."""

    steered: tuple[Steered, ...]
    diverted: tuple[Diverted, ...] = ()


class Steerer:
    """Makes the kernel's rules the wanted ones.

    Args:
        make_nftables: opens the library; called when the first rule is wanted.
    """

    def __init__(self, diag: SockDiag, make_nftables: Callable[[], Nftables] = Nftables) -> None:
        self._diag = diag
        self._make = make_nftables
        self._nftables: Nftables | None = None
        self._there: dict[tuple[str, int], Steering] = {}
        self._diverted: dict[tuple[str, int], Diversion] = {}
        self._egress = True

    def reconcile(self, wanted: Wanted) -> Answer:
        """Have exactly these; what fails is told, and tried again with the next call."""
        keys = {steering.key for steering in wanted.steerings}
        for key in self._there.keys() - keys:
            with contextlib.suppress(NftablesError):  # with its interface the table is gone, too
                self._run(rules.end(self._there[key]))
            del self._there[key]
        left = {diversion.key for diversion in wanted.diversions}
        for key in self._diverted.keys() - left:
            with contextlib.suppress(NftablesError):
                self._run(anycast_rules.end(self._diverted.pop(key)))
        return Answer(
            tuple(map(self._steer, wanted.steerings)), tuple(map(self._divert, wanted.diversions))
        )

    def _steer(self, steering: Steering) -> Steered:
        try:
            there = self._there.get(steering.key)
            if there is not None and _place(there) != _place(steering):
                self._run(rules.end(there))
                del self._there[steering.key]
                there = None
            if there is None:
                self._begin(steering)
            elif there != steering:
                self._run(rules.steer(steering, egress=self._egress))
            self._there[steering.key] = steering
            count = None
            if steering.side is Side.GIVING:
                count = sum(map(self._diag.served, steering.addresses))
        except (NftablesError, SockDiagError) as error:
            return Steered(steering, problem=str(error))
        return Steered(steering, connections=count)

    def _divert(self, wanted: Diversion) -> Diverted:
        try:
            there = self._diverted.get(wanted.key)
            if there is not None and there.addresses != wanted.addresses:
                del self._diverted[wanted.key]
                self._run(anycast_rules.end(there))
                there = None
            if there is None:
                self._run(anycast_rules.begin(wanted))
                self._diverted[wanted.key] = wanted
                self._learn(wanted)
            if there != wanted:
                self._run(anycast_rules.steer(wanted))
                self._diverted[wanted.key] = wanted
            count = sum(map(self._diag.served, wanted.addresses)) if wanted.counts else 0
            passed = 0
            if wanted.side is Side.GIVING:
                passed = self._ask(anycast_rules.passed(wanted)).count("expires")
        except (NftablesError, SockDiagError) as error:
            # Whole or not at all: it is made anew with the next call.
            with contextlib.suppress(NftablesError):
                if self._diverted.pop(wanted.key, None) is not None:
                    self._run(anycast_rules.end(wanted))
            return Diverted(wanted, problem=str(error))
        return Diverted(wanted, connections=count, passed=passed)

    def _begin(self, steering: Steering) -> None:
        """In this order no connection is missed: those after the first step are learned by it."""
        try:
            self._run(rules.begin(steering, egress=self._egress))
        except NftablesError:
            if not self._egress:
                raise
            self._run(rules.begin(steering, egress=False))  # before Linux 5.16
            self._egress = False
        try:
            self._learn(steering)
            self._run(rules.steer(steering, egress=self._egress))
        except (NftablesError, SockDiagError):
            with contextlib.suppress(NftablesError):
                self._run(rules.end(steering))
            raise

    def _learn(self, steering: Steering | Diversion) -> None:
        for address in steering.addresses:
            found = self._diag.connections(address)
            while batch := tuple(itertools.islice(found, LEARN_AT_ONCE)):
                self._run(rules.learn(steering, batch, address))

    def _run(self, commands: str) -> None:
        self._ask(commands)

    def _ask(self, commands: str) -> str:
        if self._nftables is None:
            self._nftables = self._make()
        return self._nftables.run(commands)


def _place(steering: Steering) -> tuple[str, tuple[str, ...]]:
    """What a table cannot change."""
    return (steering.interface, steering.addresses)


def serve(engine: socket.socket, silence_s: float, steerer: Steerer) -> None:
    """Answer until the engine closes its end, or is silent for too long."""
    poll = select.poll()
    poll.register(engine, select.POLLIN)
    decoder = msgspec.msgpack.Decoder(Wanted)
    while poll.poll(silence_s * 1000):
        data = engine.recv(MESSAGE_BYTES_MAX)
        if not data:
            return
        answer = steerer.reconcile(decoder.decode(data))
        engine.send(msgspec.msgpack.encode(answer))


def main() -> int:
    """Run as a program."""
    engine = socket.socket(fileno=int(sys.argv[1]))
    engine.setblocking(True)
    with contextlib.suppress(OSError):  # /proc may be hidden: only the name in `ps` is lost
        Path("/proc/self/comm").write_text("haman-handover")
    with contextlib.suppress(OSError):  # the engine is dead, and so is this
        serve(engine, float(sys.argv[2]), Steerer(SockDiag()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
