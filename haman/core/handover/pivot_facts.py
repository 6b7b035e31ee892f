"""What the pivot looks at, of its own node and of the others, and what it notes."""

from collections.abc import Callable
from dataclasses import replace

from haman.core.frozen import dataclass
from haman.core.handover.messages import NS_PER_MS, NS_PER_S
from haman.core.handover.steering import LEASE_NS, SteerReport, SteerWord, TailWord
from haman.core.handover.survivor import DRAINS_ITSELF
from haman.core.ladder import WITHDRAWN, Rung
from haman.core.reports import PeerView
from haman.core.serving import servers
from haman.core.words import Reason, Stance

ASK_NS = 10 * NS_PER_S
ASK_BACK_NS = 3 * NS_PER_S
"""Who comes back is needed: the others wait for it more than it waits for them. And a permit to have
another weight is not there for long."""
WAIT_NS = 10 * NS_PER_S
"""A tail lasts as long as its node's configuration says; asking, passing and closing come on top."""
LEAST_TAIL_NS = 2 * NS_PER_S
"""What routers still send here after the withdrawal; FRR stops 60 ms after the UPDATE."""
QUIET_NS = 10 * NS_PER_S
"""Without a rung that changed: longer than most clients are silent in the middle of a request."""
PASS_NS = 3 * NS_PER_S
SWITCH_NS = 2 * NS_PER_S
"""Survivors change over to a new pivot within two reports; until then the line is the old one's."""
LATE_NS = 1500 * NS_PER_MS
"""A survivor that has not been fresh for so long leaves the line. A busy host is late by 0.7 s, reports are
lost, and a shorter line resets its connections; the segments of those behind one that is dead are sent again.
Not since it was heard: where reports are rare, a fresh one may be as old as this."""
CLOSING_NS = LEASE_NS + NS_PER_S
SAY_OVER_NS = NS_PER_S
"""Reports are lost, and who has just been asked has not said yet that it steers."""


@dataclass(frozen=True, slots=True)
class PivotFacts:
    """What one step looks at.

    Attributes:
        drained: the operator wants it.
        comes: it serves nothing, and nothing but its tail keeps it from being announced.
        shifts: nothing but its tail keeps it from another weight, or from one again (`AnycastStance.waits`).
        dead: the proxy is dead or deaf.
        ending: the agent ends.
        in_force: what routers were told last; None while the relay is not reached.
        quiet_ns: a rung that has not changed for so long does not by itself.
        steers: this node's rules for another one's tail are in force.
        peers: every configured one.
        reports: the engine's; None = it has said nothing yet.
    """

    drained: bool
    comes: bool
    shifts: bool
    dead: bool
    ending: bool
    in_force: Rung | None
    quiet_ns: int
    steers: bool
    peers: tuple[PeerView, ...]
    reports: tuple[SteerReport, ...] | None

    @property
    def moves(self) -> bool:
        """It leaves, comes back or is to have another weight, or it has left."""
        return self.drained or self.comes or self.shifts

    @property
    def wanted(self) -> bool:
        """There is something to ask the others for."""
        announced = self.in_force is not None and self.in_force.stance is not Stance.WITHDRAWN
        wanted = announced if self.drained else self.moves
        return wanted and not self.dead and not self.ending


@dataclass(frozen=True, slots=True)
class TailNote:
    """For the journal: `tail-started`, `tail-ended` or `tail-refused`; `cut`: connections."""

    kind: str
    reason: Reason
    survivors: tuple[str, ...] = ()
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Other:
    """Another node's tail."""

    node: str
    word: TailWord


class Late:
    """Peers that have just ceased to be fresh."""

    def __init__(self) -> None:
        self._fresh_ns: dict[str, int] = {}

    def see(self, peers: tuple[PeerView, ...], now_ns: int) -> frozenset[str]:
        """Their names now."""
        self._fresh_ns |= {peer.name: now_ns for peer in peers if peer.fresh}
        return frozenset(n for n, at_ns in self._fresh_ns.items() if 0 < now_ns - at_ns < LATE_NS)


class RungWatch:
    """What routers were told of this node, and since when.

    Attributes:
        withdrawn_ns: since when it is withdrawn; None = it is not.
        steady_ns: when the rung last changed, or the tail began.
    """

    def __init__(self) -> None:
        self.withdrawn_ns: int | None = None
        self.steady_ns = 0
        self._at: Rung | None = None

    def see(self, in_force: Rung | None, now_ns: int) -> bool:
        """Take in what is in force; whether that is news."""
        if in_force != WITHDRAWN:
            self.withdrawn_ns = None
        elif self.withdrawn_ns is None:
            self.withdrawn_ns = now_ns
        moved, self._at = in_force != self._at, in_force
        if moved:
            self.steady_ns = now_ns
        return moved

    def is_out(self, now_ns: int) -> bool:
        """Withdrawn for so long that routers send nothing here any more."""
        return self.withdrawn_ns is not None and now_ns - self.withdrawn_ns >= LEAST_TAIL_NS

    def is_steady(self, for_ns: int, now_ns: int) -> bool:
        """Nothing has changed for so long."""
        return now_ns - self.steady_ns >= for_ns

    def has_moved(self, facts: PivotFacts, left: int | None, *, drained: bool, now_ns: int) -> bool:
        """Whether a node needs another one's tail no more; `left`: connections, `drained`: it was for that."""
        if drained:
            return self.is_out(now_ns) and left == 0
        return not facts.moves and self.is_steady(LEAST_TAIL_NS, now_ns)


class Heard:
    """The fresh reports of peers, about one service.

    Args:
        service: its name.
        peers: every configured one.
        late: those that have just ceased to be fresh.
    """

    def __init__(
        self, service: str, peers: tuple[PeerView, ...], late: frozenset[str] = frozenset()
    ) -> None:
        self._peers = peers
        self._late = late
        self.serving = servers(service, peers)
        said = {
            p.name: p.report.service(service) for p in peers if p.fresh and p.report is not None
        }
        self._said = {name: report for name, report in said.items() if report is not None}

    def other(self, which: Callable[[Other], bool]) -> Other | None:
        """The first by name of those who ask, and of whom `which` is true."""
        found = (
            Other(name, said.tail)
            for name, said in sorted(self._said.items())
            if said.tail is not None and not said.tail.over
        )
        return next(filter(which, found), None)

    def words(self, tail: str) -> dict[str, SteerWord]:
        """Who steers for a tail, and how far he is."""
        return {
            name: said.steers
            for name, said in self._said.items()
            if said.steers is not None and said.steers.id == tail
        }

    def ready(self, tail: str) -> tuple[str, ...]:
        """Whose rules are in force, in order."""
        return tuple(sorted(name for name, word in self.words(tail).items() if word.ready))

    def line(self, tail: str, line: tuple[str, ...]) -> tuple[str, ...]:
        """Who stays in a line, and who comes to its end; so nobody else's next changes.

        One that changes its rules for another line is not ready meanwhile, and would leave it for that.
        """
        words = self.words(tail)
        steer = {name for name, word in words.items() if word.problem is None}
        stay = (name for name in line if name in self._late or name in steer)
        return tuple(dict.fromkeys((*stay, *self.ready(tail))))

    def steer(self, tail: str) -> bool:
        """Somebody steers for it, or is about to."""
        return any(word.problem is None for word in self.words(tail).values())

    def went_over(self, before: str, after: str) -> bool:
        """Nobody steers for one tail any more, and all that do for another have their rules in force."""
        words = self.words(after).values()
        return not self.steer(before) and all(w.ready or w.problem is not None for w in words)

    def covers(self, tail: str) -> tuple[str, ...]:
        """Who leans on it."""
        return tuple(sorted(name for name, word in self.words(tail).items() if word.leans))

    def in_line(self, tail: str, line: tuple[str, ...]) -> bool:
        """Everyone in line has his rules in force, and knows who is next."""
        words = self.words(tail)
        pairs = zip(line, (*line[1:], ""), strict=True)
        return all((w := words.get(name)) and w.ready and w.next == after for name, after in pairs)

    def cannot(self, tail: str) -> dict[str, Reason]:
        """Who serves and will not come to steer, and why."""
        found = {
            name: word.problem
            for name, word in self.words(tail).items()
            if word.problem is not None and word.problem.code != DRAINS_ITSELF
        }
        old = [
            p.name
            for p in self._peers
            if p.name in self.serving and p.report and not p.report.links
        ]
        text = "it has not said on which link it is: an older version, or a session not on a link"
        return {name: Reason("no-link", text) for name in old} | found


@dataclass(frozen=True, slots=True)
class Muster:
    """Who steers to a node that has asked.

    Attributes:
        line: those who do, or shall.
        over: there is nobody to wait for any more.
        refusals: why the others do not, or why this node cannot have it; in order.
    """

    line: tuple[str, ...]
    over: bool
    refusals: tuple[Reason, ...] = ()


def muster(node: str, tail: str, heard: Heard, own: SteerReport | None, *, late: bool) -> Muster:
    """How far the others are.

    Args:
        node: this node, that asks.
        tail: what for.
        heard: what they say.
        own: the engine's report of it.
        late: who has not answered yet is not waited for.
    """
    if own is not None and own.problem is not None:
        why = own.problem
        return Muster((), over=True, refusals=(replace(why, text=f"{node}: {why.text}"),))
    cannot = heard.cannot(tail)
    line = tuple(name for name in heard.serving if name not in cannot)
    lined_up = own is not None and own.ready and bool(line) and own.order.next == line[0]
    if line and not late and not (lined_up and heard.in_line(tail, line)):
        return Muster(line, over=False)
    if late:
        ready = heard.ready(tail)
        text = f"it does not answer within {ASK_NS / NS_PER_S:g} s"
        cannot |= {n: Reason("no-answer", text) for n in line if n not in ready}
        line = tuple(name for name in line if name in ready)
    refusals = tuple(
        Reason(why.code, f"{name} does not steer to this node: {why.text}", {"node": name})
        for name, why in sorted(cannot.items())
    )
    return Muster(line, over=True, refusals=refusals)
