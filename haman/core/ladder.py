"""The ladder of one anycast service: how much of its traffic this node asks the routers for.

States: the rungs, top first
    full       announced with the configured weight
    reduced    announced with one of the `reduced_weights`; only where weights are sent
    shut       announced with 65535:0 (RFC 8326): used by routers that have nothing better
    withdrawn  not announced
and `unknown` until the relay was heard for the first time, for it may hold what an earlier
controller announced. Full and reduced serve. Another node serves if its report is fresh, its proxy
is not in fault, and a router hears it at full or reduced.

The first row that applies says where a step leads. "Well": the proxy is in service or saturated.
"Held": saturated, paused, late data or isolated; each is a reason to move nothing. A node *sheds*
while a permit (`permits`) bounds its rung; "by permit": that rung is ordered now, down with the
peers' consent or up because one took it back.

    when                                               from                      to
    -------------------------------------------------  ------------------------  ----------------
    the relay is heard for the first time              unknown                   what it holds
    fault, proxy dead or deaf                          any                       withdrawn
    the addresses are gone for 1 s, or the engine is
    silent and nobody renews them                      any                       withdrawn
    the agent ends                                     full, reduced             shut
    drained, and survivors are made ready (`pivot`)    any                       stays
    drained, or a fault that is only held down
        –                                              full, reduced             shut
        others serve, shut in force for `drain`        shut                      withdrawn
        nobody else serves, proxy well, addresses up   withdrawn                 shut: last resort
    starting, or addresses not up, peers not heard yet any                       stays
    well, would have another weight, others serve
    and are made ready (`pivot`)                       any                       stays, waits
    well, others serve, by permit                      full, reduced, shut       permitted rung
    well, held, nobody else serves                     shut, withdrawn           lowest rung
    well, held                                         any                       stays
    well, nobody else serves                           any                       full
    well, others serve, no node has a client           any                       full, no tail
    well, others serve, sheds                          at the permitted rung     stays
    well, others serve                                 shut, withdrawn           lowest rung
    well, others serve, in force for `step`            reduced                   next rung up

The lowest rung is the last of the reduced weights, or full where there are none.

Timers: `drain`, `step` and the release of the addresses run from the instant at which the relay had
the rung in force. What ExaBGP did not acknowledge has changed nothing, and its time is not counted.

Invariants
    A dead proxy, or one that was not judged yet, never comes to be announced.
    Pause, late data and a silent cluster never lower the rung; saturation does by permit alone,
    never to withdrawn, and never while nobody else serves.
    Only a fault, or addresses that are gone, withdraw while nobody else serves.
    Nothing comes to be announced before all addresses are up, and they are held while anything is.
    From one rung to the next an announcement changes in place; no step passes through a withdrawal.
    At most one move per step. Between two moves down there are at most as many up as there are
    rungs.

Rungs and tails are for the clients of others, whose hashes move: in a cluster that nobody uses there are
none, as when all of it has just been switched on.

The addresses are held in a fault, too: a router whose last route is gone may fall back to a static
one (the floor), and a node that does not know the address would send such packets round in a loop.
They are let go of when the operator has drained the node, the withdrawal had its time, and the tail of
its connections is over.
"""

from collections.abc import Iterable
from dataclasses import field

from haman.core import because
from haman.core.announcements import Announcement, AnycastStance
from haman.core.frozen import dataclass
from haman.core.handover.steering import TailStanding
from haman.core.serving import SERVING
from haman.core.words import Condition, Reason, Stance

NS_PER_S = 1_000_000_000
ROUTERS_NS = NS_PER_S
"""From an acknowledged withdrawal until no router sends anything here: of FRR 60 ms (measured)."""
MISSING_NS = NS_PER_S
"""Addresses gone for so long do not come back by themselves: the engine repairs in milliseconds. One
that is silent may only wait to be read, by a controller that was itself stopped."""


@dataclass(frozen=True, slots=True)
class ConfiguredAnycast:
    """What the configuration says of an anycast service, as far as decisions go.

    Attributes:
        weight: at full stance.
        weighted: weights are sent; without it there are no reduced rungs.
        reduced_weights: falling.
        step_ns: how long each rung lasts on the way up.
        drain_ns: how long a drained node stays shut before it withdraws.
        tail_ns: how long its connections may last from then on; 0 = they are cut.
    """

    name: str
    weight: int = 100
    weighted: bool = True
    reduced_weights: tuple[int, ...] = (50, 25)
    step_ns: int = 10 * NS_PER_S
    drain_ns: int = 5 * NS_PER_S
    tail_ns: int = 60 * NS_PER_S

    @property
    def rungs(self) -> tuple["Rung", ...]:
        """The rungs that serve, top first."""
        reduced = self.reduced_weights if self.weighted else ()
        return (Rung(Stance.FULL, self.weight), *(Rung(Stance.REDUCED, w) for w in reduced))

    @property
    def shut(self) -> "Rung":
        """With the full weight: routers to which every node is shut share by weight again."""
        return Rung(Stance.SHUT, self.weight)

    def nearest(self, rung: "Rung") -> "Rung":
        """The rung here for one of another configuration: the highest that is not above it."""
        if rung.stance is Stance.SHUT:
            return self.shut
        if rung.stance is Stance.REDUCED:
            return next((r for r in self.rungs if r.weight <= rung.weight), self.rungs[-1])
        return rung if rung.stance is Stance.WITHDRAWN else self.rungs[0]


@dataclass(frozen=True, slots=True)
class Rung:
    """A stance with its weight; a withdrawn one weighs nothing."""

    stance: Stance
    weight: int

    @property
    def serves(self) -> bool:
        """Routers prefer it to nodes that are shut."""
        return self.stance in SERVING


WITHDRAWN = Rung(Stance.WITHDRAWN, 0)


@dataclass(frozen=True, slots=True)
class Shed:
    """A node serves less of a service than configured, for it is, or was, too busy.

    Attributes:
        rung: none above it while others serve; full, reduced or shut.
        ordered: go there now, saturated or not; otherwise it only bounds the way up.
        reasons: why, best first.
    """

    rung: Rung
    ordered: bool = False
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Footing:
    """What one step of a ladder stands upon.

    Attributes:
        condition: of the proxy, as the senses judge it: starting, in-service, saturated or fault.
        serviceable: in a fault: the proxy answers again and is only held down after flapping.
        complete: the kernel has all addresses, and they are renewed; None while that, or whether
            others serve, is not known yet.
        in_force: what the relay holds; None while it is not reached.
        servers: the other nodes that serve.
        holds: why nothing should move, best first; empty = nothing is against it.
        shed: what permits say; None = nothing.
        reasons: of the node's condition.
        missing: the engine's reasons why addresses are not there.
        tail: of the service's connections here.
        unladen: neither this node nor any server has a client, now or lately.
    """

    condition: Condition
    serviceable: bool = False
    drained: bool = False
    ending: bool = False
    complete: bool | None = True
    in_force: Rung | None = None
    servers: tuple[str, ...] = ()
    holds: tuple[Reason, ...] = ()
    shed: Shed | None = None
    reasons: tuple[Reason, ...] = ()
    missing: tuple[Reason, ...] = ()
    tail: TailStanding = field(default_factory=TailStanding)
    unladen: bool = False

    @property
    def broken(self) -> bool:
        """The proxy is dead or deaf."""
        return self.condition is Condition.FAULT and not self.serviceable

    @property
    def stands_down(self) -> bool:
        """Serves only if nobody else does."""
        return self.drained or self.condition is Condition.FAULT

    @property
    def well(self) -> bool:
        """The proxy can serve."""
        return self.condition in (Condition.IN_SERVICE, Condition.SATURATED) or self.serviceable

    @property
    def comes(self) -> bool:
        """Serves nothing, and nothing but the tail of others keeps it from it."""
        serves = self.in_force is None or self.in_force.serves
        bound = self.stands_down or self.ending or self.holds or self.unladen
        free = self.well and not bound
        return free and bool(self.complete and self.servers) and not serves

    @property
    def wanted(self) -> bool:
        """Announced if the addresses are up, whatever the stance."""
        return self.well and not (self.stands_down and self.servers)


class Ladder:
    """The engine of this module; see its head for states, timers and transitions."""

    def __init__(self, configured: ConfiguredAnycast) -> None:
        self._configured = configured
        self._at: Rung | None = None
        self._in_force_ns: int | None = None
        self._missing_ns: int | None = None
        self._deadline_ns: int | None = None
        self._stance = AnycastStance(
            configured.name, Stance.WITHDRAWN, 0, True, (because.RELAY_AWAITED,)
        )

    def reconfigure(self, configured: ConfiguredAnycast) -> None:
        """Take over other weights and times; it moves from where it is, to the nearest rung at first."""
        self._configured = configured

    @property
    def known(self) -> bool:
        """The relay was heard: what it holds may be changed."""
        return self._at is not None

    @property
    def deadline_ns(self) -> int | None:
        """When a timer ends that moves the ladder if nothing else changes; None = none runs."""
        return self._deadline_ns

    def snapshot(self) -> AnycastStance:
        """What the last step said."""
        return self._stance

    def step(self, footing: Footing, now_ns: int) -> AnycastStance:
        """What to be to the service now."""
        self._deadline_ns = None
        if self._at is None and footing.in_force is not None:
            self._at = footing.in_force
        self._observe(footing, now_ns)
        name = self._configured.name
        if self._at is None:
            reasons = (because.RELAY_AWAITED, *footing.reasons)
            self._stance = AnycastStance(name, Stance.WITHDRAWN, 0, True, reasons)
            return self._stance
        before, to = self._at, self._next(self._configured.nearest(self._at), footing, now_ns)
        waits = _waits(before, to, footing)
        self._at = before if waits else to
        if self._at != before:
            self._in_force_ns = self._deadline_ns = None
            self._observe(footing, now_ns)
        held = not self._may_let_go(footing, now_ns)
        reasons = self._reasons(self._at, footing)
        self._stance = AnycastStance(name, self._at.stance, self._at.weight, held, reasons, waits)
        return self._stance

    def _observe(self, footing: Footing, now_ns: int) -> None:
        if self._at is None or footing.in_force != self._at:
            self._in_force_ns = None
        elif self._in_force_ns is None:
            self._in_force_ns = now_ns
        if footing.complete is not False:
            self._missing_ns = None
        elif self._missing_ns is None:
            self._missing_ns = now_ns

    def _next(self, at: Rung, footing: Footing, now_ns: int) -> Rung:
        if footing.broken or self._is_over(self._missing_ns, MISSING_NS, now_ns):
            return WITHDRAWN
        if footing.ending:
            return self._configured.shut if at.serves else at
        if footing.stands_down:
            return self._down(at, footing, now_ns)
        if not footing.well or not footing.complete:
            return at
        if footing.shed is not None and footing.servers:
            return self._shedding(at, footing.shed, footing, now_ns)
        return self._up(at, footing, now_ns)

    def _down(self, at: Rung, footing: Footing, now_ns: int) -> Rung:
        shut = self._configured.shut
        if footing.drained and footing.tail.keeps:
            return at
        if at.serves:
            return shut
        if at.stance is Stance.SHUT:
            if footing.servers and self._was_in_force(self._configured.drain_ns, now_ns):
                return WITHDRAWN
            return at
        return shut if footing.wanted and footing.complete else at

    def _shedding(self, at: Rung, shed: Shed, footing: Footing, now_ns: int) -> Rung:
        permitted = self._configured.nearest(shed.rung)
        if shed.ordered and at != WITHDRAWN:
            return permitted
        up = self._up(at, footing, now_ns)
        return up if self._height(up) <= self._height(permitted) else at

    def _height(self, rung: Rung) -> int:
        rungs = self._configured.rungs
        other = 0 if rung.stance is Stance.SHUT else -1
        return len(rungs) - rungs.index(rung) if rung in rungs else other

    def _up(self, at: Rung, footing: Footing, now_ns: int) -> Rung:
        rungs = self._configured.rungs
        if footing.holds:
            return at if at.serves or footing.servers else rungs[-1]
        if not footing.servers or (footing.unladen and not footing.shed):
            return rungs[0]
        if not at.serves:
            return rungs[-1]
        place = rungs.index(at)
        if place and self._was_in_force(self._configured.step_ns, now_ns):
            return rungs[place - 1]
        return at

    def _may_let_go(self, footing: Footing, now_ns: int) -> bool:
        """Drained, withdrawn, and every router has had the time to notice."""
        is_out = self._at == WITHDRAWN and footing.drained and bool(footing.servers)
        return is_out and not footing.tail.holds and self._was_in_force(ROUTERS_NS, now_ns)

    def _was_in_force(self, long_ns: int, now_ns: int) -> bool:
        return self._is_over(self._in_force_ns, long_ns, now_ns)

    def _is_over(self, since_ns: int | None, long_ns: int, now_ns: int) -> bool:
        """Whether a timer ended; if it runs, it is waited for."""
        if since_ns is None:
            return False
        ends_ns = since_ns + long_ns
        if now_ns < ends_ns and (self._deadline_ns is None or ends_ns < self._deadline_ns):
            self._deadline_ns = ends_ns
        return now_ns >= ends_ns

    def _reasons(self, at: Rung, footing: Footing) -> tuple[Reason, ...]:
        name, top = self._configured.name, self._configured.rungs[0]
        shut = at.stance is Stance.SHUT
        first: list[Reason] = []
        if footing.broken:
            pass  # its own reasons say everything
        elif footing.complete is False and (at != WITHDRAWN or footing.wanted):
            first.append(because.addresses_missing(name, footing.missing))
        elif footing.ending and not footing.stands_down:
            first.append(because.ENDING)
        elif footing.stands_down and shut and footing.servers:
            drain_s = self._configured.drain_ns / NS_PER_S
            first.append(because.shut_before_withdrawal(name, footing.servers, drain_s))
        elif footing.stands_down and shut:
            first.append(because.last_announcer(name, drained=footing.drained))
        elif not footing.stands_down and footing.well and top != self._configured.nearest(at):
            shed = footing.shed.reasons if footing.shed is not None and footing.servers else ()
            first += (*shed, *footing.holds) or self._climbing(at, footing)
        elif not footing.stands_down:
            first += footing.holds
        first += footing.tail.reasons
        said = {reason.code for reason in first}
        return (*first, *(r for r in footing.reasons if r.code not in said))

    def _climbing(self, at: Rung, footing: Footing) -> tuple[Reason, ...]:
        if not footing.complete:
            return (because.ADDRESSES_AWAITED,)
        if not at.serves:
            return () if footing.tail.reasons else (because.TAIL_AWAITED,)
        full, step_s = self._configured.weight, self._configured.step_ns / NS_PER_S
        return (because.climbing(self._configured.name, at.weight, full, footing.servers, step_s),)


def _waits(at: Rung, to: Rung, footing: Footing) -> bool:
    """Whether routers' hashes would move before anybody steers."""
    free = footing.broken or footing.ending or footing.stands_down
    free = free or footing.unladen or not footing.servers
    moves = to not in {at, WITHDRAWN} if at.serves else to.serves
    return footing.tail.gates and moves and not free


def in_force(configured: ConfiguredAnycast, announced: Iterable[Announcement]) -> Rung:
    """What a relay that holds `announced` makes of this service."""
    held = next((a for a in announced if a.service == configured.name), None)
    if held is None:
        return WITHDRAWN
    weight = configured.weight if held.weight is None else held.weight
    if held.shut:
        return Rung(Stance.SHUT, weight)
    return Rung(Stance.FULL if weight >= configured.weight else Stance.REDUCED, weight)
