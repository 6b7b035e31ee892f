"""Planned moves of VIPs, as the controller runs them: the machines of `core.handover`, and their world.

What the machines say goes over the mesh, what they want goes to the engine with the stances, and what
the engine and the peers say comes back to them. Of two that concern one VIP the newer one counts for
the engine: a VIP that goes back while its tail lasts is a second handover beside the first.
"""

import asyncio
import math
import secrets
from collections import deque
from collections.abc import Callable

from haman.controller.ports import Clock
from haman.core.facts import EngineReported, VipStance
from haman.core.frozen import dataclass
from haman.core.handover.giver import Giver
from haman.core.handover.messages import (
    Cancelled,
    Ended,
    EngineSaid,
    HandoverOrder,
    Input,
    Moved,
    PeerSaid,
    Phase,
    Said,
    Say,
    Side,
    Step,
    TimePassed,
)
from haman.core.handover.taker import Taker
from haman.core.heirs import ConfiguredVip
from haman.core.words import Event, Reason, Role

ENDED_KEPT = 32


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a handover that this node began: at the move, or when it was given up.

    Attributes:
        taker: who holds the VIPs; "" = this node, still.
        reason: why not.
    """

    vips: tuple[str, ...]
    taker: str
    reason: Reason | None = None


class Handovers:
    """Every handover that this node takes part in.

    Args:
        tell: sends to a peer once.
        note: writes an event down.
        changed: called when the engine is to be told other orders.
        outcome: called once for each handover that `start` began.
    """

    def __init__(
        self,
        clock: Clock,
        tell: Callable[[str, Said], object],
        note: Callable[[Event], object],
        *,
        changed: Callable[[], object],
        outcome: Callable[[Outcome], object],
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._note = note
        self._changed = changed
        self._outcome = outcome
        self._machines: dict[str, Giver | Taker] = {}
        self._ended: deque[str] = deque(maxlen=ENDED_KEPT)
        self._engine: EngineSaid | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ordered: tuple[HandoverOrder, ...] = ()

    # ---- giving --------------------------------------------------------------------------------

    def hindrance(self, vips: tuple[str, ...], to: str) -> Reason | None:
        """Why these VIPs cannot be handed to a node that could; None = they can."""
        if self._engine is None or not {p.vip for p in self._engine.places} >= set(vips):
            return Reason("no-means", "the engine has not said where the VIPs live")
        for machine in self._machines.values():
            if machine.ended or not set(machine.vips) & set(vips):
                continue
            if isinstance(machine, Giver):
                text = f"{' and '.join(machine.vips)}: a handover to {machine.to} is under way"
                return Reason("under-way", text)
            if machine.state != "taken" or machine.giver != to:
                text = f"{machine.giver} still serves what it had of {' and '.join(machine.vips)}"
                return Reason("tail-lasts", f"{text}: until then it can only go back there")
        return None

    def start(self, vips: tuple[ConfiguredVip, ...], to: str, tail_s: float = math.inf) -> None:
        """Hand these over; `hindrance` said that it can be. `outcome` tells the rest."""
        assert self._engine is not None
        names = tuple(vip.name for vip in vips)
        tail_ns = round(min(*(vip.handover_timeout_ns for vip in vips), tail_s * 1e9))
        places = tuple(p for p in self._engine.places if p.vip in names)
        now_ns = self._clock.monotonic_ns()
        giver = Giver(secrets.token_hex(6), names, to, tail_ns, places, now_ns=now_ns)
        self._machines[giver.id] = giver
        self._step(giver, TimePassed())
        self._settle()

    # ---- what comes in -------------------------------------------------------------------------

    def hear(
        self, peer: str, said: Said, vips: tuple[ConfiguredVip, ...], trouble: Reason | None
    ) -> None:
        """A peer said where it is.

        Args:
            peer: who said it.
            said: for one handover.
            vips: that move together with the first one named, as configured here.
            trouble: why this node should take nothing; None = it may.
        """
        machine = self._machines.get(said.id)
        if machine is None and said.phase is Phase.OFFER and said.id not in self._ended:
            machine = self._offered(peer, said, vips, trouble)
        if machine is not None and peer == _other(machine):
            self._step(machine, PeerSaid(said))
            self._settle()

    def _offered(
        self, peer: str, said: Said, vips: tuple[ConfiguredVip, ...], trouble: Reason | None
    ) -> Taker | None:
        trouble = trouble or self._unfit(peer, said, {vip.name for vip in vips})
        if trouble is not None:
            self._tell(peer, Said(said.id, said.vips, Phase.REFUSED, (), (trouble,)))
            return None
        tail_ns = max(vip.handover_timeout_ns for vip in vips)
        taker = Taker(said, peer, tail_ns, self._clock.monotonic_ns())
        self._machines[taker.id] = taker
        self._step(taker, self._engine or TimePassed())
        return taker

    def _unfit(self, peer: str, said: Said, configured: set[str]) -> Reason | None:
        if set(said.vips) != configured or {p.vip for p in said.places} != configured:
            known = ", ".join(sorted(configured)) or "none"
            text = f"{', '.join(said.vips)} are offered together, configured here are {known}"
            return Reason("other-configuration", text)
        if self._engine is None:
            return Reason("no-means", "the engine has not reported yet")
        for machine in self._machines.values():
            if machine.ended or not set(machine.vips) & configured:
                continue
            if machine.state != "tail" or _other(machine) != peer:
                text = f"a handover with {_other(machine)} is under way here"
                return Reason("under-way", text)
        return None

    def engine_said(self, reported: EngineReported) -> None:
        """The engine reported."""
        self._engine = EngineSaid(
            reported.handovers,
            frozenset(v.vip for v in reported.vips if v.role is Role.ACTIVE),
            frozenset(r.order.vip for r in reported.handovers if r.has(Step.TAKE)),
            reported.places,
        )
        if not self._machines:
            self._adopt(reported)
        for machine in list(self._machines.values()):
            self._step(machine, self._engine)
        self._settle()

    def _adopt(self, reported: EngineReported) -> None:
        """What the engine still does for a controller that is no more: tails go on."""
        now_ns = self._clock.monotonic_ns()
        for name in dict.fromkeys(report.order.id for report in reported.handovers):
            reports = tuple(r for r in reported.handovers if r.order.id == name)
            first = reports[0].order
            if name in self._ended or any(r.order.step is not Step.TAIL for r in reports):
                continue
            make = Giver.adopt if first.side is Side.GIVING else Taker.adopt
            self._machines[name] = make(reports, now_ns)

    def follow(self, stances: tuple[VipStance, ...]) -> tuple[HandoverOrder, ...]:
        """What this node no longer contends for neither moves here nor away; a tail goes on.

        Returns:
            As `orders`, after that.
        """
        let_go = {s.vip: s.reasons for s in stances if not s.contend}
        for machine in list(self._machines.values()):
            mine = [vip for vip in machine.vips if vip in let_go]
            if not mine or machine.ended or machine.state in {"tail", "taken"}:
                continue
            default = Reason("released", f"{mine[0]} is released here")
            self._step(machine, Cancelled(next(iter(let_go[mine[0]]), default)))
        return self.orders

    def close(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()

    # ---- what the engine shall do --------------------------------------------------------------

    @property
    def orders(self) -> tuple[HandoverOrder, ...]:
        """One for each VIP that moves: the newest handover's."""
        found: dict[str, HandoverOrder] = {}
        for machine in self._machines.values():
            # One that only makes ready is no reason to end what still forwards.
            found |= {o.vip: o for o in machine.orders if o.place.mac or o.vip not in found}
        return tuple(found.values())

    @property
    def given(self) -> frozenset[str]:
        """VIPs that this node gives away, or has given and serves the tail of."""
        givers = (m for m in self._machines.values() if isinstance(m, Giver))
        return frozenset(vip for m in givers if not m.ended for vip in m.vips)

    @property
    def moving(self) -> frozenset[str]:
        """VIPs that this node is about to give away."""
        givers = (m for m in self._machines.values() if isinstance(m, Giver))
        return frozenset(vip for m in givers if not m.ended and m.state != "tail" for vip in m.vips)

    # ---- the machines --------------------------------------------------------------------------

    def _step(self, machine: Giver | Taker, event: Input) -> None:
        for output in machine.step(event, self._clock.monotonic_ns()):
            match output:
                case Say(said):
                    self._tell(_other(machine), said)
                case Moved() if isinstance(machine, Giver):
                    self._outcome(Outcome(machine.vips, machine.to))
                case Ended(moved, reason, cut):
                    self._over(machine, reason, cut, moved=moved)
                case _:
                    pass
        if machine.finished:
            self._machines.pop(machine.id, None)

    def _over(self, machine: Giver | Taker, reason: Reason, cut: int, *, moved: bool) -> None:
        self._ended.append(machine.id)
        names = " and ".join(machine.vips)
        if isinstance(machine, Giver) and not moved:
            self._outcome(Outcome(machine.vips, "", reason))
        elif isinstance(machine, Giver):
            text = f"the tail of {names} is over: {reason.text}"
            self._tell_ended("tail-ended", text, machine, reason, cut)
        elif not moved and reason.code not in {"over", "no-answer"}:
            text = f"{names} was not taken from {machine.giver}: {reason.text}"
            self._tell_ended("handover-refused", text, machine, reason, cut)

    def _tell_ended(
        self, kind: str, text: str, machine: Giver | Taker, reason: Reason, cut: int
    ) -> None:
        data: dict[str, int | float | str] = {"with": _other(machine), "cut": cut}
        wall_ns = self._clock.wall_ns()
        for vip in machine.vips:
            self._note(Event(kind, wall_ns, text, vip, (reason,), data))

    def _settle(self) -> None:
        """After whatever happened: let the engine know, and see to it that time passes."""
        orders, self._ordered = self._ordered, self.orders
        if orders != self._ordered:
            self._changed()
        deadlines = (machine.deadline_ns for machine in self._machines.values())
        next_ns = min((at for at in deadlines if at is not None), default=None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if next_ns is not None:
            wait_s = max(0.0, (next_ns - self._clock.monotonic_ns()) / 1e9)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._passed)

    def _passed(self) -> None:
        self._timer = None
        for machine in list(self._machines.values()):
            self._step(machine, TimePassed())
        self._settle()


def _other(machine: Giver | Taker) -> str:
    return machine.to if isinstance(machine, Giver) else machine.giver
