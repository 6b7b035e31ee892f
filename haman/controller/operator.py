"""What operators ask for: checked, made durable, done, and noted.

A wish for another node travels there and is checked again by that node with its own knowledge.
Nothing here moves an address: intent and failovers go into the decision, which does.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from haman.cluster.packets import Order, Verb
from haman.controller.intent import IntentKeeper, NotDurableError
from haman.controller.orders import Orders
from haman.controller.safety import (
    no_holder,
    no_room,
    no_target,
    nobody_serves,
    stays_last_resort,
)
from haman.controller.surface import Accepted, ClusterSnapshot, Outcome, Refused
from haman.core.decide import FailoverEnded
from haman.core.frozen import dataclass
from haman.core.heirs import ConfiguredVip, best_peer
from haman.core.serving import servers
from haman.core.shares import carries
from haman.core.situation import OperatorIntent
from haman.core.words import Event, Reason, Role


class Machine(Protocol):
    """What the verbs act upon: the controller."""

    def snapshot(self) -> ClusterSnapshot:
        """The cluster as known now."""

    def group(self, vip: str) -> tuple[ConfiguredVip, ...]:
        """The VIPs that move together with `vip`, itself first; () = not configured here."""

    def decide(self) -> None:
        """Decide again, and act upon it at once."""

    def start_failover(
        self, vip: str, to: str, *, plain: bool = False
    ) -> asyncio.Future[FailoverEnded]:
        """Begin; the future tells the end."""

    def note(self, event: Event) -> None:
        """Write down."""

    def wall_ns(self) -> int:
        """For events."""


@dataclass(frozen=True, slots=True)
class _Wish:
    change: Callable[[OperatorIntent], OperatorIntent]
    event: str
    done: str


_DRAIN = _Wish(lambda i: replace(i, drained=True), "operator-drained", "drained")
_UNDRAIN = _Wish(lambda i: replace(i, drained=False), "operator-undrained", "back in service")
_PAUSE = _Wish(lambda i: replace(i, paused=True), "operator-paused", "automatic moves paused")
_RESUME = _Wish(lambda i: replace(i, paused=False), "operator-resumed", "automatic moves resumed")


def _drained(intent: OperatorIntent, moved: tuple[str, ...]) -> OperatorIntent:
    return replace(intent, drained=True, yielded=intent.yielded - set(moved))


def _not_durable(node: str, wish: _Wish, error: NotDurableError) -> Refused:
    return Refused("not-durable", f"{node}: not {wish.done}: not on disk: {error}")


class Operator:
    """The verbs of the operator.

    Args:
        machine: what they act upon.
        intent: what outlives the process.
        orders: the way to other nodes; None = there is none.
    """

    def __init__(self, machine: Machine, intent: IntentKeeper, orders: Orders | None) -> None:
        self._machine = machine
        self._intent = intent
        self._orders = orders

    async def drain(self, node: str, *, force: bool, plain: bool = False, by: str = "") -> Outcome:
        """Take a node out of service; `by` = the node that the operator asked, "" = this one.

        What it holds is handed over first, once it is known that the drain can be made durable. What
        cannot be stops the drain, unless `plain`. What moved comes back after the drain, if it is
        preferred here: only a failover yields for good.
        """
        now = self._machine.snapshot()
        if node not in {"", now.node}:
            return await self._elsewhere(now, node, "drain", force=force, plain=plain)
        if self._intent.current.drained:
            return Accepted(f"{now.node} is drained already")
        held = tuple(v.vip for v in now.own.vips if v.role is Role.ACTIVE)
        carried = carries(now.own)
        left = tuple(vip for vip in held if best_peer(self._machine.group(vip), now.peers) is None)
        left += tuple(service for service in carried if not servers(service, now.peers))
        what = f"draining {now.node}"
        if left and not force:
            return nobody_serves(now, what, left)
        if (held or carried) and not force and (unsafe := no_room(now, what)):
            return unsafe
        stuck = await self._hand_over_all(now, held, left, by=by or now.node)
        if stuck is not None and not plain:
            return stuck
        drained = replace(_DRAIN, change=lambda i: _drained(i, held))
        return await self._wish(drained, now.node, by, stays_last_resort(now, left))

    async def _hand_over_all(
        self, now: ClusterSnapshot, held: tuple[str, ...], left: tuple[str, ...], *, by: str
    ) -> Refused | None:
        """Hand over what a drain would release; the first that failed, None = all is gone.

        Nothing is, while the drain itself could not be written down.

        In turn: the VIPs of a group go with the first of them.
        """
        if not held:
            return None
        try:
            await self._intent.change(lambda intent: intent)
        except NotDurableError as error:
            return _not_durable(now.node, _DRAIN, error)
        gone: set[str] = set()
        for vip in held:
            group = self._machine.group(vip)
            target = best_peer(group, now.peers)
            if vip in left or vip in gone or target is None:
                continue
            outcome = await self._move(now, vip, target, plain=False, by=by)
            if isinstance(outcome, Refused):
                text = f"{now.node} is not drained: {outcome.text}"
                return Refused(outcome.code, text, outcome.reasons)
            gone |= {each.name for each in group}
        return None

    async def undrain(self, node: str, *, by: str = "") -> Outcome:
        """Put a node back into service."""
        now = self._machine.snapshot()
        if node not in {"", now.node}:
            return await self._elsewhere(now, node, "undrain")
        if not self._intent.current.drained:
            return Accepted(f"{now.node} is not drained")
        return await self._wish(_UNDRAIN, now.node, by)

    async def pause(self) -> Outcome:
        """Hold automatic moves here and on every peer that is heard."""
        return await self._everywhere("pause", _PAUSE)

    async def resume(self) -> Outcome:
        """End `pause`, here and on every peer that is heard."""
        return await self._everywhere("resume", _RESUME)

    async def failover(self, vip: str, to: str, *, force: bool, plain: bool = False) -> Outcome:
        """Move a VIP away from its holder, and wait until another one has it.

        By a handover, which cuts nothing; where it cannot be, only with `plain`.
        """
        now = self._machine.snapshot()
        reports = {now.node: now.own} | {
            p.name: p.report for p in now.peers if p.fresh and p.report is not None
        }
        holders = [n for n, r in reports.items() if (v := r.vip(vip)) and v.role is Role.ACTIVE]
        if not holders:
            return no_holder(vip, tuple(reports.values()))
        if to and to not in reports and to not in {p.name for p in now.peers}:
            return Refused("unknown-node", f"{to} is not a node of this cluster")
        if to in holders:
            return Accepted(f"{to} holds {vip} already")
        if now.node not in holders:
            wish = {"vip": vip, "to": to}
            return await self._elsewhere(
                now, holders[0], "failover", **wish, force=force, plain=plain
            )
        return await self._failover_here(now, vip, to, force=force, plain=plain, by=now.node)

    async def do(self, order: Order) -> Outcome:
        """A wish that arrived from another node, for this one."""
        match order.verb:
            case "drain":
                return await self.drain("", force=order.force, plain=order.plain, by=order.by)
            case "undrain":
                return await self.undrain("", by=order.by)
            case "pause":
                return await self._wish(_PAUSE, self._machine.snapshot().node, order.by)
            case "resume":
                return await self._wish(_RESUME, self._machine.snapshot().node, order.by)
            case "failover":
                now = self._machine.snapshot()
                held = now.own.vip(order.vip)
                if held is None or held.role is not Role.ACTIVE:
                    return Refused("no-holder", f"{now.node} does not hold {order.vip}")
                return await self._failover_here(
                    now,
                    order.vip,
                    order.to,
                    force=order.force,
                    plain=order.plain,
                    by=order.by,
                )

    async def _failover_here(
        self, now: ClusterSnapshot, vip: str, to: str, *, force: bool, plain: bool, by: str
    ) -> Outcome:
        group = self._machine.group(vip)
        target = best_peer(group, now.peers, prefer=to)
        if target is None or (to and target != to):
            return no_target(now, vip, to, group)
        if not force and (unsafe := no_room(now, f"moving {vip} to {target}")):
            return unsafe
        return await self._move(now, vip, target, plain=plain, by=by)

    async def _move(
        self, now: ClusterSnapshot, vip: str, target: str, *, plain: bool, by: str
    ) -> Outcome:
        data: dict[str, int | float | str] = {"from": now.node, "to": target, "by": by}
        self._note("failover-started", f"the operator moves {vip} to {target}", vip, data)
        ended = await self._machine.start_failover(vip, target, plain=plain)
        if not ended.taker and ended.reason is not None:
            text = f"{vip} stays on {now.node}: {ended.reason.text}"
            text += "; `--plain` moves it all the same, and cuts its connections"
            self._note("failover-aborted", text, vip, data, (ended.reason,))
            return Refused("not-handed-over", text, (ended.reason,))
        if not ended.taker:
            text = f"{vip}: no peer became active in time; {now.node} contends again"
            self._note("failover-aborted", text, vip, data)
            return Refused("no-taker", text)
        text = f"{vip} moved from {now.node} to {ended.taker}"
        self._note("failover-completed", text, vip, data | {"to": ended.taker})
        return Accepted(text)

    async def _wish(
        self, wish: _Wish, node: str, by: str = "", reasons: tuple[Reason, ...] = ()
    ) -> Outcome:
        try:
            await self._intent.change(wish.change)
        except NotDurableError as error:
            return _not_durable(node, wish, error)
        self._machine.decide()
        text = f"{node}: {wish.done} by the operator" + (f", through {by}" if by else "")
        self._note(wish.event, text, "", {"by": by or node}, reasons)
        return Accepted(f"{node}: {wish.done}", reasons)

    async def _everywhere(self, verb: Verb, wish: _Wish) -> Outcome:
        now = self._machine.snapshot()
        own = await self._wish(wish, now.node)
        if isinstance(own, Refused) or self._orders is None:
            return own
        heard = [p.name for p in now.peers if p.fresh]
        outcomes = await asyncio.gather(
            *(self._orders.ask(name, verb, by=now.node) for name in heard)
        )
        missed = [
            Reason(f"not-{verb}d", f"{name}: {outcome.text}", {"node": name})
            for name, outcome in zip(heard, outcomes, strict=True)
            if isinstance(outcome, Refused)
        ]
        missed += [
            Reason(f"not-{verb}d", f"{p.name} is not heard; say it there", {"node": p.name})
            for p in now.peers
            if not p.fresh
        ]
        if missed:
            return Accepted(f"{own.text}, but not on every node", tuple(missed))
        return Accepted(", ".join([now.node, *heard]) + f": {wish.done}")

    async def _elsewhere(
        self,
        now: ClusterSnapshot,
        node: str,
        verb: Verb,
        *,
        vip: str = "",
        to: str = "",
        force: bool = False,
        plain: bool = False,
    ) -> Outcome:
        peer = next((p for p in now.peers if p.name == node), None)
        if peer is None:
            known = ", ".join([now.node, *(p.name for p in now.peers)])
            return Refused("unknown-node", f"{node} is not a node of this cluster ({known})")
        if self._orders is None or not peer.fresh:
            return Refused("unreachable", f"{node} is not heard; ask its own agent")
        return await self._orders.ask(
            node, verb, by=now.node, vip=vip, to=to, force=force, plain=plain
        )

    def _note(
        self,
        kind: str,
        text: str,
        vip: str,
        data: dict[str, int | float | str],
        reasons: tuple[Reason, ...] = (),
    ) -> None:
        self._machine.note(Event(kind, self._machine.wall_ns(), text, vip, reasons, data))
