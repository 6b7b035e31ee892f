"""What the relay says to ExaBGP and when: the desired set, its lease, acknowledgements, repairs.

Each prefix is on its own:

    state     meaning                                      leads to
    settled   ExaBGP acknowledged what is wanted           owed: the declaration or the lease changed,
                                                           or ExaBGP's RIB was found to differ
    owed      what is wanted has not been said             sent: there is room in the window
    sent      said, not acknowledged                       settled: `done` · waiting: `error`
    waiting   refused                                      owed: after RETRY_NS

Timers
    ACK_NS        a command that is not acknowledged by then is late: counted, shown, never repeated,
                  for what ExaBGP does not read it would read twice
    RETRY_NS      between two tries of a command that ExaBGP refused
    RECONCILE_NS  between two looks into ExaBGP's RIB; at once when a session came up, an
                  acknowledgement was late, refused or unasked for, or the neighbours changed
    POLL_NS       between two looks at the sessions while one is not up, QUIET_POLL_NS otherwise:
                  ExaBGP has no event for a connection that never comes about, and none for its own
                  standstill, which ends its sessions with the routers' hold time
    the lease     see `lease`

Invariants
    1. ExaBGP answers in order, so answers belong to the oldest command; at most WINDOW are
       unanswered, so the pipe to ExaBGP never fills.
    2. At most one command about a prefix is unanswered: ExaBGP merges changes that it has not sent
       yet, and of A, B, A it would send A, B.
    3. A change of attributes is one announcement in place, never a withdrawal.
    4. Without a declaration nothing is withdrawn, until the lease says so: a relay that was started
       anew adopts what ExaBGP still announces.
    5. What is reported as announced was acknowledged.
"""

from collections import Counter, deque
from dataclasses import field, replace
from typing import Final

from haman.bgp.events import ACKNOWLEDGED, REFUSED, SessionChanged, SessionsPolled, event
from haman.bgp.grammar import (
    SHOW_NEIGHBORS,
    SHOW_ROUTES,
    Address,
    Prefix,
    RibLine,
    Route,
    announce,
    rib_line,
    routes,
    withdraw,
)
from haman.bgp.lease import NS_PER_MS, Lease, LeaseState
from haman.bgp.messages import (
    MAX_NEIGHBORS,
    MAX_PREFIXES,
    Declaration,
    RelayReport,
)
from haman.bgp.sessions import Sessions
from haman.core.announcements import Announcement
from haman.core.frozen import dataclass

NS_PER_S: Final = 1_000_000_000
WINDOW: Final = 32
ACK_NS: Final = 2 * NS_PER_S
RETRY_NS: Final = NS_PER_S
RECONCILE_NS: Final = 30 * NS_PER_S
POLL_NS: Final = 3 * NS_PER_S
QUIET_POLL_NS: Final = 5 * NS_PER_S
MAX_RIB_LINES: Final = MAX_PREFIXES * MAX_NEIGHBORS


@dataclass(frozen=True, slots=True)
class DeclarationReceived:
    """The controller's word; renews the lease."""

    declaration: Declaration


@dataclass(frozen=True, slots=True)
class LineRead:
    """A whole line from ExaBGP, without its end."""

    text: str


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The deadline was reached, or might have been."""


Input = DeclarationReceived | LineRead | TimePassed


@dataclass(slots=True)
class _Said:
    """A command that is not answered yet.

    Attributes:
        prefix: None = a question.
        route: None = a withdrawal.
    """

    due_ns: int
    prefix: Prefix | None = None
    route: Route | None = None
    routes_asked: bool = False
    late: bool = False


@dataclass(slots=True)
class _Look:
    """A look into ExaBGP's RIB: what was acknowledged when it was asked for, and what came."""

    held: dict[Prefix, Route]
    seen: list[RibLine] = field(default_factory=list)


class Relaying:
    """One relay, from its start to its end.

    Args:
        now_ns: monotonic; when it starts.
        shut_ms: the lease until the first declaration brings its own.
        withdraw_ms: likewise.
    """

    def __init__(self, now_ns: int, shut_ms: int, withdraw_ms: int) -> None:
        self._lease = Lease(now_ns, shut_ms * NS_PER_MS, withdraw_ms * NS_PER_MS)
        self._lease_state = LeaseState.HELD
        self._generation = 0
        self._local_as = 0
        self._neighbors: tuple[Address, ...] = ()
        self._declared: dict[Prefix, Route] | None = None
        self._spelled: dict[Prefix, Announcement] = {}
        self._held: dict[Prefix, Route] = {}
        self._doubted: set[Prefix] = set()
        self._waiting: dict[Prefix, int] = {}
        self._said: deque[_Said] = deque()
        self._look: _Look | None = None
        self._look_due_ns = now_ns
        self._poll_due_ns = now_ns
        self._sessions = Sessions()
        self.counters: Counter[str] = Counter()

    # ---- surface -------------------------------------------------------------------------------

    def step(self, fact: Input, now_ns: int) -> tuple[str, ...]:
        """Take in what happened; returns the lines that ExaBGP is to be told, in order."""
        match fact:
            case DeclarationReceived(declaration):
                self._declare(declaration, now_ns)
            case LineRead(text):
                self._read(text, now_ns)
            case TimePassed():
                pass
        self._check_lease(now_ns)
        self._check_answers(now_ns)
        return tuple(self._lines(now_ns))

    def deadline_ns(self, now_ns: int) -> int:
        """When `TimePassed` is due."""
        due = [self._look_due_ns, self._poll_due_ns, *self._waiting.values()]
        due += [said.due_ns for said in self._said if not said.late][:1]
        if self._said:
            due = [when for when in due if when > now_ns] or [now_ns + RETRY_NS]
        if (lease_ns := self._lease.deadline_ns(now_ns)) is not None:
            due.append(lease_ns)
        return max(now_ns, min(due))

    def snapshot(self) -> RelayReport:
        """What is known now."""
        return RelayReport(
            generation=self._generation,
            lease=self._lease_state,
            announced=self._announced(),
            settled=self._settled(),
            sessions=self._sessions.reports(),
            problem=self._problem(),
            answers=not any(said.late for said in self._said),
            counters=dict(self.counters),
        )

    # ---- from the controller -------------------------------------------------------------------

    def _declare(self, declaration: Declaration, now_ns: int) -> None:
        self._lease = Lease(
            now_ns,
            declaration.lease_shut_ms * NS_PER_MS,
            declaration.lease_withdraw_ms * NS_PER_MS,
        )
        self.counters["declarations"] += 1
        self._generation = declaration.generation
        wanted: dict[Prefix, Route] = {}
        for announcement in declaration.announcements:
            for text, route in zip(announcement.prefixes, routes(announcement), strict=True):
                wanted[route.prefix] = route
                self._spelled[route.prefix] = replace(announcement, prefixes=(text,))
        if (declaration.neighbors, declaration.local_as) != (self._neighbors, self._local_as):
            self._neighbors, self._local_as = declaration.neighbors, declaration.local_as
            # Which of them ExaBGP has told of a prefix is not known: everything is said again,
            # which puts nothing on the wire where it was said before.
            self._doubted |= self._held.keys()
            self._look_due_ns = now_ns
            self._sessions.keep(self._neighbors)
        self._declared = wanted

    def _check_lease(self, now_ns: int) -> None:
        state = self._lease.state(now_ns)
        if state is not self._lease_state:
            self._lease_state = state
            self.counters[f"lease_{state}"] += 1

    def _wanted(self) -> dict[Prefix, Route]:
        declared = self._declared or {}
        if self._lease_state is LeaseState.WITHDRAWN:
            return {}
        if self._lease_state is LeaseState.SHUT:
            return {prefix: replace(route, shut=True) for prefix, route in declared.items()}
        return declared

    # ---- to ExaBGP -----------------------------------------------------------------------------

    def _lines(self, now_ns: int) -> list[str]:
        lines = [
            line
            for prefix, route in self._owed(now_ns)
            if len(self._said) < WINDOW
            for line in self._say(prefix, route, now_ns)
        ]
        # Questions wait until all is answered: one that ExaBGP hangs over is not asked twice.
        if now_ns >= self._look_due_ns and not self._said:
            self._look = _Look(dict(self._held))
            self._look_due_ns = now_ns + RECONCILE_NS
            self._said.append(_Said(now_ns + ACK_NS, routes_asked=True))
            lines.append(SHOW_ROUTES)
        if now_ns >= self._poll_due_ns and not self._said:
            self._poll_due_ns = now_ns + (QUIET_POLL_NS if self._sessions.quiet else POLL_NS)
            self._said.append(_Said(now_ns + ACK_NS))
            lines.append(SHOW_NEIGHBORS)
        self.counters["commands"] += len(lines)
        return lines

    def _owed(self, now_ns: int) -> list[tuple[Prefix, Route | None]]:
        """What is to be said, announcements first: nothing ends before what replaces it begins."""
        wanted = self._wanted()
        sent = {said.prefix for said in self._said}
        self._waiting = {p: until for p, until in self._waiting.items() if until > now_ns}
        candidates: list[tuple[Prefix, Route | None]] = [*wanted.items()]
        if self._generation or self._lease_state is LeaseState.WITHDRAWN:
            gone = {**dict.fromkeys(self._held), **dict.fromkeys(self._doubted)}
            candidates += [(prefix, None) for prefix in gone if prefix not in wanted]
        return [
            (prefix, route)
            for prefix, route in candidates
            if prefix not in sent
            and prefix not in self._waiting
            and (prefix in self._doubted or self._held.get(prefix) != route)
        ]

    def _say(self, prefix: Prefix, route: Route | None, now_ns: int) -> list[str]:
        to = self._of_family(prefix)
        self._doubted.discard(prefix)
        if not to:
            self._held.pop(prefix, None)  # no session carries it any more
            return []
        self._said.append(_Said(now_ns + ACK_NS, prefix, route))
        return [withdraw(prefix, to) if route is None else announce(route, to, self._local_as)]

    def _of_family(self, prefix: Prefix) -> tuple[Address, ...]:
        return tuple(n for n in self._neighbors if n.version == prefix.version)

    # ---- from ExaBGP ---------------------------------------------------------------------------

    def _read(self, text: str, now_ns: int) -> None:
        if text in {ACKNOWLEDGED, REFUSED}:
            self._answered(accepted=text == ACKNOWLEDGED, now_ns=now_ns)
        elif text.startswith(("{", "[")):
            self._happened(event(text), now_ns)
        elif (line := rib_line(text)) and self._look is not None:
            if len(self._look.seen) < MAX_RIB_LINES:
                self._look.seen.append(line)
        elif text:
            self.counters["lines_unknown"] += 1

    def _answered(self, *, accepted: bool, now_ns: int) -> None:
        if not self._said:
            self.counters["acks_unexpected"] += 1
            self._look_due_ns = now_ns
            return
        said = self._said.popleft()
        if said.late or not accepted:
            self._look_due_ns = now_ns
        if not accepted:
            self.counters["commands_refused"] += 1
        if said.prefix is None:
            if said.routes_asked and self._look is not None:
                look, self._look = self._look, None
                if accepted:
                    self._compare(look)
        elif not accepted:
            self._doubted.add(said.prefix)
            self._waiting[said.prefix] = now_ns + RETRY_NS
        elif said.route is None:
            self._held.pop(said.prefix, None)
            if said.prefix not in (self._declared or {}):
                self._spelled.pop(said.prefix, None)
        else:
            self._held[said.prefix] = said.route

    def _compare(self, look: _Look) -> None:
        """Find what ExaBGP's RIB does not hold as it was acknowledged, and have it said again."""
        self.counters["reconciles"] += 1
        if self._declared is None and not self._held:
            self._adopt(look.seen)
            return
        seen = {(line.neighbor, line.prefix): line.route for line in look.seen}
        sent = {said.prefix for said in self._said}
        for prefix in {**look.held, **{line.prefix: None for line in look.seen}}:
            was = look.held.get(prefix)
            if prefix in sent or prefix in self._doubted or self._held.get(prefix) != was:
                continue  # it was changed meanwhile
            to = [n for n in self._of_family(prefix) if n in self._sessions.known]
            if was is None:
                wrong = any((n, prefix) in seen for n in to)
            else:
                wrong = any(seen.get((n, prefix)) != was for n in to)
            if wrong:
                self._doubted.add(prefix)
                self.counters["reconcile_repairs"] += 1

    def _adopt(self, seen: list[RibLine]) -> None:
        """ExaBGP outlived the relay before this one: what it announces is what shall be announced."""
        if not seen:
            return
        self._neighbors = tuple(dict.fromkeys(line.neighbor for line in seen))[:MAX_NEIGHBORS]
        self._local_as = seen[0].local_as
        self._held = {line.prefix: line.route for line in seen if line.route is not None}
        self._doubted |= {line.prefix for line in seen if line.route is None}
        self._declared = dict(self._held)
        self.counters["adopted"] += len(self._held)

    def _check_answers(self, now_ns: int) -> None:
        for said in self._said:
            if not said.late and now_ns >= said.due_ns:
                said.late = True
                self.counters["acks_late"] += 1

    def _happened(self, happened: SessionChanged | SessionsPolled | None, now_ns: int) -> None:
        match happened:
            case None:
                self.counters["events_unknown"] += 1
            case SessionChanged(state=state):
                self.counters["events"] += 1
                self._sessions.changed(happened)
                if state == "up":
                    self._look_due_ns = now_ns  # another configuration's session has another RIB
                self._poll_due_ns = min(self._poll_due_ns, now_ns + POLL_NS)
            case SessionsPolled():
                self._sessions.polled(happened)

    # ---- the picture ---------------------------------------------------------------------------

    def _announced(self) -> tuple[Announcement, ...]:
        """What is held, by service and attributes; two pictures of a service while it changes."""
        likenesses: dict[Announcement, list[str]] = {}
        order = [p for p in self._declared or {} if p in self._held]
        for prefix in dict.fromkeys([*order, *self._held]):
            one = self._as_declared(prefix, self._held[prefix])
            likenesses.setdefault(replace(one, prefixes=()), []).extend(one.prefixes)
        return tuple(replace(a, prefixes=tuple(p)) for a, p in likenesses.items())

    def _as_declared(self, prefix: Prefix, route: Route) -> Announcement:
        """A route in the words of the declaration that it comes from, if there is one."""
        plain = tuple(":".join(str(number) for number in c) for c in route.communities)
        said = self._spelled.get(prefix) or Announcement("", (str(prefix),), communities=plain)
        (spelled,) = routes(said)
        if spelled.communities != route.communities:
            said = replace(said, communities=plain)
        return replace(said, shut=route.shut, weight=route.weight, med=route.med)

    def _settled(self) -> bool:
        wanted = {p: r for p, r in self._wanted().items() if self._of_family(p)}
        sent = any(said.prefix is not None for said in self._said)
        return not sent and not self._doubted and wanted == self._held

    def _problem(self) -> str:
        if any(said.late for said in self._said):
            return (
                "ExaBGP does not acknowledge what it is told: it is busy or hangs; if that lasts, end it"
                " with kill -9, and the engine starts it again"
            )
        refused = sorted(str(prefix) for prefix in self._waiting)
        if refused:
            return f"ExaBGP refused a command about {refused[0]}; its log says why"
        return ""
